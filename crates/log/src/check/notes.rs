//! Notes of members: what the record of a ceremony says that somebody noted, and what a row says.

use trust::actor::Actor;
use trust::exception::{EXCEPTION_STEP, ExceptionBody};
use trust::note::{NOTE_STEP, NoteBody};
use trust::{MemberId, Purpose, Sha256Digest, Time, Transcript};

use store::CeremonySignatureRow;

/// A note without its text, which may be long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noted {
    pub at: Time,
    pub text: Sha256Digest,
    /// As leaves write it.
    pub by: String,
}

/// What a row says was noted; who, its leaf says. None of what is no note.
pub fn text_of(row: &CeremonySignatureRow) -> Option<Sha256Digest> {
    // What cannot be read is in no record.
    let note = match row.purpose {
        Purpose::Note => {
            let body: Option<NoteBody> = trust::json::require_canonical(&row.body).ok();
            body.map(|body| body.note).unwrap_or_default()
        }
        Purpose::Exception => {
            let body: Option<ExceptionBody> = trust::json::require_canonical(&row.body).ok();
            body.map(|body| body.step()).unwrap_or_default()
        }
        _ => return None,
    };
    Some(Sha256Digest::of(note.as_bytes()))
}

/// Those of the record that an executor wrote.
pub fn of_record(execution: &[u8]) -> Option<Vec<Noted>> {
    let transcript = Transcript::decode(execution).ok()?;
    let steps = transcript.record.steps.into_iter();
    let notes = steps.filter(|step| step.what == NOTE_STEP || step.what == EXCEPTION_STEP);
    let notes = notes.filter_map(|step| {
        let witness = step.witness?;
        let member: Option<MemberId> = witness.name.parse().ok();
        Some(Noted {
            at: step.at,
            text: Sha256Digest::of(witness.note.as_bytes()),
            by: member.map_or_else(String::new, |id| Actor::Member(id.as_str()).to_string()),
        })
    });
    Some(notes.collect())
}

#[cfg(test)]
mod tests {
    use trust::format::V1;

    use super::*;

    fn row(purpose: Purpose, body: Vec<u8>) -> CeremonySignatureRow {
        CeremonySignatureRow {
            ceremony: Sha256Digest::of(b"a"),
            purpose,
            body,
            signature: String::new(),
            received_at: Time::from_millis(0),
        }
    }

    #[test]
    fn a_row_says_what_was_noted() {
        let body = NoteBody {
            note: "seen".to_owned(),
            request_digest: Sha256Digest::of(b"a"),
            v: V1,
        };
        let body = body.encode().unwrap();
        let seen = Some(Sha256Digest::of(b"seen"));
        assert_eq!(text_of(&row(Purpose::Note, body.clone())), seen);
        assert_eq!(text_of(&row(Purpose::Reject, body)), None);
        // It is a note all the same, which no record can have.
        let none = Some(Sha256Digest::of(b""));
        assert_eq!(text_of(&row(Purpose::Note, b"{}".to_vec())), none);
    }
}
