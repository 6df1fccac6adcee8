//! What custodians sign about a request: approvals, rejections, acceptances.

use serde::{Deserialize, Serialize};

use crate::base64url::Base64Url;
use crate::bytes16::Nonce;
use crate::digest::Sha256Digest;
use crate::dsse;
use crate::format::V1;
use crate::json::{self, JsonError};
use crate::jwk::Kid;
use crate::member_signature::MemberSignature;
use crate::name::Name;
use crate::namespace::{Namespace, Purpose};
use crate::place::{Location, ReadBack};
use crate::request::{ClockCorrection, DecidedPolicy, Generate, Request, Resume};
use crate::time::Time;

/// A member's signature over [`Request::message`]: the proposer's, or a custodian's approval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// The signature.
    pub signature: MemberSignature,
    /// When the service received it, by the log's time. SSHSIG signs no time: who can write the
    /// database can make a late approval look early, until the custodians who accept the result
    /// sign the record with this instant in it.
    pub received_at: Time,
}

/// A signed objection: a custodian's rejection, or the proposer's cancellation. One blocks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Objection {
    /// Canonical JSON of an [`ObjectionBody`].
    pub body: String,
    /// Over [`objection_message`].
    pub signature: MemberSignature,
    /// When the service received it, by the log's time.
    pub received_at: Time,
}

/// What is signed to reject or to cancel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectionBody {
    /// Format version.
    pub v: V1,
    /// The request.
    pub request_digest: Sha256Digest,
    /// Why, in words.
    pub reason: String,
}

impl ObjectionBody {
    /// The canonical bytes.
    pub fn encode(&self) -> Result<Vec<u8>, JsonError> {
        json::canonical(self)
    }
}

/// The file that is signed to reject or to cancel `request`.
pub fn objection_message(request: &Request, purpose: Purpose, body: &[u8]) -> Vec<u8> {
    dsse::pae(&request.namespace(purpose).to_string(), body)
}

/// The custodians' acceptance of what was done: one statement, several signatures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Acceptance {
    /// The executor's signature over the statement, for what was done under a standing order.
    pub result: Option<MemberSignature>,
    /// Over [`acceptance_message`].
    pub signatures: Vec<MemberSignature>,
    /// Canonical JSON of a [`Statement`]. Its digest names the finished ceremony.
    pub statement: String,
}

/// What was done, as the executor states it and custodians accept it. It covers the whole record
/// of the ceremony by its digest, so that no byte of a transcript is without a signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// Format version.
    pub v: V1,
    /// The request.
    pub request_digest: Sha256Digest,
    /// Digest of the record, see [`crate::transcript::Record::digest`].
    pub record_digest: Sha256Digest,
    /// When it was done, by the log's time.
    pub executed_at: Time,
    /// What was done.
    pub outcome: Outcome,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Outcome {
    /// A key was generated.
    Generated(Box<Generated>),
    /// The private halves are gone.
    Destroyed {
        /// The keys, as ordered.
        kids: Vec<Kid>,
    },
    /// The key is revoked.
    Revoked {
        /// The key.
        kid: Kid,
    },
    /// The times of leaves are corrected, as ordered.
    Corrected(ClockCorrection),
    /// The log has a new origin, as ordered.
    NewOrigin {
        /// The new origin.
        origin: String,
        /// The root of the leaves that it begins with.
        root: Sha256Digest,
        /// How many they are.
        size: u64,
    },
    /// Keys may be made under the standing order, as ordered.
    Ordered {
        /// The order.
        id: Nonce,
    },
    /// Signing goes on, as ordered.
    Resumed(Resume),
    /// The standby key is the primary, and the key before it is revoked.
    EmergencyRotated {
        /// The new primary.
        kid: Kid,
        /// The key that is revoked.
        revoked: Kid,
    },
    /// The emergency rotation is agreed with.
    Ratified {
        /// SHA-256 of its request.
        rotation: Sha256Digest,
    },
    /// The policy is the next version, as ordered.
    PolicySet(DecidedPolicy),
}

/// A generated key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Generated {
    /// The device's own statement, where it makes one.
    pub attestation: Option<Base64Url>,
    /// The key, as everybody may know it.
    pub key: NewKey,
    /// Where its private half is.
    pub location: Location,
    /// What the device tells about it.
    pub read_back: ReadBack,
}

/// A new key, as everybody may know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum NewKey {
    /// A public half.
    Public {
        /// The key's name.
        kid: Kid,
        /// The new key's own signature over [`possession_message`], by the ring's algorithm.
        possession: Base64Url,
        /// DER SubjectPublicKeyInfo.
        public_key: Base64Url,
        /// SHA-256 of `public_key`.
        spki_digest: Sha256Digest,
    },
    /// The check value of a key that has no public half. That the device has the key is stated by
    /// it, not proven: only who may use the key can compute the value again.
    Check {
        /// What the key wrapped, see [`wrap_challenge`].
        challenge: Sha256Digest,
        /// SHA-256 of the challenge as the key wraps it.
        check_value: Sha256Digest,
        /// The key's name, see [`wrap_kid`].
        kid: Kid,
    },
}

impl NewKey {
    /// The key's name.
    pub fn kid(&self) -> &Kid {
        match self {
            Self::Public { kid, .. } | Self::Check { kid, .. } => kid,
        }
    }
}

/// The 32 bytes that a new wrapping key wraps to show itself.
pub fn wrap_challenge(request: &Request, order: &Generate) -> Result<Sha256Digest, JsonError> {
    #[derive(Serialize)]
    struct Challenge<'a> {
        environment: &'a Name,
        number: u32,
        ring: &'a Name,
        service: &'a Name,
        v: V1,
    }
    let body = json::canonical(&Challenge {
        environment: &request.environment,
        number: order.number,
        ring: &order.ring,
        service: &request.service,
        v: V1,
    })?;
    Ok(Sha256Digest::of(&body))
}

/// The name of a wrapping key.
pub fn wrap_kid(order: &Generate, check_value: Sha256Digest) -> Result<Kid, JsonError> {
    #[derive(Serialize)]
    struct Named<'a> {
        check_value: Sha256Digest,
        number: u32,
        ring: &'a Name,
    }
    let body = json::canonical(&Named {
        check_value,
        number: order.number,
        ring: &order.ring,
    })?;
    Ok(Kid::from_digest(Sha256Digest::of(&body)))
}

impl Statement {
    /// The canonical bytes.
    pub fn encode(&self) -> Result<Vec<u8>, JsonError> {
        json::canonical(self)
    }
}

/// The file that a custodian signs to accept what was done about `request`.
pub fn acceptance_message(request: &Request, statement: &[u8]) -> Vec<u8> {
    dsse::pae(&request.namespace(Purpose::Accept).to_string(), statement)
}

/// What a new key signs to show that its private half is on the token. The request's nonce is in
/// the request's digest, so the challenge is fresh; its namespace keeps it from ever being
/// anything else.
pub fn possession_message(
    request: &Request,
    request_digest: Sha256Digest,
    kid: &Kid,
) -> Result<Vec<u8>, JsonError> {
    let namespace = request.namespace(Purpose::Possession);
    possession_message_in(&namespace, request_digest, kid)
}

/// The same where the request itself is not at hand.
pub fn possession_message_in(
    namespace: &Namespace,
    request_digest: Sha256Digest,
    kid: &Kid,
) -> Result<Vec<u8>, JsonError> {
    #[derive(Serialize)]
    struct Challenge<'a> {
        kid: &'a Kid,
        request_digest: Sha256Digest,
        v: V1,
    }
    let body = json::canonical(&Challenge {
        kid,
        request_digest,
        v: V1,
    })?;
    Ok(dsse::pae(&namespace.to_string(), &body))
}
