//! The scheduler's slots: missed, paused, by hand, and of a replica that died.

use std::time::Duration;

use calendar::Span;
use store::NewRun;
use store::testing::place::Place;

use super::world::{KEY_TYPE, World, asset, at};
use crate::alerts::watch::Watch;
use crate::engine::error::Error;
use crate::jobs::{Finished, Scheduler};
use crate::measured::Measured;

const CHECK: &str = "automated_key_rotation_check";

fn scheduler(world: &World) -> Scheduler {
    Scheduler::new(world.engine("one"), Duration::from_secs(1))
}

fn of<'a>(finished: &'a [Finished], job: &str) -> Vec<&'a Finished> {
    finished.iter().filter(|run| run.job == job).collect()
}

pub async fn a_week_without_a_replica_is_made_up_for_by_one_run(place: Place) {
    let world = World::new(place, 3);
    let scheduler = scheduler(&world);
    assert!(scheduler.tick().await.unwrap().is_empty());
    world.until(at("2026-12-07T02:00:00.000Z"));
    let finished = scheduler.tick().await.unwrap();
    let [check] = of(&finished, CHECK)[..] else {
        panic!("{finished:?}");
    };
    // From the 30th to the 7th at one o'clock: eight slots, one run.
    assert_eq!(
        (check.missed, check.slot),
        (7, at("2026-12-07T01:00:00.000Z"))
    );
    assert_eq!(check.summary["made"], 3);
    let [cleanup] = of(&finished, "key_rotation_cleanup")[..] else {
        panic!("{finished:?}");
    };
    assert_eq!((cleanup.missed, cleanup.succeeded), (0, true));
    // What is long overdue begins at once.
    world.wait(Span::minutes(59));
    let round = scheduler.engine().look(100).await.unwrap();
    assert_eq!(round.failed.len(), 0);
    for number in 0..3 {
        assert_eq!(world.states(&format!("test/a{number}")).len(), 2);
    }
    assert!(scheduler.tick().await.unwrap().is_empty());
    let status = scheduler.status().await.unwrap();
    let job = status.jobs.iter().find(|job| job.name == CHECK).unwrap();
    assert_eq!((job.runs, job.failed, job.missed), (1, 0, 7));
    assert_eq!(job.when, "At 01:00, UTC");
    assert_eq!(job.next, Some(at("2026-12-08T01:00:00.000Z")));
}

pub async fn a_run_whose_replica_died_is_gone_on_with(place: Place) {
    let world = World::new(place, 2);
    let scheduler = scheduler(&world);
    scheduler.tick().await.unwrap();
    // Another replica began the run of the first slot, and died.
    let slot = at("2026-12-01T01:00:00.000Z");
    let slot = trust::Time::from_millis(slot.millis());
    let new = NewRun {
        job: CHECK,
        slot,
        missed: 1,
        owner: "dead",
        at: slot,
        by_hand: false,
    };
    let dead = world.store.begin_run(&new, Duration::from_secs(600)).await;
    let dead = dead.unwrap().unwrap();
    world.until(at("2026-12-01T01:10:00.000Z"));
    let finished = scheduler.tick().await.unwrap();
    assert!(of(&finished, CHECK).is_empty(), "it still has its lease");
    let refused = scheduler.run_now(CHECK).await;
    assert!(matches!(refused, Err(Error::Runs(_))), "{refused:?}");
    world
        .place
        .raw("UPDATE job_run SET lease_until = 0")
        .await
        .unwrap();
    let finished = scheduler.tick().await.unwrap();
    let [check] = of(&finished, CHECK)[..] else {
        panic!("{finished:?}");
    };
    assert_eq!((check.missed, check.succeeded), (1, true));
    assert_eq!(check.summary["made"], 2);
    // It wakes up and is told that it was overtaken.
    let woken = world.store.end_run(&dead, "done", "{}", slot).await;
    assert!(woken.is_err_and(|error| error.is_conflict()));
}

#[tokio::test]
async fn threat_a_run_whose_replica_died_is_not_gone_on_with_while_it_is_paused() {
    let world = World::new(Place::sqlite().await, 2);
    let scheduler = scheduler(&world);
    scheduler.tick().await.unwrap();
    let slot = at("2026-12-01T01:00:00.000Z");
    let slot = trust::Time::from_millis(slot.millis());
    let new = NewRun {
        job: CHECK,
        slot,
        missed: 0,
        owner: "dead",
        at: slot,
        by_hand: false,
    };
    let dead = world.store.begin_run(&new, Duration::ZERO).await;
    assert!(dead.unwrap().is_some());
    world.until(at("2026-12-01T01:10:00.000Z"));
    let engine = scheduler.engine();
    let runs = async || of(&scheduler.tick().await.unwrap(), CHECK).len();
    engine.pause(true, "somebody", None).await.unwrap();
    assert_eq!(runs().await, 0);
    engine.pause_job(CHECK, true, "somebody").await.unwrap();
    engine.pause(false, "somebody", None).await.unwrap();
    assert_eq!(runs().await, 0);
    assert!(engine.open_events().await.unwrap().is_empty());
    engine.pause_job(CHECK, false, "somebody").await.unwrap();
    assert_eq!(runs().await, 1);
    assert_eq!(engine.open_events().await.unwrap().len(), 2);
}

/// A run that takes longer than to the job's next slot: one run at a time, and none is lost.
#[tokio::test]
async fn fault_overlapping_schedules_run_one_after_the_other() {
    let world = World::new(Place::sqlite().await, 2);
    let scheduler = scheduler(&world);
    scheduler.tick().await.unwrap();
    let slot = |text: &str| trust::Time::from_millis(at(text).millis());
    let first = slot("2026-12-01T01:00:00.000Z");
    let new = NewRun {
        job: CHECK,
        slot: first,
        missed: 0,
        owner: "two",
        at: first,
        by_hand: false,
    };
    let long = world.store.begin_run(&new, Duration::from_secs(600)).await;
    let long = long.unwrap().unwrap();
    world.until(at("2026-12-02T01:10:00.000Z"));
    let finished = scheduler.tick().await.unwrap();
    assert!(of(&finished, CHECK).is_empty(), "{finished:?}");
    assert!(finished.len() > 3, "the other jobs go on");
    let ended = slot("2026-12-02T01:11:00.000Z");
    let done = world.store.end_run(&long, "done", "{}", ended).await;
    done.unwrap();
    let finished = scheduler.tick().await.unwrap();
    let [check] = of(&finished, CHECK)[..] else {
        panic!("{finished:?}");
    };
    assert_eq!(
        (check.slot, check.missed),
        (at("2026-12-02T01:00:00.000Z"), 0)
    );
    assert!(of(&scheduler.tick().await.unwrap(), CHECK).is_empty());
}

#[tokio::test]
async fn fault_the_scheduler_is_paused_over_a_due_date() {
    let world = World::new(Place::sqlite().await, 1);
    let scheduler = scheduler(&world);
    scheduler.tick().await.unwrap();
    let engine = scheduler.engine();
    engine
        .pause(true, "somebody", Some("an audit"))
        .await
        .unwrap();
    world.until(at("2026-12-03T02:00:00.000Z"));
    let finished = scheduler.tick().await.unwrap();
    assert!(of(&finished, CHECK).is_empty(), "{finished:?}");
    // Watching goes on, and the plan lists what is due.
    assert_eq!(of(&finished, "key_rotation_health_check").len(), 1);
    let status = scheduler.status().await.unwrap();
    assert!(status.paused && status.reason.as_deref() == Some("an audit"));
    assert_eq!(engine.plan(Span::days(7)).await.unwrap().rotations.len(), 1);
    engine.pause(false, "somebody", None).await.unwrap();
    let finished = scheduler.tick().await.unwrap();
    let [check] = of(&finished, CHECK)[..] else {
        panic!("{finished:?}");
    };
    assert_eq!((check.missed, &check.summary["made"]), (3, &1.into()));
}

#[tokio::test]
async fn a_job_is_run_by_hand_and_paused_by_itself() {
    let world = World::new(Place::sqlite().await, 1);
    let scheduler = scheduler(&world);
    let engine = scheduler.engine();
    for job in calendar::cron::JOBS {
        let finished = scheduler.run_now(job.name).await.unwrap();
        assert!(finished.succeeded, "{finished:?}");
        world.wait(Span::seconds(1));
    }
    let unknown = scheduler.run_now("dance").await;
    assert!(matches!(unknown, Err(Error::UnknownJob(_))));
    engine.pause_job(CHECK, true, "somebody").await.unwrap();
    let twice = engine.pause_job(CHECK, true, "somebody").await;
    assert!(matches!(twice, Err(Error::JobUnchanged(_))));
    let unknown = engine.pause_job("dance", true, "somebody").await;
    assert!(matches!(unknown, Err(Error::UnknownJob(_))));
    world.wait(Span::days(2));
    let finished = scheduler.tick().await.unwrap();
    assert!(of(&finished, CHECK).is_empty() && !finished.is_empty());
    engine.pause_job(CHECK, false, "somebody").await.unwrap();
    assert_eq!(of(&scheduler.tick().await.unwrap(), CHECK).len(), 1);
}

#[tokio::test]
async fn fault_a_backlog_is_worked_off_by_what_the_token_and_the_team_can_do() {
    let world = World::new(Place::sqlite().await, 500);
    let engine = world.engine("one");
    world.wait(Span::days(30));
    let made = engine.make_due(Span::hours(49)).await.unwrap();
    assert_eq!(made.len(), 500);
    let mut by_hour = std::collections::BTreeMap::<i64, usize>::new();
    for row in &made {
        *by_hour.entry(row.slot.millis() / 3_600_000).or_default() += 1;
    }
    // 200 of one team in an hour.
    assert!(by_hour.values().all(|count| *count <= 200), "{by_hour:?}");
    assert!(by_hour.len() >= 3, "{by_hour:?}");
    assert!(engine.make_due(Span::hours(49)).await.unwrap().is_empty());
}

#[tokio::test]
async fn fault_a_cron_that_never_fires_or_fires_each_second_holds_its_job_alone() {
    for cron in ["0 0 30 2 *", "* * * * * *"] {
        let world = World::new(Place::sqlite().await, 1);
        let scheduler = scheduler(&world);
        scheduler.tick().await.unwrap();
        let sql = format!("UPDATE job SET cron = '{cron}' WHERE name = '{CHECK}'");
        world.place.raw(&sql).await.unwrap();
        world.wait(Span::days(2));
        let finished = scheduler.tick().await.unwrap();
        assert!(of(&finished, CHECK).is_empty(), "{cron}");
        assert!(finished.len() >= 3, "{finished:?}");
        let status = scheduler.status().await.unwrap();
        let job = status.jobs.iter().find(|job| job.name == CHECK).unwrap();
        assert!(job.next.is_none() && job.when.is_empty());
    }
}

#[tokio::test]
async fn of_a_backlog_the_most_important_begins_first_and_nothing_is_left() {
    let world = World::new(Place::sqlite().await, 5);
    // They are overdue, and what is more important is not yet.
    world.wait(Span::days(3));
    let mut important = asset("test/important", world.now() - Span::days(179));
    important.key_type = "database_encryption".parse().unwrap();
    world.elsewhere().assets.push(important);
    let engine = world.engine("one");
    let made = engine.make_due_by(Span::hours(49), 2).await.unwrap();
    assert_eq!(made.len(), 6, "{made:?}");
    assert_eq!(made[0].asset, "test/important");
    assert!(
        engine
            .make_due_by(Span::hours(49), 2)
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn of_what_is_due_an_emergency_is_gone_on_with_first_then_the_important() {
    let world = World::new(Place::sqlite().await, 3);
    let mut important = asset("test/important", world.now() - Span::days(179));
    important.key_type = "database_encryption".parse().unwrap();
    world.elsewhere().assets.push(important);
    let engine = world.engine("one");
    let made = engine.make_due(Span::days(3)).await.unwrap();
    let of = |asset: &str| made.iter().find(|row| row.asset == asset).unwrap().clone();
    // All are due, the emergency by its declaration and so as the last of them.
    world.wait(Span::days(5));
    let (key_type, name) = (KEY_TYPE.parse().unwrap(), "test/a2".parse().unwrap());
    let reason = ("somebody", "it leaked");
    engine
        .declare(&key_type, Some(&name), reason)
        .await
        .unwrap();
    let mut looked_at = Vec::new();
    for _ in 0..4 {
        let round = engine.look(1).await.unwrap();
        assert_eq!((round.looked, round.failed.len()), (1, 0));
        for row in &made {
            let now = world.row(&row.id).await;
            // A declaration is an epoch of its own.
            let declared = i64::from(now.declared_at.is_some());
            if now.lease_epoch > declared && !looked_at.contains(&row.asset) {
                looked_at.push(row.asset.clone());
            }
        }
    }
    let mut last = [of("test/a0"), of("test/a1")];
    last.sort_by_key(|row| (row.due, row.id.clone()));
    let [third, fourth] = last.map(|row| row.asset);
    assert_eq!(
        looked_at,
        ["test/a2", "test/important", &third, &fourth].map(str::to_owned)
    );
    assert_eq!(engine.look(10).await.unwrap().looked, 0);
}

/// Whoever can write to the database can make a row that nobody can read: rotations and metrics go on, and it is seen that nobody
/// looks at alerts any more.
#[tokio::test]
async fn threat_an_alert_that_cannot_be_read_ends_the_looks_and_nobody_sees_it() {
    let world = World::new(Place::sqlite().await, 1);
    let scheduler = scheduler(&world);
    let mut watch = Watch::default();
    assert_eq!(scheduler.looked_at(), 0);
    world.until(at("2026-12-01T01:10:00.000Z"));
    scheduler.round(&mut watch).await.unwrap();
    let looked_at = scheduler.looked_at();
    let now = at("2026-12-01T01:10:00.000Z").millis() / 1_000;
    assert!(i64::from(looked_at) >= now && i64::from(looked_at) < now + 60);
    let row =
        "INSERT INTO alert (id, name, subject, level, detail, phase, since, changed_at, version)
        VALUES ('al_00000000000000000000000000000000', 'made-up', 'x', 1, '', 'firing', 0, 0, 1)";
    world.place.raw(row).await.unwrap();
    world.wait(Span::minutes(10));
    assert!(scheduler.round(&mut watch).await.is_err());
    assert_eq!(scheduler.looked_at(), looked_at);
    Measured::default().read(scheduler.engine()).await.unwrap();
}
