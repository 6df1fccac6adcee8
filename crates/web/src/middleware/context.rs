//! What the request layer found out about a request, for handlers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use crate::middleware::auth::Caller;
use crate::problem::{Code, Problem};

/// What the layer found out about a request.
#[derive(Debug)]
pub struct Context {
    pub caller: Caller,
    /// When the work has to be done.
    pub deadline: Instant,
    pub body_limit_bytes: usize,
    /// Of the whole request, for the text of a refusal.
    pub time_limit: Duration,
}

/// The context of this request, for handlers.
#[derive(Debug, Clone)]
pub struct RequestContext(pub Arc<Context>);

impl std::ops::Deref for RequestContext {
    type Target = Context;

    fn deref(&self) -> &Context {
        &self.0
    }
}

impl<S: Sync> FromRequestParts<S> for RequestContext {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or_else(|| Problem::new(Code::Internal, "the request layer is missing"))
    }
}
