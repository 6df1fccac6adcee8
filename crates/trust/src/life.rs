//! A key's life as a store keeps it: one row of instants.

use serde::{Deserialize, Serialize};

use crate::state::{Active, KeyState, Retired};
use crate::time::Time;

pub use crate::revocation::Revocation;

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

/// A row that no key can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key's row is inconsistent: {0}")]
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

impl KeyState {
    /// The row to store.
    pub fn life(&self) -> Life {
        match self {
            Self::Prepared {
                prepared_at,
                published_at,
            } => Life {
                published_at: *published_at,
                ..Life::prepared(*prepared_at)
            },
            Self::Primary(active) => Life {
                published_at: Some(active.published_at),
                activated_at: Some(active.activated_at),
                ..Life::prepared(active.prepared_at)
            },
            Self::Secondary { active, demoted_at } => Life {
                demoted_at: Some(*demoted_at),
                ..Self::Primary(*active).life()
            },
            Self::Retired(retired) => Life {
                demoted_at: Some(retired.demoted_at),
                retired_at: Some(retired.retired_at),
                ..Self::Primary(retired.active).life()
            },
            Self::Archived {
                retired,
                archived_at,
            } => Life {
                archived_at: Some(*archived_at),
                ..Self::Retired(*retired).life()
            },
            Self::Revoked {
                before,
                revocation,
                destroyed_at,
            } => {
                let life = before.life();
                Life {
                    archived_at: destroyed_at.or(life.archived_at),
                    revocation: Some(*revocation),
                    ..life
                }
            }
        }
    }

    /// Where the key stood at an instant, or none if it had not been published. What happened at the
    /// instant itself had happened. A roll-back leaves no trace in the life of a key, so that a key
    /// may appear as primary while it was secondary: both are active. Nor does the milder reason
    /// that a revocation had before it was made more severe.
    pub fn as_of(&self, instant: Time) -> Option<Self> {
        let life = self.life();
        let by_then = |at: &Time| *at <= instant;
        let then = Life {
            prepared_at: life.prepared_at,
            published_at: Some(life.published_at.filter(by_then)?),
            activated_at: life.activated_at.filter(by_then),
            demoted_at: life.demoted_at.filter(by_then),
            retired_at: life.retired_at.filter(by_then),
            archived_at: life.archived_at.filter(by_then),
            revocation: life
                .revocation
                .filter(|revocation| revocation.revoked_at <= instant),
        };
        then.state().ok()
    }

    /// Reads a stored row. Only the instants' consistency is checked here; that a key was accepted
    /// is checked against its transcript.
    fn from_life(life: Life) -> Result<Self, Contradiction> {
        // The private half of a revoked key is destroyed wherever the key stood before.
        let destroyed_at = life.revocation.and_then(|revocation| {
            let after = |at: &Time| life.retired_at.is_none() || *at > revocation.revoked_at;
            life.archived_at.filter(after)
        });
        let backwards = life.archived_at < life.retired_at && life.archived_at.is_some();
        if backwards {
            return Err(Contradiction("destroyed before it was retired"));
        }
        let life = Life {
            archived_at: life.archived_at.filter(|_| destroyed_at.is_none()),
            ..life
        };
        let Life {
            prepared_at,
            published_at,
            activated_at,
            demoted_at,
            retired_at,
            archived_at,
            ..
        } = life;
        let instants = [
            Some(prepared_at),
            published_at,
            activated_at,
            demoted_at,
            retired_at,
            archived_at,
        ];
        if !instants.iter().flatten().is_sorted() {
            return Err(Contradiction("the instants are not in order"));
        }
        if instants
            .windows(2)
            .any(|pair| pair[0].is_none() && pair[1].is_some())
        {
            return Err(Contradiction("a step is missing"));
        }
        let mut state = Self::Prepared {
            prepared_at,
            published_at,
        };
        if let (Some(published_at), Some(activated_at)) = (published_at, activated_at) {
            let active = Active {
                prepared_at,
                published_at,
                activated_at,
            };
            state = match (demoted_at, retired_at, archived_at) {
                (None, ..) => Self::Primary(active),
                (Some(demoted_at), None, _) => Self::Secondary { active, demoted_at },
                (Some(demoted_at), Some(retired_at), archived_at) => {
                    let retired = Retired {
                        active,
                        demoted_at,
                        retired_at,
                    };
                    match archived_at {
                        None => Self::Retired(retired),
                        Some(archived_at) => Self::Archived {
                            retired,
                            archived_at,
                        },
                    }
                }
            };
        }
        match life.revocation {
            None => Ok(state),
            Some(revocation) => Ok(Self::Revoked {
                before: Box::new(state),
                revocation,
                destroyed_at,
            }),
        }
    }
}
