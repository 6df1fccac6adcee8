//! Requests: what custodians are asked to approve, with everything resolved.

mod check;

use serde::{Deserialize, Serialize};

use crate::alg::{Algorithm, KeySpec};
pub use crate::bytes16::{CkaId, Nonce};
use crate::digest::Sha256Digest;
use crate::dsse;
use crate::format::V1;
use crate::json::{self, JsonError};
use crate::jwk::Kid;
use crate::name::Name;
use crate::namespace::{Namespace, Purpose};
use crate::roster::MemberId;
use crate::spelled::spelled;
use crate::template::Template;
use crate::time::Time;

pub use check::RequestError;

/// The whole input of one ceremony. Nothing is defaulted later; what is approved is what is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Format version.
    pub v: V1,
    /// The service it is for.
    pub service: Name,
    /// The environment it is for.
    pub environment: Name,
    /// One more than the last ceremony's.
    pub sequence: u64,
    /// Digest of the last transcript; `null` in the first ceremony.
    pub previous_transcript: Option<Sha256Digest>,
    /// The roster it was written under.
    pub roster: DocumentRef,
    /// The policy it was written under.
    pub policy: DocumentRef,
    /// What is to be done.
    pub operation: Operation,
    /// The member who proposes, and who therefore does not count.
    pub proposer: MemberId,
    /// Why, in words.
    pub reason: String,
    /// Where the discussion is, if anywhere.
    pub ticket: Option<String>,
    /// When it was written.
    pub created_at: Time,
    /// Approvals received later do not count.
    pub approve_by: Time,
    /// It is not carried out later.
    pub execute_by: Time,
    /// Used once.
    pub nonce: Nonce,
}

/// Names one version of a signed document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DocumentRef {
    /// Version, from 1.
    pub version: u64,
    /// SHA-256 of its canonical bytes.
    pub digest: Sha256Digest,
}

/// What a ceremony does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Operation {
    /// Generate a key on a token.
    Generate(Generate),
    /// Destroy the private half on the token; the public half stays for ever.
    Destroy(Destroy),
    /// Withdraw trust from a key.
    Revoke(Revoke),
}

/// Generates key `number` of a ring.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Generate {
    /// The ring.
    pub ring: Name,
    /// The ring's algorithm.
    pub algorithm: Algorithm,
    /// The key's shape.
    pub key_spec: KeySpec,
    /// The key's number in its ring, from 1.
    pub number: u32,
    /// Serial number of the token: the identity of the device.
    pub token_serial: String,
    /// Label of the token.
    pub token_label: String,
    /// CKA_ID for both halves.
    pub cka_id: CkaId,
    /// CKA_LABEL for both halves.
    pub label: String,
    /// Attributes of the private half.
    pub template: Template,
    /// Whether the ring is critical: no standing order may rotate it.
    pub critical: bool,
    /// What the ring's callers may have signed.
    pub usage: Usage,
    /// Not published before. It is the instant of the proposal, before which nobody can accept, so
    /// the service waits for nothing.
    pub publish_at: Time,
    /// Due to be made primary. An emergency may do it earlier, never before `publish_safety`.
    pub activate_at: Time,
    /// Due to be retired.
    pub retire_at: Time,
    /// The key it succeeds; `null` for the first of a ring.
    pub predecessor: Option<Kid>,
}

/// What a ring's keys sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Usage {
    /// JWS and DSSE: the service builds what is signed.
    Structured,
    /// A digest that the caller made. Never together with structured formats, because a caller
    /// could then have any structure signed.
    Raw,
}

/// Destroys the private half of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Destroy {
    /// The ring.
    pub ring: Name,
    /// The key.
    pub kid: Kid,
    /// Its number in the ring.
    pub number: u32,
    /// CKA_ID on the token.
    pub cka_id: CkaId,
    /// Serial number of the token.
    pub token_serial: String,
    /// Label of the token.
    pub token_label: String,
}

/// Revokes a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revoke {
    /// The ring.
    pub ring: Name,
    /// The key.
    pub kid: Kid,
    /// Its number in the ring.
    pub number: u32,
    /// Why.
    pub reason: RevocationReason,
    /// Since when somebody else may have signed with it. Required for `compromised`, forbidden
    /// otherwise.
    pub compromised_since: Option<Time>,
}

/// The reasons of OpenID Federation 1.0, historical keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RevocationReason {
    /// No reason given.
    Unspecified,
    /// Somebody else may have signed with it.
    Compromised,
    /// Replaced before its time.
    Superseded,
}

impl Usage {
    /// Both, in a stable order.
    pub const ALL: [Self; 2] = [Self::Structured, Self::Raw];

    fn name(self) -> &'static str {
        match self {
            Self::Structured => "structured",
            Self::Raw => "raw",
        }
    }
}

impl RevocationReason {
    /// All reasons, in a stable order.
    pub const ALL: [Self; 3] = [Self::Unspecified, Self::Compromised, Self::Superseded];

    fn name(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::Compromised => "compromised",
            Self::Superseded => "superseded",
        }
    }
}

spelled!(Usage, "usage");
spelled!(RevocationReason, "reason");

impl Operation {
    /// The ring it concerns.
    pub fn ring(&self) -> &Name {
        match self {
            Self::Generate(order) => &order.ring,
            Self::Destroy(order) => &order.ring,
            Self::Revoke(order) => &order.ring,
        }
    }

    /// The operation in one word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Generate(_) => "generate",
            Self::Destroy(_) => "destroy",
            Self::Revoke(_) => "revoke",
        }
    }
}

impl Request {
    /// The canonical bytes.
    pub fn encode(&self) -> Result<Vec<u8>, JsonError> {
        json::canonical(self)
    }

    /// Reads a request. Its content is not judged here but in the tally, together with signatures.
    pub fn decode(bytes: &[u8]) -> Result<Self, JsonError> {
        json::require_canonical(bytes)
    }

    /// The namespace of a signature about this request.
    pub fn namespace(&self, purpose: Purpose) -> Namespace {
        Namespace::new(purpose, &self.service, &self.environment)
    }

    /// The file that a custodian signs to approve: `ssh-keygen -Y sign -n NAMESPACE -f KEY FILE`.
    pub fn approval_message(&self, request_bytes: &[u8]) -> Vec<u8> {
        dsse::pae(&self.namespace(Purpose::Approve).to_string(), request_bytes)
    }
}

/// The digest that names a request.
pub fn request_digest(request_bytes: &[u8]) -> Sha256Digest {
    Sha256Digest::of(request_bytes)
}
