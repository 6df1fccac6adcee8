//! The operations listener: metrics, liveness, readiness. On loopback; nobody authenticates.

use std::sync::PoisonError;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::get;
use metrics::gauge;

use crate::listener::health;
use crate::problem::{self, Code, Problem};
use crate::v1::response::{NO_STORE, bytes_of};
use crate::v1::state::{ServerState, SharedState};
use base::names;
use keyring::keys::Ring;

pub fn router(state: &SharedState) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .route("/health/ready/{part}", get(health::ready_for))
        .route("/health/ready/signing/{ring}", get(health::ready_to_sign))
        .route("/log/kept", get(kept))
        .fallback(|| async { Problem::new(Code::NotFound, "not found") })
        .method_not_allowed_fallback(|| async {
            Problem::new(Code::MethodNotAllowed, "only GET is allowed")
        })
        .layer(from_fn(write_problems))
        .with_state(state.clone())
}

async fn write_problems(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    match problem::take(&mut response) {
        Some(problem) => problem::finish(&problem, "operations", &response),
        None => response,
    }
}

/// What this replica answered with and no published checkpoint covers, for `chancery log recover`.
async fn kept(State(state): State<SharedState>) -> Response {
    bytes_of(
        log::kept::write(&state.services.store, &state.services.instance),
        HeaderValue::from_static("text/plain; charset=utf-8"),
        NO_STORE,
    )
}

/// Prometheus' text format. Gauges are read at the scrape, so they are never older than it.
async fn metrics(State(state): State<SharedState>) -> Response {
    read_gauges(&state);
    read_database(&state).await;
    read_process();
    bytes_of(
        state.services.metrics.render(),
        HeaderValue::from_static("text/plain; version=0.0.4"),
        NO_STORE,
    )
}

#[expect(
    clippy::cast_precision_loss,
    reason = "gauges are f64; nothing here comes near 2^53"
)]
fn read_gauges(state: &ServerState) {
    let token = state.services.token.status();
    gauge!(names::HSM_UP).set(if token.ready { 1.0 } else { 0.0 });
    for (ring, outcome) in state.services.signing.outcomes().rings {
        let ready = if outcome.is_good() { 1.0 } else { 0.0 };
        gauge!(names::RING_READY, "ring" => ring.to_string()).set(ready);
    }
    gauge!(names::HSM_QUEUE).set(token.queued as f64);
    gauge!(names::HSM_PROCESSES).set(token.processes as f64);
    gauge!(names::HSM_GENERATION).set(token.generation as f64);
    for (what, count) in token.counters {
        metrics::counter!(names::HSM_EVENTS, "what" => what).absolute(count);
    }
    let (kept, complete) = state.services.store.kept_count();
    gauge!(names::KEPT_LEAVES).set(kept as f64);
    gauge!(names::KEPT_COMPLETE).set(if complete { 1.0 } else { 0.0 });
    gauge!(names::IN_FLIGHT).set(state.layer.limits.in_flight() as f64);

    for issuer in state.services.oidc.issuers() {
        let standing = issuer.standing();
        let usable = if standing.usable { 1.0 } else { 0.0 };
        gauge!(names::OIDC_USABLE, "issuer" => standing.name.clone()).set(usable);
        if let Some(age) = standing.age {
            gauge!(names::OIDC_KEYS_AGE, "issuer" => standing.name).set(age.as_secs_f64());
        }
    }

    let snapshot = state.services.keys.current();
    gauge!(names::SNAPSHOT_VERSION).set(snapshot.version as f64);
    gauge!(names::SNAPSHOT_AGE_SECONDS).set(state.services.keys.confirmed_ago().as_secs_f64());
    gauge!(names::KEYS_REFUSED).set(state.services.keys.refused().len() as f64);
    for table in ["signing_key", "ring", "credential"] {
        let rows = snapshot.unreadable.iter().filter(|row| row.table == table);
        gauge!(names::ROWS_UNREADABLE, "table" => table).set(rows.count() as f64);
    }
    let now = state.services.env.now();
    gauge!(names::EMERGENCY_FAULTS).set(snapshot.emergency.faults().len() as f64);
    for name in snapshot.rings.keys() {
        let stopped = snapshot.stopped(name, now).is_some();
        gauge!(names::RING_STOPPED, "ring" => name.to_string()).set(f64::from(u8::from(stopped)));
        let until = snapshot.emergency.known().until(name);
        let left = until.map_or(0.0, |until| until.since(now).as_secs_f64());
        gauge!(names::RATIFICATION_LEFT, "ring" => name.to_string()).set(left);
    }
    let mut counted = state.counted.lock().unwrap_or_else(PoisonError::into_inner);
    // There may be a million keys: they are counted when something has changed.
    if *counted != Some(snapshot.version) {
        *counted = Some(snapshot.version);
        for (name, ring) in &snapshot.rings {
            read_keys(name, ring);
        }
    }
    drop(counted);
    // Archived and revoked keys do not age, and there may be a million of them.
    let ageing = snapshot
        .rings
        .values()
        .flat_map(|ring| ring.keys.iter().rev().take(AGES_PER_RING))
        .filter(|key| key.state.is_publishable());
    for key in ageing {
        let age = now.since(key.published_at).as_secs_f64();
        gauge!(
            names::KEY_AGE_SECONDS,
            "ring" => key.ring.to_string(),
            "kid" => key.kid.as_str().to_owned()
        )
        .set(age);
    }
}

/// What only the database knows; a scrape does not wait for it for long.
#[expect(
    clippy::cast_precision_loss,
    reason = "gauges are f64; nothing here comes near 2^53"
)]
async fn read_database(state: &ServerState) {
    let published = state.services.transparency_log.published();
    let bit = |yes: bool| if yes { 1.0 } else { 0.0 };
    gauge!(names::LOG_INTEGRATES).set(bit(published.integrates));
    gauge!(names::LOG_HALTED).set(bit(published.refused.is_some()));
    let mut covered = 0;
    if let Some(checkpoint) = published.checkpoint {
        covered = checkpoint.size;
        let age = state.services.env.now().since(checkpoint.time);
        gauge!(names::LOG_CHECKPOINT_AGE).set(age.as_secs_f64());
    }
    if let Some(write) = state.services.signing.outcomes().write {
        gauge!(names::DATABASE_WRITABLE).set(bit(write.is_good()));
    }
    for pool in state.services.store.connections() {
        let states = [("used", pool.used), ("idle", pool.idle)];
        for (state, count) in states {
            gauge!(names::DATABASE_CONNECTIONS, "pool" => pool.pool, "state" => state)
                .set(f64::from(count));
        }
        gauge!(names::DATABASE_CONNECTIONS_LIMIT, "pool" => pool.pool).set(f64::from(pool.limit));
    }
    let waiting = state.services.store.waiting_for_executor();
    if let Ok(Ok(waiting)) = tokio::time::timeout(health::PROBE, waiting).await {
        gauge!(names::EXECUTOR_WAITING).set(waiting.count as f64);
        let now = state.services.env.now();
        let age = waiting.since.map(|since| now.since(since));
        gauge!(names::EXECUTOR_OLDEST_SECONDS).set(age.unwrap_or_default().as_secs_f64());
    }
    let size = tokio::time::timeout(health::PROBE, state.services.store.log_size()).await;
    gauge!(names::DATABASE_UP).set(bit(matches!(size, Ok(Ok(_)))));
    if let Ok(Ok(size)) = size {
        gauge!(names::LOG_WAITING).set(size.saturating_sub(covered) as f64);
    }
}

fn read_process() {
    let found = base::process::look();
    gauge!(names::PROCESS_START).set(found.started_at);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "whole seconds since the start of a process"
    )]
    metrics::counter!(names::PROCESS_CPU).absolute(found.cpu_seconds as u64);
    gauge!(names::PROCESS_MEMORY).set(found.resident_bytes);
    gauge!(names::PROCESS_FILES).set(found.open_files);
    gauge!(names::PROCESS_MOST_FILES).set(found.most_files);
    let version = env!("CARGO_PKG_VERSION");
    let commit = option_env!("CHANCERY_COMMIT").unwrap_or("unknown");
    gauge!(names::BUILD_INFO, "version" => version, "commit" => commit).set(1.0);
}

/// How many keys of a ring are in each state; every state is shown, so that none is missing when it is 0.
#[expect(
    clippy::cast_precision_loss,
    reason = "gauges are f64; nothing here comes near 2^53"
)]
fn read_keys(name: &str, ring: &Ring) {
    for state in STATES {
        let count = match state {
            // All that sign are in memory.
            "primary" | "secondary" => {
                let keys = ring.keys.iter().filter(|key| key.status() == state);
                keys.count() as f64
            }
            state => ring.counts.get(state).copied().unwrap_or(0) as f64,
        };
        gauge!(names::KEYS, "ring" => name.to_owned(), "state" => state).set(count);
    }
}

const STATES: [&str; 6] = [
    "prepared",
    "primary",
    "secondary",
    "retired",
    "archived",
    "revoked",
];

/// Newest keys of a ring whose ages are shown.
const AGES_PER_RING: usize = 4;

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::StatusCode;
    use serde_json::Value;
    use tower::ServiceExt as _;

    use super::*;
    use crate::testing::Fixture;

    async fn get(fixture: &Fixture, path: &str) -> (StatusCode, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = router(&fixture.state).oneshot(request).await.unwrap();
        let status = response.status();
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await;
        (status, String::from_utf8(body.unwrap().to_vec()).unwrap())
    }

    #[tokio::test]
    async fn each_part_is_ready_by_itself() {
        let fixture = Fixture::new().await;
        let parts = ["", "/publication", "/verification", "/signing"];
        for (token, database, expected) in [
            (true, true, [200, 200, 200, 200]),
            (false, true, [200, 200, 200, 503]),
            (true, false, [200, 200, 503, 503]),
        ] {
            match token {
                true => fixture.token.heal(),
                false => fixture.token.fail_signing(token::Error::Stopped),
            }
            if !database {
                fixture.store.close().await;
            }
            for (part, expected) in parts.iter().zip(expected) {
                let (status, body) = get(&fixture, &format!("/health/ready{part}")).await;
                assert_eq!(status, expected, "{part} token {token} database {database}");
                let body: Value = serde_json::from_str(&body).unwrap();
                assert_eq!(body["parts"]["token"]["ok"], token);
                assert_eq!(body["parts"]["database"]["ok"], database);
                assert_eq!(body["ready"], expected == 200);
            }
        }
        assert_eq!(get(&fixture, "/health/live").await.0, StatusCode::OK);
        let (status, body) = get(&fixture, "/health/ready/tea").await;
        assert_eq!(status, StatusCode::NOT_FOUND);
        assert!(body.contains("\"code\":\"not_found\""), "{body}");
    }

    #[tokio::test]
    async fn case_a1_a_ring_that_cannot_sign_is_named_and_not_ready() {
        let fixture = Fixture::new().await;
        let signing = &fixture.state.services.signing;
        signing.probe_once("test").await;
        assert_eq!(
            get(&fixture, "/health/ready/signing").await.0,
            StatusCode::OK
        );
        let path = "/health/ready/signing/records";
        assert_eq!(get(&fixture, path).await.0, StatusCode::OK);
        // The worker is well and the object is not there any more.
        let written = fixture.leaves("sign").await.len();
        fixture.lose_private_halves();
        let body = r#"{"format":"jws","payload":"AQID"}"#;
        let answered = fixture.sign("/v1/rings/records/sign", body).await;
        assert_eq!(answered.status, StatusCode::SERVICE_UNAVAILABLE);
        for path in [path, "/health/ready/signing"] {
            let (status, body) = get(&fixture, path).await;
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body}");
            let body: Value = serde_json::from_str(&body).unwrap();
            let ring = &body["parts"]["rings"][0];
            assert_eq!(
                (&ring["ring"], &ring["ok"]),
                (&"records".into(), &false.into())
            );
            assert!(ring["why"].is_string(), "{body}");
        }
        assert_eq!(get(&fixture, "/health/ready").await.0, StatusCode::OK);
        let text = get(&fixture, "/health/ready/signing/nothing").await.1;
        assert!(text.contains("not_found"), "{text}");
        assert_eq!(fixture.leaves("sign").await.len(), written);
    }

    #[tokio::test]
    async fn case_a2_a_database_that_takes_no_writes_is_not_ready() {
        let fixture = Fixture::new().await;
        let signing = &fixture.state.services.signing;
        signing.probe_once("test").await;
        let full = "CREATE TRIGGER full BEFORE INSERT ON log_leaf \
            BEGIN SELECT RAISE(ABORT, 'nothing is written'); END";
        fixture.place.raw(full).await.unwrap();
        let body = r#"{"format":"jws","payload":"AQID"}"#;
        fixture.sign("/v1/rings/records/sign", body).await;
        let (status, body) = get(&fixture, "/health/ready/signing").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body}");
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["parts"]["database"]["writes"], false);
        assert!(body["parts"]["database"]["why"].is_string(), "{body}");
        assert_eq!(
            get(&fixture, "/health/ready/publication").await.0,
            StatusCode::OK
        );
    }

    #[tokio::test]
    async fn a_scrape_is_text_and_a_wrong_method_is_a_problem() {
        let fixture = Fixture::new().await;
        assert_eq!(get(&fixture, "/metrics").await.0, StatusCode::OK);
        let request = Request::post("/metrics").body(Body::empty()).unwrap();
        let response = router(&fixture.state).oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(response.headers()["allow"], "GET,HEAD");
    }
}
