//! What every request passes, in one layer: an id, a place, the caller, the rate, the time limit;
//! and on the way out problems become documents, refusals go into the audit trail and figures are
//! counted.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::header::{AUTHORIZATION, HeaderName, X_CONTENT_TYPE_OPTIONS};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use metrics::{counter, histogram};
use tracing::Instrument as _;

use super::auth::{self, Caller};
use super::codes::Code;
use super::front::Peer;
use super::limits::Place;
use super::problem::{self, Problem};
use super::{Edge, Refusal, Shared};
use crate::telemetry;

pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What is left for an answer that says what happened, after the work's own deadline has passed.
const GRACE: Duration = Duration::from_millis(250);

/// Longest request id taken from a caller.
const REQUEST_ID_MAX: usize = 64;

/// What the layer found out about a request.
#[derive(Debug)]
pub struct Context {
    pub caller: Caller,
    /// When the work has to be done.
    pub deadline: Instant,
    /// To be held by whatever outlives the request.
    pub place: Place,
}

/// The context of this request, for handlers.
#[derive(Debug, Clone)]
pub struct Present(pub Arc<Context>);

impl std::ops::Deref for Present {
    type Target = Context;

    fn deref(&self) -> &Context {
        &self.0
    }
}

impl FromRequestParts<Shared> for Present {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Shared) -> Result<Self, Problem> {
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or_else(|| Problem::new(Code::Internal, "the edge's layer is missing"))
    }
}

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

    /// The caller's, if it is fit to stand in a log line; otherwise a new one.
    fn of(&self, headers: &HeaderMap) -> HeaderValue {
        if let Some(given) = headers.get(&REQUEST_ID)
            && given.len() <= REQUEST_ID_MAX
            && !given.is_empty()
            && given
                .as_bytes()
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
        {
            return given.clone();
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        HeaderValue::from_str(&format!("{}-{number:x}", self.instance))
            .unwrap_or(HeaderValue::from_static("unnamed"))
    }
}

/// The layer.
pub async fn layer(State(edge): State<Shared>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = edge.request_ids.of(request.headers());
    let id_text = id.to_str().unwrap_or_default().to_owned();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    let method = request.method().clone();
    let peer = request
        .extensions()
        .get::<Arc<Peer>>()
        .cloned()
        .unwrap_or_default();
    let ring = ring_of(route, request.uri().path());

    let mut caller = Caller::Anonymous;
    let mut response = match admit(&edge, &mut request, &peer, started, &mut caller) {
        Err(problem) => problem.into_response(),
        Ok(deadline) => {
            let span = tracing::debug_span!("request", id = %id_text, %method, route);
            let run = next.run(request).instrument(span);
            match tokio::time::timeout_at((deadline + GRACE).into(), run).await {
                Ok(response) => response,
                Err(_) => Problem::new(Code::DeadlineExceeded, "time limit").into_response(),
            }
        }
    };

    if let Some(problem) = problem::take(&mut response) {
        report(&problem, &id_text, &method, route);
        if problem.code.is_refusal() {
            let refusal = Refusal {
                principal: caller.name().cloned(),
                from: peer.address.to_string(),
                action: format!("{method} {route}"),
                ring,
                reason: format!("{}: {}", problem.code.name(), problem.detail()),
            };
            record(&edge, refusal, &id_text).await;
        }
        response = problem::finish(&problem, &id_text, &response);
    }
    count(route, &response, started);
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, id);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Everything that is asked before a handler sees the request.
fn admit(
    edge: &Edge,
    request: &mut Request,
    peer: &Peer,
    started: Instant,
    caller: &mut Caller,
) -> Result<Instant, Problem> {
    let place = edge.limits.enter()?;
    let snapshot = edge.app.keys.current();
    *caller = auth::authenticate(
        request.headers(),
        peer,
        &snapshot.credentials,
        (edge.app.clock)(),
    );
    // Nothing behind this line sees the access token, so nothing behind it can log it.
    request.headers_mut().remove(AUTHORIZATION);
    edge.limits.admit(caller, peer.address)?;
    let deadline = started + edge.settings.request_timeout;
    request.extensions_mut().insert(Present(Arc::new(Context {
        caller: caller.clone(),
        deadline,
        place,
    })));
    Ok(deadline)
}

/// The ring that a refusal is about, as far as the path names one.
fn ring_of(route: &str, path: &str) -> Option<String> {
    if !route.starts_with("/v1/rings/{ring}") {
        return None;
    }
    let ring = path.strip_prefix("/v1/rings/")?.split('/').next()?;
    // A name from outside goes into a leaf of bounded size.
    Some(ring.chars().take(64).collect())
}

/// A refusal that cannot be written down is still a refusal; the answer does not wait longer than
/// the grace for it.
async fn record(edge: &Edge, refusal: Refusal, id: &str) {
    let written = edge.app.refusals.record(refusal);
    match tokio::time::timeout(edge.settings.request_timeout, written).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(id, error = %error, "a refusal was not recorded"),
        Err(_) => tracing::error!(id, "a refusal was not recorded in time"),
    }
}

fn report(problem: &Problem, id: &str, method: &Method, route: &str) {
    let code = problem.code.name();
    counter!(telemetry::PROBLEMS, "code" => code).increment(1);
    if problem.code.is_refusal() {
        counter!(telemetry::REFUSALS, "code" => code).increment(1);
    }
    let cause = problem.cause().unwrap_or(problem.detail());
    if problem.status().is_server_error() {
        tracing::error!(id, %method, route, code, cause, "request failed");
    } else {
        tracing::debug!(id, %method, route, code, cause, "request refused");
    }
}

fn count(route: &str, response: &Response, started: Instant) {
    let status = response.status();
    let status = status.as_str();
    counter!(telemetry::REQUESTS, "route" => route.to_owned(), "status" => status.to_owned())
        .increment(1);
    histogram!(telemetry::REQUEST_SECONDS, "route" => route.to_owned())
        .record(started.elapsed().as_secs_f64());
}

/// The address of a caller that came without a connection (tests).
pub const NOWHERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);
