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

/// A leaf of an emergency of a ring, which its body names.
async fn tell(place: &Place, ring: Option<&str>, kind: &'static str, body: &str) -> i64 {
    let body = match ring {
        Some(ring) => body.replace('}', &format!(r#","ring":"{ring}"}}"#)),
        None => body.to_owned(),
    };
    let leaf = told(kind, &body);
    place.store.commit(&Change::Record, &leaf).await.unwrap()
}

pub async fn what_keeps_rings_from_signing_is_found_from_the_newest_on(place: Place) {
    let stop = r#"{"action":"stop","kind":"emergency"}"#;
    let resume = r#"{"action":"resume","kind":"emergency"}"#;
    let rotation = r#"{"action":"revoke","kind":"key","until":"2026-01-01T00:00:00.000Z"}"#;
    let mut indexes = Vec::new();
    for (ring, kind, body) in [
        (Some("atp"), "emergency", stop),
        (Some("atp"), "emergency", resume),
        (None, "emergency", stop),
        (Some("oauth"), "emergency", stop),
        (Some("oauth"), "key", rotation),
        (Some("oauth"), "key", r#"{"action":"revoke","kind":"key"}"#),
        (Some("atp"), "emergency", stop),
        (Some("oauth"), "emergency", resume),
    ] {
        indexes.push(tell(&place, ring, kind, body).await);
    }
    let store = &place.store;
    use Hindrance::{Rotation, Stop};
    let lines = async |of| store.emergency_lines(of).await.unwrap();
    assert_eq!(lines(Stop).await, ["", "atp", "oauth"]);
    assert_eq!(lines(Rotation).await, ["", "oauth"]);
    let places = |leaves: Vec<LeafRow>| -> Vec<usize> {
        let place = |leaf: &LeafRow| indexes.iter().position(|index| *index == leaf.index);
        leaves.iter().map(|leaf| place(leaf).unwrap()).collect()
    };
    let before = async |of, ring, before, limit| {
        places(
            store
                .hindrances_before(of, ring, before, limit)
                .await
                .unwrap(),
        )
    };
    assert_eq!(before(Stop, "atp", i64::MAX, 8).await, [6, 0]);
    assert_eq!(before(Stop, "atp", i64::MAX, 1).await, [6]);
    assert_eq!(before(Stop, "atp", indexes[6], 8).await, [0]);
    assert_eq!(before(Stop, "", i64::MAX, 8).await, [2]);
    assert_eq!(before(Rotation, "oauth", i64::MAX, 8).await, [4]);
    assert_eq!(before(Rotation, "atp", i64::MAX, 8).await, [0; 0]);
    let ends = async |ring, after| places(store.emergency_ends(ring, after, 8).await.unwrap());
    assert_eq!(ends("atp", indexes[0]).await, [1]);
    assert_eq!(ends("atp", indexes[1]).await, [0; 0]);
    assert_eq!(ends("oauth", -1).await, [7]);
    let last = async |before| {
        let last = store.last_emergency_before(before).await.unwrap();
        places(last.into_iter().collect())
    };
    assert_eq!(last(indexes[7] + 1).await, [7]);
    assert_eq!(last(indexes[6]).await, [4]);
    assert_eq!(last(indexes[0]).await, [0; 0]);
    // Rows of what was signed, by their lines.
    for (name, subject, seq) in [
        ("a", "stop/atp", 1),
        ("b", "stop/atp", 3),
        ("c", "stop/*", 1),
    ] {
        stopped(&place, name, subject, seq).await.unwrap();
    }
    let mut subjects = store.stop_subjects().await.unwrap();
    subjects.sort();
    assert_eq!(subjects, ["stop/*", "stop/atp"]);
    let of = async |subject, after| {
        let rows = store.stops_of(subject, after, 8).await.unwrap().all();
        let rows = rows.unwrap().into_iter();
        rows.map(|row| row.line.seq).collect::<Vec<_>>()
    };
    assert_eq!(of("stop/atp", 0).await, [1, 3]);
    assert_eq!(of("stop/atp", 1).await, [3]);
    assert_eq!(of("stop/atp", 3).await, [0; 0]);
}

pub async fn passkeys_that_may_be_copied_are_among_the_acts_that_are_told_of(place: Place) {
    let from = place.store.log_size().await.unwrap();
    tell(&place, None, "refusal", r#"{"action":"approve"}"#).await;
    let body = format!(r#"{{"action":"{}","kind":"refusal"}}"#, trust::leaf::CLONED);
    let index = tell(&place, None, "refusal", &body).await;
    let acts = place.store.acts_from(from, 10).await.unwrap();
    let found: Vec<i64> = acts.iter().map(|leaf| leaf.index).collect();
    assert_eq!(found, [index]);
}

/// Only what nobody may accept any more ends after it was carried out; it keeps its place, which others name.
pub async fn a_ratification_that_was_carried_out_may_fail(place: Place) {
    use CeremonyState as S;
    place.ring("atp").await;
    let mut rows = Vec::new();
    for (name, operation) in [("late", "ratification"), ("other", "resume")] {
        let subject = format!("key/{name}");
        let row = ceremony(name, operation, Some("atp"));
        place
            .change(propose(row, &[line(&subject, 1)]))
            .await
            .unwrap();
        place
            .move_ceremony(name, S::Proposed, S::Approved)
            .await
            .unwrap();
        place.change(execute(name)).await.unwrap();
        rows.push(place.move_ceremony(name, S::Executed, S::Failed).await);
    }
    assert!(rows[0].is_ok() && rows[1].is_err(), "{rows:?}");
    let mark = place.store.ceremony_mark(&digest("late")).await.unwrap();
    assert_eq!(mark.unwrap().state, S::Failed);
    let head = place.store.line_head("key/late").await.unwrap().unwrap();
    assert_eq!(head.seq, 1);
}

pub async fn what_is_said_for_the_record_is_counted_where_it_is_kept(place: Place) {
    place.ring("atp").await;
    place.change(birth("a", 1, "atp")).await.unwrap();
    let said = |number: usize, before| {
        let signed = sign("a", "approve", &format!("note {number}"));
        let Change::AddCeremonySignature(row) = signed else {
            unreachable!()
        };
        Change::AddToRecord {
            signature: CeremonySignatureRow {
                purpose: trust::Purpose::Note,
                ..row
            },
            before,
        }
    };
    place.change(said(0, 0)).await.unwrap();
    // It was counted before the first one was there.
    let what = Subject::CeremonyRecord;
    conflicts(&place, said(1, 0), what).await;
    place.change(said(1, 1)).await.unwrap();
    let exception = match said(2, 0) {
        Change::AddToRecord { signature, before } => Change::AddToRecord {
            signature: CeremonySignatureRow {
                purpose: trust::Purpose::Exception,
                ..signature
            },
            before,
        },
        other => other,
    };
    place.change(exception).await.unwrap();
}
