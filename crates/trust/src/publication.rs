//! What verifiers get: the JWK set, as many keys as fit, never a revoked one.

#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::BTreeSet;

use serde::Serialize;

use crate::alg::{Algorithm, KeySpec};
use crate::json::JsonError;
use crate::jwk::{Jwk, Kid, PublicKey};
use crate::name::Name;
use crate::request::Usage;
use crate::state::KeyState;

/// The default budget in bytes. nimbus refuses a document of more than 51 200 bytes as a whole.
pub const DEFAULT_BUDGET: usize = 48 * 1024;

/// One key with what publication needs to know.
#[derive(Clone, Debug)]
pub struct PublishedKey {
    /// Its ring.
    pub ring: Name,
    /// Its number in the ring.
    pub number: u32,
    /// The ring's algorithm.
    pub algorithm: Algorithm,
    /// What its ring's keys are used for.
    pub usage: Usage,
    /// Its public half.
    pub public_key: PublicKey,
    /// Its state.
    pub state: KeyState,
}

/// A JWK set and what is in it.
#[derive(Clone, Debug)]
pub struct Published {
    /// The document (RFC 7517 section 5).
    pub document: Vec<u8>,
    /// The keys in it, in the document's order.
    pub included: Vec<Kid>,
    /// The keys that are not.
    pub left_out: LeftOut,
    /// The keys that can sign or are about to are larger than the budget. They are all in the
    /// document, because a signature that nobody can verify is worse than a large document.
    pub over_budget: bool,
}

/// How many publishable keys are not in the document, and why. Revoked and unaccepted keys are not
/// publishable and not counted. All of them are in the archive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// The budget was used up by newer keys.
    pub budget: usize,
    /// OKP keys are not wanted in this set; some libraries refuse a whole set for one of them.
    pub okp: usize,
}

impl LeftOut {
    /// How many in all.
    #[expect(clippy::len_without_is_empty, reason = "a count, not a collection")]
    pub fn len(&self) -> usize {
        self.budget + self.okp
    }
}

#[derive(Serialize)]
struct JwkSet {
    keys: Vec<Jwk>,
}

/// Chooses the keys of a JWK set: every standby and active key, then retired and archived keys,
/// newest first, as long as `budget` bytes hold them. The order is stable: by how soon and how
/// recently a key signs, then ring, then number. Costs a sort of the facts; JWKs are made only of
/// keys that fit.
pub fn plan_jwks(keys: &[PublishedKey], budget: usize, okp: bool) -> Result<Published, JsonError> {
    let mut left_out = LeftOut::default();
    let mut candidates: Vec<&PublishedKey> = Vec::new();
    for key in keys.iter().filter(|key| key.state.is_publishable()) {
        if !okp && key.public_key.spec() == KeySpec::Ed25519 {
            left_out.okp += 1;
        } else {
            candidates.push(key);
        }
    }
    candidates.sort_by(|a, b| order(a).cmp(&order(b)));

    let mut size = br#"{"keys":[]}"#.len();
    let mut set = JwkSet { keys: Vec::new() };
    let mut included = BTreeSet::new();
    let mut candidates = candidates.into_iter();
    for key in candidates.by_ref() {
        // One JWK per kid: jose and go-jose refuse a set with two.
        let kid = key.public_key.kid();
        if included.contains(&kid) {
            continue;
        }
        let jwk = key.public_key.to_jwk(key.algorithm, key.usage, &kid);
        let comma = usize::from(!set.keys.is_empty());
        let cost = written(&jwk)?.len() + comma;
        // Once one key does not fit, no older one is taken instead: the set is a newest part. The
        // keys that are needed stand first, so none of them comes after it.
        if key.state.ended_at().is_some() && size + cost > budget {
            left_out.budget += 1;
            break;
        }
        size += cost;
        included.insert(kid);
        set.keys.push(jwk);
    }
    left_out.budget += candidates.count();
    let document = written(&set)?;
    Ok(Published {
        over_budget: document.len() > budget,
        included: set.keys.iter().map(|jwk| jwk.kid().clone()).collect(),
        document,
        left_out,
    })
}

/// Keys that sign or are about to, then the rest by the end of their signing, newest first.
fn order(key: &PublishedKey) -> impl Ord {
    let ended_at = key.state.ended_at().map(Reverse);
    (ended_at, &key.ring, Reverse(key.number), &key.public_key)
}

/// Compact, members in the order of [`Jwk`]: readers do not care, people do.
fn written(value: &impl Serialize) -> Result<Vec<u8>, JsonError> {
    serde_json::to_vec(value).map_err(|error| JsonError::Write(error.to_string()))
}
