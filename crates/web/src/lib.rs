//! The service over HTTP. `problem` is the only mapping of errors, `middleware` what every request
//! passes, `v1` the endpoints, `listener` the sockets. Handlers authenticate, parse and write;
//! what is decided is decided below.

mod listener;
mod middleware;
mod problem;
mod services;
mod settings;
mod v1;

#[cfg(test)]
mod testing;

pub use listener::{Error, Starting, check_tls, operations_token, own_certificate, serve};
pub use services::Services;
pub use settings::{Http, Settings, Tls};
