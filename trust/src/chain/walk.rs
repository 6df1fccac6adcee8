//! Walking the chain: the only way to a [`Trusted`].

use crate::digest::Sha256Digest;
use crate::dsse;
use crate::json;
use crate::name::Name;
use crate::namespace::{Namespace, Purpose};
use crate::policy::{Policy, Threshold};
use crate::request::DocumentRef;
use crate::roster::{MemberKey, Role, Roster};
use crate::tally::{Ballot, Electorate, count};

use super::{ChainError, Chains, Change, Genesis, Pin, SignedDocument, Trusted};

/// Walks from the pinned genesis to the newest document. Every document is verified over its
/// stored bytes by the rules of the one before it.
pub fn walk(chains: &Chains, pin: &Pin) -> Result<Trusted, ChainError> {
    let mut trusted = genesis(&chains.genesis, pin)?;
    for (at, change) in chains.changes.iter().enumerate() {
        let index = at + 1;
        match change {
            Change::Roster(document) => next_roster(&mut trusted, document, index)?,
            Change::Policy(document) => next_policy(&mut trusted, document, index)?,
        }
    }
    Ok(trusted)
}

fn genesis(document: &SignedDocument, pin: &Pin) -> Result<Trusted, ChainError> {
    let bytes = document.body.as_bytes();
    let found = Sha256Digest::of(bytes);
    if found != pin.genesis {
        return Err(ChainError::Genesis {
            found,
            pinned: pin.genesis,
        });
    }
    let unverified: Genesis = read(bytes, 0)?;
    for (service, environment) in [
        (&unverified.roster.service, &unverified.roster.environment),
        (&unverified.policy.service, &unverified.policy.environment),
    ] {
        here(pin, service, environment, 0)?;
    }
    for (version, previous) in [
        (unverified.roster.version, unverified.roster.previous),
        (unverified.policy.version, unverified.policy.previous),
    ] {
        follows(0, (version, 1), (previous, None))?;
    }
    possible(&unverified.roster, &unverified.policy, 0)?;

    // All members, which is also their proof of possession and their acknowledgement of duty.
    let members = unverified
        .roster
        .members
        .iter()
        .filter(|member| member.active)
        .count();
    let namespace = Namespace::new(Purpose::Genesis, &pin.service, &pin.environment);
    signed_by(
        &Electorate::everybody(&unverified.roster),
        &namespace,
        document,
        members,
        "all members",
        0,
    )?;

    let reference = |bytes: &[u8]| DocumentRef {
        version: 1,
        digest: Sha256Digest::of(bytes),
    };
    let written = |error| ChainError::Json {
        index: 0,
        source: error,
    };
    Ok(Trusted {
        roster_ref: reference(&json::canonical(&unverified.roster).map_err(written)?),
        policy_ref: reference(&json::canonical(&unverified.policy).map_err(written)?),
        roster: unverified.roster,
        policy: unverified.policy,
        documents: vec![found],
    })
}

/// TUF 5.3.4: the threshold of the old roster and of the new one; and every new key shows that
/// somebody has it.
fn next_roster(
    trusted: &mut Trusted,
    document: &SignedDocument,
    index: usize,
) -> Result<(), ChainError> {
    let bytes = document.body.as_bytes();
    let unverified: Roster = read(bytes, index)?;
    here_too(trusted, &unverified.service, &unverified.environment, index)?;
    let expected = trusted.roster.version + 1;
    follows(
        index,
        (unverified.version, expected),
        (unverified.previous, Some(trusted.head())),
    )?;
    possible(&unverified, &trusted.policy, index)?;

    let namespace = Namespace::new(Purpose::Roster, trusted.service(), trusted.environment());
    let needed = trusted.policy.thresholds.roster_change.get();
    signed_by(
        &Electorate::custodians(&trusted.roster),
        &namespace,
        document,
        needed,
        "the old roster",
        index,
    )?;
    signed_by(
        &Electorate::custodians(&unverified),
        &namespace,
        document,
        needed,
        "the new roster",
        index,
    )?;
    let message = dsse::pae(&namespace.to_string(), bytes);
    for member in unverified.members.iter().filter(|member| member.active) {
        for MemberKey::Ssh { public } in &member.keys {
            let known = trusted
                .roster
                .owner(public)
                .is_some_and(|owner| owner.id == member.id);
            let shown = || {
                document.signatures.iter().any(|signature| {
                    crate::sshsig::verify(signature, &namespace, &message).as_ref() == Ok(public)
                })
            };
            if !known && !shown() {
                let what = format!("the new key of {}", member.id);
                return Err(ChainError::Signatures { index, what });
            }
        }
    }
    let digest = Sha256Digest::of(bytes);
    trusted.documents.push(digest);
    trusted.roster_ref = DocumentRef {
        version: unverified.version,
        digest,
    };
    trusted.roster = unverified;
    Ok(())
}

/// The threshold of the old policy and of the new one.
fn next_policy(
    trusted: &mut Trusted,
    document: &SignedDocument,
    index: usize,
) -> Result<(), ChainError> {
    let bytes = document.body.as_bytes();
    let unverified: Policy = read(bytes, index)?;
    here_too(trusted, &unverified.service, &unverified.environment, index)?;
    let expected = trusted.policy.version + 1;
    follows(
        index,
        (unverified.version, expected),
        (unverified.previous, Some(trusted.head())),
    )?;
    possible(&trusted.roster, &unverified, index)?;

    let namespace = Namespace::new(Purpose::Policy, trusted.service(), trusted.environment());
    let old = trusted.policy.thresholds.policy_change;
    let needed = Threshold::max(old, unverified.thresholds.policy_change).get();
    let custodians = Electorate::custodians(&trusted.roster);
    signed_by(
        &custodians,
        &namespace,
        document,
        needed,
        "the old and the new threshold",
        index,
    )?;
    let digest = Sha256Digest::of(bytes);
    trusted.documents.push(digest);
    trusted.policy_ref = DocumentRef {
        version: unverified.version,
        digest,
    };
    trusted.policy = unverified;
    Ok(())
}

fn read<T: serde::de::DeserializeOwned + serde::Serialize>(
    bytes: &[u8],
    index: usize,
) -> Result<T, ChainError> {
    json::require_canonical(bytes).map_err(|source| ChainError::Json { index, source })
}

fn here(pin: &Pin, service: &Name, environment: &Name, index: usize) -> Result<(), ChainError> {
    if (service, environment) == (&pin.service, &pin.environment) {
        return Ok(());
    }
    Err(ChainError::Elsewhere {
        index,
        service: service.clone(),
        environment: environment.clone(),
    })
}

fn here_too(
    trusted: &Trusted,
    service: &Name,
    environment: &Name,
    index: usize,
) -> Result<(), ChainError> {
    if (service, environment) == (trusted.service(), trusted.environment()) {
        return Ok(());
    }
    Err(ChainError::Elsewhere {
        index,
        service: service.clone(),
        environment: environment.clone(),
    })
}

fn follows(
    index: usize,
    (found, expected): (u64, u64),
    (previous, head): (Option<Sha256Digest>, Option<Sha256Digest>),
) -> Result<(), ChainError> {
    if found != expected {
        return Err(ChainError::Version {
            index,
            found,
            expected,
        });
    }
    if previous != head {
        Err(ChainError::Previous { index })
    } else {
        Ok(())
    }
}

/// Every threshold can be reached by the active custodians, if the proposer is none of them. Fewer
/// would be a service that can never again do what the policy allows.
fn possible(roster: &Roster, policy: &Policy, index: usize) -> Result<(), ChainError> {
    roster
        .check()
        .map_err(|source| ChainError::Roster { index, source })?;
    let custodians = roster.active(Role::Custodian).count();
    let threshold = policy.thresholds.largest();
    if threshold.get() > custodians {
        return Err(ChainError::Unreachable {
            index,
            threshold,
            custodians,
        });
    }
    Ok(())
}

fn signed_by(
    electorate: &Electorate<'_>,
    namespace: &Namespace,
    document: &SignedDocument,
    needed: usize,
    whom: &str,
    index: usize,
) -> Result<(), ChainError> {
    let message = dsse::pae(&namespace.to_string(), document.body.as_bytes());
    let ballots = document.signatures.iter().map(|signature| Ballot {
        signature,
        late: false,
    });
    let (counted, not_counted) = count(electorate, namespace, &message, ballots);
    if counted.len() >= needed {
        return Ok(());
    }
    let mut what = format!("{} of {needed} for {whom}", counted.len());
    for each in not_counted {
        what.push_str(&format!("; signature {}: {}", each.index, each.why));
    }
    Err(ChainError::Signatures { index, what })
}
