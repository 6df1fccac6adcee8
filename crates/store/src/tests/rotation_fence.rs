//! What a rotation does to its ring and to an order: nothing of it by an owner who was overtaken, or against a person's word.

use std::time::Duration;

use super::super::*;
use super::conflicts::{conflicts, malformed};
use super::place::Place;
use super::rotations::{at, begun, commit, ends, id};
use super::world::*;

const MINUTE: Duration = Duration::from_secs(60);

async fn switch(place: &Place) -> Change {
    Change::SwitchPrimary {
        ring: "atp".into(),
        expected_version: place.ring_version("atp").await,
        old: Some(kid("atp-1")),
        new: kid("atp-2"),
        at: NOW,
    }
}

async fn retire(place: &Place, name: &str) -> Change {
    Change::RetireKey {
        ring: "atp".into(),
        expected_version: place.ring_version("atp").await,
        kid: kid(name),
        at: NOW,
    }
}

async fn ask(place: &Place) -> Change {
    let next = place.next(&of_ring("atp")).await;
    birth_under("order", 1, "asked", next, "atp")
}

fn fenced(fence: RotationFence, change: Change) -> Change {
    Change::OfRotation {
        fence,
        change: Box::new(change),
    }
}

async fn take(place: &Place, owner: &str, time: Duration) -> RotationLease {
    let lease = place.store.take_rotation(&id(1), owner, time).await;
    lease.unwrap().unwrap()
}

/// A ring with a primary and a standby, an order for it, and a rotation of it.
async fn world(place: &Place) {
    place.open_ring("atp").await;
    place.prepared("atp-2", "atp", 2).await;
    place.order("order", "atp", 2).await;
    begun(place, 1, 2).await;
}

pub async fn an_overtaken_owner_changes_no_ring_and_takes_no_use(place: Place) {
    world(&place).await;
    let lost = take(&place, "one", Duration::ZERO).await;
    let lease = take(&place, "two", MINUTE).await;
    let stale = RotationFence::Step(lost.clone());
    for change in [switch(&place).await, ask(&place).await] {
        conflicts(&place, fenced(stale.clone(), change), Subject::Rotation).await;
    }
    assert_eq!(place.store.last_use(&nonce("order")).await.unwrap(), 0);
    // Whoever has it does it; what is within it conflicts as it does alone, and a second rotation is none of it.
    let step = RotationFence::Step(lease.clone());
    let asks = ask(&place).await;
    place
        .change(fenced(step.clone(), asks.clone()))
        .await
        .unwrap();
    conflicts(&place, fenced(step.clone(), asks), Subject::Ceremony).await;
    let two = fenced(step.clone(), switch(&place).await);
    malformed(&place, fenced(step.clone(), two)).await;
    let version = place.store.version().await.unwrap();
    let switches = switch(&place).await;
    place.change(fenced(step.clone(), switches)).await.unwrap();
    assert_ne!(place.store.version().await.unwrap(), version);
    let retires = retire(&place, "atp-1").await;
    conflicts(&place, fenced(stale, retires.clone()), Subject::Rotation).await;
    place.change(fenced(step.clone(), retires)).await.unwrap();
    // Nobody has what ended.
    let done = Box::new(ends("done"));
    commit(&place, Change::RecordRotation { lease, done })
        .await
        .unwrap();
    let late = retire(&place, "atp-2").await;
    conflicts(&place, fenced(step, late), Subject::Rotation).await;
}

pub async fn an_owner_changes_no_ring_against_a_persons_word(place: Place) {
    world(&place).await;
    let lease = take(&place, "one", MINUTE).await;
    let (step, back) = (
        RotationFence::Step(lease.clone()),
        RotationFence::RollBack(lease.clone()),
    );
    let mark = async |mark| {
        let change = Change::MarkRotation {
            event: id(1),
            mark,
            at: NOW,
        };
        commit(&place, change).await.unwrap();
    };
    mark(RotationMark::Cancel).await;
    for change in [switch(&place).await, ask(&place).await] {
        conflicts(&place, fenced(step.clone(), change), Subject::Rotation).await;
    }
    // It came too late for what was promoted.
    place.change(switch(&place).await).await.unwrap();
    let mut promoted = RotationWrite::new(at(1), "running");
    promoted.promoted_at = Some(at(1));
    place.store.keep_rotation(&lease, &promoted).await.unwrap();
    let rolled_back = Change::SwitchPrimary {
        ring: "atp".into(),
        expected_version: place.ring_version("atp").await,
        old: Some(kid("atp-2")),
        new: kid("atp-1"),
        at: NOW,
    };
    // Nobody wants it back yet.
    let early = fenced(back.clone(), rolled_back.clone());
    conflicts(&place, early, Subject::Rotation).await;
    mark(RotationMark::RollBack).await;
    let retires = retire(&place, "atp-1").await;
    conflicts(&place, fenced(step, retires), Subject::Rotation).await;
    // A declaration, an emergency or another replica overtakes it.
    place
        .raw("UPDATE rotation_event SET lease_until = 0")
        .await
        .unwrap();
    let next = take(&place, "two", MINUTE).await;
    let stale = fenced(back, rolled_back.clone());
    conflicts(&place, stale, Subject::Rotation).await;
    place
        .change(fenced(RotationFence::RollBack(next), rolled_back))
        .await
        .unwrap();
}

/// A look would not keep another replica from taking the rotation before the change is committed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_take_over_waits_for_a_change_that_is_under_way() {
    let place = Place::postgres().await;
    world(&place).await;
    let lease = take(&place, "one", Duration::ZERO).await;
    let change = fenced(RotationFence::Step(lease), switch(&place).await);
    // Whoever holds the row of the ring keeps the change from its end.
    let mut hand = place.other_connection().await;
    sqlx::raw_sql("BEGIN; SELECT version FROM ring WHERE name = 'atp' FOR UPDATE")
        .execute(&mut hand)
        .await
        .unwrap();
    let mut looks = place.other_connection().await;
    let mut until_blocked = async |count: i64| {
        for _ in 0..1_000 {
            let blocked = "SELECT count(*) FROM pg_stat_activity
                WHERE datname = current_database() AND wait_event_type = 'Lock'";
            let found = sqlx::query_scalar::<_, i64>(blocked).fetch_one(&mut looks);
            if found.await.unwrap() == count {
                return;
            }
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
        panic!("{count} do not wait for each other");
    };
    let (store, other) = (place.store.clone(), place.replica().await);
    let changing = tokio::spawn(async move { store.commit(&change, &leaf("key")).await });
    until_blocked(1).await;
    let taking =
        tokio::spawn(async move { other.take_rotation(&id(1), "two", MINUTE).await.unwrap() });
    until_blocked(2).await;
    sqlx::raw_sql("COMMIT").execute(&mut hand).await.unwrap();
    changing.await.unwrap().unwrap();
    assert!(taking.await.unwrap().is_some());
    assert_eq!(place.key(&kid("atp-2")).await.status, KeyStatus::Primary);
}
