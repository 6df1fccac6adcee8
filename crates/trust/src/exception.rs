//! Exceptions: in a ceremony something went otherwise than planned. Who noted it, what it was, who decided how to go on,
//! and when. Like a note it permits and forbids nothing.

use serde::{Deserialize, Serialize};

use crate::digest::Sha256Digest;
use crate::dsse;
use crate::format::V1;
use crate::json::{self, JsonError};
use crate::member_signature::MemberSignature;
use crate::namespace::{Namespace, Purpose};
use crate::note::{NOTE_MAX, NoteError, noted_by};
use crate::request::Request;
use crate::roster::{MemberId, Roster};
use crate::text;
use crate::time::Time;

/// What the step of an exception says in the record.
pub const EXCEPTION_STEP: &str = "exception";

/// What is signed to note an exception.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExceptionBody {
    /// When it happened.
    pub at: Time,
    /// The member who decided how to go on.
    pub decided_by: MemberId,
    /// What was otherwise, and what was decided, in words.
    pub exception: String,
    /// The request.
    pub request_digest: Sha256Digest,
    /// Format version.
    pub v: V1,
}

impl ExceptionBody {
    /// The canonical bytes.
    pub fn encode(&self) -> Result<Vec<u8>, JsonError> {
        json::canonical(self)
    }

    /// The note of its step in the record, in one spelling: `decided by ID at INSTANT: TEXT`.
    pub fn step(&self) -> String {
        let Self {
            at,
            decided_by,
            exception,
            ..
        } = self;
        format!("decided by {decided_by} at {at}: {exception}")
    }
}

/// Who decided, when it happened, and what, from the note of a step; none of another spelling.
pub fn read_step(note: &str) -> Option<(MemberId, Time, &str)> {
    let rest = note.strip_prefix("decided by ")?;
    let (decided_by, rest) = rest.split_once(" at ")?;
    let (at, exception) = rest.split_once(": ")?;
    Some((decided_by.parse().ok()?, at.parse().ok()?, exception))
}

/// The file that is signed to note an exception.
pub fn exception_message(request: &Request, body: &[u8]) -> Vec<u8> {
    dsse::pae(&namespace(request).to_string(), body)
}

fn namespace(request: &Request) -> Namespace {
    request.namespace(Purpose::Exception)
}

/// The exception and the active member who signed it, from the stored bytes.
pub fn verify_exception<'a>(
    roster: &'a Roster,
    request: &Request,
    request_digest: Sha256Digest,
    body: &[u8],
    signature: &MemberSignature,
) -> Result<(&'a MemberId, ExceptionBody), NoteError> {
    let owner = noted_by(roster, &namespace(request), body, signature)?;
    if !owner.may_note() {
        return Err(NoteError::Role);
    }
    let read: ExceptionBody = json::require_canonical(body)?;
    if read.request_digest != request_digest {
        return Err(NoteError::Request);
    }
    let decider = roster.member(&read.decided_by);
    if !decider.is_some_and(|member| member.active) {
        return Err(NoteError::Decider(read.decided_by));
    }
    match text::is_plain(&read.exception, NOTE_MAX) {
        true => Ok((&owner.id, read)),
        false => Err(NoteError::Text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_step_of_an_exception_is_read_back() {
        let body = ExceptionBody {
            at: "2026-11-22T09:00:00.000Z".parse().unwrap(),
            decided_by: "ada".parse().unwrap(),
            exception: "the token: restarted at 9: ada decided".to_owned(),
            request_digest: Sha256Digest::of(b"a"),
            v: V1,
        };
        let step = body.step();
        let read = (body.decided_by.clone(), body.at, body.exception.as_str());
        assert_eq!(read_step(&step), Some(read));
        for other in [
            "",
            "decided by ada",
            "decided by Ada at 2026: x",
            "the token",
        ] {
            assert_eq!(read_step(other), None, "{other}");
        }
    }
}
