//! Notes of members for the record of a ceremony. They permit and forbid nothing.

use serde::{Deserialize, Serialize};

use crate::digest::Sha256Digest;
use crate::dsse;
use crate::format::V1;
use crate::json::{self, JsonError};
use crate::member_signature::MemberSignature;
use crate::namespace::{Namespace, Purpose};
use crate::request::Request;
use crate::roster::{Member, MemberId, Roster};
use crate::sshsig;
use crate::text;
use crate::time::Time;

/// Most characters of a note.
pub const NOTE_MAX: usize = 1_000;

/// What the step of a note says in the record.
pub const NOTE_STEP: &str = "note";

/// What is signed for the record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoteBody {
    /// What was noted, in words.
    pub note: String,
    /// The request.
    pub request_digest: Sha256Digest,
    /// Format version.
    pub v: V1,
}

/// A note that does not get into the record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Empty, too long, or with characters that hide something.
    #[error("a note has 1 to {NOTE_MAX} characters, none of which hides something")]
    Text,
    /// About another request.
    #[error("the note is about a different request")]
    Request,
    /// Not by an active member.
    #[error("not an active member's signature over this note")]
    Signature,
    /// Nobody of this name decides anything.
    #[error("{0} is not an active member")]
    Decider(MemberId),
    /// It has not happened yet, or before the request was made.
    #[error("{0} is not between the request and now")]
    Instant(Time),
    /// Members of this role note nothing.
    #[error("only custodians, witnesses and administrators note something for the record")]
    Role,
    /// The body cannot be read.
    #[error("the note cannot be parsed: {0}")]
    Json(#[from] JsonError),
}

impl NoteBody {
    /// The canonical bytes.
    pub fn encode(&self) -> Result<Vec<u8>, JsonError> {
        json::canonical(self)
    }
}

/// The file that is signed to note something about `request`.
pub fn note_message(request: &Request, body: &[u8]) -> Vec<u8> {
    dsse::pae(&request.namespace(Purpose::Note).to_string(), body)
}

/// The note and the active member who signed it, from the stored bytes.
pub fn verify_note<'a>(
    roster: &'a Roster,
    request: &Request,
    request_digest: Sha256Digest,
    body: &[u8],
    signature: &MemberSignature,
) -> Result<(&'a MemberId, String), NoteError> {
    let owner = noted_by(roster, &request.namespace(Purpose::Note), body, signature)?;
    let read: NoteBody = json::require_canonical(body)?;
    if read.request_digest != request_digest {
        return Err(NoteError::Request);
    }
    match text::is_plain(&read.note, NOTE_MAX) {
        true => Ok((&owner.id, read.note)),
        false => Err(NoteError::Text),
    }
}

/// The active member who signed a text for the record.
pub(crate) fn noted_by<'a>(
    roster: &'a Roster,
    namespace: &Namespace,
    body: &[u8],
    signature: &MemberSignature,
) -> Result<&'a Member, NoteError> {
    let MemberSignature::Ssh { signature } = signature else {
        return Err(NoteError::Signature);
    };
    // Whose key it is costs less than the signature.
    let named = sshsig::unverified_key(signature).map_err(|_| NoteError::Signature)?;
    let owner = roster.owner(&named).filter(|member| member.active);
    let owner = owner.ok_or(NoteError::Signature)?;
    let message = dsse::pae(&namespace.to_string(), body);
    sshsig::verify(signature, namespace, &message).map_err(|_| NoteError::Signature)?;
    Ok(owner)
}
