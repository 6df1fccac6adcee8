//! What a recovery finds missing, and what it did.

use trust::Kid;

use super::tail::{Piece, Range};
use store::Corrected;

/// What is missing, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Leaves in the database.
    pub known: u64,
    /// Leaves under the published checkpoint.
    pub published: u64,
    /// Beyond both, what replicas kept or an integrator wrote before it died.
    pub tail: Vec<Piece>,
    /// Whether the log is known to be written with another database.
    pub other_database: bool,
    /// Corrections of wrong clocks, by leaves that are there and by those that come back.
    pub corrections: Vec<Corrected>,
    /// A key of the log that the database lacks and a person named, with the leaf of its ceremony.
    pub log_key: Option<(Kid, u64)>,
}

impl Plan {
    pub fn is_empty(&self) -> bool {
        self.size() == self.known && !self.other_database
    }

    /// Of the log afterwards.
    pub fn size(&self) -> u64 {
        let tail = self.tail.iter().map(Piece::len);
        self.published.max(self.known) + tail.sum::<u64>()
    }

    /// How many leaves come back from beyond what is published.
    pub fn kept(&self) -> u64 {
        let kept = self
            .tail
            .iter()
            .filter(|piece| matches!(piece, Piece::Kept(_)));
        kept.map(Piece::len).sum()
    }

    pub fn lost(&self) -> impl Iterator<Item = Range> {
        self.tail.iter().filter_map(|piece| match piece {
            Piece::Lost(lost) => Some(lost.range),
            Piece::Kept(_) => None,
        })
    }
}

/// What a recovery did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovered {
    pub leaves: u64,
    /// Acts whose rows are still missing: ceremonies, documents, credentials, keys that the database has not got.
    pub by_hand: Vec<String>,
}
