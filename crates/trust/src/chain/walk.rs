//! Walking the chain: the only way to a [`Trusted`].

mod document;
mod progress;
mod recover;

use crate::digest::Sha256Digest;
use crate::json;
use crate::namespace::Purpose;
use crate::policy::{Policy, Threshold};
use crate::request::DocumentRef;
use crate::roster::{KeyOwners, Member, Role, Roster};
use crate::tally::Electorate;

use super::{ChainError, Chains, Change, Genesis, Pin, SignedDocument, Trusted};
use document::{Document, ExpectedDocument};
pub use progress::{Next, Progress, progress};
use recover::{LogKeysOfChain, next_recovery_roster, recover};

pub use recover::verify_recovery_document;

/// Walks from the pinned genesis to the newest document; `log_keys` verifies the transcripts of the
/// log's keys where a change has some.
pub(crate) fn walk_with(
    chains: &Chains,
    pin: &Pin,
    log_keys: LogKeysOfChain,
) -> Result<Trusted, ChainError> {
    let mut trusted = genesis(&chains.genesis, pin)?;
    for (at, change) in chains.changes.iter().enumerate() {
        let index = at + 1;
        match change {
            Change::Roster(signed) => next_roster(&mut trusted, signed, pin, index)?,
            Change::Policy(signed) => next_policy(&mut trusted, signed, pin, index)?,
            Change::RecoveryRoster(signed) => {
                next_recovery_roster(&mut trusted, signed, pin, index)?;
            }
            Change::Recovery(change) => recover(&mut trusted, change, pin, index, log_keys)?,
        }
    }
    Ok(trusted)
}

fn genesis(signed: &SignedDocument, pin: &Pin) -> Result<Trusted, ChainError> {
    let document = Document::new(signed, Purpose::Genesis, pin, 0);
    let found = document.digest();
    if found != pin.genesis {
        return Err(ChainError::Genesis {
            found,
            pinned: pin.genesis,
        });
    }
    let unverified: Genesis = document.read()?;
    let Genesis { roster, policy, .. } = &unverified;
    let first = ExpectedDocument {
        version: 1,
        previous: None,
    };
    document.stands_at(
        first,
        &roster.service,
        &roster.environment,
        roster.version,
        roster.previous,
    )?;
    document.stands_at(
        first,
        &policy.service,
        &policy.environment,
        policy.version,
        policy.previous,
    )?;
    possible(roster, policy, 0)?;

    // All members with all their keys, which is also their acknowledgement of duty.
    let members = roster.members.iter().filter(|member| member.active).count();
    document.signed_by(&Electorate::everybody(roster), members, "all members")?;
    document.shows_new_keys(None, roster)?;

    let Genesis { roster, policy, .. } = unverified;
    let reference = |canonical: Result<Vec<u8>, _>| match canonical {
        Ok(bytes) => Ok(DocumentRef {
            version: 1,
            digest: Sha256Digest::of(&bytes),
        }),
        Err(source) => Err(ChainError::Json { index: 0, source }),
    };
    let mut key_owners = KeyOwners::default();
    key_owners.extend(&roster);
    Ok(Trusted {
        roster_ref: reference(json::canonical(&roster))?,
        policy_ref: reference(json::canonical(&policy))?,
        roster,
        policy,
        documents: vec![found],
        key_owners,
        recovery: None,
        recoveries: Vec::new(),
    })
}

/// TUF 5.3.4: the threshold of the old roster and of the new one; and every new key shows that
/// somebody has it.
fn next_roster(
    trusted: &mut Trusted,
    signed: &SignedDocument,
    pin: &Pin,
    index: usize,
) -> Result<(), ChainError> {
    let document = Document::new(signed, Purpose::Roster, pin, index);
    let unverified: Roster = document.read()?;
    let Roster {
        service,
        environment,
        version,
        previous,
        ..
    } = &unverified;
    let next = ExpectedDocument {
        version: trusted.roster.version + 1,
        previous: Some(trusted.head()),
    };
    document.stands_at(next, service, environment, *version, *previous)?;
    possible(&unverified, &trusted.policy, index)?;
    unverified
        .follows(&trusted.roster, &trusted.key_owners)
        .map_err(|source| ChainError::Roster { index, source })?;

    let needed = trusted.policy.thresholds.of("roster").get();
    document.signed_by(
        &Electorate::custodians(&trusted.roster),
        needed,
        "the old roster",
    )?;
    document.signed_by(
        &Electorate::custodians(&unverified),
        needed,
        "the new roster",
    )?;
    document.shows_new_keys(Some(&trusted.roster), &unverified)?;

    accept_roster(trusted, unverified, document.digest());
    Ok(())
}

/// The roster holds from here on.
fn accept_roster(trusted: &mut Trusted, roster: Roster, digest: Sha256Digest) {
    trusted.documents.push(digest);
    trusted.roster_ref = DocumentRef {
        version: roster.version,
        digest,
    };
    trusted.key_owners.extend(&roster);
    trusted.roster = roster;
}

/// The threshold of the old policy and of the new one.
fn next_policy(
    trusted: &mut Trusted,
    signed: &SignedDocument,
    pin: &Pin,
    index: usize,
) -> Result<(), ChainError> {
    let document = Document::new(signed, Purpose::Policy, pin, index);
    let unverified: Policy = document.read()?;
    let Policy {
        service,
        environment,
        version,
        previous,
        ..
    } = &unverified;
    let next = ExpectedDocument {
        version: trusted.policy.version + 1,
        previous: Some(trusted.head()),
    };
    document.stands_at(next, service, environment, *version, *previous)?;
    possible(&trusted.roster, &unverified, index)?;

    let old = trusted.policy.thresholds.of("policy");
    let needed = Threshold::max(old, unverified.thresholds.of("policy")).get();
    let custodians = Electorate::custodians(&trusted.roster);
    document.signed_by(&custodians, needed, "the old and the new threshold")?;

    trusted.documents.push(document.digest());
    trusted.policy_ref = DocumentRef {
        version: unverified.version,
        digest: document.digest(),
    };
    trusted.policy = unverified;
    Ok(())
}

/// Every threshold can be reached although whoever proposes does not count: by one custodian fewer
/// than there are, or by all of them where somebody else can propose. Anything else would be a
/// service that can never do what the policy allows. `index` is the place in the chain, for errors.
pub fn possible(roster: &Roster, policy: &Policy, index: usize) -> Result<(), ChainError> {
    policy
        .check()
        .map_err(|source| ChainError::Policy { index, source })?;
    roster
        .check()
        .map_err(|source| ChainError::Roster { index, source })?;
    let custodians = roster.active(Role::Custodian).count();
    let is_custodian = |member: &Member| member.roles.contains(&Role::Custodian);
    let proposer = roster
        .active(Role::Operator)
        .any(|member| !is_custodian(member));
    let threshold = policy.thresholds.largest();
    if threshold.get() + usize::from(!proposer) > custodians {
        return Err(ChainError::Unreachable {
            index,
            threshold,
            custodians,
        });
    }
    Ok(())
}
