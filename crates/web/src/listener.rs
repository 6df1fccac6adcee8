//! Two listeners: the API, plain or over TLS, and operations on loopback.

mod accept;
mod connection;
mod docs_page;
mod door;
mod error;
mod health;
mod openapi;
mod operations;
mod operations_access;
mod published;
mod reload;
mod router;
mod scrape;
mod server;
mod starting;
mod timed;
mod tls;

#[cfg(test)]
mod golden;
#[cfg(test)]
mod tests;

#[cfg(test)]
pub use connection::Connection;
pub use error::Error;
pub use operations_access::operations_token;
pub use server::serve;
pub use starting::Starting;
pub use tls::{check_tls, own_certificate};
#[cfg(test)]
pub use {openapi::paths, router::router};
