//! What a ceremony can do. A later operation is a further member of [`Operation`]: a version that
//! does not know it refuses the request by its name.

use serde::{Deserialize, Serialize};

use crate::digest::Sha256Digest;
use crate::jwk::Kid;
use crate::name::Name;
use crate::place::{Location, Place};
use crate::spelled::spelled;
use crate::subject::{Scope, Subject};
use crate::time::Time;
use crate::usage::Usage;

use super::emergency::{EmergencyRotation, Ratification, Resume};
use super::purpose::KeyPurpose;
use super::rotation_policy::RotationPolicy;
use super::standing_order::StandingOrder;

/// What a ceremony does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Operation {
    /// Generate a key on a token.
    Generate(Generate),
    /// Destroy the private half on the token; the public half stays for ever.
    Destroy(Destroy),
    /// Withdraw trust from a key, or say more of a revocation: that it was a compromise, or one
    /// from earlier on.
    Revoke(Revoke),
    /// Say what time it was when a wrong clock wrote leaves.
    ClockCorrection(ClockCorrection),
    /// Begin a new log after leaves were lost.
    NewOrigin(NewOrigin),
    /// Approve keys of a ring in advance.
    Order(Box<StandingOrder>),
    /// End a stop of signing.
    Resume(Resume),
    /// Rotate onto a standby key at once, and revoke the primary.
    EmergencyRotation(Box<EmergencyRotation>),
    /// Agree with an emergency rotation.
    Ratification(Ratification),
    /// Put the next version of the rotation policy of a critical key type in force.
    RotationPolicy(Box<RotationPolicy>),
}

/// Generates key `number` of a ring.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Generate {
    /// The ring.
    pub ring: Name,
    /// The key's number in its ring, from 1.
    pub number: u32,
    /// What the key is for, and its shape.
    pub purpose: KeyPurpose,
    /// What the ring's callers may have done with it.
    pub usage: Usage,
    /// Where it is to be made.
    pub place: Place,
    /// Not published before. It is the instant of the proposal, before which nobody can accept, so
    /// the service waits for nothing.
    pub publish_at: Time,
    /// Due to be made primary. An emergency may do it earlier, never before `publish_safety`.
    pub activate_at: Time,
    /// Due to be retired.
    pub retire_at: Time,
    /// The key it succeeds; `null` for the first of a ring.
    pub predecessor: Option<Kid>,
}

/// Destroys private halves. Their public halves stay for ever.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Destroy {
    /// The keys, in ascending order of their kids.
    pub keys: Vec<DestroyKey>,
}

/// One key whose private half is destroyed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DestroyKey {
    /// The key.
    pub kid: Kid,
    /// Everywhere its private half is: no copy is left.
    pub locations: Vec<Location>,
    /// Its number in the ring.
    pub number: u32,
    /// The ring.
    pub ring: Name,
}

/// Leaves of the log that a wrong clock wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClockCorrection {
    /// Their true time is not after this.
    pub bound: Time,
    /// The first of them.
    pub first: u64,
    /// The last of them.
    pub last: u64,
    /// First line of the log's checkpoints: the correction holds where its act is in that log.
    pub origin: String,
}

/// A log that begins anew with what is left of another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewOrigin {
    /// Leaves that the old log had and the new one does not.
    pub lost: Option<LostLeaves>,
    /// First line of the new log's checkpoints.
    pub origin: String,
    /// The last checkpoint of the old log, the whole signed note.
    pub previous_checkpoint: String,
    /// First line of the old log's checkpoints.
    pub previous_origin: String,
    /// Root of the leaves that survive.
    pub root: Sha256Digest,
    /// How many leaves survive: the new tree begins with them.
    pub size: u64,
}

/// Leaves that were lost for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LostLeaves {
    /// The first.
    pub first: u64,
    /// The last.
    pub last: u64,
}

/// Revokes a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revoke {
    /// The ring.
    pub ring: Name,
    /// The key.
    pub kid: Kid,
    /// Its number in the ring.
    pub number: u32,
    /// Why.
    pub reason: RevocationReason,
    /// Since when somebody else may have signed with it. Required for `compromised`, forbidden
    /// otherwise.
    pub compromised_since: Option<Time>,
}

/// The reasons of OpenID Federation 1.0, historical keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RevocationReason {
    /// No reason given.
    Unspecified,
    /// Somebody else may have signed with it.
    Compromised,
    /// Replaced before its time.
    Superseded,
}

impl RevocationReason {
    /// All reasons, in a stable order.
    pub const ALL: [Self; 3] = [Self::Unspecified, Self::Compromised, Self::Superseded];

    fn name(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::Compromised => "compromised",
            Self::Superseded => "superseded",
        }
    }
}

spelled!(RevocationReason, "reason");

impl Operation {
    /// The subjects in whose lines it has a place, in their order.
    pub fn subjects(&self) -> Vec<Subject> {
        match self {
            Self::Generate(order) => vec![Subject::Ring(order.ring.clone())],
            Self::Destroy(order) => {
                let keys = order.keys.iter();
                keys.map(|key| Subject::Key(key.kid.clone())).collect()
            }
            Self::Revoke(order) => vec![Subject::Key(order.kid.clone())],
            Self::ClockCorrection(_) | Self::NewOrigin(_) => vec![Subject::Log],
            Self::Order(order) => vec![Subject::Order(order.id)],
            Self::Resume(order) => vec![Subject::Stop(Scope::of(order.ring.as_ref()))],
            // As a revocation, so that nothing but what concerns that key makes it void.
            Self::EmergencyRotation(order) => vec![Subject::Key(order.kid.clone())],
            Self::Ratification(order) => vec![Subject::Key(order.kid.clone())],
            Self::RotationPolicy(order) => vec![Subject::RotationPolicy(order.key_type.clone())],
        }
    }

    /// The ring it concerns, if it is one.
    pub fn ring(&self) -> Option<&Name> {
        match self {
            Self::Generate(order) => Some(&order.ring),
            Self::Destroy(order) => {
                let ring = &order.keys.first()?.ring;
                let one = order.keys.iter().all(|key| key.ring == *ring);
                one.then_some(ring)
            }
            Self::Revoke(order) => Some(&order.ring),
            Self::Order(order) => Some(&order.ring),
            Self::Resume(order) => order.ring.as_ref(),
            Self::EmergencyRotation(order) => Some(&order.ring),
            Self::Ratification(order) => Some(&order.ring),
            Self::ClockCorrection(_) | Self::NewOrigin(_) | Self::RotationPolicy(_) => None,
        }
    }

    /// Whether approvals and acceptances by passkeys count, beside at least one that is by none. Not of what is hardest to
    /// undo: the first key of a ring, keys of the log, of a CA and those that wrap others, destruction, the log itself, and
    /// the rules that critical keys rotate by.
    pub fn takes_passkeys(&self) -> bool {
        match self {
            Self::Generate(order) => {
                let ordinary = match order.usage {
                    Usage::Structured | Usage::Raw | Usage::Sealed => true,
                    Usage::Certificates | Usage::Log | Usage::Wrap => false,
                };
                ordinary && order.predecessor.is_some()
            }
            // Of an emergency rotation two of three sign by other means: see the tally.
            Self::Revoke(_) | Self::Order(_) | Self::EmergencyRotation(_) => true,
            Self::Destroy(_)
            | Self::ClockCorrection(_)
            | Self::NewOrigin(_)
            | Self::Resume(_)
            | Self::Ratification(_)
            | Self::RotationPolicy(_) => false,
        }
    }

    /// The operation in one word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Generate(_) => "generate",
            Self::Destroy(_) => "destroy",
            Self::Revoke(_) => "revoke",
            Self::ClockCorrection(_) => "clock-correction",
            Self::NewOrigin(_) => "new-origin",
            Self::Order(_) => "order",
            Self::Resume(_) => "resume",
            Self::EmergencyRotation(_) => "emergency-rotation",
            Self::Ratification(_) => "ratification",
            Self::RotationPolicy(_) => "rotation-policy",
        }
    }
}
