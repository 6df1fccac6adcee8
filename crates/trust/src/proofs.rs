//! Inclusion proofs of one file, checked together: by the log's own keys, and so that a log has one
//! root of each size.

use std::collections::BTreeMap;

use crate::digest::Sha256Digest;
use crate::jwk::PublicKey;
use crate::tlog::checkpoint::{self, Checkpoint};
use crate::tlog::merkle::{self, leaf_hash};
use crate::tlog::note::{Note, VerifierKey};
use crate::tlog::policy::{WitnessPolicy, Witnessed};
use crate::tlog::proof::TlogProof;

/// Why a proof was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotProven {
    /// The key cannot sign checkpoints.
    #[error("{0}")]
    LogKey(String),
    /// The proof does not hold.
    #[error("{0}")]
    Proof(String),
}

/// A leaf that is in a log.
pub(crate) struct Proven {
    pub index: u64,
    pub origin: String,
    /// The root of the leaves before it.
    pub before: Sha256Digest,
    pub witnessed: Witnessed,
}

/// What has been checked so far.
pub(crate) struct Proofs<'a> {
    /// Roots by origin and size.
    roots: BTreeMap<(String, u64), Sha256Digest>,
    keys: &'a [PublicKey],
    used: Vec<bool>,
    forked: bool,
    policy: WitnessPolicy,
}

impl<'a> Proofs<'a> {
    pub fn new(keys: &'a [PublicKey], policy: WitnessPolicy) -> Self {
        Self {
            keys,
            roots: BTreeMap::new(),
            used: vec![false; keys.len()],
            forked: false,
            policy,
        }
    }

    /// Checks the proof of a leaf.
    pub fn check(&mut self, proof: &str, leaf: &str) -> Result<Proven, NotProven> {
        let not = |error: &dyn std::error::Error| NotProven::Proof(told(error));
        let proof = TlogProof::parse(proof.as_bytes()).map_err(|error| not(&error))?;
        if proof.extra.is_some() {
            return Err(NotProven::Proof("extra data".to_owned()));
        }
        let origin = proof.checkpoint.text.lines().next().unwrap_or_default();
        let mut keys = Vec::with_capacity(self.keys.len());
        for (key, used) in self.keys.iter().zip(&mut self.used) {
            let key = VerifierKey::for_log(origin, key)
                .map_err(|error| NotProven::LogKey(told(&error)))?;
            *used |= proof.checkpoint.by(&key).next().is_some();
            keys.push(key);
        }
        let logged = proof
            .verify(leaf_hash(leaf.as_bytes()), &keys, &self.policy)
            .map_err(|error| not(&error))?;
        let Checkpoint { size, root, .. } = logged.checkpoint;
        let before = merkle::root_before(logged.index, size, &proof.hashes);
        let tree = (origin.to_owned(), size);
        self.forked |= *self.roots.entry(tree).or_insert(root) != root;
        Ok(Proven {
            index: logged.index,
            origin: origin.to_owned(),
            before,
            witnessed: logged.witnessed,
        })
    }

    /// Whether one of the log's keys signed a checkpoint, and none that is named there did not.
    pub fn signed(&mut self, note: &str) -> bool {
        let Ok(note) = Note::parse(note.as_bytes()) else {
            return false;
        };
        let origin = note.text.lines().next().unwrap_or_default();
        let keys = self
            .keys
            .iter()
            .map(|key| VerifierKey::for_log(origin, key));
        let Ok(keys) = keys.collect::<Result<Vec<_>, _>>() else {
            return false;
        };
        for (key, used) in keys.iter().zip(&mut self.used) {
            *used |= note.by(key).next().is_some();
        }
        checkpoint::open(&note, &keys).is_ok()
    }

    /// After the last proof: whether any is of a tree that goes on after its origin had ended in
    /// this checkpoint, or has another root than this one.
    pub fn contradicts(&self, end: &Checkpoint) -> bool {
        let trees = self.roots.iter();
        trees
            .filter(|((origin, _), _)| *origin == end.origin)
            .any(|((_, size), root)| *size > end.size || (*size == end.size && *root != end.root))
    }

    /// After the last proof: the log has one root of each size, and a key that signed nothing has
    /// no place in the file.
    pub fn whole(&self) -> Result<(), NotProven> {
        let wrong = match (self.forked, self.used.iter().all(|used| *used)) {
            (true, _) => "two roots of one size: the log forked",
            (false, false) => "a log key signed none of the checkpoints",
            (false, true) => return Ok(()),
        };
        Err(NotProven::Proof(wrong.to_owned()))
    }
}

/// An error with its sources in one line: what auditors read.
pub(crate) fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(next) = source {
        text.push_str(": ");
        text.push_str(&next.to_string());
        source = next.source();
    }
    text
}
