//! Who is not counted, because a suspension holds.

use std::collections::BTreeSet;

use super::count::{Ballot, Electorate, count};
use crate::chain::Trusted;
use crate::dsse;
use crate::json;
use crate::namespace::{Namespace, Purpose};
use crate::roster::MemberId;
use crate::suspension::{Suspension, SuspensionBody};

/// The members that are suspended. What does not hold has no effect: a stranger must not be able
/// to silence a custodian.
pub(super) fn suspended(trusted: &Trusted, suspensions: &[Suspension]) -> BTreeSet<MemberId> {
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
