//! Databases and rows for tests, of this crate and of those above it.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot begin has to stop"
)]

pub mod place;
pub mod server;
pub mod world;
