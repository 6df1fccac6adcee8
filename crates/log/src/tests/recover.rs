//! Databases that lack leaves, and what puts them back.

use futures_util::FutureExt as _;
use trust::leaf::ActKind;
use trust::tlog::note::VerifierKey;
use trust::{Kid, Time};

use super::trouble::Trouble;
use super::world::{ORIGIN, World};
use crate::recover::{Error, Plan, Recovery};
use crate::{Event, Log};
use store::testing::world::NOW;
use store::{Change, LeafRow};

/// Acts that can be read, as the service writes them.
async fn write(world: &World, count: usize, what: &str) {
    let log = Log::new(world.store.clone());
    for number in 0..count {
        let why = format!("{what} {number}");
        let event = Event {
            reason: Some(&why),
            ..Event::new(ActKind::Admin, "test", "cli", Time::from_millis(NOW))
        };
        log.commit(&Change::Record, &event).await.unwrap();
    }
}

/// Only the leaf of a revocation; the recovery has to do the rest.
async fn write_revocation(world: &World) {
    let kid: Kid = world.signer.parse().unwrap();
    let event = Event {
        previous_kid: Some(&kid),
        ring: Some("atp"),
        reason: Some("superseded"),
        ..Event::new(ActKind::Key, "revoke", "cli", Time::from_millis(NOW + 7))
    };
    let log = Log::new(world.store.clone());
    log.commit(&Change::Record, &event).await.unwrap();
}

async fn integrate(world: &World) {
    let mut integrator = world.integrator("one", &Trouble::at(&[]));
    while integrator.step().await.unwrap() != crate::integrator::Step::Done {}
}

fn recovery(world: &World) -> Recovery {
    let key = VerifierKey::for_log(ORIGIN, &world.key.public()).unwrap();
    let storage = world.storage(&Trouble::at(&[]));
    Recovery::new(storage, world.store.clone(), vec![(world.log_kid(), key)])
}

async fn leaves(world: &World) -> Vec<LeafRow> {
    world.store.leaves(0, 10_000).await.unwrap()
}

/// As a replica keeps them.
fn kept(leaves: &[LeafRow]) -> Vec<(u64, Vec<u8>)> {
    let kept = leaves
        .iter()
        .map(|leaf| (leaf.index.unsigned_abs(), leaf.body.clone().into_bytes()));
    kept.collect()
}

/// With every column.
fn rows(leaves: &[LeafRow]) -> Vec<String> {
    leaves.iter().map(|leaf| format!("{leaf:?}")).collect()
}

async fn apply(world: &World, plan: &Plan) -> crate::Recovered {
    let now = Time::from_millis(NOW + 3_600_000);
    let recovery = recovery(world);
    recovery
        .apply(plan, "cli:0:test", || now, |_| {})
        .await
        .unwrap()
}

/// A world whose database lacks published leaves and five more; all the leaves that there were.
async fn older() -> (World, Vec<LeafRow>) {
    let mut world = World::new().await;
    write(&world, 300, "before").await;
    integrate(&world).await;
    let backup = world.backup().await;
    write(&world, 400, "after").await;
    write_revocation(&world).await;
    integrate(&world).await;
    write(&world, 5, "answered").await;
    let all = leaves(&world).await;
    world.restore(&backup).await;
    (world, all)
}

#[tokio::test]
async fn case_l2_an_older_database_gets_back_what_was_published_and_what_was_kept() {
    let (world, all) = older().await;
    let before = leaves(&world).await.len();
    let plan = recovery(&world).plan(&[], &[]).await.unwrap();
    assert_eq!(plan.known, before as u64);
    assert_eq!(plan.size(), all.len() as u64 - 5);
    let tail = kept(&all[all.len() - 8..]);
    let plan = recovery(&world)
        .plan(&[tail.clone(), tail[2..7].to_vec()], &[])
        .await
        .unwrap();
    assert_eq!(plan.size(), all.len() as u64);
    assert_eq!(leaves(&world).await.len(), before, "a plan changes nothing");
    let done = apply(&world, &plan).await;
    assert_eq!(done.leaves as usize, all.len() - before);
    assert_eq!(done.by_hand, [""; 0]);
    let now = leaves(&world).await;
    assert_eq!(rows(&now[..all.len()]), rows(&all), "each at its own index");
    assert_eq!(now.len(), all.len() + 1);
    let body = &now[all.len()].body;
    assert!(body.contains(r#""action":"recover""#), "{body}");
    let keys = world.store.keys().await.unwrap().all().unwrap();
    let key = keys.iter().find(|key| key.kid.as_str() == world.signer);
    let revocation = key.unwrap().revocation.expect("revoked again");
    assert_eq!(revocation.revoked_at.millis(), NOW + 7);
    // The log goes on from there, with the proofs of before.
    let row = world.store.last_checkpoint().await.unwrap().unwrap();
    assert_eq!(row.size as u64, world.published().await.unwrap().size);
    integrate(&world).await;
    let again = recovery(&world).plan(&[tail], &[]).await.unwrap();
    assert!(again.is_empty(), "{again:?}");
}

#[tokio::test]
async fn case_l1_what_is_nowhere_is_named_and_given_up_only_at_a_persons_word() {
    let (world, all) = older().await;
    let hole = all.len() as u64 - 5;
    let rest = kept(&all[all.len() - 3..]);
    let lost = recovery(&world)
        .plan(std::slice::from_ref(&rest), &[])
        .await;
    assert!(
        matches!(&lost, Err(Error::Lost(holes)) if *holes == [(hole, hole + 1)]),
        "{lost:?}"
    );
    for wrong in [(hole, hole), (hole + 1, hole + 1), (hole, hole + 2)] {
        let refused = recovery(&world)
            .plan(std::slice::from_ref(&rest), &[wrong])
            .await;
        assert!(matches!(refused, Err(Error::WrongRange(_))), "{refused:?}");
    }
    let plan = recovery(&world).plan(&[rest], &[(hole, hole + 1)]).await;
    apply(&world, &plan.unwrap()).await;
    let now = leaves(&world).await;
    for index in [hole, hole + 1] {
        let body = &now[index as usize].body;
        assert!(body.contains(r#""action":"lost""#), "{body}");
    }
    let last = all.len() - 3..all.len();
    assert_eq!(rows(&now[last.clone()]), rows(&all[last]));
}

#[tokio::test]
async fn a_database_that_was_written_to_since_is_refused() {
    let (world, all) = older().await;
    write(&world, 1, "another").await;
    let refused = recovery(&world).plan(&[], &[]).await;
    let index = leaves(&world).await.len() as u64 - 1;
    assert!(
        matches!(refused, Err(Error::Diverged { index: at, .. }) if at == index),
        "{refused:?}"
    );
    // Beyond what is published it is the kept leaves that show it.
    let mut world = World::new().await;
    write(&world, 10, "before").await;
    integrate(&world).await;
    let backup = world.backup().await;
    write(&world, 3, "answered").await;
    let tail = kept(&leaves(&world).await);
    world.restore(&backup).await;
    write(&world, 1, "another").await;
    let tail = tail[tail.len() - 3..].to_vec();
    let refused = recovery(&world).plan(&[tail], &[]).await;
    assert!(
        matches!(refused, Err(Error::Diverged { .. })),
        "{refused:?}"
    );
    let two = [kept(&all[5..6]), vec![(5, b"another".to_vec())]];
    let refused = recovery(&world).plan(&two, &[]).await;
    assert!(
        matches!(refused, Err(Error::KeptDisagree(5))),
        "{refused:?}"
    );
}

#[tokio::test]
async fn case_l1_several_holes_are_named_together_and_given_up_one_by_one() {
    let (world, all) = older().await;
    let from = all.len() as u64 - 5;
    let some = [
        kept(&all[all.len() - 4..all.len() - 3]),
        kept(&all[all.len() - 1..]),
    ];
    let holes = [(from, from), (from + 2, from + 3)];
    let lost = recovery(&world).plan(&some, &[]).await;
    assert!(
        matches!(&lost, Err(Error::Lost(found)) if *found == holes),
        "{lost:?}"
    );
    let lost = recovery(&world).plan(&some, &holes[..1]).await;
    assert!(
        matches!(&lost, Err(Error::Lost(found)) if *found == holes[1..]),
        "{lost:?}"
    );
    let plan = recovery(&world).plan(&some, &holes).await.unwrap();
    assert_eq!(plan.size(), all.len() as u64);
    apply(&world, &plan).await;
    let now = leaves(&world).await;
    for at in [all.len() - 4, all.len() - 1] {
        assert_eq!(rows(&now[at..=at]), rows(&all[at..=at]));
    }
}

/// An integrator wrote tiles and died before the checkpoint; then the database is replaced.
#[tokio::test]
async fn case_l1_what_stands_in_the_storage_beyond_the_checkpoint_comes_back() {
    let mut world = World::new().await;
    write(&world, 300, "before").await;
    integrate(&world).await;
    let backup = world.backup().await;
    let published = world.published().await.unwrap();
    let storage = world.storage(&Trouble::at(&[]));
    let note = storage.checkpoint().await.unwrap().unwrap();
    write(&world, 30, "answered").await;
    integrate(&world).await;
    let all = leaves(&world).await;
    let newer = storage.checkpoint().await.unwrap();
    let note = String::from_utf8(note.bytes).unwrap();
    storage.put_checkpoint(newer, &note).await.unwrap();
    world.restore(&backup).await;
    let plan = recovery(&world).plan(&[], &[]).await.unwrap();
    assert_eq!(
        (plan.published, plan.size()),
        (published.size, all.len() as u64)
    );
    apply(&world, &plan).await;
    assert_eq!(rows(&leaves(&world).await[..all.len()]), rows(&all));
    integrate(&world).await;
}

/// Leaves of a wrong clock.
const WRONG: u64 = 3;

/// Those leaves, their correction, and a log that goes on by the right one.
async fn write_corrected(world: &World) {
    let log = Log::new(world.store.clone());
    let act = |at: i64| Event::new(ActKind::Admin, "test", "cli", Time::from_millis(at));
    let first = log.commit(&Change::Record, &act(NOW * 2)).await.unwrap();
    let first = first.unsigned_abs();
    for _ in 1..WRONG {
        log.commit(&Change::Record, &act(NOW * 2)).await.unwrap();
    }
    let correction = Event {
        bound: Some(Time::from_millis(NOW + 9)),
        leaves: Some((first, first + WRONG - 1)),
        origin: Some(ORIGIN),
        ..Event::new(
            ActKind::Log,
            "clock-correction",
            "cli",
            Time::from_millis(NOW + 9),
        )
    };
    log.commit(&Change::Record, &correction).await.unwrap();
}

/// By the time of the next act, which no earlier leaf is later than.
async fn log_clock(world: &World) -> i64 {
    let log = Log::new(world.store.clone());
    let when = store::AfterLatest {
        earliest: i64::MIN,
        strictly: false,
    };
    let make = |at| {
        (
            Change::Record,
            Event::new(ActKind::Admin, "test", "cli", at),
        )
    };
    let index = log.commit_at(&when, &make).await.unwrap();
    world.store.leaf(index).await.unwrap().unwrap().time
}

#[tokio::test]
async fn case_v1_a_recovery_follows_the_corrections_that_it_puts_back() {
    // What the backup has of it: nothing, or the wrong leaf without its correction.
    for of_backup in [0, 1] {
        let mut world = World::new().await;
        write(&world, 100, "before").await;
        integrate(&world).await;
        let before = world.backup().await;
        write_corrected(&world).await;
        write(&world, 70, "after").await;
        integrate(&world).await;
        let all = leaves(&world).await;
        world.restore(&before).await;
        if of_backup == 1 {
            let log = Log::new(world.store.clone());
            let at = Time::from_millis(NOW * 2);
            let act = Event::new(ActKind::Admin, "test", "cli", at);
            log.commit(&Change::Record, &act).await.unwrap();
            let clock = std::sync::Arc::new(|| NOW + 3_600_000);
            // The database's clock is this machine's.
            let (now, _) = world.store.look().await.unwrap();
            let off = std::time::Duration::from_millis(now.abs_diff(clock()) + 3_600_000);
            world.store.compare_clocks(clock, off);
            world.store.look().await.unwrap();
            assert!(world.store.halted().is_some(), "the wrong leaf halts it");
        }
        let plan = recovery(&world).plan(&[], &[]).await.unwrap();
        assert_eq!(plan.corrections.len(), 1);
        let done = apply(&world, &plan).await;
        let again = "chancery ceremony new clock-correction --first";
        assert!(done.by_hand[0].contains(again), "{:?}", done.by_hand);
        assert_eq!(rows(&leaves(&world).await[..all.len()]), rows(&all));
        assert_eq!(log_clock(&world).await, NOW + 3_600_000);
    }
}

/// The first of the pages of leaves that say so were written, then it died.
#[tokio::test]
async fn case_l1_what_is_given_up_is_gone_on_with_after_an_interruption() {
    let (world, all) = older().await;
    let published = recovery(&world).plan(&[], &[]).await.unwrap();
    apply(&world, &published).await;
    // Its own leaf stands there now; the others are lost.
    let first = leaves(&world).await.len() as u64;
    let range = (first, first + 199);
    let plan = recovery(&world).plan(&[], &[range]).await.unwrap();
    assert_eq!(plan.size(), first + 200);
    let now = Time::from_millis(NOW + 3_600_000);
    let dies = |at: u64| assert!(at < first, "it dies here");
    let stopped = recovery(&world);
    let applied = stopped.apply(&plan, "cli:0:test", || now, dies);
    let died = std::panic::AssertUnwindSafe(applied).catch_unwind().await;
    assert!(died.is_err());
    let there = leaves(&world).await.len() as u64;
    assert!(first < there && there < first + 200, "{there}");
    let other = recovery(&world).plan(&[], &[(first, first + 198)]).await;
    assert!(matches!(other, Err(Error::WrongRange(_))), "{other:?}");
    let plan = recovery(&world).plan(&[], &[range]).await.unwrap();
    assert_eq!((plan.known, plan.size()), (there, first + 200));
    apply(&world, &plan).await;
    let now = leaves(&world).await;
    assert_eq!(now.len() as u64, first + 201);
    let said = now[first as usize..].iter().take(200);
    let tells = format!(r#""first":{first}"#);
    assert!(said.clone().all(|leaf| leaf.body.contains(&tells)));
    let done = recovery(&world).plan(&[], &[range]).await.unwrap();
    assert!(done.is_empty(), "{done:?}");
    assert!(all.len() as u64 <= first + 5);
}

/// The log's key was rotated since the dump: what is published is signed by one that the database has not got.
#[tokio::test]
async fn case_l2_a_key_of_the_log_that_the_database_lacks_is_named_and_checked() {
    let mut world = World::new().await;
    write(&world, 100, "before").await;
    integrate(&world).await;
    let backup = world.backup().await;
    write(&world, 50, "after").await;
    integrate(&world).await;
    world.restore(&backup).await;
    let unknowing = || {
        let storage = world.storage(&Trouble::at(&[]));
        Recovery::new(storage, world.store.clone(), Vec::new())
    };
    let key = VerifierKey::for_log(ORIGIN, &world.key.public()).unwrap();
    let refused = unknowing().plan(&[], &[]).await;
    let why = refused.unwrap_err().to_string();
    assert!(why.contains("--log-key"), "{why}");
    // No leaf tells of it.
    let refused = unknowing().with_log_key(key.clone()).plan(&[], &[]).await;
    assert!(
        matches!(refused, Err(Error::UnknownLogKey(_))),
        "{refused:?}"
    );

    let mut world = World::new().await;
    write(&world, 100, "before").await;
    integrate(&world).await;
    let backup = world.backup().await;
    write(&world, 50, "after").await;
    let kid = world.key.public().kid();
    let event = Event {
        kid: Some(&kid),
        ring: Some(trust::LOG_RING),
        reference: Some("ceremony"),
        ..Event::new(ActKind::Ceremony, "accepted", "cli", Time::from_millis(NOW))
    };
    let log = Log::new(world.store.clone());
    let accepted = log.commit(&Change::Record, &event).await.unwrap();
    integrate(&world).await;
    let all = leaves(&world).await;
    world.restore(&backup).await;
    let storage = world.storage(&Trouble::at(&[]));
    let key = VerifierKey::for_log(ORIGIN, &world.key.public()).unwrap();
    let recovery = Recovery::new(storage, world.store.clone(), Vec::new()).with_log_key(key);
    let plan = recovery.plan(&[], &[]).await.unwrap();
    assert_eq!(plan.log_key, Some((kid.clone(), accepted.unsigned_abs())));
    let now = Time::from_millis(NOW + 3_600_000);
    let applied = recovery.apply(&plan, "cli:0:test", || now, |_| {});
    let done = applied.await.unwrap();
    assert!(done.by_hand[0].contains(kid.as_str()), "{done:?}");
    assert_eq!(rows(&leaves(&world).await[..all.len()]), rows(&all));
}
