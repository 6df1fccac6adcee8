//! Waiting times that keep verifiers ahead of signers.

use std::time::Duration;

/// How long a key is published before it signs, and how long it stays after it signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Safety {
    publish_safety: Duration,
    retire_safety: Duration,
}

/// `publish_safety` under its floor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("publish_safety is {given:?}; JWKS caches require at least {floor:?}")]
pub struct TooShort {
    /// What was asked for.
    pub given: Duration,
    /// JWKS max-age plus clock skew.
    pub floor: Duration,
}

impl Safety {
    /// A key signs `publish_safety` after it was published and stops signing `retire_safety` after
    /// it ceased to be primary. The floor follows from its reason: a verifier that fetched JWKS
    /// just before the publication keeps it for `max_age` (the longest that any cache may serve it,
    /// stale times included), and its clock may be off by `skew`.
    pub fn new(
        publish_safety: Duration,
        retire_safety: Duration,
        max_age: Duration,
        skew: Duration,
    ) -> Result<Self, TooShort> {
        let floor = max_age + skew;
        if publish_safety < floor {
            return Err(TooShort {
                given: publish_safety,
                floor,
            });
        }
        Ok(Self {
            publish_safety,
            retire_safety,
        })
    }

    /// How long a key is published before it signs.
    pub fn publish_safety(&self) -> Duration {
        self.publish_safety
    }

    /// How long a key stays secondary.
    pub fn retire_safety(&self) -> Duration {
        self.retire_safety
    }
}
