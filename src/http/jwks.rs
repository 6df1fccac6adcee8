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
use crate::keys::{Document, Snapshot};
use crate::telemetry::JWKS_REQUESTS;

/// Number of keys that did not fit the document's byte budget; `Link: rel="archives"` says where
/// they are.
const LEFT_OUT: HeaderName = HeaderName::from_static("x-chancery-keys-left-out");

/// For how long a verifier may use a stale document while it fetches a new one, or while it
/// cannot: seconds. Nothing that is revoked comes back by it, because a verifier that asks again
/// gets the present document at the first success.
const STALE: u64 = 86_400;

/// Keys of all rings
///
/// Standby, active, retired and archived keys as a JWK set (RFC 7517), newest first. RSA and EC
/// keys; Ed25519 keys only where the service is set to, because some libraries refuse a whole set
/// for one key of a kind that they do not know. Each ring has a set of its own.
#[utoipa::path(
    get,
    path = "/.well-known/jwks.json",
    tag = "publication",
    params(("If-None-Match" = Option<String>, Header, description = "ETag of the set that the caller holds")),
    responses(
        (status = 200, description = "The set", body = Object, content_type = "application/jwk-set+json"),
        (status = 304, description = "The caller's set is current"),
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
        ("If-None-Match" = Option<String>, Header, description = "ETag of the set that the caller holds"),
    ),
    responses(
        (status = 200, description = "The set", body = Object, content_type = "application/jwk-set+json"),
        (status = 304, description = "The caller's set is current"),
        (status = 404, description = "There is no such ring", body = problem::Document, content_type = "application/problem+json"),
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
    known.ok_or_else(|| Problem::new(Code::UnknownRing, "no ring of this name is published"))
}

/// The answers for one snapshot.
struct Prepared {
    snapshot: Arc<Snapshot>,
    combined: Answer,
    rings: HashMap<Arc<str>, Answer>,
}

struct Answer {
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
        let head = match *method {
            Method::GET => false,
            Method::HEAD => true,
            _ => return None,
        };
        if path == "/.well-known/jwks.json" {
            return Some(self.of(snapshot()).combined.respond(headers, head));
        }
        let ring = path
            .strip_prefix("/v1/rings/")?
            .strip_suffix("/jwks.json")?;
        let prepared = self.of(snapshot());
        Some(prepared.rings.get(ring)?.respond(headers, head))
    }
}

impl Prepared {
    fn new(snapshot: Arc<Snapshot>) -> Self {
        Self {
            combined: Answer::new(&snapshot.jwks),
            rings: snapshot
                .rings
                .iter()
                .map(|(name, ring)| (Arc::clone(name), Answer::new(&ring.jwks)))
                .collect(),
            snapshot,
        }
    }
}

impl Answer {
    fn new(document: &Document) -> Self {
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
                "public, max-age={}, stale-while-revalidate={STALE}, stale-if-error={STALE}",
                document.max_age.as_secs()
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
        Self {
            bytes: Bytes::copy_from_slice(&document.bytes),
            etag: document.etag.trim_matches('"').to_owned(),
            headers,
        }
    }

    fn respond(&self, asked: &HeaderMap, head: bool) -> Response {
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
            // The server leaves the body of an answer to HEAD away and keeps its length.
            let _ = head;
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
