//! What a member signs to read an open ceremony: which resource, and when.

use serde::{Deserialize, Serialize};

use crate::chain::Trusted;
use crate::dsse;
use crate::format::V1;
use crate::json::{self, JsonError};
use crate::member_signature::MemberSignature;
use crate::name::Name;
use crate::namespace::{Namespace, Purpose};
use crate::roster::{Member, MemberId};
use crate::sshsig::{self, SshSigError};
use crate::time::Time;

/// How long a read signature holds after the instant in it, in milliseconds.
pub const VALID_MILLIS: i64 = 5 * 60 * 1_000;

/// How far a member's clock may be ahead, in milliseconds.
pub const AHEAD_MILLIS: i64 = 30 * 1_000;

/// What is signed to read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadBody {
    /// Always `GET`.
    pub method: String,
    /// Path and query as they are sent.
    pub path: String,
    /// When it was signed.
    pub time: Time,
    /// Format version.
    pub v: V1,
}

/// Why a read signature admits nobody.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Not over this resource by the member's key, or no SSH signature.
    #[error("the read signature is invalid: {0}")]
    Signature(#[from] SshSigError),
    /// Of a kind that no version counts.
    #[error("the read signature is not an SSH signature")]
    Kind,
    /// Older than five minutes.
    #[error("the read signature has expired")]
    Late,
    /// Its instant has not come.
    #[error("the read signature is from the future")]
    Early,
    /// By a key that no active member has.
    #[error("the key belongs to no active member of the roster")]
    NotAMember,
    /// The text cannot be written.
    #[error("the read signature cannot be checked: {0}")]
    Json(#[from] JsonError),
}

/// The namespace of read signatures.
pub fn read_namespace(service: &Name, environment: &Name) -> Namespace {
    Namespace::new(Purpose::Read, service, environment)
}

/// The exact bytes that are signed to read a resource: DSSE-PAE over the canonical body.
pub fn read_message(namespace: &Namespace, path: &str, time: Time) -> Result<Vec<u8>, JsonError> {
    let body = json::canonical(&ReadBody {
        method: "GET".to_owned(),
        path: path.to_owned(),
        time,
        v: V1,
    })?;
    Ok(dsse::pae(&namespace.to_string(), &body))
}

/// Whether a read signature of `time` holds at `now`. It costs nothing, so it is asked before the signature is even
/// taken apart.
pub fn in_time(time: Time, now: Time) -> Result<(), ReadError> {
    let age = now.millis().saturating_sub(time.millis());
    if age > VALID_MILLIS {
        return Err(ReadError::Late);
    }
    if age < -AHEAD_MILLIS {
        return Err(ReadError::Early);
    }
    Ok(())
}

/// The member who signed to read `path` at `time`. That it was not used before is for the caller to know.
///
/// The cheapest question first: the instant, then whose key it is, and only of a member's key the signature.
pub fn verify_read<'a>(
    trusted: &'a Trusted,
    path: &str,
    time: Time,
    signature: &MemberSignature,
    now: Time,
) -> Result<&'a MemberId, ReadError> {
    in_time(time, now)?;
    let MemberSignature::Ssh { signature } = signature else {
        return Err(ReadError::Kind);
    };
    let named = sshsig::unverified_key(signature)?;
    let owner = trusted.roster().owner(&named);
    let owner: &Member = owner
        .filter(|member| member.active)
        .ok_or(ReadError::NotAMember)?;
    let namespace = read_namespace(trusted.service(), trusted.environment());
    let message = read_message(&namespace, path, time)?;
    // It is the key that was looked up: a signature names one.
    sshsig::verify(signature, &namespace, &message)?;
    Ok(&owner.id)
}
