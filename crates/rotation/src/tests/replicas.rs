//! Several replicas on one database.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use base::Env;
use calendar::Span;
use calendar::cron::JOBS;
use store::testing::place::Place;

use super::world::{World, asset};
use crate::engine::Ran;
use crate::engine::error::Error;
use crate::jobs::Scheduler;
use crate::times::from_row;

pub async fn three_replicas_run_each_event_and_each_job_once(place: Place) {
    let world = World::new(place, 12);
    // Two of them ten minutes off: the time is the database's.
    let mut schedulers = Vec::new();
    for (owner, ahead) in [("one", 0), ("two", 600_000), ("three", -600_000)] {
        let engine = world.replica_ahead(owner, ahead).await;
        schedulers.push(Scheduler::new(engine, Duration::from_secs(1)));
    }
    let [one, two, three] = &schedulers[..] else {
        panic!("three");
    };
    // The first look makes the jobs, which have no run for slots before it.
    assert!(one.tick().await.unwrap().is_empty());
    let mut finished = Vec::new();
    for _ in 0..24 * 10 {
        world.wait(Span::hours(1));
        let ticks = tokio::join!(one.tick(), two.tick(), three.tick());
        for ticked in [ticks.0, ticks.1, ticks.2] {
            finished.extend(ticked.unwrap());
        }
        let looks = tokio::join!(
            one.engine().look(100),
            two.engine().look(100),
            three.engine().look(100)
        );
        for look in [looks.0, looks.1, looks.2] {
            assert!(look.unwrap().failed.is_empty());
        }
    }
    // Each asset rotated once in these ten days, by one of them.
    let calls = world.elsewhere().calls.clone();
    assert!(calls.len() >= 12 * 6, "{}", calls.len());
    assert!(calls.values().all(|count| *count == 1), "{calls:?}");
    for number in 0..12 {
        let states = world.states(&format!("test/a{number}"));
        assert_eq!(states[1], "primary", "{states:?}");
        assert_eq!(states.len(), 2);
    }
    // Each slot of each job once.
    let mut slots: Vec<_> = finished
        .iter()
        .map(|run| (run.job.clone(), run.slot))
        .collect();
    let all = slots.len();
    slots.sort();
    slots.dedup();
    assert_eq!(slots.len(), all);
    let of = |job: &str| finished.iter().filter(|run| run.job == job).count();
    assert_eq!(of("key_rotation_health_check"), 40);
    assert_eq!(of("automated_key_rotation_check"), 10);
    assert_eq!(of("execute_scheduled_key_rotations"), 60);
    assert_eq!(of("key_usage_monitoring"), 30);
    assert!(
        finished.iter().all(|run| run.succeeded && run.missed == 0),
        "{finished:?}"
    );
    assert_eq!(world.store.jobs().await.unwrap().len(), JOBS.len());
}

/// A clock that began so many milliseconds ahead of the database's.
fn ahead(database: trust::Time, millis: i64) -> Env {
    let (since, count) = (Instant::now(), AtomicU64::new(0));
    let began = trust::Time::from_millis(database.millis() + millis);
    Env::new(
        move || began + since.elapsed(),
        move |bytes: &mut [u8]| {
            bytes.fill(u8::try_from(count.fetch_add(1, Ordering::Relaxed) % 251).unwrap());
            Ok(())
        },
    )
}

/// By the database's own clock. The replica that is off begins nothing before its hour, writes no time but the database's, and
/// commits nothing that the log tells of; the other one does, once.
pub async fn two_replicas_ten_minutes_apart_go_by_the_database(place: Place) {
    let world = World::new(place, 0);
    let database = world.store.database_time().await.unwrap();
    let since = from_row(database) - Span::days(29);
    for name in ["test/a0", "test/a1"] {
        world.elsewhere().assets.push(asset(name, since));
    }
    let right = world.replica_by("right", ahead(database, 0)).await;
    let wrong = world.replica_by("wrong", ahead(database, 600_000)).await;
    let off = |error: &Error| {
        matches!(error, Error::Store(store::Error::ClockOff { ours, database })
            if (590_000..=610_000).contains(&(ours - database)))
    };
    let refused = wrong.make_due(Span::days(3)).await.unwrap_err();
    assert!(off(&refused), "{refused:?}");
    assert!(right.open_events().await.unwrap().is_empty());
    let made = right.make_due(Span::days(3)).await.unwrap();
    let [early, due] = &made[..] else {
        panic!("two: {made:?}");
    };
    let slot = async |id: &str, millis: i64| {
        let slot = database.millis() + millis;
        let sql = format!("UPDATE rotation_event SET slot = {slot}, look_at = 0 WHERE id = '{id}'");
        world.place.raw(&sql).await.unwrap();
    };
    // In five minutes; by the clock of the one that is ahead it is over.
    slot(&early.id, 300_000).await;
    let ran = wrong.run(&early.id).await.unwrap();
    assert!(matches!(ran, Ran::Waits { reason: None, .. }), "{ran:?}");
    assert!(world.steps(&early.id).await.is_empty());
    // What no leaf tells of it may do, at the time that the database says.
    slot(&due.id, -60_000).await;
    wrong.run(&due.id).await.unwrap();
    let now = world.store.database_time().await.unwrap();
    let row = world.row(&due.id).await;
    let published_at = row.published_at.expect("published");
    assert!(database <= published_at && published_at <= now, "{row:?}");
    for step in world.steps(&due.id).await {
        assert!(
            database <= step.started_at && step.started_at <= now,
            "{step:?}"
        );
    }
    // The promotion has a leaf: it is not its to write.
    let long_ago = format!(
        "UPDATE rotation_event SET published_at = published_at - 7200000 WHERE id = '{}'",
        due.id
    );
    world.place.raw(&long_ago).await.unwrap();
    let refused = wrong.run(&due.id).await.unwrap_err();
    assert!(off(&refused), "{refused:?}");
    assert!(world.row(&due.id).await.promoted_at.is_none());
    assert_eq!(world.leaves(&due.id).await.len(), 1);
    right.run(&due.id).await.unwrap();
    assert!(world.row(&due.id).await.promoted_at.is_some());
    let leaves = world.leaves(&due.id).await;
    assert_eq!(leaves.len(), 2, "{leaves:?}");
    assert!(leaves[1].contains("promote"), "{leaves:?}");
}
