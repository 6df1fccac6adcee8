//! The service over HTTP. [`problem`] is the only mapping of errors, [`middleware`] what every request
//! passes, [`v1`] the endpoints, [`listener`] the sockets. Handlers authenticate, parse and write;
//! what is decided is decided below.

mod app;
mod doors;
mod listener;
mod middleware;
mod problem;
mod settings;
mod v1;

#[cfg(test)]
mod testing;

pub use app::App;
pub use doors::AuditedRefusals;
pub use listener::serve;
pub use settings::{Http, Settings, Tls};
