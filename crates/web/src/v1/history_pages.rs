//! The pages of the signed history. Keys stand in the order of their acceptance in the log, so a full
//! page stays the same for ever and is signed once for what it says.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};
use tokio::sync::Mutex;
use trust::{Sha256Digest, Time};

use crate::problem::{Code, Problem};
use crate::services::Services;
use crate::v1::key_life;
use keyring::keys::{Key, Snapshot};

/// Bytes of signed pages that are kept. A page of a thousand P-256 keys is 700 kB.
const KEPT: usize = 32 << 20;

/// The pages that were signed.
pub struct HistoryPages {
    services: Services,
    /// `iss` of every page.
    issuer: String,
    kept: Mutex<Kept>,
}

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
pub struct Page {
    /// The snapshot that it was last held against.
    generation: u64,
    /// What it says but for when it was signed.
    digest: Sha256Digest,
    pub jwt: String,
    /// `from` of the next page.
    pub next: Option<i64>,
}

impl HistoryPages {
    pub fn new(services: Services, issuer: String) -> Self {
        Self {
            services,
            issuer,
            kept: Mutex::default(),
        }
    }

    /// Whoever comes first signs; the others wait for that one signature.
    pub async fn page(
        &self,
        ring: &str,
        from: i64,
        limit: usize,
        deadline: Instant,
    ) -> Result<Page, Problem> {
        let mut kept = self.kept.lock().await;
        kept.follow(self.services.keys.current());
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
        let mut claims = claims(keys, next, &self.issuer);
        let digest = Sha256Digest::of(claims.to_string().as_bytes());
        if let Some(page) = kept.pages.get_mut(&place)
            && page.digest == digest
        {
            page.generation = generation;
            return Ok(page.clone());
        }
        claims["iat"] = seconds(self.services.env.now()).into();
        let claims = claims.to_string().into_bytes();
        let signing = &self.services.signing;
        let page = Page {
            generation,
            digest,
            jwt: signing.sign_history(ring, &claims, deadline).await?,
            next,
        };
        kept.keep(place, page.clone());
        Ok(page)
    }
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
        if self.bytes + page.jwt.len() > KEPT {
            self.pages.clear();
            self.bytes = 0;
        }
        self.bytes += page.jwt.len();
        if let Some(old) = self.pages.insert(place, page) {
            self.bytes -= old.jwt.len();
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
    let life = key_life::life(key);
    let end = life.ended_at.unwrap_or(key.retire_at);
    entry["iat"] = seconds(key.published_at).into();
    entry["nbf"] = seconds(life.activated_at.unwrap_or(key.activate_at)).into();
    entry["exp"] = seconds(end).into();
    entry["ring"] = key.ring.as_ref().into();
    entry["key_number"] = key.number.into();
    entry["ceremony"] = key.ceremony.to_string().into();
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
