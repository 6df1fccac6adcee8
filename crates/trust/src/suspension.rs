//! Suspensions: a member whose key may be in other hands is not counted until the roster changed.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::bytes16::Nonce;
use crate::chain::Trusted;
use crate::dsse;
use crate::format::V1;
use crate::json::{self, JsonError};
use crate::member_signature::MemberSignature;
use crate::namespace::{Namespace, Purpose};
use crate::request::DocumentRef;
use crate::roster::MemberId;
use crate::tally::{Ballot, Electorate, count};
use crate::time::Time;

/// A signed suspension, not yet verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suspension {
    /// Canonical JSON of a [`SuspensionBody`].
    pub body: String,
    /// When the service received it, by the log's time.
    pub received_at: Time,
    /// Over the body: one by the member, or two by other custodians.
    pub signatures: Vec<MemberSignature>,
}

/// What is signed to suspend a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SuspensionBody {
    /// The member.
    pub member: MemberId,
    /// Used once.
    pub nonce: Nonce,
    /// Why, in words.
    pub reason: String,
    /// The roster under which it holds; the next one settles it.
    pub roster: DocumentRef,
    /// Format version.
    pub v: V1,
}

impl SuspensionBody {
    /// The canonical bytes.
    pub fn encode(&self) -> Result<Vec<u8>, JsonError> {
        json::canonical(self)
    }
}

/// The members that are suspended. What does not hold has no effect: a stranger must not be able
/// to silence a custodian.
pub(crate) fn suspended(trusted: &Trusted, suspensions: &[Suspension]) -> BTreeSet<MemberId> {
    suspensions
        .iter()
        .filter_map(|suspension| holds(trusted, suspension))
        .collect()
}

fn holds(trusted: &Trusted, suspension: &Suspension) -> Option<MemberId> {
    let body: SuspensionBody = json::require_canonical(suspension.body.as_bytes()).ok()?;
    if body.roster != trusted.roster_ref() {
        return None;
    }
    let namespace = Namespace::new(Purpose::Suspend, trusted.service(), trusted.environment());
    let message = dsse::pae(&namespace.to_string(), suspension.body.as_bytes());
    let by = |electorate: &Electorate<'_>| {
        let ballots = suspension.signatures.iter().map(|signature| Ballot {
            signature,
            late: false,
        });
        count(electorate, &namespace, &message, ballots).0
    };
    let everybody = by(&Electorate::everybody(trusted.roster()));
    let own = everybody
        .iter()
        .any(|counted| counted.member == body.member);
    let custodians = Electorate::custodians(trusted.roster()).without(Some(&body.member));
    (own || by(&custodians).len() >= 2).then_some(body.member)
}
