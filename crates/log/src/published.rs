//! What a replica knows of the log.

use std::sync::Arc;

use store::CheckpointRow;

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
}
