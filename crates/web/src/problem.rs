//! The only mapping of errors to HTTP: problem documents of RFC 9457 with a stable `type` and
//! `code`. A client's mistake is explained and the member named; of our own mistakes the body
//! says no more than the request id, and the log says the rest.

use std::error::Error as StdError;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use trust::JsonError;
use utoipa::ToSchema;
use utoipa::openapi::schema::{Object, ObjectBuilder, Type};

use super::codes::Code;
use keyring::{signing, verification};
use token::Advice;

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

/// The document as it goes out.
#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "Problem", as = Problem)]
pub struct Document {
    /// Stable; equal to `urn:chancery:problem:` and the code.
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    #[schema(example = 400)]
    status: u16,
    #[schema(schema_with = codes)]
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// The member of the request, the header or the parameter that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    member: Option<String>,
    /// Names this request in the service's log.
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

    fn pruned(error: &log::ProofError) -> Self {
        Self::new(Code::Pruned, error.to_string()).about("index")
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

/// Leaves as an empty response that carries the problem; the edge writes the document, because
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

impl From<JsonError> for Problem {
    fn from(error: JsonError) -> Self {
        let (code, path, what) = match error {
            JsonError::Syntax { path, what, offset } => {
                (Code::BadJson, path, format!("{what} at byte {offset}"))
            }
            JsonError::Duplicate { path } => {
                (Code::BadJson, path, "the member occurs twice".to_owned())
            }
            JsonError::Float { path } => {
                (Code::BadJson, path, "only integers are allowed".to_owned())
            }
            JsonError::Integer { path } => (
                Code::BadJson,
                path,
                "the integer is beyond 2^53-1".to_owned(),
            ),
            JsonError::Depth { path } => (Code::BadJson, path, "nested too deep".to_owned()),
            JsonError::Content { path, what } => (Code::BadMember, path, what),
            other => (Code::BadJson, String::new(), other.to_string()),
        };
        let problem = Self::new(code, what);
        if path.is_empty() || path == "$" {
            problem
        } else {
            problem.about(path)
        }
    }
}

impl From<signing::Error> for Problem {
    fn from(error: signing::Error) -> Self {
        use signing::Error as E;
        let text = error.to_string();
        match error {
            E::UnknownRing(_) => Self::new(Code::UnknownRing, text),
            E::NotAllowed { .. } | E::Reserved(_) => Self::new(Code::Forbidden, text),
            E::NoActiveKey(_) => Self::new(Code::NoActiveKey, text),
            E::WrongUsage { .. } => Self::new(Code::WrongUsage, text).about("format"),
            E::WrongAlgorithm { .. } => Self::new(Code::WrongAlgorithm, text).about("alg"),
            E::BadInput(why) => Self::new(Code::BadMember, why),
            E::IdempotencyMismatch => {
                Self::new(Code::IdempotencyMismatch, text).about("Idempotency-Key")
            }
            E::KeyMayNotSign(_) => Self::new(Code::KeyMayNotSign, text),
            E::Token(ref cause) => from_token(cause, &error),
            E::Log(log::Error::Store(ref cause)) => Self::caused_by(of_store(cause), &error),
            E::Log(log::Error::Halted(_)) => Self::caused_by(Code::LogUnavailable, &error),
            E::Randomness(_) | E::Broken(_) => Self::caused_by(Code::Internal, &error),
        }
    }
}

impl From<log::ProofError> for Problem {
    fn from(error: log::ProofError) -> Self {
        match &error {
            log::ProofError::Store(cause) => Self::caused_by(of_store(cause), &error),
            log::ProofError::Pruned(_) => Self::pruned(&error),
            log::ProofError::Tiles(cause) if !cause.is_fatal() => {
                Self::caused_by(Code::LogUnavailable, &error)
            }
            _ => Self::caused_by(Code::Internal, &error),
        }
    }
}

fn from_token(cause: &token::Error, error: &signing::Error) -> Problem {
    match cause.advice() {
        Advice::RetryAfter(millis) => Problem::caused_by(Code::TokenUnavailable, error)
            .retry_after(Duration::from_millis(millis)),
        Advice::Overloaded => Problem::caused_by(Code::Overloaded, error),
        Advice::TimedOut => Problem::caused_by(Code::DeadlineExceeded, error),
        // A lost worker: signing may be repeated, nothing was released.
        Advice::Alert if cause.is_outcome_unknown() => {
            Problem::caused_by(Code::TokenUnavailable, error)
        }
        // A person has to look; a caller can only come back later.
        Advice::Alert => {
            Problem::caused_by(Code::TokenUnavailable, error).retry_after(Duration::from_secs(30))
        }
    }
}

impl From<verification::Error> for Problem {
    fn from(error: verification::Error) -> Self {
        match error {
            verification::Error::Malformed { member, problem } => Self::member(member, problem),
            verification::Error::Log(ref cause) => Self::caused_by(of_store(cause), &error),
            verification::Error::Tree(ref cause) => match **cause {
                log::ProofError::Store(ref cause) => Self::caused_by(of_store(cause), &error),
                log::ProofError::Pruned(_) => Self::pruned(cause),
                _ => Self::caused_by(Code::LogUnavailable, &error),
            },
        }
    }
}

impl From<verification::NoEvidence> for Problem {
    fn from(error: verification::NoEvidence) -> Self {
        use verification::NoEvidence as E;
        match error {
            E::Verification(error) => error.into(),
            E::Store(error) => error.into(),
            E::NotFound | E::NotASignature(_) => {
                Self::new(Code::NotFound, error.to_string()).about("index")
            }
            E::NotInLog => Self::new(Code::NotInLog, error.to_string()),
            E::BadSignature(ref why) => Self::new(Code::BadSignature, why.clone()),
            E::Broken(_) => Self::caused_by(Code::Internal, &error),
        }
    }
}

impl From<store::Error> for Problem {
    fn from(error: store::Error) -> Self {
        Self::caused_by(of_store(&error), &error)
    }
}

/// What the database's failure means to a caller: whether to come back, and whether to look first.
fn of_store(error: &store::Error) -> Code {
    match error {
        store::Error::OutcomeUnknown { .. } => Code::OutcomeUnknown,
        store::Error::Full { .. } => Code::DatabaseUnavailable,
        error if error.is_transient() => Code::DatabaseUnavailable,
        _ => Code::Internal,
    }
}
