use serde::{Deserialize, Serialize};

/// `[trust]`: the one thing that is believed without proof. Everything else about custodians is
/// walked from it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trust {
    /// SHA-256 of the genesis document, as `chancery ceremony genesis assemble` prints it.
    pub genesis: trust::Sha256Digest,
}
