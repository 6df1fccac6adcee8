//! Notes of members for the record: what a witness saw. They are in the transcript, permit nothing and forbid nothing.

use trust::format::V1;
use trust::note::{NOTE_MAX, NoteBody, NoteError, note_message, verify_note};
use trust::text::is_plain;
use trust::transcript::{Step, WitnessNote};
use trust::{MemberId, MemberSignature, Purpose, Request, Sha256Digest, Time};

use super::error::Error;
use super::service::{CeremonyFacts, CeremonyService, SigningPayload};
use super::vote::{normalized, require_state};
use store::{CeremonySignatureRow, CeremonyState};

/// Most notes of a ceremony.
const MOST: usize = 20;

/// Most notes of one member in a ceremony: nobody takes the room of the others.
const OF_MEMBER: usize = 5;

/// A note whose signature was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    pub at: Time,
    pub member: MemberId,
    pub note: String,
}

impl CeremonyService {
    pub async fn note_payload(&self, id: &str, note: &str) -> Result<SigningPayload, Error> {
        let row = self.row(id).await?;
        let request = Request::decode(&row.request)?;
        let body = note_body(row.id, note)?;
        Ok(SigningPayload {
            namespace: request.namespace(Purpose::Note).to_string(),
            bytes: note_message(&request, &body),
        })
    }

    /// Takes an active member's note, until the ceremony is executed: then the record is frozen.
    pub async fn note(&self, id: &str, note: &str, signature: &str) -> Result<(), Error> {
        if !is_plain(note, NOTE_MAX) {
            return Err(Error::Text(NoteError::Text));
        }
        let signature = normalized(signature)?;
        let facts = self.facts(id).await?;
        let open = [CeremonyState::Proposed, CeremonyState::Approved];
        require_state(&facts, &open, "proposed or approved")?;
        if facts.notes.len() >= MOST {
            return Err(Error::Notes(MOST));
        }
        let body = note_body(facts.row.id, note)?;
        let member = match facts.signed_note(&body, &signature) {
            Ok((member, _)) => member.clone(),
            Err(error) => {
                let why = error.to_string();
                self.record_refusal("note", &facts, &why).await?;
                return Err(Error::DoesNotCount(why));
            }
        };
        let (by, at) = (Some(member), self.env.now());
        let said = Some((note, body));
        let own = facts.notes().into_iter();
        let own = own.filter(|one| by.as_ref() == Some(&one.member)).count();
        if own >= OF_MEMBER {
            return Err(Error::NotesOfMember(OF_MEMBER));
        }
        self.add_signature(&facts, Purpose::Note, by, said, &signature, at)
            .await
    }

    /// The notes as steps of the record, once nobody can add another.
    pub(super) async fn noted_by_now(&self, facts: &CeremonyFacts) -> Result<Vec<Step>, Error> {
        let rows = self.store.ceremony_signatures(&facts.id).await?;
        let notes = rows.into_iter().filter(|row| row.purpose == Purpose::Note);
        let notes: Vec<_> = notes.collect();
        Ok(steps(facts.verified(&notes)))
    }
}

fn steps(notes: Vec<Note>) -> Vec<Step> {
    let steps = notes.into_iter().map(|note| Step {
        at: note.at,
        what: "note".to_owned(),
        witness: Some(WitnessNote {
            name: note.member.to_string(),
            note: note.note,
        }),
    });
    steps.collect()
}

fn note_body(request_digest: Sha256Digest, note: &str) -> Result<Vec<u8>, Error> {
    let body = NoteBody {
        note: note.to_owned(),
        request_digest,
        v: V1,
    };
    Ok(body.encode()?)
}

impl CeremonyFacts {
    fn signed_note(
        &self,
        body: &[u8],
        signature: &MemberSignature,
    ) -> Result<(&MemberId, String), NoteError> {
        let request = Request::decode(&self.row.request)?;
        let roster = self.trusted.roster();
        verify_note(roster, &request, self.row.id, body, signature)
    }

    /// Those that verify. A row that does not was not written by us, and says nothing.
    pub(super) fn notes(&self) -> Vec<Note> {
        self.verified(&self.notes)
    }

    fn verified(&self, rows: &[CeremonySignatureRow]) -> Vec<Note> {
        let verified = |row: &CeremonySignatureRow| {
            let signature = MemberSignature::decode(row.signature.as_bytes()).ok()?;
            let (member, note) = self.signed_note(&row.body, &signature).ok()?;
            Some(Note {
                at: row.received_at,
                member: member.clone(),
                note,
            })
        };
        rows.iter().filter_map(verified).collect()
    }

    /// As steps of the record.
    pub(super) fn noted(&self) -> Vec<Step> {
        steps(self.notes())
    }
}
