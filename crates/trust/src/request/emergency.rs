//! What ceremonies do in an emergency: a rotation onto a standby key, its ratification, and the end of a stop.

use serde::{Deserialize, Serialize};

use crate::digest::Sha256Digest;
use crate::jwk::Kid;
use crate::name::{LOG_RING, Name};
use crate::subject::{Line, Scope};
use crate::time::Time;

use super::check::{RequestError, from_one, ordered};

/// The longest that an emergency rotation may wait for its ratification, in seconds.
pub const RATIFY_WITHIN: u64 = 24 * 60 * 60;

/// Makes a standby key, published long ago, the primary at once, and revokes the primary as compromised in the same
/// breath.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmergencyRotation {
    /// Since when somebody else may have signed with the key that is revoked.
    pub compromised_since: Time,
    /// The primary, which is revoked.
    pub kid: Kid,
    /// Its number in the ring.
    pub number: u32,
    /// Not ratified within so many seconds after it was carried out, the ring stops signing. At most [`RATIFY_WITHIN`].
    pub ratify_within_seconds: u64,
    /// The ring.
    pub ring: Name,
    /// The accepted standby key that becomes the primary.
    pub standby: Kid,
    /// Its number in the ring.
    pub standby_number: u32,
}

/// The threshold agrees with an emergency rotation after the fact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ratification {
    /// The key that the rotation made the primary.
    pub kid: Kid,
    /// The ring.
    pub ring: Name,
    /// SHA-256 of the request of the emergency rotation.
    pub rotation: Sha256Digest,
}

/// Lets a ring, or all of them, sign again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resume {
    /// What it ends; with it what came before in the same line, or ring.
    pub ends: Ended,
    /// The ring; `null` of a stop of all rings.
    pub ring: Option<Name>,
}

/// What kept a ring from signing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Ended {
    /// A stop that a member signed.
    Stop {
        /// SHA-256 of the body of the stop.
        digest: Sha256Digest,
        /// Its place in the line by its leaf; 0 where the leaf has none that could be, see [`crate::emergency::place`].
        sequence: u64,
    },
    /// An emergency rotation that was not ratified in time.
    Unratified {
        /// SHA-256 of its request.
        rotation: Sha256Digest,
    },
}

impl EmergencyRotation {
    pub(super) fn check(&self, created_at: Time) -> Result<(), RequestError> {
        not_of_the_log("emergency-rotation", &self.ring)?;
        from_one("emergency-rotation", self.number)?;
        from_one("emergency-rotation", self.standby_number)?;
        let since = self.compromised_since;
        ordered("compromised_since", since, "created_at", created_at)?;
        if self.kid == self.standby || self.number == self.standby_number {
            return Err(RequestError::Emergency(
                "emergency-rotation.standby: is the key that is revoked",
            ));
        }
        match (1..=RATIFY_WITHIN).contains(&self.ratify_within_seconds) {
            true => Ok(()),
            false => Err(RequestError::Emergency(
                "emergency-rotation.ratify_within_seconds: expected 1 to 86400",
            )),
        }
    }
}

impl Ratification {
    pub(super) fn check(&self) -> Result<(), RequestError> {
        not_of_the_log("ratification", &self.ring)
    }
}

impl Resume {
    /// Whose signing resumes.
    pub fn scope(&self) -> Scope {
        Scope::of(self.ring.as_ref())
    }

    /// `lines` are the request's, which are those of its subjects.
    pub(super) fn check(&self, lines: &[Line]) -> Result<(), RequestError> {
        if let Some(ring) = &self.ring {
            not_of_the_log("resume", ring)?;
        }
        let no = |what| Err(RequestError::Emergency(what));
        match &self.ends {
            Ended::Unratified { .. } if self.ring.is_none() => {
                no("resume.ring: an emergency rotation is of one ring")
            }
            Ended::Unratified { .. } => Ok(()),
            // What it names is told by its digest. That the place before the resume is another's shows nothing: leaves
            // that somebody wrote by hand may share one.
            Ended::Stop { sequence, .. } => {
                match lines.iter().all(|line| *sequence < line.sequence) {
                    true => Ok(()),
                    false => no("resume.ends.stop: is no stop before this resume in its line"),
                }
            }
        }
    }
}

/// The log's ring goes on signing checkpoints, or nobody would see what happens in an emergency.
fn not_of_the_log(operation: &'static str, ring: &Name) -> Result<(), RequestError> {
    match ring.as_str() == LOG_RING {
        true => Err(RequestError::LogRing(operation)),
        false => Ok(()),
    }
}
