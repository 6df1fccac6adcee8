//! What keys signed: a limit of it makes a ring rotate before it is reached, and an old key retires when it is silent.

use calendar::alerts::{AlertName, Scope};
use calendar::words::{Reason, Trigger};
use calendar::{KeyTypes, PolicyDocument};
use std::time::Duration;
use store::testing::world::signature;

use super::grace::of_key_type;
use super::rings::{ASSET, DAY, RING, Ring, executed};
use super::world::inventory;
use crate::alerts::AlertFilter;
use crate::engine::Ran;
use crate::times::to_row;

const LIMIT: u64 = 1_000;

/// So many signatures by the key of this number.
async fn signs(ring: &Ring, number: u32, count: usize) {
    let snapshot = ring.keys.current();
    let mut keys = snapshot.rings[RING].keys.iter();
    let key = keys.find(|key| key.number == number).unwrap();
    let batch = (0..count).map(|n| {
        let name = format!("{} {n}", ring.now());
        let mut record = signature(key.kid.as_str(), RING, &name);
        record.leaf.time = ring.now().millis();
        record
    });
    let batch: Vec<_> = batch.collect();
    ring.place.store.commit_signatures(&batch).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_of_uses_makes_a_ring_rotate_before_it_is_reached() {
    let ring = Ring::new().await;
    ring.order(2).await;
    of_key_type(&ring, "jwt_signing").await;
    let types = KeyTypes::standard();
    let mut document = PolicyDocument::standard(types.get("jwt_signing").unwrap());
    document.version = 2;
    document.usage_limit = Some(LIMIT);
    document.triggers.push(Trigger::Usage);
    let policies = inventory(&ring.place.store);
    let set = policies
        .policies()
        .set(document, "review", ("olga", ring.now()));
    set.await.unwrap();
    let (scheduler, mut runner) = (ring.scheduler(), ring.runner());
    let planned = async || {
        let plan = scheduler
            .engine()
            .plan(calendar::Span::days(60))
            .await
            .unwrap();
        let of_ring = plan
            .rotations
            .into_iter()
            .filter(|one| one.asset.as_str() == ASSET);
        let first = of_ring.min_by_key(|one| one.due);
        first.map(|one| (one.trigger, one.due))
    };
    // Nothing is used: it rotates by its interval.
    assert_eq!(planned().await, None);
    let mut signed = 0;
    while ring
        .place
        .store
        .open_rotations_of(ASSET)
        .await
        .unwrap()
        .is_empty()
    {
        signs(&ring, 1, 100).await;
        signed += 100;
        let (trigger, due) = planned().await.unwrap();
        assert_eq!(trigger, Trigger::Usage, "{signed}");
        // Nine tenths of it, at a hundred a day.
        let days = (900_u64.saturating_sub(signed)) / 100;
        let expected = ring.now() + Duration::from_secs(days * 86_400);
        assert_eq!(to_row(due), expected, "{signed}");
        scheduler
            .run_now("automated_key_rotation_check")
            .await
            .unwrap();
        ring.wait(DAY);
        assert!(signed < 900);
    }
    let event = ring
        .place
        .store
        .open_rotations_of(ASSET)
        .await
        .unwrap()
        .remove(0);
    assert_eq!(event.cause, "usage");
    let id = &event.id;
    assert_eq!(ring.waits_for(&scheduler, id).await, Some(Reason::Executor));
    assert_eq!(executed(&mut runner).await, 1);
    while ring.primary().await == 1 {
        match scheduler.engine().run(id).await.unwrap() {
            Ran::Waits { look_at, .. } => ring.until(to_row(look_at)),
            other => panic!("{other:?}"),
        }
    }
    let days = ring
        .now()
        .since(event.created_at)
        .as_secs()
        .div_ceil(86_400);
    assert!(signed + days * 100 < LIMIT, "{signed} and {days} days");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_key_retires_when_it_is_silent_and_the_report_shows_how_its_use_fell() {
    let ring = Ring::new().await;
    ring.order(1).await;
    let (scheduler, mut runner) = (ring.scheduler(), ring.runner());
    let engine = scheduler.engine();
    ring.wait(87 * DAY);
    let id = ring.checked(&scheduler).await.id;
    ring.waits_for(&scheduler, &id).await;
    assert_eq!(executed(&mut runner).await, 1);
    let promoted = loop {
        signs(&ring, 1, 7).await;
        ring.wait(Duration::from_secs(1));
        let ran = engine.run(&id).await.unwrap();
        if let Some(promoted) = ring.row(&id).await.promoted_at {
            break promoted;
        }
        match ran {
            Ran::Waits { look_at, .. } => ring.until(to_row(look_at)),
            other => panic!("{other:?}"),
        }
    };
    // A replica that has not heard of it.
    ring.wait(Duration::from_secs(1));
    signs(&ring, 1, 3).await;
    ring.until(promoted + DAY);
    signs(&ring, 1, 2).await;
    assert_eq!(
        ring.waits_for(&scheduler, &id).await,
        Some(Reason::OldStillUsed)
    );
    let row = ring.row(&id).await;
    assert!(row.retired_at.is_none());
    let detail = row.detail.unwrap();
    assert!(
        detail.contains("key 1 made 2 signatures within 1h"),
        "{detail}"
    );
    ring.wait(Duration::from_secs(3_601));
    assert_eq!(ring.waits_for(&scheduler, &id).await, None);
    let report = engine.report(&id).await.unwrap();
    let watch = report
        .steps
        .iter()
        .find(|step| step.step == "watch")
        .unwrap();
    let usage = &watch.evidence["usage"];
    assert_eq!(usage["signatures_of_the_old_key_since"], 5, "{usage}");
    assert!(
        usage["signatures_of_the_day_before"].as_u64() > Some(0),
        "{usage}"
    );
    let hours: Vec<u64> = usage["by_hour"]
        .as_array()
        .unwrap()
        .iter()
        .map(|hour| hour["signatures"].as_u64().unwrap())
        .collect();
    assert!(hours.len() >= 2 && *hours.last().unwrap() == 2, "{usage}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ring_that_is_used_far_more_than_in_other_weeks_fires_and_one_that_falls_silent() {
    let ring = Ring::new().await;
    let scheduler = ring.scheduler();
    let names = async || {
        while ring.place.store.count_signatures(10_000).await.unwrap() > 0 {}
        let looked = scheduler.look_at_alerts().await.unwrap();
        assert!(looked.usage);
        let filter = AlertFilter::default();
        let page = scheduler.engine().alerts(&filter, None, 1_000).await;
        let alerts = page.unwrap().alerts.into_iter();
        let mut names: Vec<AlertName> = alerts.map(|alert| alert.name).collect();
        names.retain(|name| name.scope() == Scope::Usage);
        names
    };
    // An hour and its neighbour of each week; the first week begins after the ring.
    let (hour, week) = (Duration::from_secs(3_600), 7 * DAY);
    ring.wait(DAY);
    let mut at = ring.now();
    for _ in 0..6 {
        for _ in 0..2 {
            signs(&ring, 1, 60).await;
            ring.wait(hour);
        }
        assert_eq!(names().await, []);
        at = at + week;
        ring.until(at);
    }
    signs(&ring, 1, 200).await;
    ring.wait(hour);
    assert_eq!(names().await, [AlertName::UsageHigh]);
    signs(&ring, 1, 60).await;
    at = at + week;
    ring.until(at + hour + hour);
    let silent = names().await;
    assert!(silent.contains(&AlertName::UsageSilent), "{silent:?}");
}
