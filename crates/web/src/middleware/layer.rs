//! What every request passes, in one layer: an id, a permit, the caller, the rate, the time limit;
//! and on the way out problems become documents, refusals go into the audit trail and metrics
//! are counted.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{AUTHORIZATION, CONNECTION, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, Method, StatusCode, Version};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use metrics::counter;
use tokio::runtime::Handle;
use tracing::Instrument as _;

use crate::middleware::auth::{self, Caller, Presented};
use crate::middleware::context::{Context, RequestContext};
use crate::middleware::cross_origin;
use crate::middleware::limits::{Limits, Permit};
use crate::middleware::metrics::Metrics;
use crate::middleware::peer::Peer;
use crate::middleware::refusals::{self, Refusal, Refusals};
use crate::middleware::request_id::{REQUEST_ID, RequestIds};
use crate::middleware::rest;
use crate::middleware::routes::Route;
use crate::middleware::span;
use crate::middleware::work::{self, Unfinished};
use crate::problem::{self, Code, Problem};
use crate::services::Services;
use crate::settings::Settings;
use base::{Repeats, names};

/// What is left for an answer that says what happened, after the work's own deadline has passed.
const GRACE: Duration = Duration::from_millis(250);

/// What the layer works with.
pub struct RequestLayer {
    pub limits: Limits,
    pub metrics: Metrics,
    pub refusals: Refusals,
    /// Failures, by code.
    pub failures: Repeats,
    /// Whether the service is about to stop: connections end with their next answer.
    pub stopping: AtomicBool,
    routes: HashMap<String, Route>,
    request_ids: RequestIds,
    services: Services,
    request_timeout: Duration,
    body_limit_bytes: usize,
}

impl RequestLayer {
    /// `routes` are counted by name.
    pub fn new(
        services: &Services,
        settings: &Settings,
        routes: impl Iterator<Item = Route>,
    ) -> Self {
        let routes: HashMap<_, _> = routes.map(|route| (route.path.clone(), route)).collect();
        Self {
            limits: Limits::new(settings.max_in_flight, settings.requests_per_second),
            metrics: Metrics::new(routes.keys().cloned()),
            routes,
            stopping: AtomicBool::new(false),
            failures: Repeats::default(),
            refusals: Refusals::new(services.log.clone(), services.env.clone()),
            request_ids: RequestIds::new(services.instance.clone()),
            services: services.clone(),
            request_timeout: settings.request_timeout,
            body_limit_bytes: settings.body_limit_bytes,
        }
    }
}

/// The layer.
pub async fn run(State(layer): State<Arc<RequestLayer>>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let (id, is_ours) = layer.request_ids.of(request.headers());
    let id_text = id.to_str().unwrap_or_default().to_owned();
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let matched_route = matched.as_ref().map(MatchedPath::as_str);
    let route = matched_route.unwrap_or("none");
    let method = request.method().clone();
    let version = request.version();
    let peer = request
        .extensions()
        .get::<Arc<Peer>>()
        .cloned()
        .unwrap_or_default();
    let ring = ring_of(route, request.uri().path());

    let traced = span::of(&method, matched_route, is_ours.then_some(&*id_text));
    let known = layer.routes.get(route);
    let (mut request, rest) = rest::of(request);

    let mut caller = Caller::Anonymous;
    let admitted = admit(&layer, &mut request, &peer, started, &mut caller).await;
    let headers = (request.headers(), started);
    let let_in = admitted.is_ok().then_some(&caller);
    span::admitted(&traced, &layer.services, let_in, headers);
    let mut response = match &admitted {
        Err(problem) => problem.clone().into_response(),
        Ok(_) if method == Method::OPTIONS && known.is_some() => {
            known.map_or_else(Response::default, cross_origin::options)
        }
        Ok(_) if let Err(problem) = permit(matched.is_some(), known, &method, &caller) => {
            // The rest of its body is read once nobody else may.
            drop(request);
            problem.into_response()
        }
        Ok((deadline, permit)) => {
            let span = tracing::debug_span!("request", id = %id_text, %method, route);
            let handled = next
                .run(request)
                .instrument(span)
                .instrument(traced.clone());
            let place = match caller.name() {
                Some(_) => &Handle::current(),
                None => &layer.services.strangers,
            };
            match work::run(place, permit.clone(), *deadline + GRACE, handled).await {
                Ok(response) => response,
                Err(Unfinished::Late) => {
                    Problem::new(Code::DeadlineExceeded, "time limit").into_response()
                }
                Err(Unfinished::Panicked) => {
                    Problem::new(Code::Internal, "the work ended with a panic").into_response()
                }
            }
        }
    };

    if let Some(mut problem) = problem::take(&mut response) {
        // Each refusal of a known caller is a row in the audit trail; whoever collects them without
        // end is told to slow down instead. Those of strangers are counted in one row a minute.
        if problem.code.is_refusal()
            && caller.name().is_some()
            && let Err(too_many) = layer.limits.admit_refusal(&caller, peer.address)
        {
            problem = too_many;
        }
        report(&layer.failures, &problem, &id_text, &method, route);
        match (caller.name(), &admitted) {
            _ if !problem.code.is_refusal() => {}
            (Some(principal), Ok((_, permit))) => {
                let refusal = Refusal {
                    actor: principal.to_string(),
                    action: format!("{method} {route}"),
                    ring,
                    reason: refusals::reason(&problem),
                };
                record(&layer, permit.clone(), refusal, &id_text).await;
            }
            _ => layer.refusals.of_stranger(problem.code, peer.address),
        }
        response = problem::finish(&problem, &id_text, &response);
    }
    layer
        .metrics
        .answered(route, response.status(), started.elapsed());
    span::answered(&traced, response.status());
    drop(traced);
    let mut last = layer.stopping.load(Ordering::Relaxed);
    if let Some(rest) = rest {
        let permit = admitted.ok().map(|(_, permit)| permit);
        // Nothing more comes of a body that did not come in time.
        let wait = response.status() != StatusCode::REQUEST_TIMEOUT;
        last |= !rest.read_on(permit, wait).await;
    }
    let headers = response.headers_mut();
    // What needs credentials is nothing for pages of others.
    if known.is_none_or(|route| route.is_public(&method)) {
        cross_origin::allow(headers);
    }
    if last && version < Version::HTTP_2 {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    headers.insert(REQUEST_ID, id);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Everything that is asked before a handler sees the request.
async fn admit(
    layer: &RequestLayer,
    request: &mut Request,
    peer: &Peer,
    started: Instant,
    caller: &mut Caller,
) -> Result<(Instant, Permit), Problem> {
    let deadline = started + layer.request_timeout;
    let presented = auth::presented(
        request.headers(),
        peer,
        &layer.services.keys.current().credentials,
        &layer.services.oidc,
        layer.services.env.now(),
    );
    // Nothing behind this line sees the access token, so nothing behind it can log it.
    request.headers_mut().remove(AUTHORIZATION);
    let permit = match presented {
        Presented::Caller(found) => {
            *caller = found;
            enter(layer, caller, peer)?
        }
        Presented::Token(token) => {
            // Until its signature is verified it is a stranger's.
            let permit = enter(layer, &Caller::Anonymous, peer)?;
            *caller = verified(layer, token, permit.clone(), deadline).await?;
            match caller.name() {
                Some(_) => enter(layer, caller, peer)?,
                None => permit,
            }
        }
    };
    request
        .extensions_mut()
        .insert(RequestContext(Arc::new(Context {
            caller: caller.clone(),
            deadline,
            body_limit_bytes: layer.body_limit_bytes,
            time_limit: layer.request_timeout,
        })));
    Ok((deadline, permit))
}

fn enter(layer: &RequestLayer, caller: &Caller, peer: &Peer) -> Result<Permit, Problem> {
    let permit = layer.limits.enter(caller)?;
    layer.limits.admit(caller, peer.address)?;
    Ok(permit)
}

/// By the threads of strangers: whoever signs does not wait for the signatures that strangers send to be verified.
async fn verified(
    layer: &RequestLayer,
    token: String,
    permit: Permit,
    deadline: Instant,
) -> Result<Caller, Problem> {
    let oidc = Arc::clone(&layer.services.oidc);
    let verified = async move { auth::verify(&oidc, &token).await };
    let done = work::run(&layer.services.strangers, permit, deadline, verified).await;
    done.map_err(|unfinished| match unfinished {
        Unfinished::Late => Problem::new(Code::DeadlineExceeded, "time limit"),
        Unfinished::Panicked => Problem::new(Code::Internal, "the work ended with a panic"),
    })
}

/// A route that the table of calls does not know is for nobody; a path without a route has nothing to give.
fn permit(
    matched: bool,
    known: Option<&Route>,
    method: &Method,
    caller: &Caller,
) -> Result<(), Problem> {
    match known {
        Some(route) => route.permit(method, caller),
        None if matched => Err(Problem::new(Code::Internal, "a route without a call")),
        None => Ok(()),
    }
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

/// The answer waits for the writing no longer than for work.
async fn record(layer: &Arc<RequestLayer>, permit: Permit, refusal: Refusal, id: &str) {
    let until = Instant::now() + layer.request_timeout;
    let (layer, to_write) = (Arc::clone(layer), id.to_owned());
    let written = async move { layer.refusals.of_caller(refusal, &to_write).await };
    let place = Handle::current();
    if work::run(&place, permit, until, written).await.is_err() {
        tracing::error!(id, "a refusal was not written to the audit trail in time");
    }
}

fn report(failures: &Repeats, problem: &Problem, id: &str, method: &Method, route: &str) {
    let code = problem.code.name();
    counter!(names::PROBLEMS, "code" => code).increment(1);
    if problem.code.is_refusal() {
        counter!(names::REFUSALS, "code" => code).increment(1);
    }
    let cause = problem.cause().unwrap_or(problem.detail());
    if problem.status().is_server_error() {
        // The metrics count them all; each of many would bury what else is said.
        match failures.happened(code) {
            Some(count) => {
                tracing::error!(id, %method, route, code, cause, count, "request failed");
            }
            None => tracing::debug!(id, %method, route, code, cause, "request failed"),
        }
    } else {
        tracing::debug!(id, %method, route, code, cause, "request refused");
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use axum::body::Body;

    use super::*;
    use crate::middleware::peer::NOWHERE;
    use crate::middleware::refusals::REASON_MAX;
    use crate::testing::{self, Fixture, SIGNER};

    const SIGN: &str = "/v1/rings/records/sign";
    const GOOD: &str = r#"{"format":"jws","payload":"AQID"}"#;

    #[tokio::test]
    async fn a_sane_request_id_is_kept_and_another_is_replaced() {
        let fixture = Fixture::new().await;
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
        let fixture = Fixture::new().await;
        let answered = fixture.get(SIGN).await;
        assert_eq!(answered.status, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(answered.code(), "method_not_allowed");
        assert_eq!(answered.header("allow"), "POST");
    }

    #[tokio::test]
    async fn more_than_the_callers_rate_is_429_with_a_time_to_wait() {
        let mut settings = testing::settings();
        settings.requests_per_second = NonZeroU32::new(1);
        let fixture = Fixture::with(settings).await;
        assert_eq!(fixture.sign(SIGN, GOOD).await.status, StatusCode::OK);
        let caller = fixture.caller(SIGNER);
        let mut answered = fixture.sign(SIGN, GOOD).await;
        while answered.status == StatusCode::OK {
            // A slow machine: more than a second went by.
            while fixture.state.layer.limits.admit(&caller, NOWHERE).is_ok() {}
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
        let fixture = Fixture::with(settings).await;
        let strangers = fixture
            .state
            .layer
            .limits
            .enter(&Caller::Anonymous)
            .unwrap();
        assert_eq!(fixture.get("/nothing").await.code(), "overloaded");
        // Strangers do not keep signers out.
        assert_eq!(fixture.sign(SIGN, GOOD).await.status, StatusCode::OK);
        drop(strangers);
        let signer = Caller::Known(access::Principal::signer("another", "atp"));
        let permit = fixture.state.layer.limits.enter(&signer).unwrap();
        let answered = fixture.sign(SIGN, GOOD).await;
        assert_eq!(answered.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answered.code(), "overloaded");
        assert_eq!(answered.header("retry-after"), "1");
        drop(permit);
        assert_eq!(fixture.sign(SIGN, GOOD).await.status, StatusCode::OK);
    }

    /// The threads of strangers have no time at all, and whoever signs does not notice.
    #[tokio::test]
    async fn case_a11_known_callers_do_not_wait_for_the_threads_of_strangers() {
        let busy = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let fixture = Fixture::new().await.with_strangers(busy.handle());
        let path = format!("/v1/keys/{}", fixture.kid());
        let mut asked = std::pin::pin!(fixture.get(&path));
        tokio::select! {
            biased;
            answered = &mut asked => panic!("a stranger was answered: {}", answered.status),
            signed = fixture.sign(SIGN, GOOD) => assert_eq!(signed.status, StatusCode::OK),
        }
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let driver = std::thread::spawn(move || busy.block_on(ended));
        assert_eq!(asked.await.status, StatusCode::OK);
        drop(end);
        let _ = driver.join().unwrap();
    }

    #[tokio::test]
    async fn work_that_does_not_end_is_answered_in_its_time() {
        let mut settings = testing::settings();
        settings.request_timeout = Duration::from_millis(300);
        let fixture = Fixture::with(settings).await;
        fixture.token.hold();
        let answered = fixture.sign(SIGN, GOOD).await;
        assert_eq!(answered.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answered.code(), "deadline_exceeded");
        assert!(!answered.header("retry-after").is_empty());
    }

    #[tokio::test]
    async fn wrong_bodies_are_told_apart() {
        let fixture = Fixture::new().await;
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
        let fixture = Fixture::new().await;
        let long = format!("/v1/rings/{}/sign", "a".repeat(2_000));
        assert_eq!(fixture.sign(&long, GOOD).await.code(), "forbidden");
        let written = fixture.leaves("refusal").await;
        assert_eq!(written.len(), 1);
        assert!(written[0]["reason"].as_str().unwrap().len() <= REASON_MAX);

        let caller = fixture.caller(SIGNER);
        let used_up = || {
            while fixture
                .state
                .layer
                .limits
                .admit_refusal(&caller, NOWHERE)
                .is_ok()
            {}
        };
        // On a slow machine the bucket may have a drop again before the request comes.
        let mut code = String::new();
        let mut written = written.len();
        for _ in 0..100 {
            used_up();
            code = fixture.sign(&long, GOOD).await.code();
            if code == "rate_limited" {
                break;
            }
            written += 1;
        }
        assert_eq!(code, "rate_limited");
        assert_eq!(fixture.leaves("refusal").await.len(), written);
        // Whoever is let in does not notice.
        assert_eq!(fixture.sign(SIGN, GOOD).await.status, StatusCode::OK);
    }

    #[tokio::test]
    async fn case_s5_a_flood_of_strangers_is_one_leaf() {
        let fixture = Fixture::new().await;
        let size = fixture.store.log_size().await.unwrap();
        for _ in 0..300 {
            assert_eq!(fixture.post(SIGN, GOOD).await.code(), "unauthenticated");
        }
        assert_eq!(fixture.store.log_size().await.unwrap(), size);
        assert_eq!(fixture.strangers_refused().await["count"], 300);
        fixture.state.layer.refusals.write_counted().await;
        assert_eq!(fixture.store.log_size().await.unwrap(), size + 1);
    }

    #[tokio::test]
    async fn refusals_of_strangers_wait_for_a_database_that_is_away() {
        let fixture = Fixture::new().await;
        assert_eq!(fixture.post(SIGN, GOOD).await.code(), "unauthenticated");
        let away = "ALTER TABLE log_leaf RENAME TO away";
        fixture.place.raw(away).await.unwrap();
        fixture.state.layer.refusals.write_counted().await;
        let back = "ALTER TABLE away RENAME TO log_leaf";
        fixture.place.raw(back).await.unwrap();
        assert_eq!(fixture.post(SIGN, GOOD).await.code(), "unauthenticated");
        assert_eq!(fixture.strangers_refused().await["count"], 2);
    }

    #[test]
    fn a_ring_from_a_path_fits_into_a_leaf() {
        let long = format!("/v1/rings/{}/sign", "a".repeat(500));
        let ring = ring_of("/v1/rings/{ring}/sign", &long).unwrap();
        assert_eq!(ring.len(), 64);
        assert_eq!(ring_of("/v1/verify", "/v1/verify"), None);
    }
}
