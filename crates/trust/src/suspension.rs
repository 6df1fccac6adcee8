//! Suspensions: a member whose key may be in other hands is not counted until the roster changed.

use serde::{Deserialize, Serialize};

use crate::bytes16::Nonce;
use crate::format::V1;
use crate::json::{self, JsonError};
use crate::member_signature::MemberSignature;
use crate::request::DocumentRef;
use crate::roster::MemberId;
use crate::time::Time;

/// A signed suspension, not yet verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suspension {
    /// Canonical JSON of a [`SuspensionBody`].
    pub body: String,
    /// When the service received it, by the log's time.
    pub received_at: Time,
    /// Over the body: one by the member, or two by other custodians.
    pub signatures: Vec<MemberSignature>,
}

/// What is signed to suspend a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SuspensionBody {
    /// The member.
    pub member: MemberId,
    /// Used once.
    pub nonce: Nonce,
    /// Why, in words.
    pub reason: String,
    /// The roster under which it holds; the next one settles it.
    pub roster: DocumentRef,
    /// Format version.
    pub v: V1,
}

impl SuspensionBody {
    /// The canonical bytes.
    pub fn encode(&self) -> Result<Vec<u8>, JsonError> {
        json::canonical(self)
    }
}
