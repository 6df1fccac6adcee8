//! Whether a veto holds.

use crate::chain::Trusted;
use crate::digest::Sha256Digest;
use crate::dsse;
use crate::json::{self, JsonError};
use crate::member_signature::MemberSignature;
use crate::namespace::{Namespace, Purpose};
use crate::roster::{MemberId, Role};
use crate::tally::{Ballot, Electorate, WhyNot, count};
use crate::text;

use super::{MAX_REASON, VetoBody};

/// Why a veto does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VetoError {
    /// Not canonical JSON of its form.
    #[error("the veto cannot be parsed: {0}")]
    Unreadable(#[from] JsonError),
    /// Of another recovery.
    #[error("the veto concerns the document {0}")]
    OtherDocument(Sha256Digest),
    /// Under another roster than the one that would be replaced.
    #[error("the veto was made under a different roster")]
    OtherRoster,
    /// Empty, too long, or with characters that do not print.
    #[error("the reason is not 1 to {MAX_REASON} printable characters")]
    Reason,
    /// Not signed by an active member.
    #[error("{0}")]
    Signature(WhyNot),
    /// A machine's key, which signs results and nothing else.
    #[error("{0} is an executor")]
    Executor(MemberId),
}

/// Who vetoes the recovery whose document has this digest: an active member of the roster that it
/// would replace, whatever the role, executors excepted. No suspension matters here, as it does not
/// for a rejection: two could otherwise silence the one who objects.
pub fn verify_veto(
    trusted: &Trusted,
    document: Sha256Digest,
    body: &[u8],
    signature: &MemberSignature,
) -> Result<MemberId, VetoError> {
    let namespace = Namespace::new(Purpose::Veto, trusted.service(), trusted.environment());
    let message = dsse::pae(&namespace.to_string(), body);
    let ballot = Ballot {
        signature,
        late: false,
    };
    let everybody = Electorate::everybody(trusted.roster());
    let (counted, not_counted) = count(&everybody, &namespace, &message, [ballot]);
    let Some(counted) = counted.into_iter().next() else {
        let why = not_counted.into_iter().next().map(|each| each.why);
        return Err(VetoError::Signature(why.unwrap_or(WhyNot::UnknownKey)));
    };
    let member = trusted.roster().member(&counted.member);
    if member.is_none_or(|member| member.roles.contains(&Role::Executor)) {
        return Err(VetoError::Executor(counted.member));
    }
    let read: VetoBody = json::require_canonical(body)?;
    if read.document_digest != document {
        return Err(VetoError::OtherDocument(read.document_digest));
    }
    if read.roster != trusted.roster_ref() {
        return Err(VetoError::OtherRoster);
    }
    match text::is_plain(&read.reason, MAX_REASON) {
        true => Ok(counted.member),
        false => Err(VetoError::Reason),
    }
}
