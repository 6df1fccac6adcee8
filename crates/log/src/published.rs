//! What a replica knows of the log.

use std::collections::BTreeSet;
use std::sync::Arc;

use store::CheckpointRow;
use trust::Kid;

/// What this replica knows of the log.
#[derive(Debug, Clone, Default)]
pub struct Published {
    /// The newest checkpoint that was signed.
    pub checkpoint: Option<Arc<CheckpointRow>>,
    /// Whether the quorum of witnesses is complete on it; none where nobody is to witness.
    pub witnessed: Option<bool>,
    /// Whether it is this replica that integrates.
    pub integrates: bool,
    /// Why the log is halted, if a person has to look. While it does nothing is signed: what
    /// cannot be logged must not leave.
    pub refused: Option<Arc<str>>,
    /// Why leaves wait for a checkpoint longer than they should. They are signed meanwhile.
    pub late: Option<Arc<str>>,
    /// Whether leaves that were published or answered are missing from the database. While they are,
    /// nothing is said about signatures.
    pub incomplete: bool,
    /// Keys that were revoked by leaves which are published and not in the database.
    pub revoked: Arc<BTreeSet<Kid>>,
}
