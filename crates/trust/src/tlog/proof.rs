//! Receipts (c2sp.org/tlog-proof): that one leaf is in the log, in a file that is checked offline.

use std::fmt;

use super::checkpoint::{self, Checkpoint};
use super::merkle;
use super::note::{Note, NoteError, VerifierKey};
use super::policy::{WitnessPolicy, Witnessed};
use super::spelling::{base64, decimal, hash, unbase64};
use crate::digest::Sha256Digest;

#[cfg(test)]
mod tests;

/// The most bytes of a proof that are read.
pub const MAX_LEN: usize = 512 * 1024;

/// A tree of 2^64-1 leaves is 64 nodes high.
const MOST_HASHES: usize = 64;

const HEADER: &str = "c2sp.org/tlog-proof@v1";

/// The proof of one leaf. Nothing in it is to be believed before [`TlogProof::verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlogProof {
    /// The leaf's index, from 0.
    pub index: u64,
    /// Bytes that nothing vouches for, for whoever needs them to find the leaf. An empty value is
    /// written as none.
    pub extra: Option<Vec<u8>>,
    /// From the leaf's sibling to the root's child.
    pub hashes: Vec<Sha256Digest>,
    /// The checkpoint of the tree, with the signatures of its log and witnesses.
    pub checkpoint: Note,
}

/// What a proof proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// The leaf's index, from 0.
    pub index: u64,
    /// The tree that it is in.
    pub checkpoint: Checkpoint,
    /// Who has seen that tree. **Not complete is no error:** ask [`Witnessed::complete`] or
    /// [`Witnessed::at`] before relying on more than the log's own word.
    pub witnessed: Witnessed,
}

/// A proof that was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// More than [`MAX_LEN`] bytes.
    #[error("the proof is longer than {MAX_LEN} bytes")]
    TooLong,
    /// It is not header, extra, index, hashes, a blank line and a checkpoint.
    #[error("line {0} of the proof is malformed")]
    Line(usize),
    /// The checkpoint was refused.
    #[error("the checkpoint of the proof")]
    Checkpoint(#[source] NoteError),
    /// The leaf is not where the proof says.
    #[error("the leaf is not in the tree of the checkpoint")]
    Inclusion(#[source] merkle::ProofError),
}

impl TlogProof {
    /// Reads a proof. [`fmt::Display`] writes back the same bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, ProofError> {
        if bytes.len() > MAX_LEN {
            return Err(ProofError::TooLong);
        }
        let text = std::str::from_utf8(bytes)
            .map_err(|_| ProofError::Checkpoint(NoteError::Characters))?;
        let (head, note) = text
            .split_once("\n\n")
            .ok_or(ProofError::Checkpoint(NoteError::Form))?;
        let mut lines = (1..).zip(head.split('\n')).peekable();
        if lines.next().is_none_or(|(_, line)| line != HEADER) {
            return Err(ProofError::Line(1));
        }
        let extra = match lines.next_if(|(_, line)| line.starts_with("extra")) {
            Some((number, line)) => Some(read_extra(line).ok_or(ProofError::Line(number))?),
            None => None,
        };
        let (number, line) = lines.next().unwrap_or((2, ""));
        let index = line
            .strip_prefix("index ")
            .and_then(decimal)
            .ok_or(ProofError::Line(number))?;
        let mut hashes = Vec::new();
        for (number, line) in lines {
            let hash = hash(line).filter(|_| hashes.len() < MOST_HASHES);
            hashes.push(hash.ok_or(ProofError::Line(number))?);
        }
        Ok(Self {
            index,
            extra,
            hashes,
            checkpoint: Note::parse(note.as_bytes()).map_err(ProofError::Checkpoint)?,
        })
    }

    /// What the proof proves of a leaf, by its [`leaf_hash`](merkle::leaf_hash). `logs` are the keys of
    /// the logs that are accepted; the checkpoint's own log must have signed it.
    pub fn verify(
        &self,
        leaf_hash: Sha256Digest,
        logs: &[VerifierKey],
        policy: &WitnessPolicy,
    ) -> Result<Logged, ProofError> {
        let checkpoint =
            checkpoint::open(&self.checkpoint, logs).map_err(ProofError::Checkpoint)?;
        let witnessed = policy
            .satisfied(&self.checkpoint)
            .map_err(ProofError::Checkpoint)?;
        let (size, root) = (checkpoint.size, checkpoint.root);
        merkle::verify_inclusion(self.index, size, leaf_hash, &self.hashes, root)
            .map_err(ProofError::Inclusion)?;
        Ok(Logged {
            index: self.index,
            checkpoint,
            witnessed,
        })
    }
}

fn read_extra(line: &str) -> Option<Vec<u8>> {
    let bytes = unbase64(line.strip_prefix("extra ")?)?;
    // Without extra data there is no line, so an empty one would be a second spelling.
    (!bytes.is_empty()).then_some(bytes)
}

impl fmt::Display for TlogProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}")?;
        if let Some(extra) = self.extra.as_deref().filter(|extra| !extra.is_empty()) {
            writeln!(f, "extra {}", base64(extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        for hash in &self.hashes {
            writeln!(f, "{}", base64(hash.as_bytes()))?;
        }
        write!(f, "\n{}", self.checkpoint)
    }
}
