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
use keyring::keys::{AcceptedPage, Key, Share};

/// Bytes of signed pages that are kept. A page of a thousand P-256 keys is 700 kB.
const KEPT: usize = 32 << 20;

/// Questions whose pages are known.
const ASKED: usize = 10_000;

/// The pages that were signed.
pub struct HistoryPages {
    services: Services,
    /// `iss` of every page.
    issuer: String,
    kept: Mutex<Kept>,
    /// Held by whoever makes a page.
    making: Mutex<()>,
}

#[derive(Default)]
struct Kept {
    /// By first key and limit.
    pages: HashMap<(i64, usize), Page>,
    /// Pages by what was asked.
    asked: HashMap<(i64, usize), i64>,
    bytes: usize,
}

#[derive(Clone)]
pub struct Page {
    /// The reading of keys that it was last held against.
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
            making: Mutex::default(),
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
        let asked = (from, limit);
        if let Some(page) = self.kept(asked).await.1 {
            return Ok(page);
        }
        // Those who ask for a page that is kept do not wait here.
        let _one = self.making.lock().await;
        let (generation, page) = self.kept(asked).await;
        if let Some(page) = page {
            return Ok(page);
        }
        let size = i64::try_from(limit).unwrap_or(i64::MAX);
        let keys = &self.services.keys;
        let found = keys.accepted_page(from, size, Share::Stranger).await?;
        let AcceptedPage { place, keys, next } = found.ok_or_else(|| {
            let why = "no key was accepted at or after this log index";
            Problem::new(Code::NotFound, why).about("from")
        })?;
        let place = (place, limit);
        let mut claims = claims(&keys, next, &self.issuer);
        let digest = Sha256Digest::of(claims.to_string().as_bytes());
        let mut kept = self.kept.lock().await;
        kept.ask(asked, place.0);
        if let Some(page) = kept.pages.get_mut(&place)
            && page.digest == digest
        {
            page.generation = generation;
            return Ok(page.clone());
        }
        drop(kept);
        claims["iat"] = seconds(self.services.env.now()).into();
        let claims = claims.to_string().into_bytes();
        let signing = &self.services.signing;
        let page = Page {
            generation,
            digest,
            jwt: signing.sign_history(ring, &claims, deadline).await?,
            next,
        };
        self.kept.lock().await.keep(place, page.clone());
        Ok(page)
    }

    /// The page if it is kept and of the present generation, which is looked at before any key is read: what is read may be
    /// newer, and is then held against the keys once more.
    async fn kept(&self, asked: (i64, usize)) -> (u64, Option<Page>) {
        let generation = self.services.keys.current().generation;
        let kept = self.kept.lock().await;
        let place = kept.asked.get(&asked).map(|place| (*place, asked.1));
        let page = place.and_then(|place| kept.pages.get(&place));
        let page = page.filter(|page| page.generation == generation);
        (generation, page.cloned())
    }
}

impl Kept {
    /// Where the page of a question begins; that stays so.
    fn ask(&mut self, asked: (i64, usize), place: i64) {
        if self.asked.len() >= ASKED {
            self.asked.clear();
        }
        self.asked.insert(asked, place);
    }

    fn keep(&mut self, place: (i64, usize), page: Page) {
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
