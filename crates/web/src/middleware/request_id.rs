//! The `X-Request-Id` header: the caller's, or a new one.

use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::{HeaderMap, HeaderName, HeaderValue};

pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longest request id taken from a caller.
const REQUEST_ID_MAX: usize = 64;

/// Makes request ids: the process and a number.
pub struct RequestIds {
    instance: String,
    next: AtomicU64,
}

impl RequestIds {
    pub fn new(instance: String) -> Self {
        Self {
            instance,
            next: AtomicU64::new(1),
        }
    }

    /// The caller's, if it is fit to stand in a log line; otherwise a new one. And whether it is ours: what a caller says of itself
    /// may be more than an id.
    pub fn of(&self, headers: &HeaderMap) -> (HeaderValue, bool) {
        if let Some(given) = headers.get(&REQUEST_ID)
            && given.len() <= REQUEST_ID_MAX
            && !given.is_empty()
            && given
                .as_bytes()
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
        {
            return (given.clone(), false);
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let new = HeaderValue::from_str(&format!("{}-{number:x}", self.instance));
        (new.unwrap_or(HeaderValue::from_static("unnamed")), true)
    }
}
