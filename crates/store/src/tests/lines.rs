//! Lines of subjects: what is carried out on one is nothing to another.

use super::super::*;
use super::conflicts::conflicts;
use super::place::Place;
use super::world::*;

pub async fn ten_ceremonies_on_ten_subjects_are_all_carried_out(place: Place) {
    let rings = ["r0", "r1", "r2", "r3"];
    for ring in rings {
        place.ring_with_a_retired_key(ring).await;
    }
    for ring in rings {
        place.approved(&format!("birth {ring}"), ring).await;
    }
    for (ring, operation, key) in [
        ("r0", "destroy", "r0-1"),
        ("r1", "destroy", "r1-1"),
        ("r2", "revoke", "r2-1"),
        ("r3", "revoke", "r3-2"),
    ] {
        let name = format!("end of {key}");
        place.approved_on(&name, operation, ring, key).await;
    }
    for name in ["clock", "clock of another"] {
        let subjects = [format!("log/{name}")];
        place
            .approved_of(name, "clock-correction", None, &subjects)
            .await;
    }
    // In another order than they were proposed in.
    place.change(execute("clock of another")).await.unwrap();
    for ring in ["r3", "r2", "r1", "r0"] {
        let name = format!("birth {ring}");
        place.change(intend(object(&name, ring, 3))).await.unwrap();
        place.change(record(&name)).await.unwrap();
    }
    for (ring, key) in [("r3", "r3-2"), ("r2", "r2-1")] {
        let (name, key) = (format!("end of {key}"), kid(key));
        let revoke = place.revoke(&name, ring, &key, "superseded", None).await;
        place.change(revoke).await.unwrap();
    }
    for (ring, key) in [("r1", "r1-1"), ("r0", "r0-1")] {
        let name = format!("end of {key}");
        place.change(destroy(&name, key)).await.unwrap();
        place.change(archive(&name, ring, key)).await.unwrap();
        place.change(execute(&name)).await.unwrap();
    }
    place.change(execute("clock")).await.unwrap();
    let executed = place.store.executed_ceremonies().await.unwrap();
    assert_eq!(executed.all().unwrap().len(), 10);
    for (subject, seq) in [
        ("ring/r0".to_owned(), 3),
        ("ring/r3".to_owned(), 3),
        (of_key(&kid("r0-1")), 1),
        (of_key(&kid("r3-2")), 1),
        ("log/clock".to_owned(), 1),
    ] {
        let head = place.store.line_head(&subject).await.unwrap().unwrap();
        assert_eq!(head.seq, seq, "{subject}");
        let row = place.store.ceremony(&head.ceremony).await.unwrap().unwrap();
        assert_eq!(row.execution, Some(head.execution), "{subject}");
    }
    assert_eq!(place.store.line_head("ring/none").await.unwrap(), None);
}

pub async fn first_that_is_carried_out_voids_the_other_of_its_subject_alone(place: Place) {
    let first = place.ring_with_a_retired_key("atp").await;
    place.ring_with_a_retired_key("oauth").await;
    let one = [of_key(&first)];
    let both = [of_key(&first), of_key(&kid("oauth-1"))];
    let ring = Some("atp");
    place.approved_of("both", "destroy", ring, &both).await;
    place.approved_of("one", "destroy", ring, &one).await;
    place
        .approved_on("other", "destroy", "oauth", "oauth-1")
        .await;
    place.approved("birth", "atp").await;
    let stop = place.revocation("stop", "atp", &first).await;
    place.change(stop).await.unwrap();
    // One line of two is enough.
    let sequence = Subject::CeremonySequence;
    let two = destroy_all("both", &["atp-1", "oauth-1"]);
    conflicts(&place, two, sequence).await;
    conflicts(&place, destroy("one", "atp-1"), sequence).await;
    assert_eq!(place.object_state("atp-1").await, ObjectState::Present);
    for change in [
        destroy("other", "oauth-1"),
        archive("other", "oauth", "oauth-1"),
        execute("other"),
        intend(object("birth", "atp", 3)),
        record("birth"),
    ] {
        place.change(change).await.unwrap();
    }
    // Proposed anew it is next.
    place.approved_of("again", "destroy", ring, &one).await;
    assert_eq!(place.seq("again").await, 2);
    place.change(destroy("again", "atp-1")).await.unwrap();
}

pub async fn place_is_given_back_only_if_it_is_the_last(place: Place) {
    use CeremonyState as S;
    place.ring("atp").await;
    place.ring("oauth").await;
    for (name, number) in [("a", 1), ("b", 2)] {
        place.generated(name, "atp", number).await;
    }
    place.generated("beside", "oauth", 1).await;
    let give_up = |name: &str, to| Change::MoveCeremony {
        id: digest(name),
        from: S::Executed,
        to,
        at: NOW,
    };
    let sequence = Subject::CeremonySequence;
    for to in [S::Rejected, S::Expired, S::Cancelled, S::Failed] {
        conflicts(&place, give_up("a", to), sequence).await;
    }
    conflicts(&place, resolve("a", "a", ObjectState::Destroyed), sequence).await;
    assert_eq!(place.object_state("a").await, ObjectState::Present);
    place.change(give_up("b", S::Cancelled)).await.unwrap();
    let head = place.store.line_head("ring/atp").await.unwrap().unwrap();
    assert_eq!((head.seq, head.ceremony), (1, digest("a")));
    // Now that is the last one, whatever was done on another subject.
    let gone = resolve("a", "a", ObjectState::Destroyed);
    place.change(gone).await.unwrap();
    assert_eq!(place.ceremony("a").await.state, S::Failed);
    assert_eq!(place.store.line_head("ring/atp").await.unwrap(), None);
    place.approved("c", "atp").await;
    assert_eq!(place.seq("c").await, 1);
    assert_eq!(place.next("ring/oauth").await, 2);
}

pub async fn nonce_is_used_by_what_was_carried_out(place: Place) {
    place.ring("atp").await;
    let used = async |name: &str, by: &str| {
        let used = place.store.nonce_used(&nonce(name), &digest(by)).await;
        used.unwrap()
    };
    place.intended("a", "atp", 1).await;
    assert!(!used("a", "b").await);
    place.change(record("a")).await.unwrap();
    assert!(used("a", "b").await);
    assert!(!used("a", "a").await);
    place.change(place.accept("a", "atp", 1)).await.unwrap();
    assert!(used("a", "b").await);
    // No second request has it, carried out or not.
    let same = CeremonyRow {
        nonce: nonce("a").parse().unwrap(),
        ..ceremony("b", "generate", Some("atp"))
    };
    let same = propose(same, &[line("ring/atp", 2)]);
    conflicts(&place, same, Subject::Ceremony).await;
    let short = format!(
        "INSERT INTO ceremony (id, operation, ring, state, nonce, request, created_at, updated_at)
         SELECT '{}', operation, ring, 'proposed', '0', request, 0, 0 FROM ceremony
         WHERE id = '{}'",
        digest("b"),
        digest("a")
    );
    place.refuses(&short).await;
}

pub async fn an_orders_use_is_not_taken_twice(place: Place) {
    place.ring("atp").await;
    for order in ["order", "another order"] {
        place.order(order, "atp", 2).await;
    }
    place.change(ordered("a", 1)).await.unwrap();
    conflicts(&place, ordered("b", 1), Subject::OrderUse).await;
    assert_eq!(place.store.ceremony(&digest("b")).await.unwrap(), None);
    // Given up, it stays taken.
    place
        .move_ceremony("a", CeremonyState::Proposed, CeremonyState::Expired)
        .await
        .unwrap();
    conflicts(&place, ordered("b", 1), Subject::OrderUse).await;
    place.change(ordered("b", 2)).await.unwrap();
    let mut other = ordered("c", 1);
    if let Change::ProposeCeremony {
        order: Some(order), ..
    } = &mut other
    {
        order.order = nonce("another order");
    }
    place.change(other).await.unwrap();
}

pub async fn ceremony_without_a_ring_lives(place: Place) {
    use CeremonyState as S;
    let row = ceremony("birth", "generate", None);
    let birth = propose(row, &[line("ring/atp", 1)]);
    conflicts(&place, birth, Subject::Constraint).await;
    let subjects = ["log/clock".to_owned()];
    for name in ["clock", "rejected"] {
        let operation = "clock-correction";
        place.approved_of(name, operation, None, &subjects).await;
        place.change(sign(name, "approve", "yes")).await.unwrap();
    }
    place
        .change(sign("rejected", "reject", "no"))
        .await
        .unwrap();
    conflicts(&place, execute("rejected"), Subject::CeremonyState).await;
    conflicts(&place, close("clock"), Subject::CeremonyState).await;
    place.change(execute("clock")).await.unwrap();
    conflicts(&place, execute("clock"), Subject::CeremonySequence).await;
    // It has taken effect, and is not given up.
    let (executed, failed) = (S::Executed, S::Failed);
    let given_up = place.move_ceremony("clock", executed, failed).await;
    assert!(
        matches!(given_up, Err(Error::Conflict { .. })),
        "{given_up:?}"
    );
    place.change(sign("clock", "accept", "yes")).await.unwrap();
    place.change(close("clock")).await.unwrap();
    let row = place.ceremony("clock").await;
    assert_eq!((row.ring, row.state), (None, S::Closed));
    assert_eq!(row.execution.as_deref(), Some(&b"burnt"[..]));
}

/// What is asked for every request costs the same however many there were.
#[tokio::test]
async fn lines_and_nonces_are_searched_not_scanned() {
    use sqlx::{AssertSqlSafe, Row};
    let place = Place::sqlite().await;
    let database::AnyEngine::Sqlite(engine) = &place.store.engine else {
        panic!()
    };
    for sql in [
        crate::lines::LINE_HEAD,
        crate::ceremonies::NONCE_USED,
        crate::lines::LAST_OF_LINE,
        crate::lines::LINES,
        crate::objects::LEFT_TO_DESTROY,
    ] {
        let plan = sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")))
            .fetch_all(&engine.readers)
            .await
            .unwrap();
        let steps: Vec<String> = plan.iter().map(|step| step.get(3)).collect();
        assert!(!steps.is_empty(), "{sql}");
        for step in &steps {
            assert!(step.starts_with("SEARCH"), "{sql}: {steps:?}");
        }
    }
}
