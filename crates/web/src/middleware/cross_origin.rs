//! Pages of other origins read whatever needs no credentials, errors too (the Fetch standard, CORS).

use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ALLOW,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};

/// What is known of a route before a request comes.
#[derive(Debug, Clone)]
pub struct Route {
    /// As the router writes it.
    pub path: String,
    /// Nobody needs credentials for it.
    pub public: bool,
    /// POST, not GET.
    pub posts: bool,
}

impl Route {
    fn methods(&self) -> HeaderValue {
        HeaderValue::from_static(match self.posts {
            true => "POST, OPTIONS",
            false => "GET, HEAD, OPTIONS",
        })
    }
}

/// What a page may see beside the body and what it may always see.
const EXPOSED: HeaderValue =
    HeaderValue::from_static("etag, link, retry-after, x-chancery-keys-left-out, x-request-id");

/// Credentials are never sent along, so any page may.
pub fn allow(headers: &mut HeaderMap) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
}

/// The answer to OPTIONS, which a browser asks before it posts JSON.
pub fn options(route: &Route) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    headers.insert(ALLOW, route.methods());
    if route.public {
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, route.methods());
        headers.insert(
            ACCESS_CONTROL_ALLOW_HEADERS,
            HeaderValue::from_static("content-type, if-none-match, x-request-id"),
        );
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
    }
    response
}
