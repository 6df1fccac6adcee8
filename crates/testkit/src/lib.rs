//! For tests, benchmarks and the demonstration only; no program links it.

pub mod ceremony;
pub mod custodian;
pub mod custodians;
pub mod http;
pub mod installation;
pub mod issuer;
pub mod passkey;
pub mod ports;
pub mod postgres;
pub mod process;
#[cfg(feature = "token")]
pub mod token;
