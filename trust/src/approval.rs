//! What custodians sign about a request: approvals, rejections, acceptances.

use serde::{Deserialize, Serialize};

use crate::base64url::Base64Url;
use crate::digest::Sha256Digest;
use crate::dsse;
use crate::format::V1;
use crate::json::{self, JsonError};
use crate::jwk::Kid;
use crate::namespace::Purpose;
use crate::request::Request;
use crate::template::ReadBack;
use crate::time::Time;

/// A custodian's signature over [`Request::approval_message`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// Armored SSH signature, see [`crate::sshsig::normalize`].
    pub signature: String,
    /// When the service received it, by the log's time. SSHSIG signs no time: who can write the
    /// database can make a late approval look early, until the custodians who accept the result
    /// sign the record with this instant in it.
    pub received_at: Time,
}

/// A custodian's signed objection. One blocks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rejection {
    /// Canonical JSON of a [`RejectionBody`].
    pub body: String,
    /// Armored SSH signature over [`rejection_message`].
    pub signature: String,
    /// When the service received it, by the log's time.
    pub received_at: Time,
}

/// What a custodian signs to reject.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RejectionBody {
    /// Format version.
    pub v: V1,
    /// The request.
    pub request_digest: Sha256Digest,
    /// Why, in words.
    pub reason: String,
}

impl RejectionBody {
    /// The canonical bytes.
    pub fn encode(&self) -> Result<Vec<u8>, JsonError> {
        json::canonical(self)
    }
}

/// The file that a custodian signs to reject `request`.
pub fn rejection_message(request: &Request, body: &[u8]) -> Vec<u8> {
    dsse::pae(&request.namespace(Purpose::Reject).to_string(), body)
}

/// The custodians' acceptance of what was done: one statement, several signatures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Acceptance {
    /// Canonical JSON of a [`Statement`]. Its digest names the finished ceremony.
    pub statement: String,
    /// Armored SSH signatures over [`acceptance_message`].
    pub signatures: Vec<String>,
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
    /// The private half is gone.
    Destroyed {
        /// The key.
        kid: Kid,
    },
    /// The key is revoked.
    Revoked {
        /// The key.
        kid: Kid,
    },
}

/// A generated key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Generated {
    /// The key's name.
    pub kid: Kid,
    /// SHA-256 of `public_key`.
    pub spki_digest: Sha256Digest,
    /// DER SubjectPublicKeyInfo.
    pub public_key: Base64Url,
    /// The attributes as the token tells them.
    pub read_back: ReadBack,
    /// The new key's own signature over [`possession_message`], by the ring's algorithm.
    pub possession: Base64Url,
    /// The device's own statement, where it makes one.
    pub attestation: Option<Base64Url>,
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
    Ok(dsse::pae(
        &request.namespace(Purpose::Possession).to_string(),
        &body,
    ))
}
