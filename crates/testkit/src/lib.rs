//! For tests, benchmarks and the demonstration only; no program links it.

pub mod custodians;
pub mod token;
