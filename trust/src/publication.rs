//! What verifiers get: the JWK set, as many keys as fit, never a revoked one.

#[cfg(test)]
mod tests;

use serde::Serialize;

use crate::alg::{Algorithm, KeySpec};
use crate::json::JsonError;
use crate::jwk::{Jwk, Kid, PublicKey};
use crate::name::Name;
use crate::state::KeyState;
use crate::time::Time;

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
    /// The keys that are not, and why; revoked and unaccepted keys are not even candidates.
    pub left_out: Vec<(Kid, LeftOut)>,
    /// The keys that can sign or are about to are larger than the budget. They are all in the
    /// document, because a signature that nobody can verify is worse than a large document.
    pub over_budget: bool,
}

/// Why a publishable key is not in the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeftOut {
    /// The budget was used up by newer keys. It is in the archive.
    Budget,
    /// OKP keys are not wanted in this set; some libraries refuse a whole set for one of them.
    Okp,
}

#[derive(Serialize)]
struct JwkSet<'a> {
    keys: Vec<&'a Jwk>,
}

/// Chooses the keys of a JWK set: every standby and active key, then retired and archived keys,
/// newest first, as long as `budget` bytes hold them. The order is stable: by how soon and how
/// recently a key signs, then ring, then number.
pub fn plan_jwks(keys: &[PublishedKey], budget: usize, okp: bool) -> Result<Published, JsonError> {
    let mut left_out = Vec::new();
    let mut candidates = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    for key in keys.iter().filter(|key| key.state.is_publishable()) {
        let kid = key.public_key.kid();
        if !okp && key.public_key.spec() == KeySpec::Ed25519 {
            left_out.push((kid, LeftOut::Okp));
        // One JWK per kid: jose and go-jose refuse a set with two.
        } else if seen.insert(kid.clone()) {
            let jwk = key.public_key.to_jwk(key.algorithm, &kid);
            candidates.push((
                rank(key),
                key.ring.clone(),
                std::cmp::Reverse(key.number),
                kid,
                jwk,
            ));
        }
    }
    candidates.sort_by(|a, b| (&a.0, &a.1, &a.2, &a.3).cmp(&(&b.0, &b.1, &b.2, &b.3)));

    let mut size = br#"{"keys":[]}"#.len();
    let mut included: Vec<&(Rank, Name, std::cmp::Reverse<u32>, Kid, Jwk)> = Vec::new();
    let mut full = false;
    for candidate in &candidates {
        let comma = usize::from(!included.is_empty());
        let cost = written(&candidate.4)?.len() + comma;
        let needed = candidate.0.needed();
        // Once one key does not fit, no older one is taken instead: the set is a newest part.
        full |= !needed && size + cost > budget;
        if full && !needed {
            left_out.push((candidate.3.clone(), LeftOut::Budget));
            continue;
        }
        size += cost;
        included.push(candidate);
    }
    let document = written(&JwkSet {
        keys: included.iter().map(|each| &each.4).collect(),
    })?;
    Ok(Published {
        over_budget: document.len() > budget,
        included: included.into_iter().map(|each| each.3.clone()).collect(),
        document,
        left_out,
    })
}

/// Needed keys first, in one group; then the rest by the end of their signing, newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Needed,
    Ended(std::cmp::Reverse<Time>),
}

impl Rank {
    fn needed(self) -> bool {
        self == Self::Needed
    }
}

fn rank(key: &PublishedKey) -> Rank {
    match key.state.ended_at() {
        None => Rank::Needed,
        Some(end) => Rank::Ended(std::cmp::Reverse(end)),
    }
}

/// Compact, members in the order of [`Jwk`]: readers do not care, people do.
fn written(value: &impl Serialize) -> Result<Vec<u8>, JsonError> {
    serde_json::to_vec(value).map_err(|error| JsonError::Write(error.to_string()))
}
