//! The only mapping of errors to HTTP: problem documents of RFC 9457 with a stable `type` and
//! `code`. A client's mistake is explained and the member named; of our own mistakes the body
//! says no more than the request id, and the log says the rest.

mod code;
mod mapping;

use std::error::Error as StdError;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::schema::{Object, ObjectBuilder, Type};

pub use code::Code;

/// Prefix of every `type`: a name, not an address, so that it survives a move of the service.
const TYPE: &str = "urn:chancery:problem:";

/// An answer that is not what was asked for.
#[derive(Debug, Clone)]
pub struct Problem {
    pub code: Code,
    detail: String,
    member: Option<String>,
    retry_after: Option<Duration>,
    /// For the log only: the chain of errors behind a 5xx.
    cause: Option<String>,
}

/// A problem document (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "Problem", as = Problem)]
pub struct Document {
    /// Stable: `urn:chancery:problem:` followed by the code.
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    #[schema(example = 400)]
    status: u16,
    #[schema(schema_with = codes)]
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// The invalid member, header or parameter of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    member: Option<String>,
    /// Identifies this request in the service log.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
}

fn codes() -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(Code::ALL.map(Code::name)))
        .build()
}

impl Problem {
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
            member: None,
            retry_after: code.retry_after(),
            cause: None,
        }
    }

    /// A member of the request's body that is not what was expected.
    pub fn member(member: impl Into<String>, expected: impl Into<String>) -> Self {
        Self::new(Code::BadMember, expected).about(member)
    }

    pub fn about(mut self, member: impl Into<String>) -> Self {
        self.member = Some(member.into());
        self
    }

    /// The same problem of what stands in a member as text, so that its member reads `request.reason`.
    pub fn inside(mut self, member: &str) -> Self {
        self.member = Some(match self.member {
            Some(inner) => format!("{member}.{inner}"),
            None => member.to_owned(),
        });
        self
    }

    /// The same problem of one item of a batch, so that its member reads `items[3].payload`.
    pub fn in_item(mut self, index: usize) -> Self {
        self.member = Some(match self.member {
            Some(member) => format!("items[{index}].{member}"),
            None => format!("items[{index}]"),
        });
        self
    }

    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// A mistake of ours or of what we depend on. What went wrong goes to the log.
    pub fn caused_by(code: Code, error: &dyn StdError) -> Self {
        let mut problem = Self::new(code, code.title());
        problem.cause = Some(trust::error_chain(error));
        problem
    }

    pub fn cause(&self) -> Option<&str> {
        self.cause.as_deref()
    }

    pub fn detail(&self) -> &str {
        &self.detail
    }

    pub fn status(&self) -> StatusCode {
        self.code.status()
    }

    /// The document; `request_id` stands in it where the body may say nothing else, and is left
    /// out inside a batch.
    pub fn document(&self, request_id: Option<&str>) -> Document {
        let ours = self.status().is_server_error();
        Document {
            kind: format!("{TYPE}{}", self.code.name()),
            title: self.code.title(),
            status: self.status().as_u16(),
            code: self.code.name(),
            detail: if ours {
                self.code.advice().map(str::to_owned)
            } else {
                Some(self.detail.clone())
            },
            member: if ours { None } else { self.member.clone() },
            request_id: request_id.map(str::to_owned),
        }
    }

    /// Writes the whole answer.
    pub fn render(&self, request_id: &str) -> Response {
        let body = serde_json::to_vec(&self.document(Some(request_id))).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(wait) = self.retry_after {
            // Whole seconds (RFC 9110 section 10.2.3), rounded up: zero would invite a storm.
            let seconds = wait.as_millis().div_ceil(1_000).max(1);
            if let Ok(value) = HeaderValue::from_str(&seconds.to_string()) {
                headers.insert(RETRY_AFTER, value);
            }
        }
        if let Some(challenge) = self.code.challenge() {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        response
    }
}

/// Leaves as an empty response that carries the problem; the request layer writes the document, because
/// only there the request id is known.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.status();
        response.extensions_mut().insert(Box::new(self));
        response
    }
}

/// Turns a response that carries a problem into its document; other responses pass.
pub fn take(response: &mut Response) -> Option<Problem> {
    response
        .extensions_mut()
        .remove::<Box<Problem>>()
        .map(|problem| *problem)
}

/// Writes the document and keeps what the router already knew: which methods are allowed.
pub fn finish(problem: &Problem, request_id: &str, from: &Response) -> Response {
    let mut response = problem.render(request_id);
    if let Some(allow) = from.headers().get(ALLOW) {
        response.headers_mut().insert(ALLOW, allow.clone());
    }
    response
}
