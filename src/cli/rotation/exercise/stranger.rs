//! A verifier of a stranger: an ordinary JOSE library and a cache of key sets that is kept exactly as long as the sets say.
//!
//! Where a set is still fresh and lacks the key of a signature, many libraries fetch it once more. This one does not: a key
//! has to be published before it signs, so that the strictest cache has it.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use base::Env;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, crypto, decode_header};
use serde::Deserialize;
use trust::Time;

use verify::client::{Client, Connect};
use verify::output::Failure;

/// Kids of which it is remembered when they were seen first.
const MOST_KIDS: usize = 1_000;

/// All caches of one verifier for each place that shows key sets.
pub struct Stranger {
    sources: Vec<Source>,
    env: Env,
}

/// A place that shows a key set.
struct Source {
    name: String,
    client: Client,
    path: String,
    cached: Option<Cached>,
    first_seen: BTreeMap<String, Time>,
}

struct Cached {
    keys: HashMap<String, Known>,
    fetched_at: Time,
    max_age: Duration,
}

struct Known {
    key: DecodingKey,
    algorithm: Option<Algorithm>,
}

/// A signature that a verifier did not accept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// By the set of which place.
    pub by: String,
    pub why: String,
}

impl Stranger {
    pub fn new(env: &Env) -> Self {
        Self {
            sources: Vec::new(),
            env: env.clone(),
        }
    }

    /// With one more place.
    pub fn with(mut self, name: &str, client: Client, path: &str) -> Self {
        self.sources.push(Source {
            name: name.to_owned(),
            client,
            path: path.to_owned(),
            cached: None,
            first_seen: BTreeMap::new(),
        });
        self
    }

    /// With one more place, by its URL.
    pub fn with_url(self, url: &str, connect: &Connect) -> Result<Self, Failure> {
        let connect = match url.starts_with("https:") {
            true => connect.clone(),
            false => Connect::default(),
        };
        let client = Client::new(url, &connect, None)?;
        Ok(self.with(url, client, ""))
    }

    /// Forgets what is cached, as a verifier that starts.
    pub fn starts_anew(&mut self) {
        for source in &mut self.sources {
            source.cached = None;
        }
    }

    /// The places, for people.
    pub fn names(&self) -> Vec<&str> {
        let names = self.sources.iter();
        names.map(|source| source.name.as_str()).collect()
    }

    /// Verifies a signature with what each cache has; by all of them, or why not.
    pub async fn verify(&mut self, jws: &str) -> Vec<Rejected> {
        let now = self.env.now();
        let mut rejected = Vec::new();
        for source in &mut self.sources {
            if let Err(why) = source.verify(jws, now).await {
                let by = source.name.clone();
                rejected.push(Rejected { by, why });
            }
        }
        rejected
    }

    /// When the last of the places showed a key for the first time, as this verifier saw it; none while one has not.
    pub fn shown_everywhere_at(&self, kid: &str) -> Option<Time> {
        let shown = self.sources.iter();
        let shown = shown.map(|source| source.first_seen.get(kid).copied());
        shown
            .collect::<Option<Vec<Time>>>()
            .and_then(|all| all.into_iter().max())
    }
}

impl Source {
    async fn refresh(&mut self, now: Time) -> Result<(), String> {
        let fresh = |cached: &Cached| now.since(cached.fetched_at) < cached.max_age;
        if self.cached.as_ref().is_some_and(fresh) {
            return Ok(());
        }
        let fetched = self.client.get_kept(&self.path).await;
        let (bytes, max_age) = fetched
            .map_err(|failure| format!("the key set cannot be fetched: {:#}", failure.error))?;
        let keys = keys_of(&bytes)?;
        for kid in keys.keys() {
            if self.first_seen.len() < MOST_KIDS && !self.first_seen.contains_key(kid) {
                self.first_seen.insert(kid.clone(), now);
            }
        }
        self.cached = Some(Cached {
            keys,
            fetched_at: now,
            max_age,
        });
        Ok(())
    }

    async fn verify(&mut self, jws: &str, now: Time) -> Result<(), String> {
        self.refresh(now).await?;
        match &self.cached {
            Some(cached) => cached.verify(jws),
            None => Err("there is no key set".to_owned()),
        }
    }
}

impl Cached {
    fn verify(&self, jws: &str) -> Result<(), String> {
        let header = decode_header(jws).map_err(|error| format!("its header: {error}"))?;
        let kid = header.kid.ok_or("its header has no kid")?;
        let (input, signature) = jws.rsplit_once('.').ok_or("it has no three parts")?;
        let known = self.keys.get(&kid);
        let known = known.ok_or_else(|| format!("the key set does not have its key {kid}"))?;
        if known.algorithm.is_some_and(|named| named != header.alg) {
            return Err(format!(
                "it is made by {:?}, its key is for another algorithm",
                header.alg
            ));
        }
        match crypto::verify(signature, input.as_bytes(), &known.key, header.alg) {
            Ok(true) => Ok(()),
            Ok(false) => Err("the signature is invalid".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// The keys of a set by kid; what the library cannot use is left out, as RFC 7517 (section 5) wants it.
fn keys_of(bytes: &[u8]) -> Result<HashMap<String, Known>, String> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<serde_json::Value>,
    }
    let set: Set =
        serde_json::from_slice(bytes).map_err(|error| format!("it is no key set: {error}"))?;
    let keys = set.keys.into_iter().filter_map(|key| {
        let jwk: Jwk = serde_json::from_value(key).ok()?;
        let key = DecodingKey::from_jwk(&jwk).ok()?;
        let named = jwk.common.key_algorithm;
        let algorithm = named.and_then(|named| named.to_string().parse().ok());
        Some((jwk.common.key_id?, Known { key, algorithm }))
    });
    Ok(keys.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7515, appendix A.3.
    const JWK: &str = r#"{"kty":"EC","crv":"P-256","kid":"KID","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;

    fn cached(keys: &str) -> Cached {
        Cached {
            keys: keys_of(keys.as_bytes()).unwrap(),
            fetched_at: Time::from_millis(0),
            max_age: Duration::from_secs(1),
        }
    }

    /// With a header that names its key.
    fn jws(header: &str) -> String {
        let part = |text: &str| trust::base64url::encode(text.as_bytes());
        format!("{}.{}.{}", part(header), part("{}"), "A".repeat(86))
    }

    #[test]
    fn a_key_that_is_not_in_the_set_is_named() {
        let set = format!(r#"{{"keys":[{},{{"kty":"new"}}]}}"#, JWK);
        let cached = cached(&set);
        assert_eq!(cached.keys.len(), 1, "what is unknown is left out");
        let why = |header: &str| cached.verify(&jws(header)).unwrap_err();
        assert!(why(r#"{"alg":"ES256","kid":"other"}"#).contains("does not have its key other"));
        assert!(why(r#"{"alg":"ES256"}"#).contains("no kid"));
        assert!(!why(r#"{"alg":"ES256","kid":"KID"}"#).contains("does not have"));
    }

    #[test]
    fn threat_a_signature_by_another_algorithm_than_its_keys() {
        let set = format!(
            r#"{{"keys":[{}]}}"#,
            JWK.replace("\"KID\"", "\"KID\",\"alg\":\"ES256\"")
        );
        let why = cached(&set).verify(&jws(r#"{"alg":"ES384","kid":"KID"}"#));
        assert!(why.unwrap_err().contains("another algorithm"));
    }

    #[test]
    fn what_is_no_set_is_refused() {
        assert!(keys_of(b"<html>").is_err() && keys_of(b"{}").is_err());
    }
}
