//! A revocation of a key.

use serde::{Deserialize, Serialize};

use crate::request::RevocationReason;
use crate::time::Time;

/// A revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// Why.
    pub reason: RevocationReason,
    /// When it was revoked.
    pub revoked_at: Time,
    /// Since when somebody else may have signed.
    pub compromised_since: Option<Time>,
}

impl Revocation {
    /// Whether it says more than an earlier one: a compromise where none was known, or one from
    /// earlier on. Nothing else does, and a severity is never lowered.
    pub fn is_more_severe_than(&self, earlier: &Self) -> bool {
        let since = |revocation: &Self| match revocation.reason {
            RevocationReason::Compromised => Some(revocation.compromised_since),
            RevocationReason::Unspecified | RevocationReason::Superseded => None,
        };
        match (since(self), since(earlier)) {
            (None, _) => false,
            (Some(_), None) => true,
            // Without a beginning it is compromised from the beginning.
            (Some(since), Some(earlier)) => since < earlier,
        }
    }
}
