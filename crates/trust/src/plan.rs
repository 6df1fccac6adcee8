//! Plans for a ring's keys: facts in, steps with reasons out. Nothing happens here.

#[cfg(test)]
mod tests;

use std::fmt;

use crate::jwk::Kid;
use crate::safety::Safety;
use crate::state::KeyState;
use crate::time::Time;

/// One key of a ring, as far as planning needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RingKey {
    /// The key.
    pub kid: Kid,
    /// Its number in the ring.
    pub number: u32,
    /// Its state.
    pub state: KeyState,
}

/// One step of a plan. All steps of a plan are one transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The key.
    pub kid: Kid,
    /// What happens to it.
    pub action: Action,
    /// Why, for people and for the audit.
    pub reason: String,
}

/// What happens to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// [`KeyState::activate`]
    Activate,
    /// [`KeyState::demote`]
    Demote,
    /// [`KeyState::roll_back`]
    RollBack,
    /// [`KeyState::retire`]
    Retire,
    /// It leaves the key sets that verifiers fetch; the archive keeps it.
    Unpublish,
    /// Destroy the private half under `Approved<Destroy>`, then [`KeyState::archive`].
    Archive,
    /// [`KeyState::revoke`] under `Approved<Revoke>`.
    Revoke,
}

/// What revoking the primary does when no standby key can take over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfNoStandby {
    /// Nothing; the ring keeps its primary.
    Refuse,
    /// The ring stops signing until a new key is activated. For a compromise that cannot wait.
    StopSigning,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Activate => "activate",
            Self::Demote => "demote",
            Self::RollBack => "roll back to",
            Self::Retire => "retire",
            Self::Unpublish => "unpublish",
            Self::Archive => "archive",
            Self::Revoke => "revoke",
        })
    }
}

/// Why there is no plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Blocked {
    /// No accepted key waits to take over.
    #[error("the ring has no published standby key")]
    NoStandby,
    /// Verifiers may not have it yet, or callers may still use it.
    #[error("key {kid} is not ready before {ready_at}")]
    NotReady {
        /// The key.
        kid: Kid,
        /// When it will be.
        ready_at: Time,
    },
    /// Nothing to go back to.
    #[error("the ring has no secondary key to roll back to")]
    NothingToRollBackTo,
    /// No key with this kid in the ring.
    #[error("the ring has no key {0}")]
    UnknownKey(Kid),
    /// Not in the state that this needs.
    #[error("key {kid} is {found}, expected {expected}")]
    State {
        /// The key.
        kid: Kid,
        /// The state's word.
        found: &'static str,
        /// The word of the state needed.
        expected: &'static str,
    },
    /// More than one primary: the store is damaged, and nothing is done by guessing.
    #[error("the ring has {0} primary keys")]
    Primaries(usize),
}

/// Plans to make the oldest standby key the primary.
pub fn plan_rotate(keys: &[RingKey], safety: &Safety, now: Time) -> Result<Vec<Step>, Blocked> {
    let primary = primary(keys)?;
    let newest = primary.map_or(0, |key| key.number);
    let (standby, published_at) = keys
        .iter()
        .filter(|key| key.number > newest)
        .filter_map(|key| match key.state {
            KeyState::Prepared {
                published_at: Some(published_at),
                ..
            } => Some((key, published_at)),
            _ => None,
        })
        .min_by_key(|(key, _)| key.number)
        .ok_or(Blocked::NoStandby)?;
    let ready_at = published_at + safety.publish_safety();
    if now < ready_at {
        return Err(Blocked::NotReady {
            kid: standby.kid.clone(),
            ready_at,
        });
    }
    let mut steps = Vec::new();
    if let Some(primary) = primary {
        let reason = format!("key {} replaces key {}", standby.number, primary.number);
        steps.push(Step {
            kid: primary.kid.clone(),
            action: Action::Demote,
            reason,
        });
    }
    let reason = format!(
        "published at {published_at}, {} s ago; publish_safety is {} s",
        now.since(published_at).as_secs(),
        safety.publish_safety().as_secs()
    );
    steps.push(Step {
        kid: standby.kid.clone(),
        action: Action::Activate,
        reason,
    });
    Ok(steps)
}

/// Plans to go back to the key that was primary before.
pub fn plan_roll_back(keys: &[RingKey]) -> Result<Vec<Step>, Blocked> {
    let primary = primary(keys)?;
    let (secondary, demoted_at) = keys
        .iter()
        .filter_map(|key| match key.state {
            KeyState::Secondary { demoted_at, .. } => Some((key, demoted_at)),
            _ => None,
        })
        .max_by_key(|(key, demoted_at)| (*demoted_at, key.number))
        .ok_or(Blocked::NothingToRollBackTo)?;
    let mut steps = Vec::new();
    if let Some(primary) = primary {
        let reason = format!("rolled back to key {}", secondary.number);
        steps.push(Step {
            kid: primary.kid.clone(),
            action: Action::Demote,
            reason,
        });
    }
    let reason = format!("was primary until {demoted_at}");
    steps.push(Step {
        kid: secondary.kid.clone(),
        action: Action::RollBack,
        reason,
    });
    Ok(steps)
}

/// Plans to end the signing of a secondary key.
pub fn plan_retire(
    keys: &[RingKey],
    kid: &Kid,
    safety: &Safety,
    now: Time,
) -> Result<Vec<Step>, Blocked> {
    let key = find(keys, kid)?;
    let KeyState::Secondary { demoted_at, .. } = key.state else {
        return Err(wrong_state(key, "secondary"));
    };
    let ready_at = demoted_at + safety.retire_safety();
    if now < ready_at {
        return Err(Blocked::NotReady {
            kid: kid.clone(),
            ready_at,
        });
    }
    let reason = format!(
        "secondary since {demoted_at}; retire_safety is {} s",
        safety.retire_safety().as_secs()
    );
    Ok(vec![Step {
        kid: kid.clone(),
        action: Action::Retire,
        reason,
    }])
}

/// Plans to take a key that has ended out of the key sets. Its signatures stay verifiable: its public half is in the archive.
pub fn plan_unpublish(keys: &[RingKey], kid: &Kid) -> Result<Vec<Step>, Blocked> {
    let key = find(keys, kid)?;
    let (KeyState::Retired(retired) | KeyState::Archived { retired, .. }) = &key.state else {
        return Err(wrong_state(key, "retired or archived"));
    };
    let reason = format!(
        "retired at {}; whoever verifies by a key set alone does not find it any more",
        retired.retired_at
    );
    Ok(vec![Step {
        kid: kid.clone(),
        action: Action::Unpublish,
        reason,
    }])
}

/// Plans to destroy the private half of a key that has ended and archive it.
pub fn plan_archive(keys: &[RingKey], kid: &Kid) -> Result<Vec<Step>, Blocked> {
    let key = find(keys, kid)?;
    let reason = match &key.state {
        KeyState::Retired(retired) => format!(
            "retired at {}; signs no more, its signatures remain verifiable",
            retired.retired_at
        ),
        KeyState::Revoked {
            revocation,
            destroyed_at: None,
            before,
        } if !matches!(**before, KeyState::Archived { .. }) => format!(
            "revoked at {}; its private key is no longer needed",
            revocation.revoked_at
        ),
        _ => return Err(wrong_state(key, "retired or revoked, and not destroyed")),
    };
    Ok(vec![Step {
        kid: kid.clone(),
        action: Action::Archive,
        reason,
    }])
}

/// Plans to revoke a key. If it is the primary, a standby key takes over in the same transaction.
pub fn plan_revoke(
    keys: &[RingKey],
    kid: &Kid,
    safety: &Safety,
    now: Time,
    if_no_standby: IfNoStandby,
) -> Result<Vec<Step>, Blocked> {
    let key = find(keys, kid)?;
    let mut reason = "no longer trusted".to_owned();
    let mut steps = Vec::new();
    if key.state.is_primary() {
        match plan_rotate(keys, safety, now) {
            Ok(rotation) => steps = rotation,
            Err(blocked) if if_no_standby == IfNoStandby::Refuse => return Err(blocked),
            Err(blocked) => {
                reason = format!("no longer trusted; the ring stops signing: {blocked}")
            }
        }
    }
    steps.push(Step {
        kid: kid.clone(),
        action: Action::Revoke,
        reason,
    });
    Ok(steps)
}

fn primary(keys: &[RingKey]) -> Result<Option<&RingKey>, Blocked> {
    let mut primaries = keys.iter().filter(|key| key.state.is_primary());
    match (primaries.next(), primaries.count()) {
        (primary, 0) => Ok(primary),
        (_, more) => Err(Blocked::Primaries(1 + more)),
    }
}

fn find<'a>(keys: &'a [RingKey], kid: &Kid) -> Result<&'a RingKey, Blocked> {
    keys.iter()
        .find(|key| key.kid == *kid)
        .ok_or_else(|| Blocked::UnknownKey(kid.clone()))
}

fn wrong_state(key: &RingKey, expected: &'static str) -> Blocked {
    let found = match key.state {
        KeyState::Primary(_) => "primary",
        KeyState::Secondary { .. } => "secondary",
        ref other => other.word(),
    };
    Blocked::State {
        kid: key.kid.clone(),
        found,
        expected,
    }
}
