//! What members say for the record: notes, and exceptions from what was planned. They are in the transcript, permit
//! nothing and forbid nothing.

use trust::exception::{EXCEPTION_STEP, ExceptionBody, exception_message, verify_exception};
use trust::format::V1;
use trust::note::{NOTE_MAX, NOTE_STEP, NoteBody, NoteError, note_message, verify_note};
use trust::text::is_plain;
use trust::transcript::{Step, WitnessNote};
use trust::{MemberId, MemberSignature, Purpose, Request, Sha256Digest, Time, Transcript};

use super::error::Error;
use super::service::{CeremonyFacts, CeremonyService, SigningPayload, is_said};
use super::vote::{normalized, require_state};
use store::{CeremonySignatureRow, CeremonyState};

/// Most notes of a ceremony, and most exceptions.
const MOST: usize = 20;

/// Most of one member in a ceremony, of each: nobody takes the room of the others.
const OF_MEMBER: usize = 5;

/// How far the clock of whoever notes an exception may be ahead.
const AHEAD_MILLIS: i64 = 300_000;

/// A note or an exception whose signature was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    pub at: Time,
    /// What its step says: `note` or `exception`.
    pub what: &'static str,
    pub member: MemberId,
    /// As the record has it; of an exception with who decided, and when it happened.
    pub note: String,
}

/// What a member says of something that went otherwise than planned.
#[derive(Debug, Clone)]
pub struct ExceptionInput {
    /// What, and what was decided.
    pub exception: String,
    pub decided_by: MemberId,
    /// When it happened.
    pub at: Time,
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

    /// The body of an exception, and what is signed of it.
    pub async fn exception_payload(
        &self,
        id: &str,
        input: &ExceptionInput,
    ) -> Result<(String, SigningPayload), Error> {
        let row = self.row(id).await?;
        let request = Request::decode(&row.request)?;
        let body = input.body(row.id)?;
        let payload = SigningPayload {
            namespace: request.namespace(Purpose::Exception).to_string(),
            bytes: exception_message(&request, body.as_bytes()),
        };
        Ok((body, payload))
    }

    /// Takes a member's note, until the ceremony is executed: then the record is frozen.
    pub async fn note(&self, id: &str, note: &str, signature: &str) -> Result<(), Error> {
        if !is_plain(note, NOTE_MAX) {
            return Err(Error::Text(NoteError::Text));
        }
        let id: Sha256Digest = (id.parse()).map_err(|_| Error::Unknown(id.to_owned()))?;
        let body = note_body(id, note)?;
        self.take_note(&id.to_string(), Purpose::Note, body, signature)
            .await
    }

    /// The same of an exception, by its canonical body.
    pub async fn exception(&self, id: &str, body: &str, signature: &str) -> Result<(), Error> {
        let body = body.as_bytes().to_vec();
        self.take_note(id, Purpose::Exception, body, signature)
            .await
    }

    async fn take_note(
        &self,
        id: &str,
        purpose: Purpose,
        body: Vec<u8>,
        signature: &str,
    ) -> Result<(), Error> {
        let signature = normalized(signature)?;
        // Each time another one was first; and there are not more of them.
        for _ in 0..=MOST {
            if self.take_once(id, purpose, &body, &signature).await? {
                return Ok(());
            }
        }
        Err(Error::Notes(MOST))
    }

    /// Whether nobody else noted something while this one was judged.
    async fn take_once(
        &self,
        id: &str,
        purpose: Purpose,
        body: &[u8],
        signature: &MemberSignature,
    ) -> Result<bool, Error> {
        let facts = self.facts(id).await?;
        let open = [CeremonyState::Proposed, CeremonyState::Approved];
        require_state(&facts, &open, "proposed or approved")?;
        let of_purpose = facts.notes.iter().filter(|row| row.purpose == purpose);
        let rows = of_purpose.count();
        let before = facts.notes();
        let before = || before.iter().filter(|one| one.what == step_of(purpose));
        if before().count() >= MOST {
            return Err(Error::Notes(MOST));
        }
        let now = self.env.now();
        let judged = facts.said(purpose, body, signature).and_then(|said| {
            let may = (facts.trusted.roster().member(&said.member))
                .is_some_and(|member| member.may_note());
            match (may, said.happened_at) {
                (false, _) => Err(NoteError::Role),
                (true, Some(at)) if !facts.could_happen(at, now) => Err(NoteError::Instant(at)),
                (true, _) => Ok(said),
            }
        });
        let said = match judged {
            Ok(said) => said,
            Err(error) => {
                let why = error.to_string();
                self.record_refusal(purpose.word(), &facts, &why).await?;
                return Err(match error {
                    NoteError::Text | NoteError::Decider(_) | NoteError::Instant(_) => {
                        Error::Exception(error)
                    }
                    _ => Error::DoesNotCount(why),
                });
            }
        };
        let own = before().filter(|one| one.member == said.member).count();
        if own >= OF_MEMBER {
            return Err(Error::NotesOfMember(OF_MEMBER));
        }
        let text = (said.text.as_str(), body.to_vec());
        let by = (purpose, &said.member);
        self.add_to_record(&facts, by, text, (signature, now), rows)
            .await
    }

    /// The notes as steps of the record, once nobody can add another.
    pub(super) async fn noted_by_now(&self, facts: &CeremonyFacts) -> Result<Vec<Step>, Error> {
        let rows = self.store.ceremony_signatures(&facts.id).await?;
        let notes = rows.into_iter().filter(|row| is_said(row.purpose));
        let notes: Vec<_> = notes.collect();
        Ok(steps(facts.verified(&notes)))
    }
}

impl ExceptionInput {
    /// The canonical body.
    pub fn body(&self, request_digest: Sha256Digest) -> Result<String, Error> {
        let body = ExceptionBody {
            at: self.at,
            decided_by: self.decided_by.clone(),
            exception: self.exception.clone(),
            request_digest,
            v: V1,
        };
        String::from_utf8(body.encode()?)
            .map_err(|_| Error::Unfit("an exception is not UTF-8".to_owned()))
    }
}

fn step_of(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Exception => EXCEPTION_STEP,
        _ => NOTE_STEP,
    }
}

fn steps(notes: Vec<Note>) -> Vec<Step> {
    let steps = notes.into_iter().map(|note| Step {
        at: note.at,
        what: note.what.to_owned(),
        witness: Some(WitnessNote {
            name: note.member.to_string(),
            note: note.note,
        }),
    });
    steps.collect()
}

/// Of a record: the steps that somebody noted.
pub(super) fn noted_in(transcript: &Transcript) -> Vec<Note> {
    let notes = transcript.record.steps.iter().filter_map(|step| {
        let witness = step.witness.as_ref()?;
        Some(Note {
            at: step.at,
            what: match step.what.as_str() {
                EXCEPTION_STEP => EXCEPTION_STEP,
                _ => NOTE_STEP,
            },
            member: witness.name.parse().ok()?,
            note: witness.note.clone(),
        })
    });
    notes.collect()
}

fn note_body(request_digest: Sha256Digest, note: &str) -> Result<Vec<u8>, Error> {
    let body = NoteBody {
        note: note.to_owned(),
        request_digest,
        v: V1,
    };
    Ok(body.encode()?)
}

/// What a signature says for the record.
struct Said {
    member: MemberId,
    /// As the record has it.
    step: String,
    /// As it was written.
    text: String,
    /// Of an exception.
    happened_at: Option<Time>,
}

impl CeremonyFacts {
    fn said(
        &self,
        purpose: Purpose,
        body: &[u8],
        signature: &MemberSignature,
    ) -> Result<Said, NoteError> {
        let request = Request::decode(&self.row.request)?;
        let (roster, id) = (self.trusted.roster(), self.row.id);
        match purpose {
            Purpose::Exception => {
                let (member, read) = verify_exception(roster, &request, id, body, signature)?;
                Ok(Said {
                    member: member.clone(),
                    step: read.step(),
                    happened_at: Some(read.at),
                    text: read.exception,
                })
            }
            _ => {
                let (member, text) = verify_note(roster, &request, id, body, signature)?;
                Ok(Said {
                    member: member.clone(),
                    step: text.clone(),
                    text,
                    happened_at: None,
                })
            }
        }
    }

    /// Not before the ceremony was asked for, and not in the future.
    fn could_happen(&self, at: Time, now: Time) -> bool {
        let asked = Request::decode(&self.row.request).map(|request| request.created_at);
        let latest = Time::from_millis(now.millis().saturating_add(AHEAD_MILLIS));
        asked.is_ok_and(|asked| asked <= at) && at <= latest
    }

    /// Those that verify. A row that does not was not written by us, and says nothing.
    pub(super) fn notes(&self) -> Vec<Note> {
        self.verified(&self.notes)
    }

    fn verified(&self, rows: &[CeremonySignatureRow]) -> Vec<Note> {
        let verified = |row: &CeremonySignatureRow| {
            let signature = MemberSignature::decode(row.signature.as_bytes()).ok()?;
            let said = self.said(row.purpose, &row.body, &signature).ok()?;
            Some(Note {
                at: row.received_at,
                what: step_of(row.purpose),
                member: said.member,
                note: said.step,
            })
        };
        rows.iter().filter_map(verified).collect()
    }

    /// As steps of the record.
    pub(super) fn noted(&self) -> Vec<Step> {
        steps(self.notes())
    }
}
