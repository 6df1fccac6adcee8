//! How keys end: revocations that only become more severe, and private halves that are destroyed.

use super::super::*;
use super::conflicts::conflicts;
use super::place::Place;
use super::world::*;

pub async fn a_severity_is_never_lowered(place: Place) {
    let first = place.open_ring("atp").await;
    let second = place.prepared("atp-2", "atp", 2).await;
    let none = None;
    let steps = [
        // Reason, since, and whether it says more than what was said before.
        ("superseded", none, true),
        ("superseded", none, false),
        ("unspecified", none, false),
        ("compromised", Some(NOW - 10), true),
        ("superseded", none, false),
        ("compromised", Some(NOW - 10), false),
        ("compromised", Some(NOW - 5), false),
        ("compromised", Some(NOW - 20), true),
        // Without a beginning it is from the beginning.
        ("compromised", none, true),
        ("compromised", Some(NOW - 30), false),
        ("compromised", none, false),
        ("unspecified", none, false),
    ];
    let mut said = None;
    for (n, (reason, since, more)) in steps.into_iter().enumerate() {
        let name = format!("stop {n}");
        place.approved_on(&name, "revoke", "atp", "atp-1").await;
        let mut change = place.revoke(&name, "atp", &first, reason, since).await;
        if let Change::RevokeKey { at, .. } = &mut change {
            *at += n as i64;
        }
        if more {
            place.change(change).await.unwrap();
            assert_eq!(place.ceremony(&name).await.state, CeremonyState::Executed);
            said = Some((reason.to_owned(), since));
        } else {
            conflicts(&place, change, Subject::KeyState).await;
            assert_eq!(place.ceremony(&name).await.state, CeremonyState::Approved);
        }
        let row = place.key(&first).await;
        let revocation = row.revocation.unwrap();
        assert_eq!(revocation.revoked_at.millis(), NOW);
        let since = revocation.compromised_since.map(trust::Time::millis);
        let stands = (revocation.reason.to_string(), since);
        assert_eq!(Some(stands), said);
    }
    // A revoked key was no primary: nobody succeeds it.
    let third = place.prepared("atp-3", "atp", 3).await;
    place.switch("atp", None, &second).await.unwrap();
    let stop = place.revocation("stop", "atp", &third).await;
    place.change(stop).await.unwrap();
    let fourth = place.prepared("atp-4", "atp", 4).await;
    place.approved_on("more", "revoke", "atp", "atp-3").await;
    let more = place.revoke("more", "atp", &third, "compromised", none);
    let mut with_successor = more.await;
    if let Change::RevokeKey { successor, .. } = &mut with_successor {
        *successor = Some(fourth);
    }
    conflicts(&place, with_successor, Subject::Primary).await;

    // And not by a hand in the database either.
    for sql in [
        "UPDATE signing_key SET revocation_reason = 'superseded', compromised_since = NULL
            WHERE number = 3",
        "UPDATE signing_key SET compromised_since = compromised_since + 1 WHERE number = 3",
        "UPDATE signing_key SET revoked_at = revoked_at - 1, compromised_since = 0
            WHERE number = 3",
        "UPDATE signing_key SET compromised_since = 0 WHERE number = 1",
    ] {
        place.refuses(sql).await;
    }
}

pub async fn private_half_of_a_revoked_key_is_destroyed_once(place: Place) {
    let first = place.open_ring("atp").await;
    place.approved_on("stop", "revoke", "atp", "atp-1").await;
    let stop = place.revoke("stop", "atp", &first, "superseded", None);
    let stop = stop.await;
    place.change(stop).await.unwrap();
    place.approved_on("end", "destroy", "atp", "atp-1").await;
    for change in [
        destroy("end", "atp-1"),
        archive("end", "atp", "atp-1"),
        execute("end"),
    ] {
        place.change(change).await.unwrap();
    }
    let ended = async || {
        let row = place.key(&first).await;
        let archived_at = row.archived_at.map(trust::Time::millis);
        (row.status, archived_at, row.retired_at)
    };
    assert_eq!(ended().await, (KeyStatus::Revoked, Some(NOW), None));
    place.approved_on("again", "destroy", "atp", "atp-1").await;
    conflicts(&place, destroy("again", "atp-1"), Subject::KeyState).await;
    for sql in [
        "UPDATE signing_key SET archived_at = archived_at + 1",
        "UPDATE signing_key SET archived_at = NULL",
        "UPDATE signing_key SET state = 'archived', revoked_at = NULL, revocation_reason = NULL",
    ] {
        place.refuses(sql).await;
    }
    // What is known of it may still become worse.
    let more = place.revocation("more", "atp", &first).await;
    place.change(more).await.unwrap();
    assert_eq!(ended().await, (KeyStatus::Revoked, Some(NOW), None));
    let reason = place.key(&first).await.revocation.unwrap().reason;
    assert_eq!(reason.to_string(), "compromised");
}

/// A retired key of one ring and a revoked one of another, by one ceremony.
async fn two_that_have_ended(place: &Place, name: &str) {
    let first = place.ring_with_a_retired_key("atp").await;
    let other = place.open_ring("oauth").await;
    let stop = place.revocation("stop", "oauth", &other).await;
    place.change(stop).await.unwrap();
    let subjects = [of_key(&first), of_key(&other)];
    place
        .approved_of(name, "destroy", Some("atp"), &subjects)
        .await;
}

pub async fn two_keys_are_destroyed_only_when_both_are_gone(place: Place) {
    two_that_have_ended(&place, "end").await;
    // All of them, and no others; none of them begins alone.
    let names = ["atp-1", "oauth-1"];
    let object = Subject::KeyObject;
    conflicts(&place, destroy("end", "atp-1"), object).await;
    let wrong = destroy_all("end", &["atp-1", "atp-2"]);
    conflicts(&place, wrong, Subject::KeyState).await;
    let twice = destroy_all("end", &["atp-1", "atp-1"]);
    conflicts(&place, twice, Subject::KeyObjectState).await;
    assert_eq!(place.object_state("atp-1").await, ObjectState::Present);
    // Two on one device, as long as they are of one ceremony.
    place.change(destroy_all("end", &names)).await.unwrap();
    place.approved("birth", "atp").await;
    let busy = Subject::OtherCeremony;
    let birth = intend(super::world::object("birth", "atp", 3));
    conflicts(&place, birth.clone(), busy).await;

    conflicts(&place, execute("end"), Subject::KeyObjectState).await;
    let gone = archive("end", "oauth", "oauth-1");
    place.change(gone).await.unwrap();
    conflicts(&place, execute("end"), Subject::KeyObjectState).await;
    conflicts(&place, birth.clone(), busy).await;
    let gone = archive("end", "atp", "atp-1");
    place.change(gone).await.unwrap();
    assert_eq!(place.ceremony("end").await.state, CeremonyState::Executing);
    place.change(birth).await.unwrap();
    place.change(execute("end")).await.unwrap();
    assert_eq!(place.ceremony("end").await.state, CeremonyState::Executed);
    for (name, state, seq) in [("atp-1", "archived", 1), ("oauth-1", "revoked", 2)] {
        let row = place.key(&kid(name)).await;
        assert_eq!(
            (
                row.status.as_str(),
                row.archived_at.map(trust::Time::millis)
            ),
            (state, Some(NOW))
        );
        assert_eq!(place.object_state(name).await, ObjectState::Destroyed);
        let head = place
            .store
            .line_head(&of_key(row.kid.as_str()))
            .await
            .unwrap();
        let head = head.unwrap();
        assert_eq!((head.seq, head.ceremony), (seq, digest("end")));
    }
    place.change(close("end")).await.unwrap();
}

/// One of two is still there: the ceremony has failed, and the device is not left occupied by the
/// other, whichever of them was looked at first.
pub async fn failed_destruction_tells_of_what_is_gone(place: Place) {
    two_that_have_ended(&place, "end").await;
    let names = ["atp-1", "oauth-1"];
    place.change(destroy_all("end", &names)).await.unwrap();
    place
        .change(resolve("end", "atp-1", ObjectState::Present))
        .await
        .unwrap();
    assert_eq!(place.ceremony("end").await.state, CeremonyState::Failed);
    let gone = archive("end", "oauth", "oauth-1");
    place.change(gone.clone()).await.unwrap();
    conflicts(&place, gone, Subject::KeyState).await;
    conflicts(&place, execute("end"), Subject::KeyObjectState).await;
    assert_eq!(
        place
            .key(&kid("atp-1"))
            .await
            .archived_at
            .map(trust::Time::millis),
        None
    );
    assert_eq!(
        place
            .key(&kid("oauth-1"))
            .await
            .archived_at
            .map(trust::Time::millis),
        Some(NOW)
    );
    // It used no place up.
    place.approved_on("rest", "destroy", "atp", "atp-1").await;
    assert_eq!(place.seq("rest").await, 1);
    for change in [
        destroy("rest", "atp-1"),
        archive("rest", "atp", "atp-1"),
        execute("rest"),
    ] {
        place.change(change).await.unwrap();
    }
}
