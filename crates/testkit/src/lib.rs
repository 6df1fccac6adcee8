//! For tests, benchmarks and the demonstration only; no program links it.

pub mod custodians;
pub mod ports;
pub mod postgres;
pub mod token;
