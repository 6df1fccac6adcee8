//! What leaves of the log say (docs/LOG.md). Reading one proves nothing; its inclusion does.

use serde::{Deserialize, Serialize};

use crate::alg::Algorithm;
use crate::digest::Sha256Digest;
use crate::format::V1;
use crate::json::{self, JsonError};
use crate::jwk::Kid;
use crate::name::Name;
use crate::request::RevocationReason;
use crate::time::Time;

/// Longest leaf in bytes.
pub const MAX_LEN: usize = 1024;

/// A signature that was released.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignatureLeaf {
    /// Who asked for it.
    pub actor: String,
    /// The ring's algorithm.
    pub alg: Algorithm,
    /// `SHA-256(salt || signing input)`.
    pub input_commit: Sha256Digest,
    /// The key.
    pub kid: Kid,
    /// Says that it is a signature.
    pub kind: Sign,
    /// The ring.
    pub ring: Name,
    /// SHA-256 of the signature.
    pub sig_hash: Sha256Digest,
    /// When, by the service's clock.
    pub time: Time,
    /// Format version.
    pub v: V1,
}

/// The kind of a signature's leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sign {
    /// The only one.
    Sign,
}

/// Any other act.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActLeaf {
    /// What was done.
    pub action: String,
    /// Who did it.
    pub actor: String,
    /// Of a revocation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compromised_since: Option<Time>,
    /// Of the document that the act recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Sha256Digest>,
    /// The key concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kid: Option<Kid>,
    /// What kind of act.
    pub kind: ActKind,
    /// The key before it, or the one revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_kid: Option<Kid>,
    /// Words, or the reason of a revocation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The ceremony or document it rests on.
    #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The ring.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ring: Option<String>,
    /// When, by the service's clock.
    pub time: Time,
    /// Format version.
    pub v: V1,
}

/// Kinds of acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ActKind {
    /// On a key.
    Key,
    /// On a ring.
    Ring,
    /// In a ceremony.
    Ceremony,
    /// On roster or policy.
    Roster,
    /// On a credential.
    Access,
    /// Somebody was told no.
    Refusal,
    /// On the service itself.
    Admin,
}

/// A leaf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leaf {
    /// A signature.
    Signature(Box<SignatureLeaf>),
    /// An act.
    Act(Box<ActLeaf>),
}

#[derive(Deserialize)]
struct Kind {
    kind: String,
}

impl Leaf {
    /// Reads a leaf, which must be in canonical form.
    pub fn parse(bytes: &[u8]) -> Result<Self, JsonError> {
        // The kind first, leniently; the whole then strictly.
        let kind: Option<Kind> = serde_json::from_slice(bytes).ok();
        if kind.is_some_and(|kind| kind.kind == "sign") {
            json::require_canonical(bytes).map(|leaf| Self::Signature(Box::new(leaf)))
        } else {
            json::require_canonical(bytes).map(|leaf| Self::Act(Box::new(leaf)))
        }
    }
}

impl ActLeaf {
    /// The reason of a revocation.
    pub fn revocation_reason(&self) -> Option<RevocationReason> {
        let word = self.reason.as_deref()?;
        serde_json::from_value(serde_json::Value::from(word)).ok()
    }
}
