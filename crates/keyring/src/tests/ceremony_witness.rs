//! Exceptions and attestations: limits, and hands in the database.

use store::testing::place::Place;
use trust::attestation::verify_attestations;
use trust::verify_transcript;

use super::installation::Installation;
use super::log_check::Checked;
use crate::ceremony::{Error, ExceptionInput};

impl Installation {
    async fn exception(&self, who: &str, id: &str, text: &str) -> Result<(), Error> {
        let input = ExceptionInput {
            exception: text.to_owned(),
            decided_by: "alice".parse().unwrap(),
            at: self.now(),
        };
        let (body, payload) = self.service().exception_payload(id, &input).await?;
        let signature = (self.custodians).signature(who, &payload.namespace, &payload.bytes);
        self.service().exception(id, &body, &signature).await
    }

    async fn attest(&self, who: &str, id: &str) -> Result<(), Error> {
        let (body, payload) = self.service().attestation_payload(id, None).await?;
        let signature = (self.custodians).signature(who, &payload.namespace, &payload.bytes);
        self.service().attest(id, &body, &signature).await
    }
}

#[tokio::test]
async fn exceptions_are_as_many_as_notes_and_nobody_takes_the_room_of_the_others() {
    let (all, _) = Installation::open("records").await;
    let id = all.propose("records", Installation::generation()).await;
    for who in ["alice", "bob", "wendy", "adam"] {
        for number in 0..5 {
            let text = format!("the {number}th adapter was missing");
            all.exception(who, &id, &text).await.unwrap();
        }
        let more = all.exception(who, &id, "one too many").await;
        let refused = matches!(more, Err(Error::NotesOfMember(5) | Error::Notes(20)));
        assert!(refused, "{more:?}");
    }
    let more = all.exception("carol", &id, "one too many").await;
    assert!(matches!(more, Err(Error::Notes(20))), "{more:?}");
    let row = all.service().reading(&id).await.unwrap();
    assert_eq!(row.notes.len(), 20);
    assert!(row.notes.iter().all(|note| note.what == "exception"));
}

/// All at once, by connections of their own.
async fn at_once(
    submitted: Vec<impl Future<Output = Result<(), Error>> + Send + 'static>,
) -> (usize, Vec<Error>) {
    let tasks: Vec<_> = submitted.into_iter().map(tokio::spawn).collect();
    let (mut taken, mut refused) = (0, Vec::new());
    for task in tasks {
        match task.await.unwrap() {
            Ok(()) => taken += 1,
            Err(error) => refused.push(error),
        }
    }
    (taken, refused)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn threat_requests_at_once_take_no_more_room_than_one_after_another() {
    let all = Installation::over(Place::postgres().await);
    let genesis = all.custodians.genesis();
    all.service().install_genesis(&genesis).await.unwrap();
    all.open_ring("records").await;
    let id = all.propose("records", Installation::generation()).await;
    let mut said = Vec::new();
    for number in 0..12 {
        let input = ExceptionInput {
            exception: format!("the {number}th adapter was missing"),
            decided_by: "alice".parse().unwrap(),
            at: all.now(),
        };
        let service = all.service();
        let (body, payload) = service.exception_payload(&id, &input).await.unwrap();
        let signature = (all.custodians).signature("wendy", &payload.namespace, &payload.bytes);
        let id = id.clone();
        said.push(async move { service.exception(&id, &body, &signature).await });
    }
    let (taken, refused) = at_once(said).await;
    assert_eq!((taken, refused.len()), (5, 7), "{refused:?}");
    let by_member = |error: &Error| matches!(error, Error::NotesOfMember(5));
    assert!(refused.iter().all(by_member), "{refused:?}");
    // There is room for the others.
    all.exception("bob", &id, "the safe was locked")
        .await
        .unwrap();

    for who in ["alice", "bob"] {
        all.approve(&id, who).await.unwrap();
    }
    all.execute(&id).await.unwrap();
    for who in ["alice", "bob"] {
        all.accept(&id, who).await.unwrap();
    }
    let mut attested = Vec::new();
    for number in 0..8 {
        let (service, note) = (all.service(), Some(format!("the {number}th time")));
        let (body, payload) = service.attestation_payload(&id, note).await.unwrap();
        let signature = (all.custodians).signature("wendy", &payload.namespace, &payload.bytes);
        let id = id.clone();
        attested.push(async move { service.attest(&id, &body, &signature).await });
    }
    let (taken, refused) = at_once(attested).await;
    assert_eq!((taken, refused.len()), (1, 7), "{refused:?}");
    let file = all.service().attestations(&id).await.unwrap();
    assert_eq!(file.attestations.len(), 1);
}

/// `log check` tells of a row that is gone, and of one that says something else; whoever reads the file sees whether a
/// witness signed it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn threat_exceptions_and_attestations_are_rewritten_or_taken_out_in_the_database() {
    let checked = Checked::new().await;
    let all = &checked.all;
    let id = all.propose("records", Installation::generation()).await;
    all.exception("wendy", &id, "the first token was silent")
        .await
        .unwrap();
    for who in ["alice", "bob"] {
        all.approve(&id, who).await.unwrap();
    }
    all.execute(&id).await.unwrap();
    for who in ["alice", "bob"] {
        all.accept(&id, who).await.unwrap();
    }
    all.attest("wendy", &id).await.unwrap();
    let again = all.attest("wendy", &id).await.unwrap_err();
    assert!(again.to_string().contains("attested before"), "{again}");
    checked.grow(10).await;
    checked.clean(true).await;

    let bytes = all.service().transcript(&id).await.unwrap();
    let verified = verify_transcript(&bytes, &all.settings.pin).unwrap();
    let file = async || all.service().attestations(&id).await.unwrap().attestations;
    assert!(verify_attestations(&verified, &file().await)[0].is_ok());

    let hand = async |sql: &str| {
        for guard in ["no_update", "no_delete", "no_replace"] {
            let sql = format!("DROP TRIGGER IF EXISTS ceremony_signature_{guard}");
            all.place.raw(&sql).await.unwrap();
        }
        assert!(all.place.raw(sql).await.unwrap() > 0, "{sql}");
    };
    let kept = "CREATE TABLE kept AS SELECT * FROM ceremony_signature
        WHERE purpose IN ('exception', 'witness')";
    all.place.raw(kept).await.unwrap();
    for (purpose, changed, gone) in [
        ("exception", &["note"][..], &["vote_missing", "note"][..]),
        ("witness", &[][..], &["vote_missing"][..]),
    ] {
        let of = format!("FROM ceremony_signature WHERE purpose = '{purpose}'");
        let back = format!(
            "INSERT INTO ceremony_signature SELECT * FROM kept WHERE purpose = '{purpose}'"
        );
        hand(&format!(
            "UPDATE ceremony_signature SET body = X'7b7d' WHERE purpose = '{purpose}'"
        ))
        .await;
        // Once for the row, and once for the leaf that bears out another one.
        let mut codes = checked.codes(true).await;
        codes.dedup();
        assert_eq!(codes, changed, "{purpose}");
        if purpose == "witness" {
            assert!(verify_attestations(&verified, &file().await)[0].is_err());
        }
        hand(&format!("DELETE {of}")).await;
        let mut codes = checked.codes(true).await;
        codes.sort_unstable_by_key(|code| *code == "note");
        codes.dedup();
        assert_eq!(codes, gone, "{purpose}");
        hand(&back).await;
        checked.clean(true).await;
    }
}
