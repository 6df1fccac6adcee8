//! The keys of an issuer, as far as its tokens may be signed with them.

use std::collections::HashMap;
use std::sync::Arc;

use jsonwebtoken::DecodingKey;
use serde_json::{Map, Value, json};
use trust::json::{JsonError, parse_strict};
use trust::jwk::foreign::{self, ForeignKey, SetError};
use trust::{Algorithm, Kid};

/// Keys of a set that are looked at.
const MOST_KEYS: usize = 100;

/// A set that is refused as a whole.
#[derive(Debug, thiserror::Error)]
pub enum KeySetError {
    #[error("the key set cannot be read")]
    Json(#[from] JsonError),
    #[error("the key set has no array \"keys\"")]
    NoKeys,
    #[error("the key set has more than {MOST_KEYS} keys")]
    TooMany,
}

/// A key that a signature can be checked with.
pub struct Key {
    /// Tells it from any other, whatever it is called.
    pub thumbprint: Kid,
    /// Those of the issuer that it may sign with.
    algorithms: Vec<Algorithm>,
    decoding: DecodingKey,
}

/// Those of one issuer.
#[derive(Default)]
pub struct KeySet {
    keys: HashMap<String, Arc<Key>>,
    /// What cannot be used, and why.
    left_out: HashMap<String, String>,
    /// The same of keys that have no kid.
    nameless: Vec<String>,
}

impl KeySet {
    /// Reads a set (RFC 7517). Of what the issuer's algorithms do not fit, of symmetric and private keys, and of those
    /// that share their kid it keeps the reason only.
    pub fn parse(bytes: &[u8], allowed: &[Algorithm]) -> Result<Self, KeySetError> {
        let document: Map<String, Value> = parse_strict(bytes)?;
        let keys = document.get("keys").and_then(Value::as_array);
        let keys = keys.ok_or(KeySetError::NoKeys)?;
        if keys.len() > MOST_KEYS {
            return Err(KeySetError::TooMany);
        }
        let mut set = Self::default();
        for key in keys {
            let kid = key.get("kid").and_then(Value::as_str);
            match (kid, Key::read(key, allowed)) {
                (None, Ok(_)) => set.nameless.push("it has no kid".to_owned()),
                (None, Err(why)) => set.nameless.push(why),
                (Some(kid), Ok(key)) => set.add(kid, key),
                (Some(kid), Err(why)) => {
                    // A key of another use may have the same name.
                    set.left_out.entry(kid.to_owned()).or_insert(why);
                }
            }
        }
        set.left_out.retain(|kid, _| !set.keys.contains_key(kid));
        Ok(set)
    }

    /// Which of two a token means would be for its sender to say.
    fn add(&mut self, kid: &str, key: Key) {
        let twice = "several keys have this kid";
        let refused = self.left_out.get(kid).is_some_and(|why| why == twice);
        if refused || self.keys.remove(kid).is_some() {
            self.left_out.insert(kid.to_owned(), twice.to_owned());
        } else {
            self.keys.insert(kid.to_owned(), Arc::new(key));
        }
    }

    pub fn get(&self, kid: &str) -> Option<&Arc<Key>> {
        self.keys.get(kid)
    }

    /// Whether there is such a key that cannot be used: asking for the set again does not help.
    pub fn is_left_out(&self, kid: &str) -> bool {
        self.left_out.contains_key(kid)
    }

    pub fn count(&self) -> usize {
        self.keys.len()
    }

    /// For people: what is in the set and cannot be used. The text is the issuer's in part.
    pub fn unusable(&self) -> Vec<String> {
        let named = self.left_out.iter();
        let named = named.map(|(kid, why)| format!("{kid:?}: {why}"));
        let mut all: Vec<_> = named.chain(self.nameless.iter().cloned()).collect();
        all.sort();
        all
    }
}

impl Key {
    fn read(key: &Value, allowed: &[Algorithm]) -> Result<Self, String> {
        if key.get("kty").and_then(Value::as_str) == Some("oct") {
            return Err("it is symmetric".to_owned());
        }
        // One at a time: a bad one spoils no other.
        let alone = json!({ "keys": [key] }).to_string();
        let read = foreign::parse_set(alone.as_bytes()).map_err(|error| match error {
            SetError::Unusable(left_out) => left_out.into_iter().map(|key| key.why).collect(),
            other => other.to_string(),
        });
        let read = read.map_err(|why| why.replace("keys[0].", "").replace("keys[0]: ", ""))?;
        let found = read.keys.first().ok_or("it cannot be read")?;
        let fits = |algorithm: &Algorithm| {
            let named = found.algorithm.is_none_or(|named| named == *algorithm);
            named && algorithm.allows(found.public.spec())
        };
        let algorithms: Vec<_> = allowed.iter().copied().filter(fits).collect();
        if algorithms.is_empty() {
            return Err("none of the issuer's configured algorithms fits it".to_owned());
        }
        Ok(Self {
            thumbprint: found.public.kid(),
            algorithms,
            decoding: decoding(key, found).ok_or("it cannot be read")?,
        })
    }

    pub fn fits(&self, algorithm: Algorithm) -> bool {
        self.algorithms.contains(&algorithm)
    }

    /// Whether it made `signature`, in base64url, over `input`.
    pub fn verifies(&self, algorithm: Algorithm, input: &str, signature: &str) -> bool {
        let name = match algorithm {
            Algorithm::Es256 => jsonwebtoken::Algorithm::ES256,
            Algorithm::Es384 => jsonwebtoken::Algorithm::ES384,
            Algorithm::Ps256 => jsonwebtoken::Algorithm::PS256,
            Algorithm::Rs256 => jsonwebtoken::Algorithm::RS256,
            Algorithm::Ed25519 => jsonwebtoken::Algorithm::EdDSA,
        };
        let verified =
            jsonwebtoken::crypto::verify(signature, input.as_bytes(), &self.decoding, name);
        self.fits(algorithm) && verified.unwrap_or(false)
    }
}

/// Of members that were checked when the public key was read.
fn decoding(key: &Value, found: &ForeignKey) -> Option<DecodingKey> {
    let text = |member: &str| key.get(member).and_then(Value::as_str);
    let fits = |algorithm: Algorithm| algorithm.allows(found.public.spec());
    if fits(Algorithm::Rs256) {
        DecodingKey::from_rsa_components(text("n")?, text("e")?).ok()
    } else if fits(Algorithm::Ed25519) {
        DecodingKey::from_ed_components(text("x")?).ok()
    } else {
        DecodingKey::from_ec_components(text("x")?, text("y")?).ok()
    }
}
