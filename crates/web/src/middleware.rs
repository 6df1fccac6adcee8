//! What every request passes before a handler sees it, and what handlers read requests with.

pub mod auth;
pub mod body;
pub mod context;
pub mod cross_origin;
pub mod idempotency;
pub mod json_object;
pub mod layer;
pub mod limits;
mod metrics;
pub mod peer;
pub mod refusals;
mod request_id;
mod rest;
pub mod routes;
mod span;
mod work;
