//! A key's life as a store keeps it: one row of instants.

use serde::{Deserialize, Serialize};

use crate::request::RevocationReason;
use crate::state::KeyState;
use crate::time::Time;

/// When what happened to a key. Flat, as in a database row; [`Life::state`] says whether it makes
/// sense and what it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Life {
    /// Generated on the token.
    pub prepared_at: Time,
    /// First in JWKS.
    pub published_at: Option<Time>,
    /// First primary.
    pub activated_at: Option<Time>,
    /// No longer primary; absent again after a roll-back.
    pub demoted_at: Option<Time>,
    /// Must not sign any more.
    pub retired_at: Option<Time>,
    /// Private half destroyed.
    pub archived_at: Option<Time>,
    /// Revoked.
    pub revocation: Option<Revocation>,
}

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

/// A row that no key can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key's row contradicts itself: {0}")]
pub struct Contradiction(pub &'static str);

impl Life {
    /// A key just generated.
    pub fn prepared(prepared_at: Time) -> Self {
        Self {
            prepared_at,
            published_at: None,
            activated_at: None,
            demoted_at: None,
            retired_at: None,
            archived_at: None,
            revocation: None,
        }
    }

    /// What the row means. Refuses rows that skip a step or run backwards.
    pub fn state(self) -> Result<KeyState, Contradiction> {
        KeyState::from_life(self)
    }
}
