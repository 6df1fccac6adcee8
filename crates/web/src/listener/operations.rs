//! The operations listener: metrics, liveness, readiness. On loopback; nobody authenticates.

use axum::Router;
use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::get;

use crate::listener::{health, scrape};
use crate::problem::{self, Code, Problem};
use crate::v1::response::{NO_STORE, bytes_of};
use crate::v1::state::SharedState;

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

/// Prometheus' text format.
async fn metrics(State(state): State<SharedState>) -> Response {
    scrape::read(&state).await;
    bytes_of(
        state.services.metrics.render(),
        HeaderValue::from_static("text/plain; version=0.0.4"),
        NO_STORE,
    )
}

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
