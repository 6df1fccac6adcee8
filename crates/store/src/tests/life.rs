//! Keys, rings and ceremonies as they should go.

use super::super::*;
use super::place::Place;
use super::world::*;

pub async fn key_lives_from_generation_to_archive(place: Place) {
    let first = place.open_ring("atp").await;
    assert_eq!(place.key(&first).await.status.as_str(), "primary");
    let second = place.prepared("atp-2", "atp", 2).await;
    assert_eq!(place.key(&second).await, key("atp-2", "atp", 2));

    place.switch("atp", Some(&first), &second).await.unwrap();
    assert_eq!(place.key(&first).await.status.as_str(), "secondary");
    assert_eq!(
        place.key(&first).await.demoted_at.map(trust::Time::millis),
        Some(NOW)
    );
    // There and back again.
    place.switch("atp", Some(&second), &first).await.unwrap();
    place.switch("atp", Some(&first), &second).await.unwrap();

    place.retire("atp", &first).await.unwrap();
    assert_eq!(place.key(&first).await.status.as_str(), "retired");

    place
        .approved_on("end of atp-1", "destroy", "atp", "atp-1")
        .await;
    let ceremony = digest("end of atp-1");
    let intend = destroy("end of atp-1", "atp-1");
    place.change(intend).await.unwrap();
    let archive = Change::ArchiveKey {
        ceremony: ceremony.clone(),
        ring: "atp".into(),
        kid: first.clone(),
        object: object_id("atp-1"),
        at: NOW + 5,
    };
    place.change(archive).await.unwrap();
    place.change(execute("end of atp-1")).await.unwrap();
    let row = place.key(&first).await;
    assert_eq!(
        (
            row.status.as_str(),
            row.archived_at.map(trust::Time::millis)
        ),
        ("archived", Some(NOW + 5))
    );
    let row = place.store.ceremony(&ceremony).await.unwrap().unwrap();
    assert_eq!(row.state, CeremonyState::Executed);
    assert_eq!(row.execution, Some(b"burnt".to_vec()));
    let close = Change::CloseCeremony {
        ceremony: ceremony.clone(),
        transcript: b"accepted".to_vec(),
        at: NOW + 6,
        corrected: None,
    };
    place.change(close).await.unwrap();
    assert_eq!(
        place.store.transcript(&ceremony).await.unwrap(),
        Some(b"accepted".to_vec())
    );
    let objects = place.store.key_objects().await.unwrap().all().unwrap();
    let states: Vec<_> = objects.iter().map(|object| object.state).collect();
    assert_eq!(states, [ObjectState::Destroyed, ObjectState::Present]);
}

pub async fn revoked_primary_hands_over_to_its_successor(place: Place) {
    let first = place.open_ring("atp").await;
    let second = place.prepared("atp-2", "atp", 2).await;
    let mut change = place.revocation("stop", "atp", &first).await;
    if let Change::RevokeKey { successor, .. } = &mut change {
        *successor = Some(second.clone());
    }
    place.change(change).await.unwrap();
    let row = place.key(&first).await;
    assert_eq!(row.status, KeyStatus::Revoked);
    let at = trust::Time::from_millis;
    let revocation = trust::life::Revocation {
        reason: "compromised".parse().unwrap(),
        revoked_at: at(NOW),
        compromised_since: Some(at(NOW - 1000)),
    };
    assert_eq!(row.revocation, Some(revocation));
    assert_eq!(row.demoted_at, Some(at(NOW)));
    assert_eq!(place.key(&second).await.status.as_str(), "primary");
}
