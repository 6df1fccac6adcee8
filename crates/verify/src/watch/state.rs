//! What a monitor remembers between its looks, in a file.

use serde::{Deserialize, Serialize};
use trust::Sha256Digest;
use trust::format::V1;
use trust::tlog::checkpoint::Checkpoint;
use trust::tlog::merkle::Frontier;
use trust::tlog::note::Note;

use super::orders::Orders;
use trust::acts::Act;
use trust::log_acts::LogHistory;
use trust::log_clock::Clock;

/// What is remembered between rounds. It grows with acts on keys and on the log, not with what is
/// signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Every act that changed a key, in the order of the log.
    pub(super) acts: Vec<Act>,
    /// The latest time of any leaf, as corrected.
    pub(super) clock: Clock,
    /// The right edge of the tree.
    pub(super) frontier: Vec<Sha256Digest>,
    pub(super) genesis: Sha256Digest,
    /// Its origins, of which the newest is that of the checkpoint, and corrections of its clock.
    pub(super) line: LogHistory,
    /// What is told of standing orders; absent in a file of before there were any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) orders: Option<Orders>,
    /// The last good checkpoint, with its signatures: the evidence, should the log fork.
    pub(super) note: String,
    pub(super) root: Sha256Digest,
    pub(super) size: u64,
    /// Acts on the log whose ceremonies did not hold, or were not shown.
    pub(super) unheard: Vec<Act>,
    pub(super) v: V1,
}

#[derive(Debug, thiserror::Error)]
pub enum BadState {
    #[error("the state file is malformed")]
    Json(#[from] serde_json::Error),
    #[error("the state file is inconsistent: its tree does not match its checkpoint")]
    Root,
    #[error("the state file belongs to the installation with the genesis {0}")]
    Genesis(Sha256Digest),
}

impl State {
    pub fn decode(bytes: &[u8], genesis: Sha256Digest) -> Result<Self, BadState> {
        let state: Self = serde_json::from_slice(bytes)?;
        if state.genesis != genesis {
            return Err(BadState::Genesis(state.genesis));
        }
        let frontier = Frontier::from_parts(state.size, &state.frontier);
        let note = Note::parse(state.note.as_bytes()).ok();
        let said = note.and_then(|note| Checkpoint::parse(&note.text).ok());
        let whole = said.is_some_and(|said| {
            (said.size, said.root) == (state.size, state.root) && said.origin == state.line.newest()
        });
        match frontier {
            Ok(frontier) if whole && frontier.root() == state.root => Ok(state),
            _ => Err(BadState::Root),
        }
    }

    pub fn encode(&self) -> Result<Vec<u8>, BadState> {
        Ok(serde_json::to_vec_pretty(self)?)
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    pub fn root(&self) -> Sha256Digest {
        self.root
    }
}
