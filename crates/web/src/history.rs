//! `GET /v1/keys/history`: every key there ever was, as signed JWTs in the form of OpenID Federation
//! 1.0 section 8.7 (historical keys), page by page.
//!
//! Keys stand in the order in which the log tells of their acceptance, which only ever grows, and
//! pages are cut at every so many keys. So a full page stays the same page for ever, each is signed
//! once for what it says, and strangers cannot make the token work by asking for other cuts.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::State;
use axum::http::header::LINK;
use axum::http::{HeaderValue, Uri};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use trust::{Sha256Digest, Time};

use super::codes::Code;
use super::edge::Present;
use super::problem::{self, Problem};
use super::respond::{bytes_of, query};
use super::state;
use super::{Edge, Shared};
use keyring::keys::{Key, Snapshot};

/// Keys of a page; other numbers would be other cuts.
const LIMITS: [usize; 3] = [10, 100, 1_000];
const LIMIT: usize = 1_000;

/// Bytes of signed pages that are kept. A page of a thousand P-256 keys is 700 kB.
const KEPT: usize = 32 << 20;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    from: Option<i64>,
    limit: Option<usize>,
}

/// The pages that were signed.
#[derive(Default)]
pub struct Cache(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    snapshot: Option<Arc<Snapshot>>,
    /// Its keys by acceptance.
    keys: Vec<Arc<Key>>,
    /// Rises with every snapshot.
    generation: u64,
    /// By first key and limit.
    pages: HashMap<(usize, usize), Page>,
    bytes: usize,
}

#[derive(Clone)]
struct Page {
    /// The snapshot that it was last held against.
    generation: u64,
    /// What it says but for when it was signed.
    digest: Sha256Digest,
    token: String,
    next: Option<i64>,
}

/// Signed history
///
/// Every key ever accepted, including those of the ring `log`, in order of acceptance: its JWK with
/// `iat` (published), `nbf`, `exp` (end of signing, actual or approved), `ring`, `key_number`,
/// `ceremony` (that generated it) and `log_index` (of its acceptance); for a revoked key also
/// `revoked` with `revoked_at` and `reason`, `revocation_log_index`, and `compromised_since` if
/// known. Each page is a JWT of type `jwk-set+jwt` with `iss`, `iat` (when this page was signed; it
/// is signed again only when its content changes) and, unless it is the last, `next`: the `from` of
/// the next page, also in `Link`. Following `next` from the first page to the page without one
/// yields every key.
#[utoipa::path(
    get,
    path = "/v1/keys/history",
    tag = "publication",
    params(
        ("from" = Option<i64>, Query, description = "Log index: the page starts with the first key accepted at or after it; default 0"),
        ("limit" = Option<i64>, Query, description = "Page size: 10, 100 or 1000; default 1000"),
    ),
    responses(
        (status = 200, description = "Compact JWT", body = String, content_type = "application/jwk-set+jwt"),
        (status = 400, description = "An invalid parameter", body = problem::Document, content_type = "application/problem+json"),
        (status = 404, description = "No key was accepted at or after this index, or no ring is configured to sign the history", body = problem::Document, content_type = "application/problem+json"),
        (status = 503, description = "The history cannot be signed at present", body = problem::Document, content_type = "application/problem+json"),
    ),
)]
pub async fn handle(
    State(edge): State<Shared>,
    present: Present,
    uri: Uri,
) -> Result<Response, Problem> {
    let asked: Asked = query(&uri)?;
    let limit = asked.limit.unwrap_or(LIMIT);
    let from = asked.from.unwrap_or(0);
    let bad = |name: &str, what: &str| Err(Problem::new(Code::BadQuery, what).about(name));
    if !LIMITS.contains(&limit) {
        return bad("limit", "expected 10, 100 or 1000");
    }
    if from < 0 {
        return bad("from", "expected a log index");
    }
    let Some(ring) = edge.settings.history_ring.clone() else {
        return Err(Problem::new(
            Code::NotFound,
            "no ring is configured to sign the history",
        ));
    };
    let page = page(&edge, ring, from, limit, present.deadline).await?;
    let mut response = bytes_of(
        page.token,
        HeaderValue::from_static("application/jwk-set+jwt"),
        HeaderValue::from_static("public, max-age=60"),
    );
    if let Some(next) = page.next {
        let link = format!("</v1/keys/history?from={next}&limit={limit}>; rel=\"next\"");
        if let Ok(link) = HeaderValue::from_str(&link) {
            response.headers_mut().insert(LINK, link);
        }
    }
    Ok(response)
}

/// Whoever comes first signs; the others wait for that one signature.
async fn page(
    edge: &Edge,
    ring: String,
    from: i64,
    limit: usize,
    deadline: Instant,
) -> Result<Page, Problem> {
    let mut kept = edge.history.0.lock().await;
    kept.follow(edge.app.keys.current());
    let start = start(&kept.keys, from, limit).ok_or_else(|| {
        let why = "no key was accepted at or after this log index";
        Problem::new(Code::NotFound, why).about("from")
    })?;
    let generation = kept.generation;
    let place = (start, limit);
    if let Some(page) = kept.pages.get(&place)
        && page.generation == generation
    {
        return Ok(page.clone());
    }
    let (keys, next) = cut(&kept.keys, start, limit);
    let mut claims = claims(keys, next, &edge.settings.issuer);
    let digest = Sha256Digest::of(claims.to_string().as_bytes());
    if let Some(page) = kept.pages.get_mut(&place)
        && page.digest == digest
    {
        page.generation = generation;
        return Ok(page.clone());
    }
    claims["iat"] = seconds((edge.app.clock)()).into();
    let claims = claims.to_string().into_bytes();
    let token = edge.app.signing.sign_history(ring, claims, deadline);
    let page = Page {
        generation,
        digest,
        token: token.await?,
        next,
    };
    kept.keep(place, page.clone());
    Ok(page)
}

impl Kept {
    fn follow(&mut self, snapshot: Arc<Snapshot>) {
        let known = self.snapshot.as_ref();
        if known.is_some_and(|known| Arc::ptr_eq(known, &snapshot)) {
            return;
        }
        self.keys = snapshot.keys.values().cloned().collect();
        // A key that the log does not tell of is an anomaly, but a key: last.
        self.keys.sort_by(|a, b| order(a).cmp(&order(b)));
        self.generation += 1;
        self.snapshot = Some(snapshot);
    }

    fn keep(&mut self, place: (usize, usize), page: Page) {
        if self.bytes + page.token.len() > KEPT {
            self.pages.clear();
            self.bytes = 0;
        }
        self.bytes += page.token.len();
        if let Some(old) = self.pages.insert(place, page) {
            self.bytes -= old.token.len();
        }
    }
}

fn order(key: &Key) -> impl Ord {
    let logged = key.log_index.unwrap_or(i64::MAX);
    (logged, &key.ring, key.number)
}

/// Where the page begins that holds the first key at `from` or later. The first page is there even
/// without keys.
fn start(keys: &[Arc<Key>], from: i64, limit: usize) -> Option<usize> {
    let first = keys.partition_point(|key| key.log_index.is_some_and(|index| index < from));
    let start = first - first % limit;
    (first < keys.len() || from == 0).then_some(start)
}

/// The keys of a page, and `from` of the next one. What the log does not tell of has no place to
/// begin at, and so is all in one page.
fn cut(keys: &[Arc<Key>], start: usize, limit: usize) -> (&[Arc<Key>], Option<i64>) {
    let rest = keys.get(start..).unwrap_or_default();
    match rest.get(limit).and_then(|key| key.log_index) {
        Some(next) => (&rest[..limit], Some(next)),
        None => (rest, None),
    }
}

fn claims(keys: &[Arc<Key>], next: Option<i64>, issuer: &str) -> Value {
    let keys: Vec<Value> = keys.iter().map(|key| entry(key)).collect();
    let mut claims = json!({"iss": issuer, "keys": keys});
    if let Some(next) = next {
        claims["next"] = next.into();
    }
    claims
}

/// One key. `exp` is required by the form: the end of its life, or the one that was approved.
fn entry(key: &Key) -> Value {
    let mut entry = serde_json::to_value(key.public.to_jwk(key.algorithm, key.usage, &key.kid))
        .unwrap_or_else(|_| json!({}));
    let life = state::life(key);
    let end = life.ended_at.unwrap_or(key.retire_at);
    entry["iat"] = seconds(key.published_at).into();
    entry["nbf"] = seconds(life.activated_at.unwrap_or(key.activate_at)).into();
    entry["exp"] = seconds(end).into();
    entry["ring"] = key.ring.as_ref().into();
    entry["key_number"] = key.number.into();
    entry["ceremony"] = key.ceremony.as_str().into();
    if let Some(index) = key.log_index {
        entry["log_index"] = index.into();
    }
    if let Some(revocation) = &life.revocation {
        entry["revoked"] = json!({
            "revoked_at": seconds(revocation.revoked_at),
            "reason": revocation.reason,
        });
        if let Some(since) = revocation.compromised_since {
            entry["compromised_since"] = seconds(since).into();
        }
        if let Some(index) = revocation.log_index {
            entry["revocation_log_index"] = index.into();
        }
    }
    entry
}

/// NumericDate, RFC 7519 section 2, whole seconds.
fn seconds(time: Time) -> i64 {
    time.millis().div_euclid(1_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::front::Peer;
    use crate::testing::{self, Fixture, NOW};

    fn signed(fixture: &Fixture) -> Vec<Value> {
        let all = fixture.world.histories.lock().unwrap();
        let read = |claims: &Vec<u8>| serde_json::from_slice(claims).unwrap();
        all.iter().map(read).collect()
    }

    #[tokio::test]
    async fn the_history_holds_every_key_with_its_end_and_its_revocation() {
        let snapshot = testing::snapshot_with_revoked_key();
        let fixture = Fixture::over(testing::settings(), snapshot, Peer::default());
        fixture.get("/v1/keys/history").await;
        let claims = &signed(&fixture)[0];
        assert_eq!(claims["iss"], "https://chancery.example");
        assert_eq!(claims["iat"], NOW / 1_000);
        assert!(claims.get("next").is_none());
        let [revoked, standby] = claims["keys"].as_array().unwrap().as_slice() else {
            panic!("two keys: {claims}")
        };
        let revoked_at = (NOW - 10_000) / 1_000;
        assert_eq!(
            revoked["revoked"],
            json!({"revoked_at": revoked_at, "reason": "compromised"})
        );
        assert_eq!(revoked["compromised_since"], (NOW - 50_000) / 1_000);
        assert_eq!(revoked["exp"], revoked_at);
        let ours = ["ring", "key_number", "ceremony", "log_index"].map(|name| &revoked[name]);
        let ceremony = "ab".repeat(32);
        let expected = [json!("records"), json!(1), json!(ceremony), json!(4)];
        assert_eq!(ours, expected.each_ref());
        assert_eq!(standby["exp"], (NOW + 7_776_000_000) / 1_000);
        for member in ["revoked", "compromised_since", "revocation_log_index"] {
            assert!(standby.get(member).is_none(), "{standby}");
        }
        for key in [revoked, standby] {
            assert!(key["kid"].is_string() && key["iat"].is_i64() && key["nbf"].is_i64());
        }
    }

    #[tokio::test]
    async fn it_is_signed_once_for_what_it_says() {
        let fixture = Fixture::new();
        for from in ["", "?from=3", "?from=4&limit=1000"] {
            let answered = fixture.get(&format!("/v1/keys/history{from}")).await;
            assert_eq!(answered.header("content-type"), "application/jwk-set+jwt");
            assert_eq!(answered.body, b"head.claims.signature");
        }
        assert_eq!(signed(&fixture).len(), 1);
        // Another snapshot that says the same of the keys; then one that does not.
        fixture.world.snapshot.store(Arc::new(testing::snapshot()));
        fixture.get("/v1/keys/history").await;
        assert_eq!(signed(&fixture).len(), 1);
        let next = testing::snapshot_with_revoked_key();
        fixture.world.snapshot.store(Arc::new(next));
        fixture.get("/v1/keys/history").await;
        assert_eq!(signed(&fixture).len(), 2);
    }

    #[tokio::test]
    async fn pages_follow_each_other_to_the_last_key() {
        const KEYS: i64 = 25;
        let snapshot = testing::snapshot_of_many(KEYS);
        let fixture = Fixture::over(testing::settings(), snapshot, Peer::default());
        let mut path = "/v1/keys/history?limit=10".to_owned();
        let mut seen = Vec::new();
        for page in 1.. {
            let answered = fixture.get(&path).await;
            let claims = signed(&fixture).pop().unwrap();
            for key in claims["keys"].as_array().unwrap() {
                seen.push(key["log_index"].as_i64().unwrap());
            }
            let Some(next) = claims["next"].as_i64() else {
                assert_eq!(answered.header("link"), "");
                assert_eq!(page, 3);
                break;
            };
            path = format!("/v1/keys/history?from={next}&limit=10");
            assert_eq!(answered.header("link"), format!("<{path}>; rel=\"next\""));
        }
        let expected: Vec<i64> = (0..KEYS).map(|number| 10 * number).collect();
        assert_eq!(seen, expected);
        // From the middle of a page comes that page; it was signed already.
        for from in 0..=240 {
            let path = format!("/v1/keys/history?from={from}&limit=10");
            fixture.get(&path).await;
        }
        assert_eq!(signed(&fixture).len(), 3);
        let beyond = fixture.get("/v1/keys/history?from=241").await;
        assert_eq!(beyond.code(), "not_found");
    }

    #[tokio::test]
    async fn a_wrong_parameter_is_refused() {
        let fixture = Fixture::new();
        for query in [
            "limit=0",
            "limit=7",
            "limit=1001",
            "from=-1",
            "from=x",
            "page=2",
        ] {
            let answered = fixture.get(&format!("/v1/keys/history?{query}")).await;
            assert_eq!(answered.code(), "bad_query", "{query}");
        }
        assert_eq!(signed(&fixture).len(), 0);
    }
}
