//! `GET /.well-known/jwks.json`: the keys of all rings.
//!
//! Answered before the router and its layer, from answers made once per snapshot: a verifier's
//! fetch costs less than deciding whether to refuse it, and it works with the token and the
//! database down. Hence no rate limit, no place among the requests in flight and no request id.

use axum::extract::{Request, State};
use axum::response::Response;

use crate::problem::{self, Problem};
use crate::v1::jwks_cache::nothing_published;
use crate::v1::state::{ServerState, SharedState};

/// Keys of all rings
///
/// Standby, active, retired and archived keys as a JWK set (RFC 7517), newest first. RSA and EC
/// keys; Ed25519 keys only where the service is configured so, because some libraries reject a
/// whole set that contains a key type they do not support. Each ring also has its own set.
#[utoipa::path(
    get,
    path = "/.well-known/jwks.json",
    operation_id = "jwks",
    tag = "publication",
    params(("If-None-Match" = Option<String>, Header, description = "ETag of the cached set")),
    responses(
        (status = 200, description = "The set", body = Object, content_type = "application/jwk-set+json"),
        (status = 304, description = "The cached set is current"),
        (status = 404, description = "No key is published yet: an empty set is never served", body = problem::Document, content_type = "application/problem+json"),
    ),
)]
pub async fn handle(
    State(state): State<SharedState>,
    request: Request,
) -> Result<Response, Problem> {
    again(&state, &request)
}

/// What the connection did not answer: a ring that does not exist, or one spelled with escapes.
pub fn again(state: &ServerState, request: &Request) -> Result<Response, Problem> {
    let known = state.jwks.answer(
        || state.services.keys.current(),
        request.method(),
        request.uri().path(),
        request.headers(),
    );
    known
        .map(|(_, response)| response)
        .ok_or_else(nothing_published)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::extract::Request;
    use axum::http::StatusCode;

    use crate::middleware::auth::Caller;
    use crate::middleware::peer::Peer;
    use crate::testing::{self, Answered, Fixture, LONG};
    use keyring::keys::PublicationSettings;
    use keyring::rotation::RingChange;

    const PATH: &str = "/.well-known/jwks.json";

    async fn get_with_tag(fixture: &Fixture, tag: &str) -> Answered {
        let request = Request::get(PATH).header("if-none-match", tag);
        fixture.send(request.body(Body::empty()).unwrap()).await
    }

    #[tokio::test]
    async fn a_set_says_how_long_it_may_be_kept_and_anyone_may_read_it() {
        let fixture = Fixture::new().await;
        let answered = fixture.get(PATH).await;
        assert_eq!(answered.status, StatusCode::OK);
        assert_eq!(answered.header("content-type"), "application/jwk-set+json");
        assert_eq!(
            answered.header("cache-control"),
            "public, max-age=300, stale-while-revalidate=600, stale-if-error=600"
        );
        assert_eq!(answered.header("access-control-allow-origin"), "*");
        assert_eq!(answered.json()["keys"][0]["kid"], fixture.kid());
        assert_eq!(answered.header("x-chancery-keys-left-out"), "");
    }

    #[tokio::test]
    async fn an_unchanged_set_is_not_sent_again() {
        let fixture = Fixture::new().await;
        let etag = fixture.get(PATH).await.header("etag").to_owned();
        for tag in [
            etag.clone(),
            format!("W/{etag}"),
            format!("\"x\", {etag}"),
            "*".to_owned(),
        ] {
            let answered = get_with_tag(&fixture, &tag).await;
            assert_eq!(answered.status, StatusCode::NOT_MODIFIED, "{tag}");
            assert!(answered.body.is_empty());
            assert_eq!(answered.header("etag"), etag);
            assert!(answered.header("cache-control").starts_with("public"));
        }
        let answered = get_with_tag(&fixture, "\"other\"").await;
        assert_eq!(answered.status, StatusCode::OK);
    }

    #[tokio::test]
    async fn the_next_snapshot_is_served_at_once() {
        let fixture = Fixture::new().await;
        let before = fixture.get(PATH).await.header("etag").to_owned();
        fixture.standby("records").await;
        let answered = get_with_tag(&fixture, &before).await;
        assert_eq!(answered.status, StatusCode::OK, "the old tag is void");
        assert_eq!(answered.json()["keys"].as_array().unwrap().len(), 2);
    }

    #[tokio::test]
    async fn each_ring_has_a_set_of_its_own() {
        let fixture = Fixture::new().await;
        let answered = fixture.get("/v1/rings/digests/jwks.json").await;
        assert_eq!(answered.json()["keys"][0]["crv"], "Ed25519");
        let answered = fixture.get("/v1/rings/nothing/jwks.json").await;
        assert_eq!(answered.status, StatusCode::NOT_FOUND);
        assert_eq!(answered.code(), "unknown_ring");
        let request = Request::post(PATH).body(Body::empty()).unwrap();
        let answered = fixture.send(request).await;
        assert_eq!(answered.code(), "method_not_allowed");
        assert_eq!(answered.header("allow"), "GET,HEAD");
    }

    #[tokio::test]
    async fn keys_that_did_not_fit_are_counted_and_linked() {
        let publication = PublicationSettings {
            budget_bytes: 300,
            ..PublicationSettings::default()
        };
        let fixture = Fixture::over(testing::settings(), publication, Peer::default()).await;
        fixture.standby("records").await;
        fixture.wait(LONG);
        fixture.change("records", &RingChange::Rotate).await;
        fixture.wait(LONG);
        let first = fixture.kid().parse().unwrap();
        fixture.change("records", &RingChange::Retire(first)).await;
        let answered = fixture.get(PATH).await;
        assert_eq!(answered.header("x-chancery-keys-left-out"), "1");
        assert_eq!(
            answered.header("link"),
            "</v1/keys/history>; rel=\"archives\""
        );
    }

    #[tokio::test]
    async fn verifiers_are_served_while_everything_else_is_down_or_full() {
        let mut settings = testing::settings();
        settings.max_in_flight = 1;
        let fixture = Fixture::with(settings).await;
        fixture.token.fail_signing(token::Error::Stopped);
        fixture.store.close().await;
        let _full = fixture
            .state
            .layer
            .limits
            .enter(&Caller::Anonymous)
            .unwrap();
        assert_eq!(fixture.get(PATH).await.status, StatusCode::OK);
        assert_eq!(fixture.get("/v1/rings").await.code(), "overloaded");
    }
}
