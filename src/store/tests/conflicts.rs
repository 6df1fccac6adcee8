//! Every change, planned on something that is not so. After each refusal nothing has moved.

use super::super::*;
use super::place::Place;
use super::world::*;

/// The change is refused about `what`, and neither the log nor the version shows a trace of it.
async fn conflicts(place: &Place, change: Change, what: Subject) {
    let before = (
        place.store.log_size().await.unwrap(),
        place.store.version().await.unwrap(),
    );
    match place.change(change.clone()).await {
        Err(Error::Conflict { what: found, .. }) if found == what => {}
        other => panic!("{change:?}: {other:?}, not a conflict about {what:?}"),
    }
    let after = (
        place.store.log_size().await.unwrap(),
        place.store.version().await.unwrap(),
    );
    assert_eq!(before, after, "{change:?}");
}

async fn missing(place: &Place, change: Change, what: Subject) {
    match place.change(change.clone()).await {
        Err(Error::NotFound { what: found }) if found == what => {}
        other => panic!("{change:?}: {other:?}, not {what:?} missing"),
    }
}

async fn malformed(place: &Place, change: Change) {
    let outcome = place.change(change.clone()).await;
    assert!(
        matches!(outcome, Err(Error::Malformed { .. })),
        "{change:?}: {outcome:?}"
    );
}

pub async fn documents_follow_each_other(place: Place) {
    let row = |kind: &str, version| DocumentRow {
        kind: kind.into(),
        version,
        body: vec![1],
    };
    let install = |rows: &[DocumentRow]| Change::InstallDocuments(rows.to_vec());
    conflicts(&place, install(&[row("roster", 2)]), Subject::Document).await;
    place
        .change(install(&[row("genesis", 1), row("roster", 2)]))
        .await
        .unwrap();
    // The second of two is wrong: neither is installed.
    conflicts(
        &place,
        install(&[row("policy", 1), row("roster", 2)]),
        Subject::Document,
    )
    .await;
    conflicts(&place, install(&[row("roster", 4)]), Subject::Document).await;
    conflicts(&place, install(&[row("genesis", 1)]), Subject::Document).await;
    conflicts(&place, install(&[row("genesis", 2)]), Subject::Constraint).await;
    conflicts(&place, install(&[row("policies", 1)]), Subject::Constraint).await;
    place
        .change(install(&[row("policy", 2), row("policy", 3)]))
        .await
        .unwrap();
    let found = place.store.documents().await.unwrap();
    let found: Vec<_> = found
        .iter()
        .map(|row| (row.kind.as_str(), row.version))
        .collect();
    assert_eq!(
        found,
        [("genesis", 1), ("policy", 2), ("policy", 3), ("roster", 2)]
    );
}

pub async fn ring_is_created_once(place: Place) {
    place.ring("atp").await;
    conflicts(&place, Change::CreateRing(ring("atp")), Subject::Ring).await;
    let wrong = RingRow {
        algorithm: "HS256".into(),
        ..ring("other")
    };
    conflicts(&place, Change::CreateRing(wrong), Subject::Constraint).await;
    assert_eq!(place.store.rings().await.unwrap(), [ring("atp")]);
}

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

pub async fn signatures_come_while_they_are_due(place: Place) {
    place.ring("atp").await;
    let sign = |ceremony: &str, purpose: &str, signature: &str| {
        Change::AddCeremonySignature(CeremonySignatureRow {
            ceremony: digest(ceremony),
            purpose: purpose.into(),
            body: Vec::new(),
            signature: signature.into(),
            received_at: NOW,
        })
    };
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
    // The number in the sequence was used up; of the next ceremony, the number, label and CKA_ID
    // of the intended object are taken.
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
}

pub async fn accepted_key_agrees_with_its_object(place: Place) {
    place.ring("atp").await;
    place.ring("oauth").await;
    place.intended("a", "atp", 1).await;
    conflicts(&place, place.accept("a", "atp", 1), Subject::CeremonyState).await;
    place.generated("b", "atp", 2).await;
    let accept = |change: fn(&mut KeyRow)| {
        let mut row = key("b", "atp", 2);
        change(&mut row);
        let (ceremony, transcript) = (digest("b"), b"t".to_vec());
        Change::AcceptKey {
            ceremony,
            key: Box::new(row),
            transcript,
            at: NOW,
        }
    };
    // The key swapped between execution and acceptance, and everything else that could differ.
    conflicts(
        &place,
        accept(|row| row.kid = kid("mallory")),
        Subject::TokenObject,
    )
    .await;
    conflicts(
        &place,
        accept(|row| row.ring = "oauth".into()),
        Subject::TokenObject,
    )
    .await;
    conflicts(&place, accept(|row| row.number = 3), Subject::TokenObject).await;
    conflicts(
        &place,
        accept(|row| row.token_serial = "x".into()),
        Subject::TokenObject,
    )
    .await;
    conflicts(
        &place,
        accept(|row| row.ceremony = digest("a")),
        Subject::TokenObject,
    )
    .await;
    conflicts(
        &place,
        accept(|row| row.cka_id = cka("a")),
        Subject::TokenObjectState,
    )
    .await;
    missing(
        &place,
        accept(|row| row.cka_id = cka("none")),
        Subject::TokenObject,
    )
    .await;
    malformed(&place, accept(|row| row.state = "active".into())).await;
    let version = place.ring_version("atp").await;
    place.change(accept(|_| ())).await.unwrap();
    assert_eq!(place.ring_version("atp").await, version + 1);
    conflicts(&place, accept(|_| ()), Subject::CeremonyState).await;
}

pub async fn pointer_moves_only_from_where_it_stands(place: Place) {
    let first = place.open_ring("atp").await;
    let second = place.prepared("atp-2", "atp", 2).await;
    let elsewhere = place.open_ring("oauth").await;
    let version = place.ring_version("atp").await;
    let switch = |expected_version, old: Option<&str>, new: &str| Change::SwitchPrimary {
        ring: "atp".into(),
        expected_version,
        old: old.map(str::to_owned),
        new: new.into(),
        at: NOW,
    };
    let one = Some(first.as_str());
    conflicts(
        &place,
        switch(version - 1, one, &second),
        Subject::RingVersion,
    )
    .await;
    conflicts(&place, switch(version, None, &second), Subject::Primary).await;
    conflicts(
        &place,
        switch(version, Some(&second), &first),
        Subject::Primary,
    )
    .await;
    conflicts(&place, switch(version, one, &first), Subject::Primary).await;
    conflicts(&place, switch(version, one, &elsewhere), Subject::Key).await;
    missing(&place, switch(version, one, &kid("none")), Subject::Key).await;
    let retire = |kid: &str| Change::RetireKey {
        ring: "atp".into(),
        expected_version: version,
        kid: kid.into(),
        at: NOW,
    };
    // Neither the primary nor a key that was never active retires.
    conflicts(&place, retire(&first), Subject::KeyState).await;
    conflicts(&place, retire(&second), Subject::KeyState).await;
    conflicts(&place, retire(&elsewhere), Subject::Key).await;

    place.switch("atp", one, &second).await.unwrap();
    conflicts(&place, retire(&first), Subject::RingVersion).await;
    place.retire("atp", &first).await.unwrap();
    let version = place.ring_version("atp").await;
    // A retired key does not come back.
    conflicts(
        &place,
        switch(version, Some(&second), &first),
        Subject::KeyState,
    )
    .await;
    assert_eq!(place.key(&second).await.role.as_deref(), Some("primary"));
}

pub async fn only_an_ended_key_is_destroyed(place: Place) {
    let first = place.open_ring("atp").await;
    let second = place.prepared("atp-2", "atp", 2).await;
    place.approved("end", "destroy", "atp").await;
    let intend = |name: &str| Change::IntendDestruction {
        ceremony: digest("end"),
        cka_id: cka(name),
        at: NOW,
    };
    let archive = |kid: &str, name: &str| Change::ArchiveKey {
        ceremony: digest("end"),
        ring: "atp".into(),
        kid: kid.into(),
        cka_id: cka(name),
        execution: b"t".to_vec(),
        at: NOW,
    };
    conflicts(&place, intend("atp-1"), Subject::KeyState).await;
    conflicts(&place, intend("atp-2"), Subject::KeyState).await;
    missing(&place, intend("none"), Subject::TokenObject).await;
    place.switch("atp", Some(&first), &second).await.unwrap();
    conflicts(&place, intend("atp-1"), Subject::KeyState).await;
    place.retire("atp", &first).await.unwrap();
    conflicts(&place, archive(&first, "atp-1"), Subject::CeremonyState).await;
    place.change(intend("atp-1")).await.unwrap();
    conflicts(&place, intend("atp-1"), Subject::CeremonyState).await;
    conflicts(&place, archive(&second, "atp-2"), Subject::KeyState).await;
    conflicts(&place, archive(&second, "atp-1"), Subject::TokenObject).await;
    // Revoked in between: it stays revoked, and is destroyed all the same.
    let revoke = place.revocation("stop", "atp", &first).await;
    place.change(revoke).await.unwrap();
    place.change(archive(&first, "atp-1")).await.unwrap();
    let row = place.key(&first).await;
    assert_eq!(
        (row.state.as_str(), row.archived_at),
        ("revoked", Some(NOW))
    );
}

pub async fn revocation_is_final(place: Place) {
    let first = place.open_ring("atp").await;
    let second = place.prepared("atp-2", "atp", 2).await;
    let elsewhere = place.open_ring("oauth").await;
    let with_successor = |change: &Change, next: &str| {
        let mut change = change.clone();
        if let Change::RevokeKey { successor, .. } = &mut change {
            *successor = Some(next.into());
        }
        change
    };
    let revoke = place.revocation("stop", "atp", &first).await;
    conflicts(&place, with_successor(&revoke, &elsewhere), Subject::Key).await;
    conflicts(&place, with_successor(&revoke, &first), Subject::KeyState).await;
    place.change(revoke.clone()).await.unwrap();
    conflicts(&place, revoke, Subject::CeremonyState).await;
    let again = place.revocation("stop again", "atp", &first).await;
    conflicts(&place, again, Subject::KeyState).await;
    let standby = place.revocation("standby", "atp", &second).await;
    // Who was no primary has no successor.
    conflicts(&place, with_successor(&standby, &second), Subject::Primary).await;
    place.change(standby).await.unwrap();
    let mut other = place.revocation("other", "atp", &elsewhere).await;
    conflicts(&place, other.clone(), Subject::Key).await;
    if let Change::RevokeKey { ring, reason, .. } = &mut other {
        *ring = "oauth".into();
        *reason = "bored".into();
    }
    conflicts(&place, other, Subject::Ring).await;
}

pub async fn reconciliation_resolves_each_object_once(place: Place) {
    let first = place.open_ring("atp").await;
    let resolve = |ceremony: &str, name: &str, state: &str| Change::ResolveObject {
        ceremony: digest(ceremony),
        cka_id: cka(name),
        state: state.into(),
        at: NOW,
    };
    conflicts(
        &place,
        resolve("atp-1", "atp-1", "destroyed"),
        Subject::CeremonyState,
    )
    .await;
    place.intended("a", "atp", 2).await;
    conflicts(
        &place,
        resolve("a", "a", "present"),
        Subject::TokenObjectState,
    )
    .await;
    conflicts(
        &place,
        resolve("a", "atp-1", "destroyed"),
        Subject::TokenObject,
    )
    .await;
    place.change(resolve("a", "a", "abandoned")).await.unwrap();
    let row = place.store.ceremony(&digest("a")).await.unwrap().unwrap();
    assert_eq!(row.state, CeremonyState::Failed);
    conflicts(
        &place,
        resolve("a", "a", "abandoned"),
        Subject::TokenObjectState,
    )
    .await;
    // The number and the place on the token are free again.
    place.generated("b", "atp", 2).await;
    let expired = CeremonyState::Expired;
    place
        .move_ceremony("b", CeremonyState::Executed, expired)
        .await
        .unwrap();
    place.change(resolve("b", "b", "destroyed")).await.unwrap();
    let row = place.store.ceremony(&digest("b")).await.unwrap().unwrap();
    assert_eq!(row.state, expired);

    let second = place.prepared("atp-2", "atp", 2).await;
    place.switch("atp", Some(&first), &second).await.unwrap();
    place.retire("atp", &first).await.unwrap();
    place.approved("end", "destroy", "atp").await;
    let (ceremony, cka_id) = (digest("end"), cka("atp-1"));
    place
        .change(Change::IntendDestruction {
            ceremony,
            cka_id,
            at: NOW,
        })
        .await
        .unwrap();
    conflicts(
        &place,
        resolve("end", "atp-1", "destroyed"),
        Subject::TokenObjectState,
    )
    .await;
    place
        .change(resolve("end", "atp-1", "present"))
        .await
        .unwrap();
    assert_eq!(place.key(&first).await.state, "retired");
}

pub async fn credential_is_granted_and_withdrawn(place: Place) {
    let token = digest("token");
    let grant = |kind: &str, value: &str| Change::GrantCredential(credential(kind, value));
    let withdraw = |kind: &str, value: &str| Change::WithdrawCredential {
        kind: kind.into(),
        value: value.into(),
        at: NOW,
    };
    missing(
        &place,
        withdraw("access-token", &token),
        Subject::Credential,
    )
    .await;
    for (kind, value) in [
        ("access-token", token.as_str()),
        ("mtls-san", "atp.example"),
    ] {
        place.change(grant(kind, value)).await.unwrap();
        conflicts(&place, grant(kind, value), Subject::Credential).await;
        place.change(withdraw(kind, value)).await.unwrap();
        conflicts(&place, withdraw(kind, value), Subject::Credential).await;
    }
    // A name may come back, a token may not.
    place
        .change(grant("mtls-san", "atp.example"))
        .await
        .unwrap();
    conflicts(&place, grant("access-token", &token), Subject::Credential).await;
    conflicts(
        &place,
        grant("access-token", "not a hash"),
        Subject::Constraint,
    )
    .await;
    let mut withdrawn = credential("access-token", &token);
    withdrawn.withdrawn_at = Some(NOW);
    let expected = [withdrawn, credential("mtls-san", "atp.example")];
    assert_eq!(place.store.credentials().await.unwrap(), expected);
}
