//! A verifier of a stranger: an ordinary JOSE library and a cache of key sets that is kept exactly as long as the sets say.
//!
//! Where a set is still fresh and lacks the key of a signature, many libraries fetch it once more. This one does not: a key
//! has to be published before it signs, so that the strictest cache has it.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use base::Env;
use futures_util::future::join_all;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, crypto, decode_header};
use serde::Deserialize;
use tokio::time::{Instant, timeout};
use trust::Time;

use super::api::Signed;
use verify::client::{Client, Connect};
use verify::output::Failure;

/// Kids of which it is remembered when they were seen first.
const MOST_KIDS: usize = 1_000;

/// How long the fetch of a key set may take, and how long a failure of it is remembered.
const LONGEST_FETCH: Duration = Duration::from_secs(5);
const REMEMBERED: Duration = Duration::from_secs(5);

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
    /// What went wrong at the last attempt, and when that was.
    failed: Option<(Instant, String)>,
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
            failed: None,
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
            source.failed = None;
        }
    }

    /// The places, for people.
    pub fn names(&self) -> Vec<&str> {
        let names = self.sources.iter();
        names.map(|source| source.name.as_str()).collect()
    }

    /// Verifies a signature with what each cache has, and that it is what was asked for; by all of them, or why not.
    pub async fn verify(&mut self, signed: &Signed) -> Vec<Rejected> {
        let now = self.env.now();
        let all = self.sources.iter_mut().map(|source| async move {
            let why = source.verify(signed, now).await.err()?;
            let by = source.name.clone();
            Some(Rejected { by, why })
        });
        join_all(all).await.into_iter().flatten().collect()
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
        // A place that does not answer holds up the verifier no longer than it has to.
        let recent = |failed: &&(Instant, String)| failed.0.elapsed() < REMEMBERED;
        if let Some((_, why)) = self.failed.as_ref().filter(recent) {
            return Err(why.clone());
        }
        let fetched = timeout(LONGEST_FETCH, fetch(&self.client, &self.path)).await;
        let fetched = fetched.unwrap_or_else(|_| {
            let seconds = LONGEST_FETCH.as_secs();
            Err(format!("the key set did not come within {seconds} s"))
        });
        let (keys, max_age) = match fetched {
            Ok(fetched) => fetched,
            Err(why) => {
                self.failed = Some((Instant::now(), why.clone()));
                return Err(why);
            }
        };
        self.failed = None;
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

    async fn verify(&mut self, signed: &Signed, now: Time) -> Result<(), String> {
        self.refresh(now).await?;
        match &self.cached {
            Some(cached) => cached.verify(signed),
            None => Err("there is no key set".to_owned()),
        }
    }
}

async fn fetch(client: &Client, path: &str) -> Result<(HashMap<String, Known>, Duration), String> {
    let fetched = client.get_kept(path).await;
    let (bytes, max_age) =
        fetched.map_err(|failure| format!("the key set cannot be fetched: {:#}", failure.error))?;
    Ok((keys_of(&bytes)?, max_age))
}

impl Cached {
    fn verify(&self, signed: &Signed) -> Result<(), String> {
        let jws = signed.jws.as_str();
        let header = decode_header(jws).map_err(|error| format!("its header: {error}"))?;
        let kid = header.kid.ok_or("its header has no kid")?;
        if kid != signed.kid {
            let said = &signed.kid;
            return Err(format!("the answer says {said}, its header the key {kid}"));
        }
        let (input, signature) = jws.rsplit_once('.').ok_or("it has no three parts")?;
        if input.rsplit_once('.').map(|(_, payload)| payload) != Some(&*signed.payload) {
            return Err("something else was signed than what was sent".to_owned());
        }
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
    fn signed(header: &str, kid: &str) -> Signed {
        let part = |text: &str| trust::base64url::encode(text.as_bytes());
        Signed {
            jws: format!("{}.{}.{}", part(header), part("{}"), "A".repeat(86)),
            kid: kid.to_owned(),
            log_index: 0,
            salt: String::new(),
            payload: part("{}"),
        }
    }

    #[test]
    fn a_key_that_is_not_in_the_set_is_named() {
        let set = format!(r#"{{"keys":[{},{{"kty":"new"}}]}}"#, JWK);
        let cached = cached(&set);
        assert_eq!(cached.keys.len(), 1, "what is unknown is left out");
        let why = |header: &str, kid: &str| cached.verify(&signed(header, kid)).unwrap_err();
        let other = why(r#"{"alg":"ES256","kid":"other"}"#, "other");
        assert!(other.contains("does not have its key other"));
        assert!(why(r#"{"alg":"ES256"}"#, "KID").contains("no kid"));
        assert!(!why(r#"{"alg":"ES256","kid":"KID"}"#, "KID").contains("does not have"));
    }

    /// By the key of RFC 7515, appendix A.3, over what is given.
    #[test]
    fn threat_an_earlier_answer_is_given_again_or_names_another_key() {
        let header = r#"{"alg":"ES256","kid":"KID"}"#;
        let cached = cached(&format!(r#"{{"keys":[{JWK}]}}"#));
        let mut again = signed(header, "KID");
        let honest = cached.verify(&again).unwrap_err();
        assert!(honest.contains("signature is invalid"), "{honest}");
        again.payload = trust::base64url::encode(b"{\"number\":2}");
        let why = cached.verify(&again).unwrap_err();
        assert!(why.contains("something else was signed"), "{why}");
        let renamed = cached.verify(&signed(header, "new")).unwrap_err();
        assert!(renamed.contains("the answer says new"), "{renamed}");
    }

    #[test]
    fn threat_a_signature_by_another_algorithm_than_its_keys() {
        let set = format!(
            r#"{{"keys":[{}]}}"#,
            JWK.replace("\"KID\"", "\"KID\",\"alg\":\"ES256\"")
        );
        let why = cached(&set).verify(&signed(r#"{"alg":"ES384","kid":"KID"}"#, "KID"));
        assert!(why.unwrap_err().contains("another algorithm"));
    }

    #[tokio::test]
    async fn a_place_that_fails_is_asked_again_only_after_a_while() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/jwks.json", listener.local_addr().unwrap());
        let env = Env::new(|| Time::from_millis(0), |_| Ok(()));
        let stranger = Stranger::new(&env).with_url(&url, &Connect::default());
        let mut stranger = stranger.unwrap();
        // Whoever connects is answered by nothing.
        let asked = std::thread::spawn(move || listener.accept().map(drop).is_ok());
        let one = signed(r#"{"alg":"ES256","kid":"KID"}"#, "KID");
        let first = stranger.verify(&one).await;
        assert!(first[0].why.contains("cannot be fetched"), "{first:?}");
        assert!(asked.join().unwrap());
        for _ in 0..100 {
            assert_eq!(stranger.verify(&one).await, first);
        }
    }

    #[test]
    fn what_is_no_set_is_refused() {
        assert!(keys_of(b"<html>").is_err() && keys_of(b"{}").is_err());
    }
}
