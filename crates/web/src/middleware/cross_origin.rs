//! Pages of other origins read whatever needs no credentials, errors too (the Fetch standard, CORS).

use access::Call;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ALLOW,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse as _, Response};

use crate::middleware::routes::Route;

/// The methods of those calls, as `Allow` spells them.
fn methods(route: &Route, which: impl Fn(Option<Call>) -> bool) -> HeaderValue {
    let has = |method: Method| {
        let mut operations = route.operations.iter();
        operations.any(|(known, call)| *known == method && which(*call))
    };
    let known = [Method::GET, Method::POST, Method::PUT].map(has);
    HeaderValue::from_static(match known {
        [true, true, true] => "GET, HEAD, POST, PUT, OPTIONS",
        [true, true, false] => "GET, HEAD, POST, OPTIONS",
        [true, false, true] => "GET, HEAD, PUT, OPTIONS",
        [true, false, false] => "GET, HEAD, OPTIONS",
        [false, true, true] => "POST, PUT, OPTIONS",
        [false, true, false] => "POST, OPTIONS",
        [false, false, true] => "PUT, OPTIONS",
        [false, false, false] => "OPTIONS",
    })
}

fn is_public(call: Option<Call>) -> bool {
    call.is_some_and(|call| call.allowed().is_public())
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
    headers.insert(ALLOW, methods(route, |_| true));
    if route.operations.iter().any(|(_, call)| is_public(*call)) {
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods(route, is_public));
        headers.insert(
            ACCESS_CONTROL_ALLOW_HEADERS,
            HeaderValue::from_static("content-type, if-none-match, x-request-id"),
        );
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
    }
    response
}
