//! Ceremonies: their order, how they begin and how they end.

use super::super::*;
use super::conflicts::{conflicts, malformed, missing};
use super::place::Place;
use super::world::*;

pub async fn ceremonies_stand_in_the_lines_of_their_subjects(place: Place) {
    place.ring("atp").await;
    let sequence = Subject::CeremonySequence;
    conflicts(&place, birth("a", 2, "atp"), sequence).await;
    conflicts(&place, birth("a", 0, "atp"), sequence).await;
    place.change(birth("a", 1, "atp")).await.unwrap();
    conflicts(&place, birth("a", 1, "atp"), Subject::Ceremony).await;
    // Several may be proposed as the next; the one that is carried out uses the place up.
    place.change(birth("c", 1, "atp")).await.unwrap();
    conflicts(&place, birth("b", 2, "atp"), sequence).await;
    missing(&place, birth("b", 1, "nowhere"), Subject::Ring).await;
    let begun = CeremonyRow {
        state: CeremonyState::Approved,
        ..ceremony("b", "revoke", Some("atp"))
    };
    malformed(&place, propose(begun, &[line("key/k", 1)])).await;
    // Of several lines one is wrong; one line twice; none at all.
    let row = || ceremony("b", "destroy", Some("atp"));
    let lines = [line("key/k", 1), line("key/l", 2)];
    conflicts(&place, propose(row(), &lines), sequence).await;
    let twice = [line("key/k", 1), line("key/k", 1)];
    conflicts(&place, propose(row(), &twice), Subject::Constraint).await;
    malformed(&place, propose(row(), &[])).await;
    let read = place.store.ceremony(&digest("a")).await.unwrap();
    assert_eq!(read, Some(ceremony("a", "generate", Some("atp"))));
    let lines = place.store.lines(&digest("a")).await.unwrap();
    assert_eq!(lines, [line("ring/atp", 1)]);
    assert_eq!(place.store.ceremony(&digest("b")).await.unwrap(), None);
    assert_eq!(place.store.lines(&digest("b")).await.unwrap(), []);
}

/// Somebody proposed it, or a standing order did; never neither, never both.
pub async fn proposal_comes_with_its_signature_or_an_order(place: Place) {
    place.ring("atp").await;
    let with = |proposal: Option<(&str, &str)>, order: Option<i64>| Change::ProposeCeremony {
        row: Box::new(ceremony("a", "generate", Some("atp"))),
        lines: vec![line("ring/atp", 1)],
        proposal: proposal.map(|(ceremony, purpose)| CeremonySignatureRow {
            ceremony: digest(ceremony).parse().unwrap(),
            purpose: purpose_of(purpose),
            body: Vec::new(),
            signature: "s".into(),
            received_at: trust::Time::from_millis(NOW),
        }),
        order: order.map(|number| OrderUseRow {
            order: nonce("order"),
            number,
        }),
    };
    place.order("order", "atp", 2).await;
    let mine = Some(("a", "propose"));
    malformed(&place, with(None, None)).await;
    malformed(&place, with(mine, Some(1))).await;
    malformed(&place, with(Some(("b", "propose")), None)).await;
    malformed(&place, with(Some(("a", "approve")), None)).await;
    conflicts(&place, with(None, Some(0)), Subject::OrderUse).await;
    let index = place.change(with(mine, None)).await.unwrap();
    let votes = place.store.votes(&PageStart::default(), MAX_PAGE).await;
    let votes = votes.unwrap().rows.all().unwrap();
    let told: Vec<_> = votes
        .iter()
        .filter(|row| row.vote.ceremony.to_string() == digest("a"))
        .map(|row| (row.index, row.vote.purpose))
        .collect();
    assert_eq!(told, [(index, trust::Purpose::Propose)]);
    // Its signature is no vote that anybody adds.
    malformed(&place, sign("a", "propose", "again")).await;
}

/// Several wait for the same place; the first that is executed uses it up, whatever the others
/// have begun.
pub async fn place_goes_to_the_first_that_is_executed(place: Place) {
    use CeremonyState as S;
    let first = place.ring_with_a_retired_key("atp").await;
    for name in ["a", "b"] {
        place.approved(name, "atp").await;
    }
    place.approved_on("end", "destroy", "atp", "atp-1").await;
    let stop = place.revocation("stop", "atp", &first).await;
    for (name, seq) in [("a", 3), ("b", 3), ("end", 1), ("stop", 1)] {
        assert_eq!(place.seq(name).await, seq);
    }
    place.change(intend(object("a", "atp", 3))).await.unwrap();
    place
        .change(intend(object_elsewhere("b", "atp", 4)))
        .await
        .unwrap();
    // Executing does not use it up.
    place.approved("c", "atp").await;
    assert_eq!(place.seq("c").await, 3);
    place.change(record("b")).await.unwrap();
    let sequence = Subject::CeremonySequence;
    conflicts(&place, record("a"), sequence).await;
    for change in [
        intend(object_elsewhere("c", "atp", 5)),
        birth("d", 3, "atp"),
        birth("d", 5, "atp"),
    ] {
        conflicts(&place, change, sequence).await;
    }
    // What it did is nothing to the line of the key.
    place.change(stop).await.unwrap();
    conflicts(&place, destroy("end", "atp-1"), sequence).await;
    // A key that nobody accepts gives the place back.
    place
        .move_ceremony("b", S::Executed, S::Expired)
        .await
        .unwrap();
    place.change(record("a")).await.unwrap();
    place.change(place.accept("a", "atp", 3)).await.unwrap();
    // Closed, it is used up for good.
    conflicts(&place, birth("d", 3, "atp"), sequence).await;
    place.approved("d", "atp").await;
    assert_eq!(place.seq("d").await, 4);
}

pub async fn signatures_come_while_they_are_due(place: Place) {
    place.ring("atp").await;
    missing(&place, sign("a", "approve", "s1"), Subject::Ceremony).await;
    place.change(birth("a", 1, "atp")).await.unwrap();
    place.change(sign("a", "approve", "s2")).await.unwrap();
    place.change(sign("a", "approve", "s1")).await.unwrap();
    conflicts(
        &place,
        sign("a", "approve", "s1"),
        Subject::CeremonySignature,
    )
    .await;
    conflicts(&place, sign("a", "accept", "s1"), Subject::CeremonyState).await;
    malformed(&place, sign("a", "read", "s1")).await;
    let came = place.store.ceremony_signatures(&digest("a")).await.unwrap();
    let came: Vec<_> = came.iter().map(|row| row.signature.as_str()).collect();
    assert_eq!(came, ["proposer", "s2", "s1"]);

    place.generated("b", "atp", 1).await;
    conflicts(&place, sign("b", "approve", "s1"), Subject::CeremonyState).await;
    place.change(sign("b", "accept", "s1")).await.unwrap();
    place.change(place.accept("b", "atp", 1)).await.unwrap();
    conflicts(&place, sign("b", "accept", "s2"), Subject::CeremonyState).await;
}

pub async fn ceremony_moves_only_as_it_may(place: Place) {
    use CeremonyState as S;
    place.ring("atp").await;
    let move_to = |from, to| Change::MoveCeremony {
        id: digest("a"),
        from,
        to,
        at: NOW,
    };
    missing(&place, move_to(S::Proposed, S::Approved), Subject::Ceremony).await;
    place.change(birth("a", 1, "atp")).await.unwrap();
    conflicts(
        &place,
        move_to(S::Approved, S::Expired),
        Subject::CeremonyState,
    )
    .await;
    conflicts(&place, move_to(S::Proposed, S::Failed), Subject::Constraint).await;
    for owned in [S::Executing, S::Executed, S::Closed, S::Proposed] {
        malformed(&place, move_to(S::Proposed, owned)).await;
    }
    place
        .change(move_to(S::Proposed, S::Approved))
        .await
        .unwrap();
    conflicts(
        &place,
        move_to(S::Proposed, S::Approved),
        Subject::CeremonyState,
    )
    .await;
    place
        .change(move_to(S::Approved, S::Cancelled))
        .await
        .unwrap();
    conflicts(
        &place,
        move_to(S::Cancelled, S::Approved),
        Subject::Constraint,
    )
    .await;

    // What is being carried out ends with its object, or its token would stay occupied.
    place.intended("b", "atp", 1).await;
    for end in [S::Failed, S::Expired, S::Approved] {
        let change = Change::MoveCeremony {
            id: digest("b"),
            from: S::Executing,
            to: end,
            at: NOW,
        };
        malformed(&place, change).await;
    }
    place
        .change(resolve("b", "b", ObjectState::Abandoned))
        .await
        .unwrap();
    // What took effect is closed or stays as it is: it keeps its place.
    let first = place.prepared("c", "atp", 1).await;
    let revoke = place.revocation("stop", "atp", &first).await;
    place.change(revoke).await.unwrap();
    for end in [S::Rejected, S::Expired, S::Cancelled, S::Failed] {
        let change = Change::MoveCeremony {
            id: digest("stop"),
            from: S::Executed,
            to: end,
            at: NOW,
        };
        conflicts(&place, change, Subject::Constraint).await;
    }
}

pub async fn generation_is_intended_once(place: Place) {
    place.open_ring("atp").await;
    place.ring("oauth").await;
    let intend = |ceremony: &str, object: KeyObjectRow| Change::IntendGeneration {
        ceremony: digest(ceremony),
        object: Box::new(object),
        at: NOW,
    };
    missing(
        &place,
        intend("b", object("b", "atp", 2)),
        Subject::Ceremony,
    )
    .await;
    place.approved("b", "atp").await;
    place.approved("c", "atp").await;
    place.approved_on("r", "revoke", "atp", "atp-1").await;
    conflicts(
        &place,
        intend("r", object("r", "atp", 2)),
        Subject::Ceremony,
    )
    .await;
    conflicts(
        &place,
        intend("b", object("c", "atp", 2)),
        Subject::KeyObject,
    )
    .await;
    conflicts(
        &place,
        intend("b", object("b", "oauth", 2)),
        Subject::KeyObject,
    )
    .await;
    // Number 1 is taken by a key.
    conflicts(
        &place,
        intend("b", object("b", "atp", 1)),
        Subject::KeyObject,
    )
    .await;
    place
        .change(intend("b", object("b", "atp", 2)))
        .await
        .unwrap();
    conflicts(
        &place,
        intend("b", object("b", "atp", 2)),
        Subject::CeremonyState,
    )
    .await;
    // One act on a device at a time.
    conflicts(
        &place,
        intend("c", object("c", "atp", 3)),
        Subject::OtherCeremony,
    )
    .await;

    let record = |ceremony: &str, name: &str| Change::RecordGeneration {
        ceremony: digest(ceremony),
        object: object_id(name),
        location: Box::new(location(name)),
        kid: kid("b").parse().unwrap(),
        execution: b"{}".to_vec(),
        at: NOW,
    };
    conflicts(&place, record("c", "b"), Subject::CeremonyState).await;
    conflicts(&place, record("b", "atp-1"), Subject::KeyObject).await;
    missing(&place, record("b", "none"), Subject::KeyObject).await;
    place.change(record("b", "b")).await.unwrap();
    conflicts(&place, record("b", "b"), Subject::CeremonyState).await;
    // The place in the line is used up; of the next ceremony, the number, the label and the id of the
    // object are taken.
    conflicts(
        &place,
        intend("c", object("c", "atp", 3)),
        Subject::CeremonySequence,
    )
    .await;
    place.approved("d", "atp").await;
    conflicts(
        &place,
        intend("d", object("d", "atp", 2)),
        Subject::KeyObject,
    )
    .await;
    let labelled = KeyObjectRow {
        label: "b".into(),
        ..object("d", "atp", 3)
    };
    conflicts(&place, intend("d", labelled), Subject::KeyObject).await;
    let same = KeyObjectRow {
        id: object_id("b"),
        ..object("d", "atp", 3)
    };
    conflicts(&place, intend("d", same), Subject::KeyObject).await;
}

/// The rejection in the trail and the beginning of the act may come at the same time.
pub async fn rejected_ceremony_never_begins(place: Place) {
    let first = place.ring_with_a_retired_key("atp").await;
    place.approved("a", "atp").await;
    place.approved("b", "atp").await;
    place.approved_on("end", "destroy", "atp", "atp-1").await;
    let stop = place.revocation("stop", "atp", &first).await;
    for name in ["a", "end", "stop"] {
        place.change(sign(name, "approve", "yes")).await.unwrap();
        place.change(sign(name, "reject", "no")).await.unwrap();
    }
    let begin = [
        ("a", intend(object("a", "atp", 3))),
        ("end", destroy("end", "atp-1")),
        ("stop", stop),
    ];
    for (name, change) in begin {
        conflicts(&place, change, Subject::CeremonyState).await;
        assert_eq!(place.ceremony(name).await.state, CeremonyState::Approved);
        place
            .move_ceremony(name, CeremonyState::Approved, CeremonyState::Rejected)
            .await
            .unwrap();
    }
    assert_eq!(place.key(&first).await.status.as_str(), "retired");
    assert_eq!(place.object_state("atp-1").await, ObjectState::Present);
    // The rejection of one is not that of another, and comes too late for what has begun.
    place.change(sign("b", "approve", "yes")).await.unwrap();
    place.change(intend(object("b", "atp", 3))).await.unwrap();
    conflicts(&place, sign("b", "reject", "no"), Subject::CeremonyState).await;
}

/// What took effect when it was executed; a generated key is accepted instead.
pub async fn executed_ceremony_is_closed_once(place: Place) {
    let first = place.ring_with_a_retired_key("atp").await;
    place.generated("birth", "atp", 3).await;
    conflicts(&place, close("birth"), Subject::Ceremony).await;
    missing(&place, close("none"), Subject::Ceremony).await;
    place.approved_on("end", "destroy", "atp", "atp-1").await;
    conflicts(&place, close("end"), Subject::CeremonyState).await;
    place.change(destroy("end", "atp-1")).await.unwrap();
    conflicts(&place, close("end"), Subject::CeremonyState).await;
    conflicts(&place, execute("end"), Subject::KeyObjectState).await;
    let end = archive("end", "atp", "atp-1");
    place.change(end).await.unwrap();
    conflicts(&place, close("end"), Subject::CeremonyState).await;
    place.change(execute("end")).await.unwrap();
    let stop = place.revocation("stop", "atp", &first).await;
    conflicts(&place, close("stop"), Subject::CeremonyState).await;
    for name in ["birth", "stop"] {
        conflicts(&place, execute(name), Subject::Ceremony).await;
    }
    place.change(stop).await.unwrap();
    for name in ["end", "stop"] {
        let transcript = format!("transcript of {name}").into_bytes();
        let id = digest(name);
        assert_eq!(place.ceremony(name).await.state, CeremonyState::Executed);
        assert_eq!(place.store.transcript(&id).await.unwrap(), None);
        place.change(sign(name, "accept", "yes")).await.unwrap();
        place.change(close(name)).await.unwrap();
        assert_eq!(place.ceremony(name).await.state, CeremonyState::Closed);
        assert_eq!(place.store.transcript(&id).await.unwrap(), Some(transcript));
        conflicts(&place, close(name), Subject::CeremonyState).await;
    }
}

/// A row that cannot be read, and one whose very key cannot, hide nothing behind them.
pub async fn ceremonies_come_in_pages_behind_what_cannot_be_read(place: Place) {
    place.ring("atp").await;
    let mut expected = Vec::new();
    for name in ["a", "b", "c", "d", "e", "f", "g"] {
        place.change(birth(name, 1, "atp")).await.unwrap();
        expected.push(digest(name));
    }
    expected.sort_unstable();
    let mut unreadable = vec!["Z".repeat(64)];
    let (blob, mut ids) = match place.is_sqlite() {
        true => ("X'00'", vec![format!("'{}'", unreadable[0])]),
        false => ("'\\x00'::bytea", vec![format!("'{}'", unreadable[0])]),
    };
    if place.is_sqlite() {
        // Before all others.
        for last in ["fd", "fe", "ff"] {
            ids.push(format!("CAST(X'01{}{last}' AS TEXT)", "ff".repeat(62)));
            unreadable.push("?".to_owned());
        }
    }
    for (number, id) in ids.iter().enumerate() {
        let insert = format!(
            "INSERT INTO ceremony (id, operation, ring, state, nonce, request, created_at, updated_at)
             VALUES ({id}, 'generate', 'atp', 'proposed', '{number:032}', {blob}, {NOW} + 1, {NOW})"
        );
        place.raw(&insert).await.unwrap();
    }
    unreadable.sort_unstable();
    for limit in 1..=ids.len() as i64 + 3 {
        let (mut read, mut left_out) = (Vec::new(), Vec::new());
        let mut next = Some(PageStart::default());
        while let Some(start) = next {
            let page = place.store.ceremony_marks(&start, limit).await.unwrap();
            let Rows {
                read: marks,
                unreadable,
            } = page.rows;
            read.extend(marks.iter().map(|mark| mark.id.to_string()));
            left_out.extend(unreadable.into_iter().map(|row| row.key));
            next = page.next;
        }
        left_out.sort_unstable();
        assert_eq!((&read, &left_out), (&expected, &unreadable), "{limit}");
    }
    let rows = place.store.ceremonies_of(&expected[..3]).await.unwrap();
    let mut ids: Vec<String> = rows.read.iter().map(|row| row.id.to_string()).collect();
    ids.sort_unstable();
    assert_eq!(ids, expected[..3]);
    // The newest is the one that cannot be read, and still a place to go on from.
    let first = "Z".repeat(64);
    let proposed = place
        .store
        .place_of_ceremony(&first)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(proposed, NOW + 1);
    let page = place.store.latest_ceremonies((proposed, &first), 100).await;
    assert_eq!(page.unwrap().rows.read.len(), 7);
    let page = place
        .store
        .latest_ceremonies((NOW + 2, ""), 1)
        .await
        .unwrap();
    assert!(page.rows.read.is_empty());
    assert_eq!(page.next.unwrap().key, first);
}
