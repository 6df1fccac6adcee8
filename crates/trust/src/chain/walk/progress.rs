//! How far a document is that members are still signing. `walk` has the last word; this says what it
//! would, signature by signature, before there are enough.

use std::collections::BTreeSet;

use super::document::{Document, ExpectedDocument};
use super::possible;
use crate::chain::recovery::RecoveryError;
use crate::chain::{ChainError, Pin, SignedDocument, Trusted};
use crate::namespace::Purpose;
use crate::policy::{Policy, Threshold};
use crate::recovery::RecoveryRoster;
use crate::roster::{MemberId, Roster};
use crate::sshkey::SshKey;
use crate::tally::{Counted, Electorate, NotCounted};

/// How far a document is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// How many it needs of those who decide: custodians, or members of the recovery roster.
    pub needed: Threshold,
    /// How many custodians of the roster that it would install; for a policy the same.
    pub needed_new: Threshold,
    /// Who counts of those who decide.
    pub old: Vec<Counted>,
    /// Who counts by the roster that it would install.
    pub new: Vec<Counted>,
    /// Keys that are new for their member and have not signed yet.
    pub unproven: Vec<(MemberId, SshKey)>,
    /// Signatures that are good for nothing, and why they do not count by the roster before.
    pub not_counted: Vec<NotCounted>,
}

impl Progress {
    /// Whether nothing is missing.
    pub fn is_complete(&self) -> bool {
        self.old.len() >= self.needed.get()
            && self.new.len() >= self.needed_new.get()
            && self.unproven.is_empty()
    }

    /// Whether the signature at this place counts or proves a key.
    pub fn serves(&self, index: usize) -> bool {
        !self.not_counted.iter().any(|not| not.index == index)
    }
}

/// A document on its way into the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The next roster.
    Roster,
    /// The next policy.
    Policy,
    /// The next recovery roster.
    RecoveryRoster,
    /// The next roster, by the recovery roster. What the log says of it is not asked here.
    Recovery,
}

/// Counts the signatures of the document that may come next. `suspended` members are not counted; a key that only the
/// new roster has is proven all the same, since whoever is suspended gets one by it.
///
/// An error is of a document that cannot follow, whoever signs it.
pub fn progress(
    trusted: &Trusted,
    next: Next,
    signed: &SignedDocument,
    suspended: &BTreeSet<MemberId>,
) -> Result<Progress, ChainError> {
    let pin = Pin {
        genesis: trusted.documents.first().copied().unwrap_or(trusted.head()),
        service: trusted.service().clone(),
        environment: trusted.environment().clone(),
    };
    let index = trusted.documents.len();
    let of = |purpose| Document::new(signed, purpose, &pin, index);
    let custodians = |roster| Electorate::custodians(roster).suspending(suspended);
    match next {
        Next::Roster => {
            let document = of(Purpose::Roster);
            let roster = next_roster(trusted, &document, index)?;
            let needed = trusted.policy.thresholds.of("roster");
            let keys = document.new_keys(Some(&trusted.roster), &roster);
            let electorates = [custodians(&trusted.roster), custodians(&roster)];
            Ok(count(&document, [needed; 2], electorates, keys))
        }
        Next::Policy => {
            let document = of(Purpose::Policy);
            let policy: Policy = document.read()?;
            let expected = ExpectedDocument {
                version: trusted.policy.version + 1,
                previous: Some(trusted.head()),
            };
            let (service, environment) = (&policy.service, &policy.environment);
            document.stands_at(
                expected,
                service,
                environment,
                policy.version,
                policy.previous,
            )?;
            possible(&trusted.roster, &policy, index)?;
            let old = trusted.policy.thresholds.of("policy");
            let needed = Threshold::max(old, policy.thresholds.of("policy"));
            let electorates = [custodians(&trusted.roster), custodians(&trusted.roster)];
            Ok(count(&document, [needed; 2], electorates, Vec::new()))
        }
        Next::RecoveryRoster => {
            let document = of(Purpose::RecoveryRoster);
            let next: RecoveryRoster = document.read()?;
            let before = trusted.recovery.as_ref();
            let expected = ExpectedDocument {
                version: before.map_or(0, |(_, reference)| reference.version) + 1,
                previous: Some(trusted.head()),
            };
            let (service, environment) = (&next.service, &next.environment);
            document.stands_at(expected, service, environment, next.version, next.previous)?;
            trusted
                .may_enrol(&next)
                .map_err(|source| ChainError::RecoveryRoster { index, source })?;
            let needed = trusted.policy.thresholds.of("recovery-roster");
            let keys = document.new_keys(None, &next.as_roster());
            let electorates = [custodians(&trusted.roster), custodians(&trusted.roster)];
            Ok(count(&document, [needed; 2], electorates, keys))
        }
        Next::Recovery => {
            let document = of(Purpose::Recover);
            let Some((entitled, _)) = &trusted.recovery else {
                let source = RecoveryError::NotEnrolled;
                return Err(ChainError::Recovery { index, source });
            };
            let roster = next_roster(trusted, &document, index)?;
            let people = entitled.as_roster();
            let needed = [entitled.threshold, trusted.policy.thresholds.of("roster")];
            let keys = document.new_keys(Some(&trusted.roster), &roster);
            // Suspensions are the old roster's; whoever recovers is on none.
            let electorates = [
                Electorate::everybody(&people),
                Electorate::custodians(&roster),
            ];
            Ok(count(&document, needed, electorates, keys))
        }
    }
}

/// What the body says, if it may follow.
fn next_roster(
    trusted: &Trusted,
    document: &Document<'_>,
    index: usize,
) -> Result<Roster, ChainError> {
    let roster: Roster = document.read()?;
    let expected = ExpectedDocument {
        version: trusted.roster.version + 1,
        previous: Some(trusted.head()),
    };
    let (service, environment) = (&roster.service, &roster.environment);
    document.stands_at(
        expected,
        service,
        environment,
        roster.version,
        roster.previous,
    )?;
    possible(&roster, &trusted.policy, index)?;
    roster
        .follows(&trusted.roster, &trusted.key_owners)
        .map_err(|source| ChainError::Roster { index, source })?;
    Ok(roster)
}

fn count(
    document: &Document<'_>,
    [needed, needed_new]: [Threshold; 2],
    [old, new]: [Electorate<'_>; 2],
    new_keys: Vec<(MemberId, SshKey)>,
) -> Progress {
    let (old, mut not_counted) = document.counted(&old);
    let (new, not_by_new) = document.counted(&new);
    let signed = document.keys();
    let proves = |index: usize| {
        let key = signed.get(index).and_then(Option::as_ref);
        new_keys.iter().any(|(_, new)| key == Some(new))
    };
    let by_neither = |not: &NotCounted| {
        not_by_new.iter().any(|other| other.index == not.index) && !proves(not.index)
    };
    not_counted.retain(by_neither);
    let unproven = new_keys
        .iter()
        .filter(|(_, key)| !signed.iter().flatten().any(|signer| signer == key));
    Progress {
        needed,
        needed_new,
        unproven: unproven.cloned().collect(),
        old,
        new,
        not_counted,
    }
}
