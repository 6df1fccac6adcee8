//! Walking the chain: the only way to a [`Trusted`].

mod candidate;
mod document;
mod recover;

use std::collections::BTreeSet;

use crate::digest::Sha256Digest;
use crate::json;
use crate::policy::Policy;
use crate::request::DocumentRef;
use crate::roster::{KeyOwners, Member, Role, Roster};

use super::{ChainError, Chains, Change, Genesis, Pin, SignedDocument, Trusted};
use candidate::{first, next_policy, next_recovery_roster, next_roster};
use recover::{LogKeysOfChain, recover};

pub use candidate::{Next, Progress, progress};

/// Walks from the pinned genesis to the newest document; `log_keys` verifies the transcripts of the
/// log's keys where a change has some.
pub(crate) fn walk_with(
    chains: &Chains,
    pin: &Pin,
    log_keys: LogKeysOfChain,
) -> Result<Trusted, ChainError> {
    let mut trusted = genesis(&chains.genesis, pin)?;
    // A suspension is no matter of the chain: its documents count for ever, or never.
    let nobody = BTreeSet::new();
    for change in &chains.changes {
        match change {
            Change::Roster(signed) => {
                let (roster, digest) = next_roster(&trusted, signed, &nobody)?.verified()?;
                trusted.accept_roster(roster, digest);
            }
            Change::Policy(signed) => {
                let (policy, digest) = next_policy(&trusted, signed, &nobody)?.verified()?;
                trusted.documents.push(digest);
                let version = policy.version;
                trusted.policy_ref = DocumentRef { version, digest };
                trusted.policy = policy;
            }
            Change::RecoveryRoster(signed) => {
                let next = next_recovery_roster(&trusted, signed, &nobody)?;
                let (next, digest) = next.verified()?;
                trusted.documents.push(digest);
                trusted.key_owners.extend_recovery(&next.as_roster());
                let version = next.version;
                trusted.recovery = Some((next, DocumentRef { version, digest }));
            }
            Change::Recovery(change) => recover(&mut trusted, change, pin, log_keys)?,
        }
    }
    Ok(trusted)
}

fn genesis(signed: &SignedDocument, pin: &Pin) -> Result<Trusted, ChainError> {
    let (Genesis { roster, policy, .. }, digest) = first(signed, pin)?.verified()?;
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
        documents: vec![digest],
        key_owners,
        recovery: None,
        recoveries: Vec::new(),
    })
}

impl Trusted {
    /// The roster holds from here on.
    fn accept_roster(&mut self, roster: Roster, digest: Sha256Digest) {
        self.documents.push(digest);
        self.roster_ref = DocumentRef {
            version: roster.version,
            digest,
        };
        self.key_owners.extend(&roster);
        self.roster = roster;
    }
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
