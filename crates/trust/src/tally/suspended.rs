//! Who is not counted, because a suspension holds.

use std::collections::BTreeSet;

use super::count::{Ballot, Counted, Electorate, NotCounted, count};
use crate::chain::Trusted;
use crate::dsse;
use crate::json::{self, JsonError};
use crate::namespace::{Namespace, Purpose};
use crate::policy::Threshold;
use crate::roster::MemberId;
use crate::suspension::{Suspension, SuspensionBody};

/// How far a suspension is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SuspensionTally {
    /// Who is suspended by it.
    pub member: MemberId,
    /// Whether the member signed.
    pub by_the_member: bool,
    /// The member, or the other custodians who signed.
    pub counted: Vec<Counted>,
    /// What did not count, and why.
    pub not_counted: Vec<NotCounted>,
}

impl SuspensionTally {
    /// One by the member, or two by other custodians: a stranger must not be able to silence one.
    pub fn holds(&self) -> bool {
        self.by_the_member || self.counted.len() >= Threshold::FLOOR.get()
    }
}

/// A suspension that has no effect, whoever signs it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SuspensionError {
    /// Not canonical JSON of its form.
    #[error("the suspension cannot be parsed: {0}")]
    Unreadable(#[from] JsonError),
    /// The next roster settled it, or it is from elsewhere.
    #[error("the suspension is not about the current roster")]
    OtherRoster,
    /// There is nobody to suspend.
    #[error("{0} is not an active member")]
    Member(MemberId),
}

/// The members that are suspended. What does not hold has no effect.
pub fn suspended(trusted: &Trusted, suspensions: &[Suspension]) -> BTreeSet<MemberId> {
    let tallies = suspensions
        .iter()
        .filter_map(|suspension| tally_suspension(trusted, suspension).ok());
    let holds = tallies.filter(SuspensionTally::holds);
    holds.map(|tally| tally.member).collect()
}

/// Counts the signatures of a suspension.
pub fn tally_suspension(
    trusted: &Trusted,
    suspension: &Suspension,
) -> Result<SuspensionTally, SuspensionError> {
    let body: SuspensionBody = json::require_canonical(suspension.body.as_bytes())?;
    if body.roster != trusted.roster_ref() {
        return Err(SuspensionError::OtherRoster);
    }
    let listed = trusted.roster().member(&body.member);
    if !listed.is_some_and(|member| member.active) {
        return Err(SuspensionError::Member(body.member));
    }
    let namespace = Namespace::new(Purpose::Suspend, trusted.service(), trusted.environment());
    let message = dsse::pae(&namespace.to_string(), suspension.body.as_bytes());
    let by = |electorate: &Electorate<'_>| {
        let ballots = suspension.signatures.iter().map(|signature| Ballot {
            signature,
            late: false,
        });
        count(electorate, &namespace, &message, ballots)
    };
    let everybody = by(&Electorate::everybody(trusted.roster())).0;
    let mut own = everybody.into_iter();
    let own = own.find(|counted| counted.member == body.member);
    let custodians = Electorate::custodians(trusted.roster()).without(Some(&body.member));
    let (mut counted, mut not_counted) = by(&custodians);
    let by_the_member = own.is_some();
    if let Some(own) = own {
        not_counted.retain(|not| not.index != own.index);
        counted.insert(0, own);
    }
    Ok(SuspensionTally {
        member: body.member,
        by_the_member,
        counted,
        not_counted,
    })
}
