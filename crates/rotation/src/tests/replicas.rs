//! Several replicas on one database.

use std::time::Duration;

use calendar::Span;
use calendar::cron::JOBS;
use store::testing::place::Place;

use super::world::World;
use crate::jobs::Scheduler;

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
