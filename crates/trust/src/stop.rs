//! Stops of signing: any one custodian, or a member on call, stops a ring or all of them.
//!
//! A stop is a signed statement and no ceremony, as a withdrawal is. It takes effect by its leaf and ends by that of a
//! resume, which is a ceremony of the threshold and names it. Stops and resumes of one ring are one line, so that a stop
//! that was signed once stops once.

use serde::{Deserialize, Serialize};

use crate::bytes16::Nonce;
use crate::chain::{Chains, Change, Pin, Trusted, walk};
use crate::digest::Sha256Digest;
use crate::dsse;
use crate::format::V1;
use crate::json::{self, JsonError};
use crate::member_signature::MemberSignature;
use crate::name::{LOG_RING, Name};
use crate::namespace::{Namespace, Purpose};
use crate::request::DocumentRef;
use crate::roster::MemberId;
use crate::subject::{Line, Scope, Subject};
use crate::tally::{Ballot, Electorate, WhyNot, count};
use crate::text;
use crate::time::Time;

/// Most characters of the reason of a stop.
pub const MAX_REASON: usize = 1_000;

/// What is signed to stop the signing of a ring, or of all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StopBody {
    /// Not taken later, by the log's time.
    pub expires_at: Time,
    /// Its place in the line `stop/RING` or `stop/*`, of which it says what is stopped.
    pub line: Line,
    /// Used once.
    pub nonce: Nonce,
    /// Why, in words.
    pub reason: String,
    /// The roster on which the member stands.
    pub roster: DocumentRef,
    /// Format version.
    pub v: V1,
}

/// A stop that holds for its content and its signature. Whether it came in time, and is the next of its line, is for
/// whoever knows the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedStop {
    /// What was signed.
    pub body: StopBody,
    /// SHA-256 of the body, which names the stop.
    pub digest: Sha256Digest,
    /// Whose signing stops.
    pub scope: Scope,
    /// Who signed.
    pub by: MemberId,
}

/// Why a stop does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StopError {
    /// Not canonical JSON of its form.
    #[error("the stop cannot be parsed: {0}")]
    Unreadable(#[from] JsonError),
    /// Of no line of stops, or of the log's ring, which is never stopped.
    #[error("{0} is not a subject of a stop")]
    Subject(Subject),
    /// Sequence numbers start at 1, and exactly the first of a line has none before it.
    #[error("sequence {0} is inconsistent with the given previous act")]
    Sequence(u64),
    /// Empty, too long, or with characters that do not print.
    #[error("the reason is not 1 to {MAX_REASON} printable characters")]
    Reason,
    /// Signed under another roster.
    #[error("the stop names roster {found}, but the current one is {current}")]
    Roster {
        /// Version named.
        found: u64,
        /// Version that holds.
        current: u64,
    },
    /// Not signed by an active custodian or a member on call.
    #[error("{0}")]
    Signature(WhyNot),
    /// A member who is neither a custodian nor on call.
    #[error("the member is neither a custodian nor on call")]
    Role,
}

impl StopBody {
    /// The canonical bytes.
    pub fn encode(&self) -> Result<Vec<u8>, JsonError> {
        json::canonical(self)
    }

    /// Reads a stop; nothing in it is judged by that.
    pub fn decode(bytes: &[u8]) -> Result<Self, JsonError> {
        json::require_canonical(bytes)
    }

    /// Whose signing it stops, if its line is one of stops.
    pub fn scope(&self) -> Result<&Scope, StopError> {
        match &self.line.subject {
            Subject::Stop(Scope::Ring(ring)) if ring.as_str() == LOG_RING => {
                Err(StopError::Subject(self.line.subject.clone()))
            }
            Subject::Stop(scope) => Ok(scope),
            other => Err(StopError::Subject(other.clone())),
        }
    }

    fn check(&self) -> Result<&Scope, StopError> {
        let scope = self.scope()?;
        let Line {
            previous, sequence, ..
        } = &self.line;
        if *sequence == 0 || (*sequence == 1) != previous.is_none() {
            return Err(StopError::Sequence(*sequence));
        }
        match text::is_plain(&self.reason, MAX_REASON) {
            true => Ok(scope),
            false => Err(StopError::Reason),
        }
    }
}

/// The file that a member signs to stop signing.
pub fn stop_message(service: &Name, environment: &Name, body: &[u8]) -> Vec<u8> {
    let namespace = Namespace::new(Purpose::Stop, service, environment);
    dsse::pae(&namespace.to_string(), body)
}

/// Who stops, under the roster that the stop names, which is the newest of `trusted`. Suspensions are for whoever takes
/// the stop: a suspended member's key may be a thief's, and any other custodian can stop as well.
pub fn verify_stop(
    trusted: &Trusted,
    body: &[u8],
    signature: &MemberSignature,
) -> Result<VerifiedStop, StopError> {
    let namespace = Namespace::new(Purpose::Stop, trusted.service(), trusted.environment());
    let message = dsse::pae(&namespace.to_string(), body);
    let ballot = Ballot {
        signature,
        late: false,
    };
    let stoppers = Electorate::stoppers(trusted.roster());
    let (counted, not_counted) = count(&stoppers, &namespace, &message, [ballot]);
    let Some(counted) = counted.into_iter().next() else {
        let why = not_counted.into_iter().next().map(|each| each.why);
        return Err(match why.unwrap_or(WhyNot::UnknownKey) {
            WhyNot::Role => StopError::Role,
            why => StopError::Signature(why),
        });
    };
    let read = StopBody::decode(body)?;
    let current = trusted.roster_ref();
    if read.roster != current {
        return Err(StopError::Roster {
            found: read.roster.version,
            current: current.version,
        });
    }
    let scope = read.check()?.clone();
    Ok(VerifiedStop {
        digest: Sha256Digest::of(body),
        scope,
        by: counted.member,
        body: read,
    })
}

/// The documents up to a roster, unverified; none where it is not one of them.
pub fn chain_of(chains: &Chains, roster: DocumentRef) -> Option<Chains> {
    let is_it = |change: &Change| match change {
        Change::Roster(document) => Sha256Digest::of(document.body.as_bytes()) == roster.digest,
        Change::Recovery(recovery) => {
            Sha256Digest::of(recovery.document.body.as_bytes()) == roster.digest
        }
        Change::Policy(_) | Change::RecoveryRoster(_) => false,
    };
    let length = match roster.version {
        1 => 0,
        _ => chains.changes.iter().position(is_it)? + 1,
    };
    Some(Chains {
        genesis: chains.genesis.clone(),
        changes: chains.changes.get(..length)?.to_vec(),
    })
}

/// The chain as it was under a roster, if that is one of it.
pub fn roster_of(chains: &Chains, pin: &Pin, roster: DocumentRef) -> Option<Trusted> {
    let trusted = walk(&chain_of(chains, roster)?, pin).ok()?;
    (trusted.roster_ref() == roster).then_some(trusted)
}
