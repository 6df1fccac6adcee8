//! Notes of members for the record of a ceremony. They permit and forbid nothing.

use serde::{Deserialize, Serialize};

use crate::digest::Sha256Digest;
use crate::dsse;
use crate::format::V1;
use crate::json::{self, JsonError};
use crate::member_signature::MemberSignature;
use crate::namespace::Purpose;
use crate::request::Request;
use crate::roster::{MemberId, Roster};
use crate::sshsig;
use crate::text;

/// Most characters of a note.
pub const NOTE_MAX: usize = 1_000;

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
    let MemberSignature::Ssh { signature } = signature else {
        return Err(NoteError::Signature);
    };
    // Whose key it is costs less than the signature.
    let named = sshsig::unverified_key(signature).map_err(|_| NoteError::Signature)?;
    let owner = roster.owner(&named).filter(|member| member.active);
    let owner = owner.ok_or(NoteError::Signature)?;
    let namespace = request.namespace(Purpose::Note);
    let message = note_message(request, body);
    sshsig::verify(signature, &namespace, &message).map_err(|_| NoteError::Signature)?;
    let read: NoteBody = json::require_canonical(body)?;
    if read.request_digest != request_digest {
        return Err(NoteError::Request);
    }
    match text::is_plain(&read.note, NOTE_MAX) {
        true => Ok((&owner.id, read.note)),
        false => Err(NoteError::Text),
    }
}
