//! Stops of signing: a signature that was made without knowing of one is not recorded.

use super::super::*;
use super::conflicts::conflicts;
use super::place::Place;
use super::world::*;
use trust::emergency::STOP;

fn stop_row(name: &str, subject: &str, seq: i64) -> StopRow {
    StopRow {
        id: trust::Sha256Digest::of(name.as_bytes()),
        line: LineRow {
            subject: subject.to_owned(),
            seq,
        },
        body: name.as_bytes().to_vec(),
        signature: "{}".to_owned(),
        at: trust::Time::from_millis(NOW),
        index: None,
    }
}

fn told(kind: &'static str, body: &str) -> Leaf {
    Leaf {
        time: NOW,
        kind,
        ring: None,
        kid: None,
        sig_hash: None,
        body: body.to_owned(),
    }
}

async fn stopped(place: &Place, name: &str, subject: &str, seq: i64) -> Result<i64, Error> {
    let change = Change::StopSigning(Box::new(stop_row(name, subject, seq)));
    let body = format!(r#"{{"action":"{}","kind":"emergency"}}"#, STOP);
    place.store.commit(&change, &told("emergency", &body)).await
}

async fn signed(place: &Place, kid: &str, name: &str, judged: Judged) -> SignatureOutcome {
    let record = SignatureRecord {
        judged,
        ..signature(kid, "atp", name)
    };
    let outcomes = place.store.commit_signatures(&[record]).await.unwrap();
    outcomes.into_iter().next().unwrap()
}

fn below(below: i64) -> Judged {
    Judged { below, until: None }
}

pub async fn a_frozen_replica_that_wakes_after_a_stop_releases_nothing(place: Place) {
    let kid = place.open_ring("atp").await;
    let before = place.store.log_size().await.unwrap();
    let good = signed(&place, &kid, "one", below(before)).await;
    assert!(matches!(good, SignatureOutcome::Committed { .. }));
    let index = stopped(&place, "stop", "stop/atp", 1).await.unwrap();
    assert_eq!(place.store.last_emergency().await.unwrap(), index);
    // What it knew when it signed is of before the stop, and so it is in a batch and for an answer that is repeated.
    let size = place.store.log_size().await.unwrap();
    let unjudged = SignatureOutcome::Unjudged;
    assert_eq!(signed(&place, &kid, "two", below(before)).await, unjudged);
    assert_eq!(signed(&place, &kid, "two", below(index)).await, unjudged);
    let record = |name: &str, judged, asked| SignatureRecord {
        judged,
        idempotency: asked,
        ..signature(&kid, "atp", name)
    };
    let batch = [
        record("three", below(index), None),
        record("four", below(index + 1), None),
        record("five", below(index), asked("key", "answer")),
    ];
    let outcomes = place.store.commit_signatures(&batch).await.unwrap();
    let committed = SignatureOutcome::Committed { index: size };
    assert_eq!(outcomes, [unjudged.clone(), committed, unjudged]);
    assert_eq!(place.store.log_size().await.unwrap(), size + 1);
}

pub async fn a_ring_that_is_not_ratified_in_time_signs_no_more(place: Place) {
    let kid = place.open_ring("atp").await;
    let body = r#"{"action":"revoke","kind":"key","until":"2026-01-01T00:00:00.000Z"}"#;
    let leaf = told("key", body);
    let index = place.store.commit(&Change::Record, &leaf).await.unwrap();
    assert_eq!(place.store.last_emergency().await.unwrap(), index);
    let unjudged = SignatureOutcome::Unjudged;
    assert_eq!(signed(&place, &kid, "one", below(index)).await, unjudged);
    let until = |until| Judged {
        below: index + 1,
        until: Some(until),
    };
    // By the database's clock, whatever the leaf says, and by the leaf's.
    assert_eq!(signed(&place, &kid, "two", until(NOW)).await, unjudged);
    assert_eq!(signed(&place, &kid, "two", until(NOW - 1)).await, unjudged);
    let good = signed(&place, &kid, "two", until(i64::MAX)).await;
    assert!(
        matches!(good, SignatureOutcome::Committed { .. }),
        "{good:?}"
    );
    // A revocation that nobody has to ratify is none of these.
    let leaf = told("key", r#"{"action":"revoke","kind":"key"}"#);
    place.store.commit(&Change::Record, &leaf).await.unwrap();
    assert_eq!(place.store.last_emergency().await.unwrap(), index);
    let found = place.store.emergency_leaves(0).await.unwrap();
    assert_eq!(found.len(), 1);
}

pub async fn stops_and_resumes_share_a_line(place: Place) {
    place.ring("atp").await;
    let sequence = Subject::CeremonySequence;
    let change = |name, seq| Change::StopSigning(Box::new(stop_row(name, "stop/atp", seq)));
    stopped(&place, "stop", "stop/atp", 1).await.unwrap();
    conflicts(&place, change("again", 1), sequence).await;
    // The line of all rings is another.
    stopped(&place, "all", "stop/*", 1).await.unwrap();
    let row = ceremony("resume", "resume", Some("atp"));
    conflicts(
        &place,
        propose(row.clone(), &[line("stop/atp", 1)]),
        sequence,
    )
    .await;
    place
        .change(propose(row, &[line("stop/atp", 2)]))
        .await
        .unwrap();
    use CeremonyState as S;
    place
        .move_ceremony("resume", S::Proposed, S::Approved)
        .await
        .unwrap();
    place.change(execute("resume")).await.unwrap();
    conflicts(&place, change("again", 2), sequence).await;
    // The schema has the last word.
    let (id, zeros) = (digest("x"), "00");
    let bytes = match &place.store.engine {
        database::AnyEngine::Sqlite(_) => format!("x'{zeros}'"),
        database::AnyEngine::Postgres(_) => format!("'\\x{zeros}'"),
    };
    let sql = format!(
        "INSERT INTO emergency_stop (id, subject, seq, body, signature, at, idx)
        VALUES ('{id}', 'stop/atp', 2, {bytes}, '', 1, 999)"
    );
    place.refuses(&sql).await;
    // The row of the one before may be gone, whose place only its leaf tells.
    stopped(&place, "later", "stop/atp", 4).await.unwrap();
    conflicts(&place, change("again", 3), sequence).await;
    let last = place.store.last_stop("stop/atp").await.unwrap().unwrap();
    assert_eq!(last.line.seq, 4);
    place.refuses("UPDATE emergency_stop SET seq = 9").await;
    place.refuses("DELETE FROM emergency_stop").await;
}
