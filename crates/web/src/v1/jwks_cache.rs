//! JWK sets as they go out, made once for each snapshot.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use axum::body::{Body, Bytes};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, LINK};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::Response;
use metrics::counter;

use crate::middleware::cross_origin;
use crate::problem::{Code, Problem};
use base::names::JWKS_REQUESTS;
use keyring::keys::{Document, Snapshot};

/// Number of keys that did not fit the document's byte budget; `Link: rel="archives"` says where
/// they are.
const LEFT_OUT: HeaderName = HeaderName::from_static("x-chancery-keys-left-out");

pub fn nothing_published() -> Problem {
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

/// The routes that are answered from here, as they are counted.
const COMBINED: &str = "/.well-known/jwks.json";
const OF_RING: &str = "/v1/rings/{ring}/jwks.json";

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
    ) -> Option<(&'static str, Response)> {
        // The server leaves the body of an answer to HEAD away and keeps its length.
        if !matches!(*method, Method::GET | Method::HEAD) {
            return None;
        }
        if path == COMBINED {
            let prepared = self.of(snapshot());
            let response = match &prepared.combined {
                Some(answer) => answer.respond(headers),
                // Never an empty set; and never a limit on those who ask too early.
                None => {
                    let mut response = nothing_published().render("jwks");
                    cross_origin::allow(response.headers_mut());
                    response
                }
            };
            return Some((COMBINED, response));
        }
        let ring = path
            .strip_prefix("/v1/rings/")?
            .strip_suffix("/jwks.json")?;
        let prepared = self.of(snapshot());
        Some((OF_RING, prepared.rings.get(ring)?.respond(headers)))
    }
}

impl Prepared {
    fn new(snapshot: Arc<Snapshot>) -> Self {
        Self {
            combined: Answer::new(&snapshot.jwks),
            rings: snapshot
                .jwks_by_ring()
                .filter_map(|(name, jwks)| Some((Arc::clone(name), Answer::new(jwks)?)))
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
        if document.left_out > 0 {
            put(LEFT_OUT, document.left_out.to_string());
            put(LINK, "</v1/keys/history>; rel=\"archives\"".to_owned());
        }
        cross_origin::allow(&mut headers);
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
