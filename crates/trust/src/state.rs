//! The states of a key and the transitions between them.
//!
//! A state carries exactly what exists in it; a transition consumes the state and gives it back
//! unchanged if it refuses. NIST SP 800-57 part 1 section 7 has the same states by other names.

#[cfg(test)]
mod tests;

use crate::jwk::Kid;
use crate::request::{Destroy, DestroyKey, Revoke};
use crate::revocation::Revocation;
use crate::safety::Safety;
use crate::tally::{Accepted, Approved};
use crate::time::Time;

/// The state of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// Generated, does not sign. Published once it was accepted; then it is a standby.
    Prepared {
        /// When it was generated.
        prepared_at: Time,
        /// When it was first in JWKS.
        published_at: Option<Time>,
    },
    /// The one key of the ring that signs.
    Primary(Active),
    /// Was primary. Signs only so that a roll-back, or a replica seconds behind, works.
    Secondary {
        /// As when it was primary.
        active: Active,
        /// When it ceased to be primary.
        demoted_at: Time,
    },
    /// Does not sign; verifies.
    Retired(Retired),
    /// Private half destroyed; verifies for ever.
    Archived {
        /// As when it was retired.
        retired: Retired,
        /// When the private half was destroyed.
        archived_at: Time,
    },
    /// Not trusted, except as the verdict allows.
    Revoked {
        /// Where it stood.
        before: Box<KeyState>,
        /// Why and when.
        revocation: Revocation,
        /// When the private half was destroyed, if that was afterwards.
        destroyed_at: Option<Time>,
    },
}

/// What every key has that has been primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Active {
    /// When it was generated.
    pub prepared_at: Time,
    /// When it was first in JWKS.
    pub published_at: Time,
    /// When it was first primary.
    pub activated_at: Time,
}

/// What every key has that must not sign any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retired {
    /// As when it was active.
    pub active: Active,
    /// When it ceased to be primary.
    pub demoted_at: Time,
    /// The end of its signing.
    pub retired_at: Time,
}

/// Why a transition was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransitionError {
    /// There is no such transition.
    #[error("a {from} key cannot be {what}")]
    NoSuchTransition {
        /// The state's word.
        from: &'static str,
        /// For instance `retired`.
        what: &'static str,
    },
    /// It would be before something that came earlier.
    #[error("{at} is before {last}, the time of the key's last change")]
    Backwards {
        /// The instant given.
        at: Time,
        /// The last change.
        last: Time,
    },
    /// Verifiers might not have the key yet, or callers still use it.
    #[error("not before {0}")]
    TooEarly(Time),
    /// The proof is about another key.
    #[error("the proof concerns key {0}")]
    OtherKey(Kid),
    /// The proof is about other keys.
    #[error("the proof concerns other keys")]
    OtherKeys,
    /// A revocation that says no more than the one there is, or less.
    #[error("the key is already revoked, and this revocation is not more severe")]
    NotMoreSevere,
}

/// A transition that was refused, with the state as it was.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub struct RefusedTransition {
    /// Unchanged.
    pub state: Box<KeyState>,
    /// Why.
    pub why: TransitionError,
}

type Transition = Result<KeyState, RefusedTransition>;

impl KeyState {
    /// A key just generated.
    pub fn prepared(prepared_at: Time) -> Self {
        Self::Prepared {
            prepared_at,
            published_at: None,
        }
    }

    /// Publishes key `kid`; the proof that custodians accepted it is used up.
    pub fn publish(self, kid: &Kid, proof: Accepted, at: Time) -> Transition {
        match self {
            Self::Prepared {
                prepared_at,
                published_at: None,
            } => {
                if proof.kid() != kid {
                    return self.refuse(TransitionError::OtherKey(proof.kid().clone()));
                }
                if at < proof.order().publish_at {
                    return self.refuse(TransitionError::TooEarly(proof.order().publish_at));
                }
                self.forward(
                    at,
                    Self::Prepared {
                        prepared_at,
                        published_at: Some(at),
                    },
                )
            }
            _ => self.no_such("published"),
        }
    }

    /// Makes a standby the primary, `publish_safety` after its publication.
    pub fn activate(self, safety: &Safety, at: Time) -> Transition {
        match self {
            Self::Prepared {
                prepared_at,
                published_at: Some(published_at),
            } => {
                let ready = published_at + safety.publish_safety();
                if at < ready {
                    return self.refuse(TransitionError::TooEarly(ready));
                }
                self.forward(
                    at,
                    Self::Primary(Active {
                        prepared_at,
                        published_at,
                        activated_at: at,
                    }),
                )
            }
            _ => self.no_such("activated"),
        }
    }

    /// Makes the primary a secondary, in the same transaction in which another becomes primary.
    pub fn demote(self, at: Time) -> Transition {
        match self {
            Self::Primary(active) => self.forward(
                at,
                Self::Secondary {
                    active,
                    demoted_at: at,
                },
            ),
            _ => self.no_such("demoted"),
        }
    }

    /// Makes a secondary the primary again.
    pub fn roll_back(self, at: Time) -> Transition {
        match self {
            Self::Secondary { active, .. } => self.forward(at, Self::Primary(active)),
            _ => self.no_such("rolled back to"),
        }
    }

    /// Ends a secondary's signing, `retire_safety` after it ceased to be primary.
    pub fn retire(self, safety: &Safety, at: Time) -> Transition {
        match self {
            Self::Secondary { active, demoted_at } => {
                let ready = demoted_at + safety.retire_safety();
                if at < ready {
                    return self.refuse(TransitionError::TooEarly(ready));
                }
                self.forward(
                    at,
                    Self::Retired(Retired {
                        active,
                        demoted_at,
                        retired_at: at,
                    }),
                )
            }
            _ => self.no_such("retired"),
        }
    }

    /// Records that the private half of key `kid` was destroyed. A revoked key stays revoked.
    pub fn archive(self, kid: &Kid, proof: &Approved<Destroy>, at: Time) -> Transition {
        let named = |key: &DestroyKey| key.kid == *kid;
        let ended = matches!(self, Self::Retired(_) | Self::Revoked { .. });
        if ended && !proof.order().keys.iter().any(named) {
            return self.refuse(TransitionError::OtherKeys);
        }
        match self {
            Self::Retired(retired) => self.forward(
                at,
                Self::Archived {
                    retired,
                    archived_at: at,
                },
            ),
            Self::Revoked {
                ref before,
                revocation,
                destroyed_at: None,
            } if !matches!(**before, Self::Archived { .. }) => {
                let mut before = before.clone();
                let mut destroyed_at = Some(at);
                // A row of instants does not tell which of two in one millisecond was first: it is
                // read as the destruction.
                if let Self::Retired(retired) = *before
                    && at == revocation.revoked_at
                {
                    *before = Self::Archived {
                        retired,
                        archived_at: at,
                    };
                    destroyed_at = None;
                }
                self.forward(
                    at,
                    Self::Revoked {
                        before,
                        revocation,
                        destroyed_at,
                    },
                )
            }
            _ => self.no_such("archived"),
        }
    }

    /// Revokes key `kid`, from any state. A revoked key stays revoked; its revocation changes only
    /// to a more severe one (see [`Revocation::is_more_severe_than`]) and stays as old as it is.
    pub fn revoke(self, kid: &Kid, proof: &Approved<Revoke>, at: Time) -> Transition {
        let order = proof.order();
        if order.kid != *kid {
            return self.refuse(TransitionError::OtherKey(order.kid.clone()));
        }
        let revocation = Revocation {
            reason: order.reason,
            revoked_at: at,
            compromised_since: order.compromised_since,
        };
        match self {
            Self::Revoked {
                ref before,
                revocation: earlier,
                destroyed_at,
            } => {
                if !revocation.is_more_severe_than(&earlier) {
                    return self.refuse(TransitionError::NotMoreSevere);
                }
                let revocation = Revocation {
                    revoked_at: earlier.revoked_at,
                    ..revocation
                };
                Ok(Self::Revoked {
                    before: before.clone(),
                    revocation,
                    destroyed_at,
                })
            }
            state => {
                let revoked = Self::Revoked {
                    before: Box::new(state.clone()),
                    revocation,
                    destroyed_at: None,
                };
                state.forward(at, revoked)
            }
        }
    }

    /// The state's word in documents and columns.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Prepared { .. } => "prepared",
            Self::Primary(_) | Self::Secondary { .. } => "active",
            Self::Retired(_) => "retired",
            Self::Archived { .. } => "archived",
            Self::Revoked { .. } => "revoked",
        }
    }

    /// Whether it is the key that signs.
    pub fn is_primary(&self) -> bool {
        matches!(self, Self::Primary(_))
    }

    /// Whether a signature by it may leave the building.
    pub fn can_sign(&self) -> bool {
        matches!(self, Self::Primary(_) | Self::Secondary { .. })
    }

    /// Whether it may be in JWKS: accepted and not revoked.
    pub fn is_publishable(&self) -> bool {
        match self {
            Self::Prepared { published_at, .. } => published_at.is_some(),
            Self::Revoked { .. } => false,
            _ => true,
        }
    }

    /// The instant after which no signature by it is genuine: retired, archived or revoked.
    pub fn ended_at(&self) -> Option<Time> {
        match self {
            Self::Retired(retired) | Self::Archived { retired, .. } => Some(retired.retired_at),
            Self::Revoked {
                before, revocation, ..
            } => Some(
                before
                    .ended_at()
                    .map_or(revocation.revoked_at, |end| end.min(revocation.revoked_at)),
            ),
            _ => None,
        }
    }

    /// The instant of the last change.
    fn last_change(&self) -> Time {
        let life = self.life();
        let revoked_at = life.revocation.map(|revocation| revocation.revoked_at);
        [
            life.published_at,
            life.activated_at,
            life.demoted_at,
            life.retired_at,
            life.archived_at,
            revoked_at,
        ]
        .into_iter()
        .flatten()
        .fold(life.prepared_at, Time::max)
    }

    fn forward(self, at: Time, next: Self) -> Transition {
        let last = self.last_change();
        if at < last {
            self.refuse(TransitionError::Backwards { at, last })
        } else {
            Ok(next)
        }
    }

    fn no_such(self, what: &'static str) -> Transition {
        let from = match &self {
            Self::Primary(_) => "primary",
            Self::Secondary { .. } => "secondary",
            other => other.word(),
        };
        self.refuse(TransitionError::NoSuchTransition { from, what })
    }

    fn refuse(self, why: TransitionError) -> Transition {
        Err(RefusedTransition {
            state: Box::new(self),
            why,
        })
    }
}
