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
use metrics::counter;
use tracing::Instrument as _;

use super::app::Refusal;
use super::auth::{self, Caller};
use super::codes::Code;
use super::front::Peer;
use super::limits::Place;
use super::problem::{self, Problem};
use super::{Edge, Shared};
use base::names;

pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What is left for an answer that says what happened, after the work's own deadline has passed.
const GRACE: Duration = Duration::from_millis(250);

/// Longest request id taken from a caller.
const REQUEST_ID_MAX: usize = 64;

/// Longest reason of a refusal in bytes; a leaf has at most a kilobyte.
const REASON_MAX: usize = 200;

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
            .ok_or_else(|| Problem::new(Code::Internal, "the server state layer is missing"))
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

    if let Some(mut problem) = problem::take(&mut response) {
        // Each refusal of a known caller is a row in the audit trail; whoever collects them without
        // end is told to slow down instead. Strangers share one small budget of rows, or they could
        // write the database full.
        if problem.code.is_refusal()
            && caller.name().is_some()
            && let Err(too_many) = edge.limits.admit_refusal(&caller, peer.address)
        {
            problem = too_many;
        }
        report(&problem, &id_text, &method, route);
        let written = caller.name().is_some() || edge.limits.writes_down_unknown();
        if problem.code.is_refusal() && !written {
            counter!(names::REFUSALS_NOT_WRITTEN).increment(1);
        }
        if problem.code.is_refusal() && written {
            let refusal = Refusal {
                principal: caller.name().cloned(),
                from: peer.address.to_string(),
                action: format!("{method} {route}"),
                ring,
                reason: reason(&problem),
            };
            record(&edge, refusal, &id_text).await;
        }
        response = problem::finish(&problem, &id_text, &response);
    }
    edge.figures
        .answered(route, response.status(), started.elapsed());
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
    let snapshot = edge.app.keys.current();
    *caller = auth::authenticate(
        request.headers(),
        peer,
        &snapshot.credentials,
        (edge.app.clock)(),
    );
    // Nothing behind this line sees the access token, so nothing behind it can log it.
    request.headers_mut().remove(AUTHORIZATION);
    let place = edge.limits.enter(caller)?;
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

/// The code and its detail, of which a part came from the caller: cut to fit into a leaf.
fn reason(problem: &Problem) -> String {
    let mut text = format!("{}: {}", problem.code.name(), problem.detail());
    text.truncate(text.floor_char_boundary(REASON_MAX));
    text
}

/// A refusal that cannot be written down is still a refusal; its answer waits for the writing no
/// longer than for work.
async fn record(edge: &Edge, refusal: Refusal, id: &str) {
    let written = edge.app.refusals.record(refusal);
    match tokio::time::timeout(edge.settings.request_timeout, written).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::error!(id, error = %error, "a refusal was not written to the audit trail")
        }
        Err(_) => tracing::error!(id, "a refusal was not written to the audit trail in time"),
    }
}

fn report(problem: &Problem, id: &str, method: &Method, route: &str) {
    let code = problem.code.name();
    counter!(names::PROBLEMS, "code" => code).increment(1);
    if problem.code.is_refusal() {
        counter!(names::REFUSALS, "code" => code).increment(1);
    }
    let cause = problem.cause().unwrap_or(problem.detail());
    if problem.status().is_server_error() {
        tracing::error!(id, %method, route, code, cause, "request failed");
    } else {
        tracing::debug!(id, %method, route, code, cause, "request refused");
    }
}

/// The address of a caller that came without a connection (tests).
pub const NOWHERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use axum::body::Body;
    use axum::http::StatusCode;

    use super::*;
    use crate::testing::{self, Fixture, SIGNER};

    const SIGN: &str = "/v1/rings/records/sign";
    const GOOD: &str = r#"{"format":"jws","payload":"AQID"}"#;

    #[tokio::test]
    async fn a_sane_request_id_is_kept_and_another_is_replaced() {
        let fixture = Fixture::new();
        for (given, kept) in [("a-b_c.1", true), ("a b", false), ("", false)] {
            let request = Request::get("/nothing")
                .header("x-request-id", given)
                .body(Body::empty())
                .unwrap();
            let answered = fixture.send(request).await;
            assert_eq!(answered.code(), "not_found");
            let id = answered.header("x-request-id");
            assert_eq!(id == given, kept, "{given:?} became {id:?}");
            assert!(kept || id.starts_with("test-"), "{id}");
        }
        let request = Request::get("/nothing").header("x-request-id", "a".repeat(65));
        let answered = fixture.send(request.body(Body::empty()).unwrap()).await;
        assert!(answered.header("x-request-id").starts_with("test-"));
    }

    #[tokio::test]
    async fn another_method_is_told_which_are_allowed() {
        let fixture = Fixture::new();
        let answered = fixture.get(SIGN).await;
        assert_eq!(answered.status, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(answered.code(), "method_not_allowed");
        assert_eq!(answered.header("allow"), "POST");
    }

    #[tokio::test]
    async fn more_than_the_callers_rate_is_429_with_a_time_to_wait() {
        let mut settings = testing::settings();
        settings.requests_per_second = NonZeroU32::new(1);
        let fixture = Fixture::with(settings);
        assert_eq!(fixture.sign(SIGN, GOOD).await.status, StatusCode::OK);
        let caller = fixture.caller(SIGNER);
        let mut answered = fixture.sign(SIGN, GOOD).await;
        while answered.status == StatusCode::OK {
            // A slow machine: more than a second went by.
            while fixture.edge.limits.admit(&caller, NOWHERE).is_ok() {}
            answered = fixture.sign(SIGN, GOOD).await;
        }
        assert_eq!(answered.status, StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(answered.code(), "rate_limited");
        assert_eq!(answered.header("retry-after"), "1");
        // Another caller has a rate of its own, and strangers share none with principals.
        let answered = fixture.get_as(testing::OPERATOR, "/v1/rings").await;
        assert_eq!(answered.status, StatusCode::OK);
        assert_eq!(fixture.get("/nothing").await.code(), "not_found");
    }

    #[tokio::test]
    async fn more_than_fits_in_flight_is_503_with_a_time_to_wait() {
        let mut settings = testing::settings();
        settings.max_in_flight = 1;
        let fixture = Fixture::with(settings);
        let strangers = fixture.edge.limits.enter(&Caller::Anonymous).unwrap();
        assert_eq!(fixture.get("/nothing").await.code(), "overloaded");
        // Strangers do not keep signers out.
        assert_eq!(fixture.sign(SIGN, GOOD).await.status, StatusCode::OK);
        drop(strangers);
        let signer = Caller::Known(access::Principal::signer("another", "atp"));
        let place = fixture.edge.limits.enter(&signer).unwrap();
        let answered = fixture.sign(SIGN, GOOD).await;
        assert_eq!(answered.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answered.code(), "overloaded");
        assert_eq!(answered.header("retry-after"), "1");
        drop(place);
        assert_eq!(fixture.sign(SIGN, GOOD).await.status, StatusCode::OK);
    }

    #[tokio::test]
    async fn work_that_does_not_end_is_answered_in_its_time() {
        let fixture = Fixture::new();
        fixture.world.gate.forget_permits(1_000);
        let answered = fixture.sign(SIGN, GOOD).await;
        assert_eq!(answered.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answered.code(), "deadline_exceeded");
        assert!(!answered.header("retry-after").is_empty());
    }

    #[tokio::test]
    async fn wrong_bodies_are_told_apart() {
        let fixture = Fixture::new();
        let long = format!(r#"{{"format":"jws","payload":"{}"}}"#, "A".repeat(4_096));
        for (body, status, code) in [
            (
                long.as_str(),
                StatusCode::PAYLOAD_TOO_LARGE,
                "body_too_large",
            ),
            (r#"{"format":"jws""#, StatusCode::BAD_REQUEST, "bad_json"),
            ("", StatusCode::BAD_REQUEST, "bad_json"),
        ] {
            let answered = fixture.sign(SIGN, body).await;
            assert_eq!((answered.status, answered.code().as_str()), (status, code));
        }
        let mut request = testing::post(SIGN, GOOD);
        let bearer = format!("Bearer {SIGNER}").parse().unwrap();
        request.headers_mut().insert("authorization", bearer);
        request
            .headers_mut()
            .insert("content-type", "text/plain".parse().unwrap());
        let answered = fixture.send(request).await;
        assert_eq!(answered.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
        assert_eq!(answered.code(), "unsupported_media_type");
        let answered = fixture.sign(&format!("{SIGN}?receipt=later"), GOOD).await;
        assert_eq!(answered.code(), "bad_query");
    }

    #[tokio::test]
    async fn refusals_without_end_are_told_to_slow_down_and_not_written_down() {
        let fixture = Fixture::new();
        let long = format!("/v1/rings/{}/sign", "a".repeat(2_000));
        assert_eq!(fixture.sign(&long, GOOD).await.code(), "forbidden");
        let written = std::mem::take(&mut *fixture.world.refusals.lock().unwrap());
        assert_eq!(written.len(), 1);
        assert!(written[0].reason.len() <= REASON_MAX);

        let caller = fixture.caller(SIGNER);
        let used_up = || while fixture.edge.limits.admit_refusal(&caller, NOWHERE).is_ok() {};
        // On a slow machine the bucket may have a drop again before the request comes.
        let mut code = String::new();
        for _ in 0..100 {
            used_up();
            code = fixture.sign(&long, GOOD).await.code();
            if code == "rate_limited" {
                break;
            }
            fixture.world.refusals.lock().unwrap().clear();
        }
        assert_eq!(code, "rate_limited");
        assert!(fixture.world.refusals.lock().unwrap().is_empty());
        // Whoever is let in does not notice.
        assert_eq!(fixture.sign(SIGN, GOOD).await.status, StatusCode::OK);
    }

    #[test]
    fn a_ring_from_a_path_fits_into_a_leaf() {
        let long = format!("/v1/rings/{}/sign", "a".repeat(500));
        let ring = ring_of("/v1/rings/{ring}/sign", &long).unwrap();
        assert_eq!(ring.len(), 64);
        assert_eq!(ring_of("/v1/verify", "/v1/verify"), None);
    }
}
