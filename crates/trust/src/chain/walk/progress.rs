//! How far a document is that members are still signing. [`super::walk`] has the last word; this says what it
//! would, signature by signature, before there are enough.

use std::collections::BTreeSet;

use super::document::{Document, ExpectedDocument};
use super::possible;
use crate::chain::{ChainError, Change, Pin, Trusted};
use crate::namespace::Purpose;
use crate::policy::{Policy, Threshold};
use crate::roster::{MemberId, Roster};
use crate::sshkey::SshKey;
use crate::tally::{Counted, Electorate, NotCounted};

/// How far a document is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// How many custodians it needs, of the old roster and of the new one.
    pub needed: Threshold,
    /// Who counts by the roster before.
    pub old: Vec<Counted>,
    /// Who counts by the roster that it would install; for a policy the same.
    pub new: Vec<Counted>,
    /// Keys that are new for their member and have not signed yet.
    pub unproven: Vec<(MemberId, SshKey)>,
    /// Signatures that are good for nothing, and why they do not count by the roster before.
    pub not_counted: Vec<NotCounted>,
}

impl Progress {
    /// Whether nothing is missing.
    pub fn is_complete(&self) -> bool {
        let enough = |counted: &[Counted]| counted.len() >= self.needed.get();
        enough(&self.old) && enough(&self.new) && self.unproven.is_empty()
    }

    /// Whether the signature at this place counts or proves a key.
    pub fn serves(&self, index: usize) -> bool {
        !self.not_counted.iter().any(|not| not.index == index)
    }
}

/// Counts the signatures of the document that may come next. `suspended` members are not counted; a key that only the
/// new roster has is proven all the same, since whoever is suspended gets one by it.
///
/// An error is of a document that cannot follow, whoever signs it.
pub fn progress(
    trusted: &Trusted,
    change: &Change,
    suspended: &BTreeSet<MemberId>,
) -> Result<Progress, ChainError> {
    let pin = Pin {
        genesis: trusted.documents.first().copied().unwrap_or(trusted.head()),
        service: trusted.service().clone(),
        environment: trusted.environment().clone(),
    };
    let index = trusted.documents.len();
    match change {
        Change::Roster(signed) => {
            let document = Document::new(signed, Purpose::Roster, &pin, index);
            let roster: Roster = document.read()?;
            let next = ExpectedDocument {
                version: trusted.roster.version + 1,
                previous: Some(trusted.head()),
            };
            let (service, environment) = (&roster.service, &roster.environment);
            document.stands_at(next, service, environment, roster.version, roster.previous)?;
            possible(&roster, &trusted.policy, index)?;
            roster
                .follows(&trusted.roster, &trusted.key_owners)
                .map_err(|source| ChainError::Roster { index, source })?;
            let needed = trusted.policy.thresholds.of("roster");
            let new_keys = document.new_keys(Some(&trusted.roster), &roster);
            Ok(count(
                &document,
                needed,
                [&trusted.roster, &roster],
                new_keys,
                suspended,
            ))
        }
        Change::Policy(signed) => {
            let document = Document::new(signed, Purpose::Policy, &pin, index);
            let policy: Policy = document.read()?;
            let next = ExpectedDocument {
                version: trusted.policy.version + 1,
                previous: Some(trusted.head()),
            };
            let (service, environment) = (&policy.service, &policy.environment);
            document.stands_at(next, service, environment, policy.version, policy.previous)?;
            possible(&trusted.roster, &policy, index)?;
            let old = trusted.policy.thresholds.of("policy");
            let needed = Threshold::max(old, policy.thresholds.of("policy"));
            let roster = &trusted.roster;
            Ok(count(
                &document,
                needed,
                [roster, roster],
                Vec::new(),
                suspended,
            ))
        }
    }
}

fn count(
    document: &Document<'_>,
    needed: Threshold,
    [old, new]: [&Roster; 2],
    new_keys: Vec<(MemberId, SshKey)>,
    suspended: &BTreeSet<MemberId>,
) -> Progress {
    let by = |roster| document.counted(&Electorate::custodians(roster).suspending(suspended));
    let (old, mut not_counted) = by(old);
    let (new, not_by_new) = by(new);
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
        unproven: unproven.cloned().collect(),
        old,
        new,
        not_counted,
    }
}
