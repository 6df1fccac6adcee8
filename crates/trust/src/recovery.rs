//! The recovery roster: people outside the roster who may put a new one in its place when too few
//! custodians are left to do so, after a delay that everybody sees in the log and any member of the
//! roster can veto.
//!
//! It is enrolled while the custodians can still sign. Its members and their keys stand in no roster
//! of the chain, so that nobody counts on both sides, and they can do nothing else.

mod in_log;
mod veto;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::digest::Sha256Digest;
use crate::dsse;
use crate::format::V1;
use crate::json::{self, JsonError};
use crate::leaf::{ActKind, ActLeaf};
use crate::name::Name;
use crate::namespace::{Namespace, Purpose};
use crate::policy::Threshold;
use crate::request::DocumentRef;
use crate::roster::{Member, MemberId, MemberKey, Roster, RosterError};
use crate::time::Time;

pub use in_log::{RecoveryFault, check_recovery};
pub use veto::{VetoError, verify_veto};

/// The shortest delay: a member who is asleep when it is announced still wakes up before its end.
pub const MIN_DELAY: Duration = Duration::from_secs(24 * 3_600);

/// The longest delay: a service whose custodians are lost cannot even revoke.
pub const MAX_DELAY: Duration = Duration::from_secs(30 * 24 * 3_600);

/// Most characters of a veto's reason.
const MAX_REASON: usize = 1_000;

/// The action of the leaf that announces a recovery.
pub const ANNOUNCE: &str = "announce-recovery";

/// The action of the leaf of a veto.
pub const VETO: &str = "veto-recovery";

/// The action of the leaf with which a recovery takes effect.
pub const RECOVER: &str = "recover";

/// One version of the recovery roster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecoveryRoster {
    /// Format version.
    pub v: V1,
    /// The service it is for.
    pub service: Name,
    /// The environment it is for.
    pub environment: Name,
    /// Version, from 1, of this kind of document.
    pub version: u64,
    /// Digest of the document before it in the chain, of any kind; never `null`.
    pub previous: Option<Sha256Digest>,
    /// Who may recover.
    pub members: Vec<RecoveryMember>,
    /// How many of them must sign.
    pub threshold: Threshold,
    /// How long a recovery is announced before it can take effect.
    pub delay_seconds: u64,
}

/// One person who may recover. There are no roles, and whoever leaves is not listed in the next
/// version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecoveryMember {
    /// Short name; of nobody on any roster of the chain.
    pub id: MemberId,
    /// The person's name, for people.
    pub name: String,
    /// The keys the person is known by.
    pub keys: Vec<MemberKey>,
}

/// What is signed to veto a recovery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VetoBody {
    /// SHA-256 of the body of the recovery's document.
    pub document_digest: Sha256Digest,
    /// Why, in words.
    pub reason: String,
    /// The roster that the recovery would replace.
    pub roster: DocumentRef,
    /// Format version.
    pub v: V1,
}

/// A recovery roster that cannot be trusted whoever signs it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecoveryRosterError {
    /// For the same reasons as a roster.
    #[error(transparent)]
    Members(#[from] RosterError),
    /// The threshold could never be reached.
    #[error("threshold {threshold} cannot be reached with {members} members")]
    TooFew {
        /// What is written.
        threshold: Threshold,
        /// How many there are.
        members: usize,
    },
    /// Under the compiled-in floor, or over the ceiling.
    #[error("delay_seconds: {0} is not between 24 hours and 30 days")]
    Delay(u64),
    /// One person cannot stand on both sides.
    #[error("{0} is the id of a roster member")]
    OnTheRoster(MemberId),
}

impl RecoveryRoster {
    /// The canonical bytes: what custodians and every recovery member sign.
    pub fn encode(&self) -> Result<Vec<u8>, JsonError> {
        json::canonical(self)
    }

    /// How long a recovery is announced.
    pub fn delay(&self) -> Duration {
        Duration::from_secs(self.delay_seconds)
    }

    /// Refuses what is wrong in it by itself; what stands in the chain is not asked.
    pub fn check(&self) -> Result<(), RecoveryRosterError> {
        self.as_roster().check()?;
        if self.members.len() < self.threshold.get() {
            return Err(RecoveryRosterError::TooFew {
                threshold: self.threshold,
                members: self.members.len(),
            });
        }
        match (MIN_DELAY..=MAX_DELAY).contains(&self.delay()) {
            true => Ok(()),
            false => Err(RecoveryRosterError::Delay(self.delay_seconds)),
        }
    }

    /// The same people in the form in which people are counted, all active and without any role.
    pub(crate) fn as_roster(&self) -> Roster {
        let members = self.members.iter().map(|member| Member {
            id: member.id.clone(),
            name: member.name.clone(),
            roles: Vec::new(),
            keys: member.keys.clone(),
            active: true,
        });
        Roster {
            v: self.v,
            service: self.service.clone(),
            environment: self.environment.clone(),
            version: self.version,
            previous: self.previous,
            members: members.collect(),
            expires_at: None,
            passkeys: None,
        }
    }
}

impl VetoBody {
    /// The canonical bytes.
    pub fn encode(&self) -> Result<Vec<u8>, JsonError> {
        json::canonical(self)
    }
}

/// The file that is signed for an enrolment ([`Purpose::RecoveryRoster`]), a recovery
/// ([`Purpose::Recover`]) or a veto ([`Purpose::Veto`]).
pub fn message(purpose: Purpose, service: &Name, environment: &Name, body: &[u8]) -> Vec<u8> {
    let namespace = Namespace::new(purpose, service, environment);
    dsse::pae(&namespace.to_string(), body)
}

/// Whether a recovery that was announced then may take effect now, by the log's time.
pub fn recovery_ready(announced_at: Time, delay: Duration, now: Time) -> bool {
    // Where `now` is not later, none of the delay has passed.
    delay > Duration::ZERO && now.since(announced_at) >= delay
}

/// Whether a leaf says so of the recovery whose document has this digest.
pub(crate) fn tells(act: &ActLeaf, action: &str, document: Sha256Digest) -> bool {
    let of_it = match action {
        VETO => act.reference.as_deref() == Some(document.to_string().as_str()),
        _ => act.digest == Some(document),
    };
    act.kind == ActKind::Roster && act.action == action && of_it
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recovery_is_ready_when_the_whole_delay_has_passed() {
        let at = |millis: i64| Time::from_millis(1_795_338_000_000 + millis);
        let day = i64::try_from(MIN_DELAY.as_millis()).unwrap();
        assert!(!recovery_ready(at(0), MIN_DELAY, at(day - 1)));
        assert!(recovery_ready(at(0), MIN_DELAY, at(day)));
        assert!(!recovery_ready(at(day), MIN_DELAY, at(0)));
        assert!(!recovery_ready(at(day), Duration::ZERO, at(0)));
        // Nor at the end of all times, where sums saturate.
        let end = Time::from_millis(i64::MAX);
        assert!(!recovery_ready(end, MIN_DELAY, end));
    }
}
