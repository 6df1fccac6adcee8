//! Every change, planned on something that is not so. After each refusal nothing has moved.

use super::super::*;
use super::place::Place;
use super::world::*;

/// The change is refused about `what`, and neither the log nor the version shows a trace of it.
pub async fn conflicts(place: &Place, change: Change, what: Subject) {
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

pub async fn missing(place: &Place, change: Change, what: Subject) {
    match place.change(change.clone()).await {
        Err(Error::NotFound { what: found }) if found == what => {}
        other => panic!("{change:?}: {other:?}, not {what:?} missing"),
    }
}

pub async fn malformed(place: &Place, change: Change) {
    let outcome = place.change(change.clone()).await;
    assert!(
        matches!(outcome, Err(Error::Malformed { .. })),
        "{change:?}: {outcome:?}"
    );
}

pub async fn documents_come_in_the_order_of_their_chain(place: Place) {
    let row = |place, kind: &str, version| DocumentRow {
        place,
        kind: match kind {
            "genesis" => DocumentKind::Genesis,
            "roster" => DocumentKind::Roster,
            _ => DocumentKind::Policy,
        },
        version,
        body: vec![1],
        index: None,
    };
    let install = |rows: &[DocumentRow]| Change::InstallDocuments(rows.to_vec());
    let document = Subject::Document;
    conflicts(&place, install(&[row(0, "roster", 2)]), document).await;
    conflicts(&place, install(&[row(1, "genesis", 1)]), document).await;
    place
        .change(install(&[row(0, "genesis", 1), row(1, "roster", 2)]))
        .await
        .unwrap();
    // The second of two is wrong: neither is installed.
    let two = [row(2, "policy", 1), row(3, "roster", 2)];
    conflicts(&place, install(&two), document).await;
    for wrong in [
        row(2, "roster", 4),
        row(2, "genesis", 1),
        // A place twice, and one left out.
        row(1, "policy", 2),
        row(3, "policy", 2),
    ] {
        conflicts(&place, install(&[wrong]), document).await;
    }
    let second = install(&[row(2, "genesis", 2)]);
    conflicts(&place, second, Subject::Constraint).await;
    place
        .change(install(&[row(2, "policy", 2), row(3, "policy", 3)]))
        .await
        .unwrap();
    place.change(install(&[row(4, "roster", 3)])).await.unwrap();
    place.change(install(&[row(5, "policy", 4)])).await.unwrap();
    let found = place.store.documents().await.unwrap();
    let found: Vec<_> = found
        .iter()
        .map(|row| (row.place, row.kind.as_str(), row.version))
        .collect();
    let expected = [
        (0, "genesis", 1),
        (1, "roster", 2),
        (2, "policy", 2),
        (3, "policy", 3),
        (4, "roster", 3),
        (5, "policy", 4),
    ];
    assert_eq!(found, expected);
}

pub async fn ring_is_created_once(place: Place) {
    place.ring("atp").await;
    conflicts(&place, Change::CreateRing(ring("atp")), Subject::Ring).await;
    let rings = place.store.rings().await.unwrap();
    assert_eq!(rings.all().unwrap(), [ring("atp")]);
}

pub async fn accepted_key_agrees_with_its_object(place: Place) {
    place.ring("atp").await;
    place.ring("oauth").await;
    // Under way on another device meanwhile.
    place.approved("a", "atp").await;
    let object = object_elsewhere("a", "atp", 1);
    place.change(intend(object)).await.unwrap();
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
        accept(|row| row.kid = kid("mallory").parse().unwrap()),
        Subject::KeyObject,
    )
    .await;
    conflicts(
        &place,
        accept(|row| row.ring = "oauth".parse().unwrap()),
        Subject::KeyObject,
    )
    .await;
    conflicts(&place, accept(|row| row.number = 3), Subject::KeyObject).await;
    conflicts(
        &place,
        accept(|row| row.location = location("a")),
        Subject::KeyObject,
    )
    .await;
    conflicts(
        &place,
        accept(|row| row.ceremony = digest("a").parse().unwrap()),
        Subject::KeyObject,
    )
    .await;
    conflicts(
        &place,
        accept(|row| row.object = object_id("a")),
        Subject::KeyObjectState,
    )
    .await;
    missing(
        &place,
        accept(|row| row.object = object_id("none")),
        Subject::KeyObject,
    )
    .await;
    malformed(&place, accept(|row| row.status = KeyStatus::Primary)).await;
    let version = place.ring_version("atp").await;
    place.change(accept(|_| ())).await.unwrap();
    assert_eq!(place.ring_version("atp").await, version + 1);
    conflicts(&place, accept(|_| ()), Subject::CeremonyState).await;
    // The other was overtaken; what it bore is never recorded, so it cannot be accepted.
    conflicts(&place, record("a"), Subject::CeremonySequence).await;
    conflicts(&place, place.accept("a", "atp", 1), Subject::CeremonyState).await;
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
    assert_eq!(place.key(&second).await.status, KeyStatus::Primary);
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
    let late = place.revocation("late", "atp", &first).await;
    conflicts(&place, with_successor(&revoke, &elsewhere), Subject::Key).await;
    conflicts(&place, with_successor(&revoke, &first), Subject::KeyState).await;
    let stale = changed(&revoke, |version, _, _| *version -= 1);
    conflicts(&place, stale, Subject::RingVersion).await;
    let version = place.ring_version("atp").await;
    place.change(revoke.clone()).await.unwrap();
    assert_eq!(place.ring_version("atp").await, version + 1);
    let row = place.ceremony("stop").await;
    assert_eq!(row.state, CeremonyState::Executed);
    assert_eq!(row.execution.as_deref(), Some(&b"execution"[..]));
    // Once, and the ring has moved on.
    conflicts(&place, revoke.clone(), Subject::RingVersion).await;
    let again = changed(&revoke, |version, _, _| *version += 1);
    conflicts(&place, again, Subject::CeremonyState).await;
    // Proposed for the same place in the line of the key.
    conflicts(&place, late.clone(), Subject::RingVersion).await;
    let mut late = changed(&late, |version, _, _| *version += 1);
    if let Change::RevokeKey {
        compromised_since, ..
    } = &mut late
    {
        *compromised_since = None;
    }
    conflicts(&place, late, Subject::CeremonySequence).await;

    let again = place.revocation("stop again", "atp", &first).await;
    conflicts(&place, again, Subject::KeyState).await;
    let standby = place.revocation("standby", "atp", &second).await;
    // Who was no primary has no successor.
    conflicts(&place, with_successor(&standby, &second), Subject::Primary).await;
    place.change(standby).await.unwrap();
    let other = place.revocation("other", "atp", &elsewhere).await;
    conflicts(&place, other.clone(), Subject::Key).await;
    let oauth = place.ring_version("oauth").await;
    let moved = changed(&other, |version, ring, _| {
        (*version, *ring) = (oauth, "oauth".into());
    });
    conflicts(&place, moved, Subject::Ring).await;
    let nowhere = changed(&other, |_, ring, _| *ring = "nowhere".into());
    missing(&place, nowhere, Subject::Ring).await;
    let other = place.revocation("other at last", "oauth", &elsewhere).await;
    let bored = changed(&other, |_, _, reason| *reason = "bored".into());
    conflicts(&place, bored, Subject::Constraint).await;
    place.change(other).await.unwrap();
}

/// A revocation with another version, ring or reason.
fn changed(change: &Change, with: impl FnOnce(&mut i64, &mut String, &mut String)) -> Change {
    let mut change = change.clone();
    if let Change::RevokeKey {
        expected_version,
        ring,
        reason,
        ..
    } = &mut change
    {
        with(expected_version, ring, reason);
    }
    change
}

/// Case C4: what is the matter is said, and not that something has changed.
async fn already(place: &Place, change: Change, expected: &str) {
    let error = place.change(change).await.unwrap_err();
    let is_already = matches!(&error, Error::Already { what, .. } if *what == Subject::Credential);
    assert!(is_already && error.is_conflict(), "{error:?}");
    assert!(error.to_string().contains(expected), "{error}");
}

pub async fn case_c4_credential_is_granted_and_withdrawn(place: Place) {
    let token = CredentialName::AccessToken(trust::Sha256Digest::of(b"token"));
    let san = san("atp.example");
    let grant = |name: &CredentialName| Change::GrantCredential(credential(name.clone()));
    let withdraw = |name: &CredentialName| Change::WithdrawCredential {
        name: name.clone(),
        at: NOW,
    };
    missing(&place, withdraw(&token), Subject::Credential).await;
    for name in [&token, &san] {
        place.change(grant(name)).await.unwrap();
        already(&place, grant(name), "the credential exists already").await;
        place.change(withdraw(name)).await.unwrap();
        already(&place, withdraw(name), "is withdrawn already").await;
    }
    // A name may come back, a token may not.
    place.change(grant(&san)).await.unwrap();
    already(&place, grant(&token), "exists already").await;
    let mut withdrawn = credential(token);
    withdrawn.withdrawn_at = Some(trust::Time::from_millis(NOW));
    let expected = [withdrawn, credential(san)];
    let found = place.store.credentials().await.unwrap();
    assert_eq!(found.all().unwrap(), expected);
    place
        .refuses(
            "INSERT INTO credential (kind, value, principal, roles, created_at)
             VALUES ('access-token', 'not a hash', 'a', '[]', 0)",
        )
        .await;
}

/// The database is replaced by one that lacks the last leaves, under a process that wrote them.
pub async fn case_l1_an_index_is_not_given_out_twice(place: Place) {
    let kid = place.open_ring("atp").await;
    for _ in 0..3 {
        place.change(Change::Record).await.unwrap();
    }
    let size = place.store.log_size().await.unwrap();
    let older = [
        format!("DELETE FROM log_leaf WHERE idx >= {}", size - 2),
        format!("UPDATE log_head SET size = {}", size - 2),
    ];
    if place.is_sqlite() {
        for trigger in ["log_leaf_no_delete", "log_head_grows"] {
            place.raw(&format!("DROP TRIGGER {trigger}")).await.unwrap();
        }
        for sql in older {
            place.raw(&sql).await.unwrap();
        }
    } else {
        let mut owner = place.other_connection().await;
        let lifted = ["SET session_replication_role = replica".to_owned()];
        for sql in lifted.into_iter().chain(older) {
            let done = sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut owner);
            done.await.unwrap();
        }
    }
    let rewound = |error: Error| matches!(error, Error::Rewound { .. });
    let change = place.change(Change::Record).await;
    assert!(rewound(change.unwrap_err()));
    let batch = [signature(&kid, "atp", "one")];
    let signed = place.store.commit_signatures(&batch).await;
    assert!(rewound(signed.unwrap_err()));
    assert_eq!(
        place.store.log_size().await.unwrap(),
        size - 2,
        "nothing is written"
    );
}
