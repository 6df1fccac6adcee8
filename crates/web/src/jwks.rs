//! `GET /.well-known/jwks.json` and `GET /v1/rings/{ring}/jwks.json`.
//!
//! Answered before the router and its layer, from answers made once per snapshot: a verifier's
//! fetch costs less than deciding whether to refuse it, and it works with the token and the
//! database down. Hence no rate limit, no place among the requests in flight and no request id.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, CACHE_CONTROL, CONTENT_TYPE, ETAG,
    IF_NONE_MATCH, LINK,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::Response;
use metrics::counter;

use super::codes::Code;
use super::problem::{self, Problem};
use super::{Edge, Shared};
use base::names::JWKS_REQUESTS;
use keyring::keys::{Document, Snapshot};

/// Number of keys that did not fit the document's byte budget; `Link: rel="archives"` says where
/// they are.
const LEFT_OUT: HeaderName = HeaderName::from_static("x-chancery-keys-left-out");

/// Keys of all rings
///
/// Standby, active, retired and archived keys as a JWK set (RFC 7517), newest first. RSA and EC
/// keys; Ed25519 keys only where the service is configured so, because some libraries reject a
/// whole set that contains a key type they do not support. Each ring also has its own set.
#[utoipa::path(
    get,
    path = "/.well-known/jwks.json",
    tag = "publication",
    params(("If-None-Match" = Option<String>, Header, description = "ETag of the cached set")),
    responses(
        (status = 200, description = "The set", body = Object, content_type = "application/jwk-set+json"),
        (status = 304, description = "The cached set is current"),
        (status = 404, description = "No key is published yet: an empty set is never served", body = problem::Document, content_type = "application/problem+json"),
    ),
)]
pub async fn combined(State(edge): State<Shared>, request: Request) -> Result<Response, Problem> {
    again(&edge, &request)
}

/// Keys of one ring
#[utoipa::path(
    get,
    path = "/v1/rings/{ring}/jwks.json",
    tag = "publication",
    params(
        ("ring" = String, Path, description = "Name of the ring"),
        ("If-None-Match" = Option<String>, Header, description = "ETag of the cached set"),
    ),
    responses(
        (status = 200, description = "The set", body = Object, content_type = "application/jwk-set+json"),
        (status = 304, description = "The cached set is current"),
        (status = 404, description = "Unknown ring", body = problem::Document, content_type = "application/problem+json"),
    ),
)]
pub async fn of_ring(State(edge): State<Shared>, request: Request) -> Result<Response, Problem> {
    again(&edge, &request)
}

/// What the front did not answer: a ring that does not exist, or one spelled with escapes.
fn again(edge: &Edge, request: &Request) -> Result<Response, Problem> {
    let known = edge.jwks.answer(
        || edge.app.keys.current(),
        request.method(),
        request.uri().path(),
        request.headers(),
    );
    known.ok_or_else(nothing_published)
}

fn nothing_published() -> Problem {
    Problem::new(Code::UnknownRing, "no key is published for this ring")
}

/// The answers for one snapshot.
struct Prepared {
    snapshot: Arc<Snapshot>,
    combined: Option<Answer>,
    rings: HashMap<Arc<str>, Answer>,
}

/// A set as it goes out.
pub struct Answer {
    bytes: Bytes,
    headers: HeaderMap,
    /// Opaque part of the entity tag, without quotes.
    etag: String,
}

/// Keeps the answers until the snapshot changes.
#[derive(Default)]
pub struct Cache(ArcSwapOption<Prepared>);

impl Cache {
    fn of(&self, snapshot: Arc<Snapshot>) -> Arc<Prepared> {
        if let Some(kept) = self.0.load_full()
            && Arc::ptr_eq(&kept.snapshot, &snapshot)
        {
            return kept;
        }
        let made = Arc::new(Prepared::new(snapshot));
        self.0.store(Some(Arc::clone(&made)));
        made
    }

    /// The answer, if this is a request for a JWKS that exists; everything else is the router's.
    pub fn answer(
        &self,
        snapshot: impl FnOnce() -> Arc<Snapshot>,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
    ) -> Option<Response> {
        // The server leaves the body of an answer to HEAD away and keeps its length.
        if !matches!(*method, Method::GET | Method::HEAD) {
            return None;
        }
        if path == "/.well-known/jwks.json" {
            let prepared = self.of(snapshot());
            return Some(match &prepared.combined {
                Some(answer) => answer.respond(headers),
                // Never an empty set; and never a limit on those who ask too early.
                None => nothing_published().render("jwks"),
            });
        }
        let ring = path
            .strip_prefix("/v1/rings/")?
            .strip_suffix("/jwks.json")?;
        let prepared = self.of(snapshot());
        Some(prepared.rings.get(ring)?.respond(headers))
    }
}

impl Prepared {
    fn new(snapshot: Arc<Snapshot>) -> Self {
        Self {
            combined: Answer::new(&snapshot.jwks),
            rings: snapshot
                .rings
                .iter()
                .filter_map(|(name, ring)| Some((Arc::clone(name), Answer::new(&ring.jwks)?)))
                .collect(),
            snapshot,
        }
    }
}

impl Answer {
    /// None for an empty set.
    pub fn new(document: &Document) -> Option<Self> {
        if document.is_empty {
            return None;
        }
        let mut headers = HeaderMap::with_capacity(8);
        let mut put = |name: HeaderName, value: String| {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(name, value);
            }
        };
        put(CONTENT_TYPE, "application/jwk-set+json".to_owned());
        put(
            CACHE_CONTROL,
            format!(
                "public, max-age={}, stale-while-revalidate={stale}, stale-if-error={stale}",
                document.max_age.as_secs(),
                stale = document.stale.as_secs(),
            ),
        );
        put(ETAG, document.etag.clone());
        put(ACCESS_CONTROL_ALLOW_ORIGIN, "*".to_owned());
        if document.left_out > 0 {
            put(LEFT_OUT, document.left_out.to_string());
            put(LINK, "</v1/keys/history>; rel=\"archives\"".to_owned());
            put(
                ACCESS_CONTROL_EXPOSE_HEADERS,
                format!("etag, link, {LEFT_OUT}"),
            );
        }
        Some(Self {
            bytes: Bytes::copy_from_slice(&document.bytes),
            etag: document.etag.trim_matches('"').to_owned(),
            headers,
        })
    }

    pub fn respond(&self, asked: &HeaderMap) -> Response {
        let unchanged = asked.get_all(IF_NONE_MATCH).iter().any(|value| {
            value
                .to_str()
                .is_ok_and(|list| matches_tag(list, &self.etag))
        });
        let mut response = if unchanged {
            counter!(JWKS_REQUESTS, "answer" => "not_modified").increment(1);
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response
        } else {
            counter!(JWKS_REQUESTS, "answer" => "full").increment(1);
            Response::new(Body::from(self.bytes.clone()))
        };
        *response.headers_mut() = self.headers.clone();
        response
    }
}

/// If-None-Match by weak comparison (RFC 9110 section 13.1.2).
fn matches_tag(list: &str, etag: &str) -> bool {
    list.split(',').map(str::trim).any(|each| {
        each == "*"
            || each
                .trim_start_matches("W/")
                .strip_prefix('"')
                .and_then(|rest| rest.strip_suffix('"'))
                == Some(etag)
    })
}

#[cfg(test)]
mod tests {
    use axum::extract::Request;

    use super::*;
    use crate::testing::{self, Answered, Fixture};

    const PATH: &str = "/.well-known/jwks.json";

    async fn get_with_tag(fixture: &Fixture, tag: &str) -> Answered {
        let request = Request::get(PATH).header("if-none-match", tag);
        fixture.send(request.body(Body::empty()).unwrap()).await
    }

    #[tokio::test]
    async fn a_set_says_how_long_it_may_be_kept_and_anyone_may_read_it() {
        let fixture = Fixture::new();
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
        let fixture = Fixture::new();
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
        let fixture = Fixture::new();
        let before = fixture.get(PATH).await.header("etag").to_owned();
        let revoked = testing::snapshot_with_revoked_key();
        fixture.world.snapshot.store(Arc::new(revoked));
        let answered = get_with_tag(&fixture, &before).await;
        assert_eq!(answered.status, StatusCode::OK, "the old tag is void");
        assert_eq!(answered.json()["keys"], serde_json::json!([]));
    }

    #[tokio::test]
    async fn each_ring_has_a_set_of_its_own() {
        let fixture = Fixture::new();
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
        let mut snapshot = testing::snapshot();
        snapshot.jwks.left_out = 12;
        let fixture = Fixture::over(testing::settings(), snapshot, Default::default());
        let answered = fixture.get(PATH).await;
        assert_eq!(answered.header("x-chancery-keys-left-out"), "12");
        assert_eq!(
            answered.header("link"),
            "</v1/keys/history>; rel=\"archives\""
        );
    }

    #[tokio::test]
    async fn verifiers_are_served_while_everything_else_is_down_or_full() {
        let mut settings = testing::settings();
        settings.max_in_flight = 1;
        let fixture = Fixture::over(settings, testing::snapshot(), Default::default());
        *fixture.world.token_ready.lock().unwrap() = false;
        *fixture.world.database_up.lock().unwrap() = false;
        let _full = fixture
            .edge
            .limits
            .enter(&crate::auth::Caller::Anonymous)
            .unwrap();
        assert_eq!(fixture.get(PATH).await.status, StatusCode::OK);
        assert_eq!(fixture.get("/v1/rings").await.code(), "overloaded");
    }
}
