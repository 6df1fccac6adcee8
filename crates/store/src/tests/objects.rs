//! What ceremonies do on a device, and what becomes of an act whose outcome was unknown.

use super::super::*;
use super::conflicts::{conflicts, missing};
use super::place::Place;
use super::world::*;

/// On one device; others, and revocations, go their way.
pub async fn one_act_on_a_device_at_a_time(place: Place) {
    let first = place.ring_with_a_retired_key("atp").await;
    let elsewhere = place.open_ring("oauth").await;
    // A retired key on the other device.
    place.approved("far", "atp").await;
    place
        .change(intend(object_elsewhere("far", "atp", 3)))
        .await
        .unwrap();
    place.change(record("far")).await.unwrap();
    place.change(place.accept("far", "atp", 3)).await.unwrap();
    for (old, new) in [("atp-2", "far"), ("far", "atp-2")] {
        let (old, new) = (kid(old), kid(new));
        place.switch("atp", Some(&old), &new).await.unwrap();
    }
    place.retire("atp", &kid("far")).await.unwrap();

    for name in ["a", "b", "c"] {
        place.approved(name, "oauth").await;
    }
    for (name, key) in [("end", "atp-1"), ("far end", "far")] {
        place.approved_on(name, "destroy", "atp", key).await;
    }
    let busy = Subject::OtherCeremony;
    // While one is intended, here or there.
    place.change(intend(object("a", "oauth", 2))).await.unwrap();
    conflicts(&place, intend(object("b", "oauth", 3)), busy).await;
    conflicts(&place, destroy("end", "atp-1"), busy).await;
    assert_eq!(place.ceremony("b").await.state, CeremonyState::Approved);
    place
        .change(intend(object_elsewhere("b", "oauth", 3)))
        .await
        .unwrap();
    conflicts(&place, destroy("far end", "far"), busy).await;
    conflicts(&place, intend(object_elsewhere("c", "oauth", 4)), busy).await;
    place
        .change(resolve("a", "a", ObjectState::Abandoned))
        .await
        .unwrap();
    place
        .change(resolve("b", "b", ObjectState::Abandoned))
        .await
        .unwrap();
    // While one is destroying, here or there.
    place.change(destroy("end", "atp-1")).await.unwrap();
    conflicts(&place, intend(object("c", "oauth", 4)), busy).await;
    place.change(destroy("far end", "far")).await.unwrap();
    conflicts(&place, intend(object_elsewhere("c", "oauth", 4)), busy).await;
    // Two destructions in one ring do not answer for each other's object.
    let strange = Subject::KeyObject;
    conflicts(&place, archive("end", "atp", "far"), strange).await;
    for state in [ObjectState::Present, ObjectState::Destroyed] {
        conflicts(&place, resolve("end", "far", state), strange).await;
        conflicts(&place, resolve("far end", "atp-1", state), strange).await;
    }
    // A revocation waits for nobody, not even of the key that is being destroyed.
    let stop = place.revocation("stop", "oauth", &elsewhere).await;
    place.change(stop).await.unwrap();
    let stop = place.revocation("stop too", "atp", &first).await;
    place.change(stop).await.unwrap();
    for (name, state) in [
        ("atp-1", ObjectState::Destroying),
        ("far", ObjectState::Destroying),
    ] {
        assert_eq!(place.object_state(name).await, state);
    }
}

pub async fn only_an_ended_key_is_destroyed(place: Place) {
    let first = place.open_ring("atp").await;
    let second = place.prepared("atp-2", "atp", 2).await;
    place.open_ring("oauth").await;
    place.approved_on("end", "destroy", "atp", "atp-1").await;
    place.approved("birth", "atp").await;
    let begin = |name: &str| destroy("end", name);
    conflicts(&place, begin("atp-1"), Subject::KeyState).await;
    conflicts(&place, begin("atp-2"), Subject::KeyState).await;
    conflicts(&place, begin("oauth-1"), Subject::KeyState).await;
    missing(&place, begin("none"), Subject::KeyObject).await;
    place.switch("atp", Some(&first), &second).await.unwrap();
    conflicts(&place, begin("atp-1"), Subject::KeyState).await;
    place.retire("atp", &first).await.unwrap();
    conflicts(&place, destroy("birth", "atp-1"), Subject::Ceremony).await;
    let end = archive("end", "atp", "atp-1");
    conflicts(&place, end.clone(), Subject::CeremonyState).await;
    conflicts(&place, close("end"), Subject::CeremonyState).await;
    place.change(begin("atp-1")).await.unwrap();
    conflicts(&place, begin("atp-1"), Subject::CeremonyState).await;
    let strange = Subject::KeyObject;
    conflicts(&place, archive("end", "atp", "atp-2"), strange).await;
    conflicts(&place, archive("end", "oauth", "atp-1"), strange).await;
    let mut swapped = end.clone();
    if let Change::ArchiveKey { kid, .. } = &mut swapped {
        *kid = second.clone();
    }
    conflicts(&place, swapped, strange).await;
    let version = place.ring_version("atp").await;
    place.change(end.clone()).await.unwrap();
    assert_eq!(place.ring_version("atp").await, version + 1);
    conflicts(&place, end.clone(), Subject::KeyState).await;
    place.change(execute("end")).await.unwrap();
    let row = place.key(&first).await;
    assert_eq!(
        (
            row.status.as_str(),
            row.archived_at.map(trust::Time::millis)
        ),
        ("archived", Some(NOW))
    );
    assert_eq!(place.object_state("atp-1").await, ObjectState::Destroyed);
    let row = place.ceremony("end").await;
    assert_eq!(row.state, CeremonyState::Executed);
    assert_eq!(row.execution.as_deref(), Some(&b"burnt"[..]));
    conflicts(&place, end, Subject::CeremonyState).await;
    // A destroyed key is not destroyed again.
    place.approved_on("again", "destroy", "atp", "atp-1").await;
    conflicts(&place, destroy("again", "atp-1"), Subject::KeyState).await;

    // A revoked key has ended too: it stays revoked, and is destroyed all the same.
    let stop = place.revocation("stop", "atp", &second).await;
    place.change(stop).await.unwrap();
    place
        .approved_on("end of atp-2", "destroy", "atp", "atp-2")
        .await;
    place
        .change(destroy("end of atp-2", "atp-2"))
        .await
        .unwrap();
    let end = archive("end of atp-2", "atp", "atp-2");
    place.change(end).await.unwrap();
    let row = place.key(&second).await;
    assert_eq!(
        (
            row.status.as_str(),
            row.archived_at.map(trust::Time::millis)
        ),
        ("revoked", Some(NOW))
    );
}

pub async fn reconciliation_resolves_each_object_once(place: Place) {
    let first = place.open_ring("atp").await;
    conflicts(
        &place,
        resolve("atp-1", "atp-1", ObjectState::Destroyed),
        Subject::CeremonyState,
    )
    .await;
    place.intended("a", "atp", 2).await;
    conflicts(
        &place,
        resolve("a", "a", ObjectState::Present),
        Subject::KeyObjectState,
    )
    .await;
    conflicts(
        &place,
        resolve("a", "atp-1", ObjectState::Destroyed),
        Subject::KeyObject,
    )
    .await;
    place
        .change(resolve("a", "a", ObjectState::Abandoned))
        .await
        .unwrap();
    let row = place.store.ceremony(&digest("a")).await.unwrap().unwrap();
    assert_eq!(row.state, CeremonyState::Failed);
    conflicts(
        &place,
        resolve("a", "a", ObjectState::Abandoned),
        Subject::KeyObjectState,
    )
    .await;
    // The number and the place on the device are free again.
    place.generated("b", "atp", 2).await;
    let expired = CeremonyState::Expired;
    place
        .move_ceremony("b", CeremonyState::Executed, expired)
        .await
        .unwrap();
    place
        .change(resolve("b", "b", ObjectState::Destroyed))
        .await
        .unwrap();
    let row = place.store.ceremony(&digest("b")).await.unwrap().unwrap();
    assert_eq!(row.state, expired);

    let second = place.prepared("atp-2", "atp", 2).await;
    place.switch("atp", Some(&first), &second).await.unwrap();
    place.retire("atp", &first).await.unwrap();
    for name in ["end", "next end"] {
        place.approved_on(name, "destroy", "atp", "atp-1").await;
    }
    // Nothing to resolve before it has begun.
    conflicts(
        &place,
        resolve("end", "atp-1", ObjectState::Destroyed),
        Subject::KeyObject,
    )
    .await;
    place.change(destroy("end", "atp-1")).await.unwrap();
    for state in [ObjectState::Present, ObjectState::Destroyed] {
        conflicts(
            &place,
            resolve("next end", "atp-1", state),
            Subject::KeyObject,
        )
        .await;
    }
    conflicts(
        &place,
        resolve("end", "atp-1", ObjectState::Abandoned),
        Subject::KeyObjectState,
    )
    .await;
    // What is gone is recorded, not resolved.
    conflicts(
        &place,
        resolve("end", "atp-1", ObjectState::Destroyed),
        Subject::KeyObjectState,
    )
    .await;
    place
        .change(resolve("end", "atp-1", ObjectState::Present))
        .await
        .unwrap();
    assert_eq!(place.key(&first).await.status.as_str(), "retired");
    assert_eq!(place.object_state("atp-1").await, ObjectState::Present);
    assert_eq!(place.ceremony("end").await.state, CeremonyState::Failed);
    let end = archive("end", "atp", "atp-1");
    conflicts(&place, end, Subject::KeyObjectState).await;
    conflicts(
        &place,
        resolve("end", "atp-1", ObjectState::Present),
        Subject::KeyObjectState,
    )
    .await;
    // Approved again, it is destroyed by the ceremony that is next.
    place.change(destroy("next end", "atp-1")).await.unwrap();
    conflicts(
        &place,
        resolve("end", "atp-1", ObjectState::Present),
        Subject::KeyObject,
    )
    .await;
    let end = archive("next end", "atp", "atp-1");
    place.change(end).await.unwrap();
    assert_eq!(place.key(&first).await.status.as_str(), "archived");
    conflicts(
        &place,
        resolve("next end", "atp-1", ObjectState::Present),
        Subject::KeyObjectState,
    )
    .await;
}

/// While it was stuck another ceremony of its subject was executed: what happened on the device is
/// written down, but the ceremony has failed.
pub async fn overtaken_act_is_resolved_and_fails(place: Place) {
    use CeremonyState as S;
    let first = place.ring_with_a_retired_key("atp").await;
    let other = place.ring_with_a_retired_key("oauth").await;
    // Revoked in between: it stays revoked, and is destroyed all the same.
    place.approved_on("end", "destroy", "atp", "atp-1").await;
    place.change(destroy("end", "atp-1")).await.unwrap();
    let stop = place.revocation("stop", "atp", &first).await;
    place.change(stop).await.unwrap();
    let failed = Change::MoveCeremony {
        id: digest("end"),
        from: S::Executing,
        to: S::Failed,
        at: NOW,
    };
    // Not before it is known what became of the object.
    conflicts(&place, failed.clone(), Subject::KeyObjectState).await;
    assert_eq!(place.object_state("atp-1").await, ObjectState::Destroying);
    let version = place.ring_version("atp").await;
    let end = archive("end", "atp", "atp-1");
    place.change(end.clone()).await.unwrap();
    assert_eq!(place.ring_version("atp").await, version + 1);
    conflicts(&place, execute("end"), Subject::CeremonySequence).await;
    let row = place.key(&first).await;
    assert_eq!(
        (
            row.status.as_str(),
            row.archived_at.map(trust::Time::millis)
        ),
        ("revoked", Some(NOW))
    );
    assert_eq!(place.object_state("atp-1").await, ObjectState::Destroyed);
    place.change(failed).await.unwrap();
    let row = place.ceremony("end").await;
    assert_eq!((row.state, row.execution), (S::Failed, None));
    conflicts(&place, end, Subject::KeyState).await;
    conflicts(&place, execute("end"), Subject::CeremonySequence).await;

    // One that is still there is as before, and is destroyed by the ceremony after it.
    let (stuck, next) = ("still there", "next");
    for name in [stuck, next] {
        place.approved_on(name, "destroy", "oauth", "oauth-1").await;
    }
    place.change(destroy(stuck, "oauth-1")).await.unwrap();
    place
        .change(resolve(stuck, "oauth-1", ObjectState::Present))
        .await
        .unwrap();
    assert_eq!(place.object_state("oauth-1").await, ObjectState::Present);
    assert_eq!(place.ceremony(stuck).await.state, S::Failed);
    assert_eq!(place.key(&other).await.status.as_str(), "retired");
    for change in [
        destroy(next, "oauth-1"),
        archive(next, "oauth", "oauth-1"),
        execute(next),
    ] {
        place.change(change).await.unwrap();
    }
    assert_eq!(place.key(&other).await.status.as_str(), "archived");

    // A generation: what was born is never accepted.
    place.intended("birth", "oauth", 3).await;
    place.approved("beside", "oauth").await;
    place
        .change(intend(object_elsewhere("beside", "oauth", 4)))
        .await
        .unwrap();
    place.change(record("beside")).await.unwrap();
    conflicts(&place, record("birth"), Subject::CeremonySequence).await;
    place
        .change(resolve("birth", "birth", ObjectState::Destroyed))
        .await
        .unwrap();
    assert_eq!(place.object_state("birth").await, ObjectState::Destroyed);
    assert_eq!(place.ceremony("birth").await.state, S::Failed);
}
