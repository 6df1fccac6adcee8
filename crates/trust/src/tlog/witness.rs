//! What a witness decides (c2sp.org/tlog-witness, `add-checkpoint`), and the request it decides on.

use std::fmt;

use super::checkpoint::{self, Checkpoint};
use super::merkle::{ProofError, empty_root, verify_consistency};
use super::note::{Note, NoteError, VerifierKey};
use super::spelling::{base64, decimal, hash};
use crate::digest::Sha256Digest;

#[cfg(test)]
mod tests;

/// The most hashes a request may have.
pub const MOST_HASHES: usize = 63;

/// The latest tree of a log that a witness has cosigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The number of leaves.
    pub size: u64,
    /// The root of the tree.
    pub root: Sha256Digest,
}

/// The body of a request for a cosignature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// The size of the tree that the witness is thought to have cosigned last, 0 for none.
    pub old: u64,
    /// The consistency proof from there.
    pub proof: Vec<Sha256Digest>,
    /// The checkpoint.
    pub note: Note,
}

/// A body that is not a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// It is not `old`, hashes, a blank line and a checkpoint.
    #[error("line {0} of the request is malformed")]
    Line(usize),
    /// The checkpoint is no note, or its text no checkpoint.
    #[error("the checkpoint of the request")]
    Checkpoint(#[source] NoteError),
    /// The log claims to have shrunk.
    #[error("the old size {old} exceeds the checkpoint's size {size}")]
    OldSize {
        /// The old size of the request.
        old: u64,
        /// The size of the checkpoint.
        size: u64,
    },
}

/// Why a witness does not cosign.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// 400.
    #[error("the request is malformed")]
    BadRequest(#[from] RequestError),
    /// 404: no key of that log is known.
    #[error("the log {0:?} is unknown")]
    UnknownLog(String),
    /// 403: the log has not signed, or somebody else in its name.
    #[error("the checkpoint is not signed by its log")]
    Forbidden(#[source] NoteError),
    /// 409: the proof begins elsewhere. The answer is the size and a newline, as `text/x.tlog.size`.
    #[error("the latest cosigned tree has {size} leaves")]
    Conflict {
        /// The size of the latest tree that was cosigned.
        size: u64,
    },
    /// 422: the log is not shown to have only grown. Signed as it is, it may prove that the log forked.
    #[error("the checkpoint is inconsistent with the last cosigned one")]
    Unprocessable(#[source] ProofError),
}

impl Refusal {
    /// The HTTP status that the protocol assigns.
    pub fn status(&self) -> u16 {
        match self {
            Self::BadRequest(_) => 400,
            Self::UnknownLog(_) => 404,
            Self::Forbidden(_) => 403,
            Self::Conflict { .. } => 409,
            Self::Unprocessable(_) => 422,
        }
    }
}

/// Whether to cosign the request's checkpoint.
///
/// `state` is the latest tree cosigned for [`AddCheckpoint::unverified_origin`]; `log_keys` are those of
/// every log that is witnessed. What is returned has to be persisted **before** the cosignature leaves,
/// and only if `state` is still what it was: otherwise two requests at once could roll the log back.
pub fn decide(
    state: Option<&Seen>,
    request: &AddCheckpoint,
    log_keys: &[VerifierKey],
) -> Result<Seen, Refusal> {
    let claimed = Checkpoint::parse(&request.note.text)
        .map_err(|_| RequestError::Checkpoint(NoteError::NotACheckpoint))?;
    let keys: Vec<VerifierKey> = log_keys
        .iter()
        .filter(|key| key.kind().is_log() && key.name() == claimed.origin)
        .cloned()
        .collect();
    if keys.is_empty() {
        return Err(Refusal::UnknownLog(claimed.origin));
    }
    let checkpoint = checkpoint::open(&request.note, &keys).map_err(Refusal::Forbidden)?;
    let (old, size) = (request.old, checkpoint.size);
    if old > size {
        return Err(RequestError::OldSize { old, size }.into());
    }
    let latest = state.copied().unwrap_or_else(|| Seen {
        size: 0,
        root: empty_root(),
    });
    if latest.size != old {
        return Err(Refusal::Conflict { size: latest.size });
    }
    verify_consistency(old, size, latest.root, checkpoint.root, &request.proof)
        .map_err(Refusal::Unprocessable)?;
    Ok(Seen {
        size,
        root: checkpoint.root,
    })
}

/// Reads the size out of the body of a 409.
pub fn parse_conflict(body: &[u8]) -> Option<u64> {
    decimal(std::str::from_utf8(body).ok()?.strip_suffix('\n')?)
}

impl AddCheckpoint {
    /// Reads a request's body. [`fmt::Display`] writes back the same bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, RequestError> {
        let text = std::str::from_utf8(bytes)
            .map_err(|_| RequestError::Checkpoint(NoteError::Characters))?;
        let (head, note) = text
            .split_once("\n\n")
            .ok_or(RequestError::Checkpoint(NoteError::Form))?;
        let mut lines = head.split('\n');
        let old = lines
            .next()
            .and_then(|line| decimal(line.strip_prefix("old ")?))
            .ok_or(RequestError::Line(1))?;
        let mut proof = Vec::new();
        for (number, line) in (2..).zip(lines) {
            let hash = hash(line).filter(|_| proof.len() < MOST_HASHES);
            proof.push(hash.ok_or(RequestError::Line(number))?);
        }
        Ok(Self {
            old,
            proof,
            note: Note::parse(note.as_bytes()).map_err(RequestError::Checkpoint)?,
        })
    }

    /// The log's name as the request claims it: which state [`decide`] needs.
    pub fn unverified_origin(&self) -> &str {
        self.note.text.split('\n').next().unwrap_or_default()
    }
}

impl fmt::Display for AddCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old)?;
        for hash in &self.proof {
            writeln!(f, "{}", base64(hash.as_bytes()))?;
        }
        write!(f, "\n{}", self.note)
    }
}
