//! Requests: what custodians are asked to approve, with everything resolved.

mod check;
mod emergency;
mod misfit;
mod operation;
mod purpose;
mod rotation_policy;
mod standing_order;

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

pub use crate::bytes16::{CkaId, Nonce};
use crate::digest::Sha256Digest;
use crate::dsse;
use crate::format::V1;
use crate::json::{self, JsonError};
use crate::name::Name;
use crate::namespace::{Namespace, Purpose};
use crate::roster::MemberId;
use crate::subject::Line;
use crate::time::Time;
pub use crate::usage::Usage;

pub use check::RequestError;
pub use emergency::{EmergencyRotation, Ended, RATIFY_WITHIN, Ratification, Resume};
pub use misfit::Misfit;
pub use operation::{
    ClockCorrection, Destroy, DestroyKey, Generate, LostLeaves, NewOrigin, Operation,
    RevocationReason, Revoke,
};
pub use purpose::{KeyPurpose, WrapAlgorithm, WrapKeySpec};
pub use rotation_policy::{DecidedPolicy, LONGEST_POLICY, RotationPolicy};
pub use standing_order::{
    MOST_USES, OrderError, OrderExecutor, OrderPlace, OrderToken, OrderWindow, StandingOrder,
    Weekday,
};

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
    /// Its place in the line of each subject, in the order of [`Operation::subjects`].
    pub lines: Vec<Line>,
    /// The roster it was written under.
    pub roster: DocumentRef,
    /// The policy it was written under.
    pub policy: DocumentRef,
    /// What is to be done.
    pub operation: Operation,
    /// The use of a standing order under which it happens; it has no proposer then.
    pub order: Option<OrderUse>,
    /// The member who proposes, and who therefore does not count.
    pub proposer: Option<MemberId>,
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

/// One use of a standing order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrderUse {
    /// The order.
    pub id: Nonce,
    /// Which use, from 1.
    #[serde(rename = "use")]
    pub number: NonZeroU32,
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

    /// The file that a member signs to propose or to approve:
    /// `ssh-keygen -Y sign -n NAMESPACE -f KEY FILE`.
    pub fn message(&self, purpose: Purpose, request_bytes: &[u8]) -> Vec<u8> {
        dsse::pae(&self.namespace(purpose).to_string(), request_bytes)
    }
}

/// The digest that names a request.
pub fn request_digest(request_bytes: &[u8]) -> Sha256Digest {
    Sha256Digest::of(request_bytes)
}
