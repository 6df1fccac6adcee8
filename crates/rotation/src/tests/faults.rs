//! What a rotation needs goes away while it runs, and comes back: it waits, goes on by itself, and nothing happens twice.

use calendar::Span;
use calendar::facts::Order;
use calendar::words::Reason;
use store::testing::place::Place;
use store::testing::server;

use super::frozen::Two;
use super::rings::{ASSET, DAY, Ring, executed};
use super::world::{World, asset};
use crate::engine::error::Error;
use crate::jobs::Scheduler;

/// What the log tells of a rotation, and of keys because of it.
async fn told(ring: &Ring, id: &str) -> Vec<String> {
    let leaves = ring.place.store.leaves(0, 1_000).await.unwrap();
    let because = format!("rotation {id}");
    let bodies = leaves.iter().map(|leaf| {
        let body: serde_json::Value = serde_json::from_str(&leaf.body).unwrap();
        (leaf.kind.as_str(), body)
    });
    let mine = bodies.filter(|(_, body)| body["ref"] == id || body["reason"] == because);
    mine.map(|(kind, body)| format!("{kind} {}", body["action"].as_str().unwrap()))
        .collect()
}

/// It ends with one new key, which came into use once.
pub(super) async fn ends_once(ring: &Ring, scheduler: &Scheduler, id: &str) {
    assert_eq!(ring.waits_for(scheduler, id).await, None);
    let row = ring.row(id).await;
    assert_eq!(
        (row.state.as_str(), row.previous_version),
        ("done", Some(1))
    );
    // The next number, or one after those of keys that came to nothing.
    assert_eq!(ring.primary().await, row.version);
    assert_eq!(ring.token.executor().list().await.unwrap().len(), 2);
    let mut told = told(ring, id).await;
    let all = told.len();
    assert!(told.contains(&"rotation promote".to_owned()), "{told:?}");
    told.sort();
    told.dedup();
    assert_eq!(told.len(), all, "{told:?}");
    assert!(
        ring.place
            .store
            .open_rotations_of(ASSET)
            .await
            .unwrap()
            .is_empty()
    );
}

/// Before and after what a step does. Whoever ran it is told and writes nothing more; whoever comes next finds out what was done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_the_database_is_away_while_a_rotation_runs() {
    let server = server::own().await;
    let world = Two::new(Place::on(&server).await).await;
    let ring = &world.ring;
    let (scheduler, mut runner) = (ring.scheduler(), ring.runner());
    ring.wait(87 * DAY);
    let id = ring.checked(&scheduler).await.id;
    let away = async |step| {
        let run = world.freezes(&id, step).await;
        server.stop().unwrap();
        let refused = world.wakes(run).await.unwrap_err();
        let is_away = matches!(&refused, Error::Store(store::Error::Unavailable { .. }));
        assert!(is_away, "{step}: {refused:?}");
        assert!(scheduler.engine().run(&id).await.is_err(), "{step}");
        server.resume().unwrap();
        world.lease_ends(&id).await;
    };
    away("generate").await;
    assert_eq!(world.uses_left().await, 2);
    away("generate done").await;
    assert_eq!(
        ring.waits_for(&scheduler, &id).await,
        Some(Reason::Executor)
    );
    assert_eq!(world.uses_left().await, 1);
    assert_eq!(executed(&mut runner).await, 1);
    away("promote").await;
    assert_eq!(ring.primary().await, 1);
    away("promote done").await;
    assert_eq!(ring.primary().await, 2);
    assert!(ring.row(&id).await.promoted_at.is_none());
    away("retire done").await;
    assert_eq!(world.status_of(1).await, "retired");
    ends_once(ring, &scheduler, &id).await;
    assert_eq!(world.uses_left().await, 1);
    let row = ring.row(&id).await;
    assert_eq!(row.previous_version, Some(1));
    // Each was begun once, and none of them failed.
    for step in ring.place.store.rotation_steps(&id).await.unwrap() {
        assert_eq!(
            (step.attempt, step.outcome.as_deref()),
            (1, Some("done")),
            "{step:?}"
        );
    }
}

/// More are due than uses are left: each has its rotation, those that are due first have the uses.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_a_standing_order_runs_out_in_the_middle_of_a_batch() {
    let world = World::new(Place::sqlite().await, 0);
    let now = world.now();
    for number in 0..5 {
        let name = format!("test/batch/a{number}");
        let mut one = asset(&name, now - Span::days(87));
        one.key_type = "signing".parse().unwrap();
        world.elsewhere().assets.push(one);
    }
    world.elsewhere().orders.push(Order {
        id: "three".parse().unwrap(),
        covers: "test/batch".parse().unwrap(),
        not_before: now - Span::days(1),
        not_after: now + Span::days(300),
        uses: 3,
        used: 0,
        interval: Span::ZERO,
        windows: Vec::new(),
        paused: false,
    });
    let engine = world.engine("one");
    let plan = engine.plan(Span::days(30)).await.unwrap();
    let waits = plan.rotations.iter().filter_map(|one| one.waits);
    assert_eq!(waits.collect::<Vec<_>>(), [Reason::OrderUsedUp; 2]);
    assert_eq!(engine.make_due(Span::days(30)).await.unwrap().len(), 5);
    assert!(engine.make_due(Span::days(30)).await.unwrap().is_empty());
    let open = engine.open_events().await.unwrap();
    let of = |consent: &str| open.iter().filter(|row| row.consent == consent).count();
    assert_eq!((of("order"), of("ceremony")), (3, 2));
}
