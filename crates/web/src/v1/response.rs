//! Small parts that answers and handlers are made of.

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Uri};
use axum::response::Response;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::problem::{Code, Problem};

/// Text of C2SP formats.
pub const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

pub const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// An answer that is made for this caller at this moment.
pub fn json(value: &impl Serialize) -> Result<Response, Problem> {
    let bytes = serde_json::to_vec(value).map_err(|e| Problem::caused_by(Code::Internal, &e))?;
    Ok(bytes_of(
        bytes,
        HeaderValue::from_static("application/json"),
        NO_STORE,
    ))
}

pub fn bytes_of(
    bytes: impl Into<Body>,
    content_type: HeaderValue,
    cache_control: HeaderValue,
) -> Response {
    let mut response = Response::new(bytes.into());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(CACHE_CONTROL, cache_control);
    response
}

/// `Cache-Control` of what everybody may keep.
pub fn public(directives: &str) -> HeaderValue {
    HeaderValue::from_str(&format!("public, {directives}"))
        .unwrap_or(HeaderValue::from_static("no-store"))
}

/// The one parameter of a path.
pub struct Named(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Path::from_request_parts(parts, state)
            .await
            .map(|Path(name)| Self(name))
            .map_err(|_: PathRejection| {
                Problem::new(Code::NotFound, "the path is not UTF-8 after decoding")
            })
    }
}

/// Reads the query; unknown parameters are refused by `T`.
pub fn query<T: DeserializeOwned>(uri: &Uri) -> Result<T, Problem> {
    axum::extract::Query::try_from_uri(uri)
        .map(|axum::extract::Query(query)| query)
        .map_err(|error| {
            let mut text = std::error::Error::source(&error)
                .map_or_else(|| error.to_string(), ToString::to_string);
            text.truncate(text.floor_char_boundary(200));
            Problem::new(Code::BadQuery, text)
        })
}

/// For resources without parameters: one that is ignored would mislead.
pub fn no_query(uri: &Uri) -> Result<(), Problem> {
    match uri.query() {
        None | Some("") => Ok(()),
        Some(_) => Err(Problem::new(
            Code::BadQuery,
            "this resource takes no parameters",
        )),
    }
}
