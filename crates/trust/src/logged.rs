//! A leaf with its proof, wherever one stands in a document.

use serde::{Deserialize, Serialize};

/// A leaf and the proof that it is in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Logged {
    /// The very bytes.
    pub leaf: String,
    /// A tlog-proof.
    pub proof: String,
}
