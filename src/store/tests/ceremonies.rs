//! Ceremonies: their order, how they begin and how they end.

use super::super::*;
use super::conflicts::{conflicts, malformed, missing};
use super::place::Place;
use super::world::*;

pub async fn ceremonies_stand_in_one_sequence(place: Place) {
    place.ring("atp").await;
    let propose = |name, seq| Change::ProposeCeremony(ceremony(name, seq, "generate", "atp"));
    conflicts(&place, propose("a", 2), Subject::CeremonySequence).await;
    place.change(propose("a", 1)).await.unwrap();
    conflicts(&place, propose("a", 1), Subject::Ceremony).await;
    // Several may be proposed as the next; the one that is carried out uses the number up.
    place.change(propose("c", 1)).await.unwrap();
    conflicts(&place, propose("b", 2), Subject::CeremonySequence).await;
    let elsewhere = Change::ProposeCeremony(ceremony("b", 1, "generate", "nowhere"));
    missing(&place, elsewhere, Subject::Ring).await;
    let begun = CeremonyRow {
        state: CeremonyState::Approved,
        ..ceremony("b", 1, "revoke", "atp")
    };
    malformed(&place, Change::ProposeCeremony(begun)).await;
    let read = place.store.ceremony(&digest("a")).await.unwrap();
    assert_eq!(read, Some(ceremony("a", 1, "generate", "atp")));
    assert_eq!(place.store.ceremony(&digest("b")).await.unwrap(), None);
}

/// Several wait for the same number; the first that is executed uses it up, whatever the others
/// have begun.
pub async fn number_goes_to_the_first_that_is_executed(place: Place) {
    use CeremonyState as S;
    let first = place.ring_with_a_retired_key("atp").await;
    for name in ["a", "b"] {
        place.approved(name, "generate", "atp").await;
    }
    place.approved("end", "destroy", "atp").await;
    let stop = place.revocation("stop", "atp", &first).await;
    let seqs = ["a", "b", "end", "stop"].map(|name| async { place.ceremony(name).await.seq });
    for seq in seqs {
        assert_eq!(seq.await, 3);
    }
    place.change(intend(object("a", "atp", 3))).await.unwrap();
    place
        .change(intend(object_elsewhere("b", "atp", 4)))
        .await
        .unwrap();
    // Executing does not use it up.
    place.approved("c", "generate", "atp").await;
    assert_eq!(place.ceremony("c").await.seq, 3);
    place.change(record("b")).await.unwrap();
    conflicts(&place, record("a"), Subject::CeremonySequence).await;
    conflicts(&place, stop, Subject::CeremonySequence).await;
    for change in [
        intend(object_elsewhere("c", "atp", 5)),
        destroy("end", "atp-1"),
        Change::ProposeCeremony(ceremony("d", 3, "generate", "atp")),
        Change::ProposeCeremony(ceremony("d", 5, "generate", "atp")),
    ] {
        conflicts(&place, change, Subject::CeremonySequence).await;
    }
    // A key that nobody accepts gives the number back.
    place
        .move_ceremony("b", S::Executed, S::Expired)
        .await
        .unwrap();
    place.change(record("a")).await.unwrap();
    place.change(place.accept("a", "atp", 3)).await.unwrap();
    // Closed, it is used up for good.
    let again = Change::ProposeCeremony(ceremony("d", 3, "generate", "atp"));
    conflicts(&place, again, Subject::CeremonySequence).await;
    place.approved("d", "generate", "atp").await;
    assert_eq!(place.ceremony("d").await.seq, 4);
}

pub async fn signatures_come_while_they_are_due(place: Place) {
    place.ring("atp").await;
    missing(&place, sign("a", "approve", "s1"), Subject::Ceremony).await;
    place
        .change(Change::ProposeCeremony(ceremony("a", 1, "generate", "atp")))
        .await
        .unwrap();
    place.change(sign("a", "approve", "s2")).await.unwrap();
    place.change(sign("a", "approve", "s1")).await.unwrap();
    conflicts(
        &place,
        sign("a", "approve", "s1"),
        Subject::CeremonySignature,
    )
    .await;
    conflicts(&place, sign("a", "accept", "s1"), Subject::CeremonyState).await;
    malformed(&place, sign("a", "witness", "s1")).await;
    let came = place.store.ceremony_signatures(&digest("a")).await.unwrap();
    let came: Vec<_> = came.iter().map(|row| row.signature.as_str()).collect();
    assert_eq!(came, ["s2", "s1"]);

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
    place
        .change(Change::ProposeCeremony(ceremony("a", 1, "generate", "atp")))
        .await
        .unwrap();
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
    place.change(resolve("b", "b", "abandoned")).await.unwrap();
    // What took effect is closed or stays as it is: it keeps its number.
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
    let intend = |ceremony: &str, object: TokenObjectRow| Change::IntendGeneration {
        ceremony: digest(ceremony),
        object,
        at: NOW,
    };
    missing(
        &place,
        intend("b", object("b", "atp", 2)),
        Subject::Ceremony,
    )
    .await;
    place.approved("b", "generate", "atp").await;
    place.approved("c", "generate", "atp").await;
    place.approved("r", "revoke", "atp").await;
    conflicts(
        &place,
        intend("r", object("r", "atp", 2)),
        Subject::Ceremony,
    )
    .await;
    conflicts(
        &place,
        intend("b", object("c", "atp", 2)),
        Subject::TokenObject,
    )
    .await;
    conflicts(
        &place,
        intend("b", object("b", "oauth", 2)),
        Subject::TokenObject,
    )
    .await;
    // Number 1 is taken by a key.
    conflicts(
        &place,
        intend("b", object("b", "atp", 1)),
        Subject::TokenObject,
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
    // One act on a token at a time.
    conflicts(
        &place,
        intend("c", object("c", "atp", 3)),
        Subject::OtherCeremony,
    )
    .await;

    let record = |ceremony: &str, cka_id: String| Change::RecordGeneration {
        ceremony: digest(ceremony),
        cka_id,
        kid: kid("b"),
        execution: b"{}".to_vec(),
        at: NOW,
    };
    conflicts(&place, record("c", cka("b")), Subject::CeremonyState).await;
    conflicts(&place, record("b", cka("atp-1")), Subject::TokenObject).await;
    missing(&place, record("b", cka("none")), Subject::TokenObject).await;
    place.change(record("b", cka("b"))).await.unwrap();
    conflicts(&place, record("b", cka("b")), Subject::CeremonyState).await;
    // The number in the sequence is used up; of the next ceremony, the number, label and CKA_ID
    // of the object are taken.
    conflicts(
        &place,
        intend("c", object("c", "atp", 3)),
        Subject::CeremonySequence,
    )
    .await;
    place.approved("d", "generate", "atp").await;
    conflicts(
        &place,
        intend("d", object("d", "atp", 2)),
        Subject::TokenObject,
    )
    .await;
    let labelled = TokenObjectRow {
        label: "b".into(),
        ..object("d", "atp", 3)
    };
    conflicts(&place, intend("d", labelled), Subject::TokenObject).await;
    let same = TokenObjectRow {
        cka_id: cka("b"),
        ..object("d", "atp", 3)
    };
    conflicts(&place, intend("d", same), Subject::TokenObject).await;
}

/// The rejection in the trail and the beginning of the act may come at the same time.
pub async fn rejected_ceremony_never_begins(place: Place) {
    let first = place.ring_with_a_retired_key("atp").await;
    place.approved("a", "generate", "atp").await;
    place.approved("b", "generate", "atp").await;
    place.approved("end", "destroy", "atp").await;
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
    assert_eq!(place.key(&first).await.state, "retired");
    assert_eq!(place.object_state("atp-1").await, "present");
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
    place.approved("end", "destroy", "atp").await;
    conflicts(&place, close("end"), Subject::CeremonyState).await;
    place.change(destroy("end", "atp-1")).await.unwrap();
    conflicts(&place, close("end"), Subject::CeremonyState).await;
    let end = archive("end", "atp", "atp-1");
    place.change(end).await.unwrap();
    let stop = place.revocation("stop", "atp", &first).await;
    conflicts(&place, close("stop"), Subject::CeremonyState).await;
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
