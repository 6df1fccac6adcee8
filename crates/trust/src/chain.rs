//! The chain of rosters and policies from the pinned genesis to today.
//!
//! After The Update Framework's root role: the first document is trusted because its digest is
//! pinned and all members signed it; every later one because enough members of the one before, and
//! enough of itself, signed it. A database only keeps copies.

mod recovery;
mod walk;
mod whole;

use serde::{Deserialize, Serialize};

use crate::digest::Sha256Digest;
use crate::dsse;
use crate::format::V1;
use crate::json::{self, JsonError};
use crate::member_signature::MemberSignature;
use crate::name::Name;
use crate::namespace::{Namespace, Purpose};
use crate::policy::{Policy, PolicyError, Threshold};
use crate::recovery::{RecoveryRoster, RecoveryRosterError};
use crate::request::DocumentRef;
use crate::roster::{KeyOwners, Roster, RosterError};

pub use recovery::{LoggedVeto, Recovered, Recovery, RecoveryError};
pub(crate) use walk::walk_with;
pub use walk::{Next, Progress, possible, progress};
pub use whole::walk;

/// What is configured in every replica, and printed: where trust starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// SHA-256 of the genesis document.
    pub genesis: Sha256Digest,
    /// The service.
    pub service: Name,
    /// The environment.
    pub environment: Name,
}

/// A document as it was signed, with its signatures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedDocument {
    /// Canonical JSON, the very text that was signed.
    pub body: String,
    /// Over `pae(namespace, body)`.
    pub signatures: Vec<MemberSignature>,
}

/// The first document: roster 1 and policy 1, signed by all members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Genesis {
    /// Format version.
    pub v: V1,
    /// Version 1.
    pub roster: Roster,
    /// Version 1.
    pub policy: Policy,
}

impl SignedDocument {
    /// The file that members sign: `ssh-keygen -Y sign -n NAMESPACE -f KEY FILE`.
    pub fn message(&self, namespace: &Namespace) -> Vec<u8> {
        dsse::pae(&namespace.to_string(), self.body.as_bytes())
    }
}

impl Genesis {
    /// The namespace that members sign in.
    pub fn namespace(&self) -> Namespace {
        Namespace::new(
            Purpose::Genesis,
            &self.roster.service,
            &self.roster.environment,
        )
    }

    /// The canonical bytes; their digest is what is pinned.
    pub fn encode(&self) -> Result<Vec<u8>, JsonError> {
        json::canonical(self)
    }
}

/// One later document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Change {
    /// The next [`Roster`].
    Roster(SignedDocument),
    /// The next [`Policy`].
    Policy(SignedDocument),
    /// The next [`RecoveryRoster`].
    RecoveryRoster(SignedDocument),
    /// The next [`Roster`], by the recovery roster.
    Recovery(Box<Recovery>),
}

/// All documents, oldest first. One line, not two: each document names the one before it, so there
/// is one answer to which roster a policy was changed under.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chains {
    /// The pinned one.
    pub genesis: SignedDocument,
    /// Everything since.
    pub changes: Vec<Change>,
}

/// The roster and policy that hold. Only [`walk()`] makes it.
#[derive(Debug)]
pub struct Trusted {
    roster: Roster,
    roster_ref: DocumentRef,
    policy: Policy,
    policy_ref: DocumentRef,
    /// Digests of all documents, oldest first.
    documents: Vec<Sha256Digest>,
    /// Every key of every roster so far, the recovery rosters included.
    key_owners: KeyOwners,
    recovery: Option<(RecoveryRoster, DocumentRef)>,
    recoveries: Vec<Recovered>,
}

impl Trusted {
    /// The current roster.
    pub fn roster(&self) -> &Roster {
        &self.roster
    }

    /// Version and digest of the current roster.
    pub fn roster_ref(&self) -> DocumentRef {
        self.roster_ref
    }

    /// The current policy.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Version and digest of the current policy.
    pub fn policy_ref(&self) -> DocumentRef {
        self.policy_ref
    }

    /// The current recovery roster, if one is enrolled.
    pub fn recovery(&self) -> Option<&RecoveryRoster> {
        self.recovery.as_ref().map(|(roster, _)| roster)
    }

    /// Version and digest of the current recovery roster.
    pub fn recovery_ref(&self) -> Option<DocumentRef> {
        self.recovery.as_ref().map(|(_, reference)| *reference)
    }

    /// The recoveries so far, oldest first. Whether the log has a veto that was left out of them is
    /// for the log's check.
    pub fn recoveries(&self) -> &[Recovered] {
        &self.recoveries
    }

    /// The service.
    pub fn service(&self) -> &Name {
        &self.roster.service
    }

    /// The environment.
    pub fn environment(&self) -> &Name {
        &self.roster.environment
    }

    /// Digest of the newest document; a successor names it as `previous`.
    pub fn head(&self) -> Sha256Digest {
        self.documents
            .last()
            .copied()
            .unwrap_or(self.roster_ref.digest)
    }

    /// Digest of the first document, which is pinned.
    pub fn genesis(&self) -> Sha256Digest {
        let first = self.documents.first();
        first.copied().unwrap_or(self.roster_ref.digest)
    }

    /// How many documents the chain has.
    pub fn length(&self) -> u64 {
        self.documents.len() as u64
    }

    /// Whether `older` is this chain at an earlier time. A transcript whose chain is not a
    /// beginning of today's was made by people who split off.
    pub fn extends(&self, older: &Self) -> bool {
        self.documents.starts_with(&older.documents)
    }
}

/// A chain that cannot be trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// Not the genesis that is pinned.
    #[error("the genesis has the digest {found}, pinned is {pinned}")]
    Genesis {
        /// Digest of the one found.
        found: Sha256Digest,
        /// Digest in the configuration.
        pinned: Sha256Digest,
    },
    /// A body that is not canonical JSON of the expected form.
    #[error("document {index}: {source}")]
    Json {
        /// Place in the chain, 0 for the genesis.
        index: usize,
        /// What is wrong.
        source: JsonError,
    },
    /// For another service or environment.
    #[error("document {index} is for {service}/{environment}")]
    Elsewhere {
        /// Place in the chain.
        index: usize,
        /// The service it is for.
        service: Name,
        /// The environment it is for.
        environment: Name,
    },
    /// The version is not exactly the next one.
    #[error("document {index} has version {found}, expected {expected}")]
    Version {
        /// Place in the chain.
        index: usize,
        /// The version it has.
        found: u64,
        /// The version it should have.
        expected: u64,
    },
    /// It does not follow the document before it.
    #[error("document {index} does not reference the previous document")]
    Previous {
        /// Place in the chain.
        index: usize,
    },
    /// A roster that cannot be trusted whoever signs it.
    #[error("document {index}: {source}")]
    Roster {
        /// Place in the chain.
        index: usize,
        /// What is wrong.
        source: RosterError,
    },
    /// A policy that cannot be trusted whoever signs it.
    #[error("document {index}: {source}")]
    Policy {
        /// Place in the chain.
        index: usize,
        /// What is wrong.
        source: PolicyError,
    },
    /// A recovery roster that cannot be trusted whoever signs it.
    #[error("document {index}: {source}")]
    RecoveryRoster {
        /// Place in the chain.
        index: usize,
        /// What is wrong.
        source: RecoveryRosterError,
    },
    /// A recovery that does not hold.
    #[error("document {index}: {source}")]
    Recovery {
        /// Place in the chain.
        index: usize,
        /// What is wrong.
        source: RecoveryError,
    },
    /// A threshold that could never be reached, because the proposer's approval does not count.
    #[error(
        "document {index}: threshold {threshold} cannot be reached with {custodians} custodians, \
         because the proposer's approval does not count; {} custodians are required, or \
         {threshold} and an active operator who is not a custodian. The smallest valid policy has \
         threshold 2 with 3 custodians, or with 2 custodians and such an operator",
        threshold.get() + 1
    )]
    Unreachable {
        /// Place in the chain.
        index: usize,
        /// The largest threshold.
        threshold: Threshold,
        /// Active custodians.
        custodians: usize,
    },
    /// Not signed by enough.
    #[error("document {index} lacks signatures: {what}")]
    Signatures {
        /// Place in the chain.
        index: usize,
        /// Whose.
        what: String,
    },
}
