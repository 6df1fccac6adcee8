//! The verdict on a signature: never a bare boolean, never by the signer's own clock.
//!
//! After ETSI EN 319 102-1: what counts is the earliest proof that the signature existed. Whoever
//! stole a key also writes `iat`, so `iat` is not even an argument here.

mod known;
#[cfg(test)]
mod tests;

use serde::Serialize;

use crate::request::RevocationReason;
use crate::state::KeyState;
use crate::time::Time;

pub use known::{Known, Stamp};

/// What a verdict is made of; [`Known`] says how to come by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts<'a> {
    /// The key's state now; none if the kid is unknown.
    pub key: Option<&'a KeyState>,
    /// Whether the signature checks against that key. Not asked if the key is unknown.
    pub checks: bool,
    /// Whether the key's usage allows what was signed: a key for bare digests signs no structure,
    /// or whoever has a digest signed could have made any structure.
    pub fits_usage: bool,
    /// The earliest proof that the signature existed.
    pub existence: Option<Existence>,
    /// Whether it stands behind the key's retirement in the log, which is after it within one
    /// instant too.
    pub after_retirement: bool,
    /// Whether the signature is in our log: everything we sign is.
    pub logged: bool,
    /// When the algorithm ceased to be sound, if it did.
    pub withdrawn: Option<Withdrawn>,
}

/// A proof that the signature existed at an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Existence {
    /// Not later than.
    pub at: Time,
    /// Whether the proof rests on algorithms that are sound today.
    pub sound: bool,
}

/// An algorithm that is not trusted any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Withdrawn {
    /// Since when.
    pub at: Time,
}

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Outcome {
    /// By a key that signs today.
    Valid,
    /// By a key that has ended, while it was good.
    ValidRetiredKey,
    /// By a revoked key, too late.
    Revoked,
    /// Cannot be told from what is known.
    Indeterminate,
    /// Not a signature by this key.
    Invalid,
}

/// Why, in stable codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The signature does not check.
    BadSignature,
    /// The key is for another usage than the form in which it signed.
    WrongUsage,
    /// No key has this kid. All keys are never tried.
    UnknownKey,
    /// The key never signed for anybody: it was never made primary.
    NeverActive,
    /// Nothing shows that the signature existed in time.
    NoProofOfExistence,
    /// It checks, but we did not issue it.
    NotInLog,
    /// It existed only after the key had ended.
    AfterEnd,
    /// The key is revoked.
    KeyRevoked,
    /// The key is compromised.
    KeyCompromised,
    /// The algorithm is withdrawn.
    AlgorithmWithdrawn,
    /// The RFC 3161 token that came along does not verify and was not counted.
    BadTimestamp,
}

/// Verdict and reasons.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// The answer.
    pub outcome: Outcome,
    /// Why; empty for a plain `VALID`.
    pub reasons: Vec<Reason>,
    /// The instant it rests on.
    pub existed_at: Option<Time>,
}

/// Judges a signature, one state of the key after the other.
pub fn verdict(facts: &Facts<'_>) -> Verdict {
    let (outcome, mut reasons) = judge(facts);
    // A finding in its own right, whatever the outcome: we log everything we sign.
    if !facts.logged && outcome != Outcome::Invalid && !reasons.contains(&Reason::NotInLog) {
        reasons.push(Reason::NotInLog);
    }
    Verdict {
        outcome,
        reasons,
        existed_at: facts.existence.map(|proof| proof.at),
    }
}

fn judge(facts: &Facts<'_>) -> (Outcome, Vec<Reason>) {
    use Outcome::{Indeterminate, Invalid};
    let Some(state) = facts.key else {
        return (Invalid, vec![Reason::UnknownKey]);
    };
    if !facts.checks {
        return (Invalid, vec![Reason::BadSignature]);
    }
    if !facts.fits_usage {
        return (Invalid, vec![Reason::WrongUsage]);
    }
    if let Some(withdrawn) = facts.withdrawn {
        match facts.existence {
            None => {
                return (
                    Indeterminate,
                    vec![Reason::AlgorithmWithdrawn, Reason::NoProofOfExistence],
                );
            }
            Some(proof) if !proof.sound || proof.at >= withdrawn.at => {
                return (Indeterminate, vec![Reason::AlgorithmWithdrawn]);
            }
            Some(_) => {}
        }
    }
    by_state(state, facts)
}

fn by_state(state: &KeyState, facts: &Facts<'_>) -> (Outcome, Vec<Reason>) {
    use Outcome::{Indeterminate, Revoked, Valid, ValidRetiredKey};
    let existed_at = facts.existence.map(|proof| proof.at);
    match (state, existed_at) {
        // It checks, yet the service never signed with this key: the token was used behind us.
        (KeyState::Prepared { .. }, _) => (Indeterminate, vec![Reason::NeverActive]),
        (KeyState::Primary(_) | KeyState::Secondary { .. }, _) => (Valid, vec![]),
        (KeyState::Retired(_) | KeyState::Archived { .. }, None) => {
            (Indeterminate, vec![Reason::NoProofOfExistence])
        }
        (KeyState::Retired(retired) | KeyState::Archived { retired, .. }, Some(at)) => {
            if at <= retired.retired_at && !facts.after_retirement {
                (ValidRetiredKey, vec![])
            } else {
                (
                    Indeterminate,
                    vec![Reason::NoProofOfExistence, Reason::AfterEnd],
                )
            }
        }
        (KeyState::Revoked { before, .. }, _) if before.life().activated_at.is_none() => {
            (Indeterminate, vec![Reason::NeverActive])
        }
        (
            KeyState::Revoked {
                before, revocation, ..
            },
            existed_at,
        ) => {
            // What was made after the retirement was not made by us, revoked or not.
            let retired_at = before.life().retired_at;
            let compromised = revocation.reason == RevocationReason::Compromised;
            let why = if compromised {
                Reason::KeyCompromised
            } else {
                Reason::KeyRevoked
            };
            // A compromise without its beginning is one from the beginning. What an earlier
            // revocation took back stays so, whenever the compromise is said to have begun.
            let bad_since = match (compromised, revocation.compromised_since) {
                (true, Some(since)) => since.min(revocation.revoked_at),
                (true, None) => Time::from_millis(0),
                (false, _) => revocation.revoked_at,
            };
            match existed_at {
                None => (Indeterminate, vec![why, Reason::NoProofOfExistence]),
                Some(at) if at >= bad_since => (Revoked, vec![why]),
                Some(at) if retired_at.is_some_and(|end| at > end) || facts.after_retirement => (
                    Indeterminate,
                    vec![why, Reason::NoProofOfExistence, Reason::AfterEnd],
                ),
                // Before the compromise, but not by us: nothing says who made it.
                Some(_) if compromised && !facts.logged => {
                    (Indeterminate, vec![why, Reason::NotInLog])
                }
                Some(_) => (ValidRetiredKey, vec![why]),
            }
        }
    }
}
