//! Notes of members: what the record of a ceremony says that somebody noted, against the rows and the leaves of the notes.

use std::collections::BTreeMap;

use trust::actor::Actor;
use trust::finding::Findings;
use trust::note::NoteBody;
use trust::{Purpose, Sha256Digest, Time, Transcript};

use super::ceremonies::{Ceremonies, Ceremony};
use super::records::Vote;
use store::{CeremonySignatureRow, Rows};
use trust::acts::Acts;

/// A note without its text, which may be long.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Noted {
    at: Time,
    text: Sha256Digest,
    /// As leaves write it.
    by: String,
}

/// What a row says was noted; who, its leaf says. None of what is no note.
pub fn text_of(row: &CeremonySignatureRow) -> Option<Sha256Digest> {
    if row.purpose != Purpose::Note {
        return None;
    }
    // What cannot be read is in no record.
    let body: Option<NoteBody> = trust::json::require_canonical(&row.body).ok();
    let note = body.map(|body| body.note).unwrap_or_default();
    Some(Sha256Digest::of(note.as_bytes()))
}

/// Those of the record that an executor wrote.
pub fn of_record(execution: &[u8]) -> Option<Vec<Noted>> {
    let transcript = Transcript::decode(execution).ok()?;
    let steps = transcript.record.steps.into_iter();
    let notes = steps.filter(|step| step.what == "note").filter_map(|step| {
        let witness = step.witness?;
        let member = witness.name.parse().ok();
        let member: Option<trust::MemberId> = member;
        Some(Noted {
            at: step.at,
            text: Sha256Digest::of(witness.note.as_bytes()),
            by: member.map_or_else(String::new, |id| Actor::Member(id.as_str()).to_string()),
        })
    });
    Some(notes.collect())
}

pub fn notes(rows: &Ceremonies, votes: &Rows<Vote>, acts: &Acts, findings: &mut Findings) {
    let mut of_ceremony: BTreeMap<Sha256Digest, Vec<Noted>> = BTreeMap::new();
    for vote in &votes.read {
        let Some(text) = vote.noted else { continue };
        let acts = acts.of_ceremony(&vote.ceremony.to_string());
        let leaf = acts.iter().find(|act| act.index == vote.index);
        of_ceremony.entry(vote.ceremony).or_default().push(Noted {
            at: vote.received_at,
            text,
            by: leaf.map_or_else(String::new, |act| act.leaf.actor.clone()),
        });
    }
    for ceremony in rows.iter() {
        let there = of_ceremony.remove(&ceremony.id).unwrap_or_default();
        compare(ceremony, there, findings);
    }
}

/// A revocation or a correction is carried out in one step, and a note that comes at that moment is not in its record.
fn compare(ceremony: &Ceremony, mut there: Vec<Noted>, findings: &mut Findings) {
    let Some(record) = &ceremony.notes else {
        return;
    };
    for noted in record {
        match there.iter().position(|row| row == noted) {
            Some(place) => drop(there.swap_remove(place)),
            None => {
                let what = format!(
                    "the record of ceremony {} has a note of {} that is in no row and leaf",
                    ceremony.id, noted.at
                );
                findings.add("note", None, what);
            }
        }
    }
    let at_once = !matches!(ceremony.operation.as_str(), "generate" | "destroy");
    for noted in there.iter().filter(|_| !at_once) {
        let what = format!(
            "a note of {} is missing in the record of ceremony {}",
            noted.at, ceremony.id
        );
        findings.add("note", None, what);
    }
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
