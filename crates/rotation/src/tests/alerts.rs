//! Alerts over real databases: from what there is to what people see, and what they do to it.

use std::time::Instant;

use calendar::alerts::machine::{Condition, News, Refusal};
use calendar::alerts::rules::KeyStoreFacts;
use calendar::alerts::storm::{MOST_ALONE, MOST_OPEN, Observed};
use calendar::alerts::{AlertName, Scope, Severity};
use calendar::words::VersionState;
use calendar::{Span, Time};
use store::testing::place::Place;
use store::{JobRow, RotationPause};

use super::world::World;
use crate::alerts::watch::{Looked, Sources, Watch};
use crate::alerts::{AlertFilter, AlertView, alert_id};
use crate::engine::Engine;
use crate::engine::error::Error;

const ASSET: &str = "test/a0";

fn never(_: &JobRow, _: &RotationPause) -> bool {
    false
}

async fn look(engine: &Engine) -> Looked {
    let assets = engine.assets_in_use().await.unwrap();
    let sources = Sources {
        assets: Some(&assets),
        key_store: Some(KeyStoreFacts::default()),
        usage: true,
        is_paused: never,
    };
    engine.look_at_alerts(&sources).await.unwrap()
}

async fn firing(engine: &Engine) -> Vec<AlertView> {
    let page = engine.alerts(&AlertFilter::default(), None, 1_000).await;
    page.unwrap().alerts
}

fn overdue() -> String {
    alert_id(AlertName::RotationOverdue, ASSET)
}

/// Somebody rotated it.
fn rotated(world: &World, asset: &str, since: Time) {
    let mut elsewhere = world.elsewhere();
    let mut assets = elsewhere.assets.iter_mut();
    let asset = assets.find(|one| one.name.as_str() == asset).unwrap();
    asset.versions[0].state = VersionState::Primary { since };
}

/// Actions of the leaves about an alert, with who did it and why.
async fn leaves(world: &World, id: &str) -> Vec<String> {
    let leaves = world.store.leaves(0, 1_000).await.unwrap().into_iter();
    let bodies = leaves.filter(|leaf| leaf.kind == "alert").map(|leaf| {
        let body: serde_json::Value = serde_json::from_str(&leaf.body).unwrap();
        body
    });
    let text = |value: &serde_json::Value| value.as_str().unwrap_or("-").to_owned();
    bodies
        .filter(|body| body["ref"] == id)
        .map(|body| {
            let [action, actor, reason] =
                ["action", "actor", "reason"].map(|name| text(&body[name]));
            format!("{action} {actor}: {reason}")
        })
        .collect()
}

async fn news(world: &World, id: &str) -> (Option<News>, u32) {
    let record = world.store.alert(id).await.unwrap().unwrap();
    (record.news, record.news_number)
}

pub async fn an_overdue_rotation_fires_is_acknowledged_becomes_graver_and_resolves(place: Place) {
    let world = World::new(place, 2);
    let engine = world.engine("one");
    assert_eq!(look(&engine).await.written, 0);
    // Thirty days are its interval; it is of 29 days.
    world.wait(Span::days(9));
    rotated(&world, "test/a1", world.now());
    assert_eq!(look(&engine).await.written, 1);
    assert_eq!(look(&engine).await.written, 0, "once");
    let all = firing(&engine).await;
    let [alert] = &all[..] else {
        panic!("{all:?}");
    };
    assert_eq!(
        (alert.id.clone(), alert.subject.as_str(), alert.state),
        (overdue(), ASSET, "firing")
    );
    assert_eq!(alert.severity, Severity::Warning);
    assert_eq!(alert.runbook, "deploy/runbooks/rotation-overdue.md");
    assert_eq!(alert.next, "chancery asset show test/a0");
    let why = Some("the vendor is asked");
    let alert = engine.acknowledge_alert(&alert.id, "olga", why).await;
    assert_eq!(alert.unwrap().state, "acknowledged");
    let twice = engine.acknowledge_alert(&overdue(), "emil", None).await;
    assert!(
        matches!(
            twice,
            Err(Error::AlertState {
                why: Refusal::Acknowledged { .. },
                ..
            })
        ),
        "{twice:?}"
    );
    world.wait(Span::days(8));
    rotated(&world, "test/a1", world.now());
    look(&engine).await;
    let alert = engine.alert(&overdue()).await.unwrap();
    assert_eq!(
        (alert.state, alert.severity, alert.acknowledged),
        ("firing", Severity::Critical, None)
    );
    assert_eq!(news(&world, &overdue()).await, (Some(News::Raised), 3));
    // Rotated: it is over when that has been so for a minute.
    rotated(&world, ASSET, world.now());
    look(&engine).await;
    assert_eq!(engine.alert(&overdue()).await.unwrap().state, "firing");
    world.wait(Span::minutes(1));
    look(&engine).await;
    let alert = engine.alert(&overdue()).await.unwrap();
    assert_eq!(alert.state, "resolved");
    assert_eq!(news(&world, &overdue()).await, (Some(News::Resolved), 4));
    assert!(firing(&engine).await.is_empty());
    let resolved = AlertFilter {
        state: Some("resolved".to_owned()),
        ..AlertFilter::default()
    };
    let page = engine.alerts(&resolved, None, 10).await.unwrap();
    assert_eq!((page.alerts.len(), page.next), (1, None));
    let late = engine.acknowledge_alert(&overdue(), "olga", None).await;
    assert!(
        matches!(
            late,
            Err(Error::AlertState {
                why: Refusal::NotFiring("resolved"),
                ..
            })
        ),
        "{late:?}"
    );
    assert_eq!(
        leaves(&world, &overdue()).await,
        ["acknowledge olga: rotation-overdue: the vendor is asked"]
    );
    let unknown = engine.alert("al_0").await;
    assert!(matches!(unknown, Err(Error::UnknownAlert(_))));
}

pub async fn two_replicas_that_look_at_once_fire_each_alert_once(place: Place) {
    let world = World::new(place, 40);
    let (one, two) = (world.replica("one").await, world.replica("two").await);
    world.wait(Span::days(9));
    let (first, second) = tokio::join!(look(&one), look(&two));
    assert_eq!(first.written + second.written, 40);
    let all = firing(&one).await;
    assert_eq!(all.len(), 40);
    for alert in &all {
        assert_eq!(news(&world, &alert.id).await, (Some(News::Firing), 1));
    }
    // Of two people at once one looks after it, and the other one is told who does.
    let id = overdue();
    let (olga, emil) = tokio::join!(
        one.acknowledge_alert(&id, "olga", None),
        two.acknowledge_alert(&id, "emil", None)
    );
    assert_eq!(usize::from(olga.is_ok()) + usize::from(emil.is_ok()), 1);
    assert_eq!(leaves(&world, &overdue()).await.len(), 1);
    // As long as one has the lease the other one does not look.
    let mut watches = [Watch::default(), Watch::default()];
    let [first, second] = &mut watches;
    world.wait(Span::minutes(1));
    assert!(first.round(&one, None, never).await.unwrap().is_some());
    assert_eq!(
        first.round(&one, None, never).await.unwrap(),
        None,
        "so soon"
    );
    assert_eq!(second.round(&two, None, never).await.unwrap(), None);
}

pub async fn what_is_over_before_anybody_was_told_is_not_told(place: Place) {
    let world = World::new(place, 1);
    let engine = world.engine("one");
    world.wait(Span::days(9));
    look(&engine).await;
    rotated(&world, ASSET, world.now());
    look(&engine).await;
    world.wait(Span::minutes(1));
    look(&engine).await;
    let alert = engine.alert(&overdue()).await.unwrap();
    assert_eq!(alert.state, "resolved");
    assert_eq!(news(&world, &overdue()).await, (None, 2));
}

pub async fn an_alert_is_acknowledged_while_it_resolves(place: Place) {
    let world = World::new(place, 1);
    let engine = world.engine("one");
    world.wait(Span::days(9));
    look(&engine).await;
    let told = world.store.untold_alerts(10).await.unwrap();
    world.store.told_alerts(&told).await.unwrap();
    rotated(&world, ASSET, world.now());
    look(&engine).await;
    world.wait(Span::minutes(1));
    // Whichever is first: it is resolved at the end, told once, and nothing is half done.
    let other = world.replica("two").await;
    let id = overdue();
    let (acknowledged, looked) =
        tokio::join!(other.acknowledge_alert(&id, "olga", None), look(&engine));
    match &acknowledged {
        Ok(_) => assert_eq!(leaves(&world, &overdue()).await.len(), 1),
        Err(Error::AlertState { .. }) => assert!(leaves(&world, &overdue()).await.is_empty()),
        Err(other) => panic!("{other:?}"),
    }
    if looked.written == 0 {
        assert_eq!(look(&engine).await.written, 1);
    }
    let alert = engine.alert(&overdue()).await.unwrap();
    assert_eq!(alert.state, "resolved");
    assert_eq!(alert.acknowledged.is_some(), acknowledged.is_ok());
    assert_eq!(news(&world, &overdue()).await.0, Some(News::Resolved));
}

pub async fn a_silence_ends_and_what_still_fires_is_told(place: Place) {
    let world = World::new(place, 1);
    let engine = world.engine("one");
    world.wait(Span::days(9));
    look(&engine).await;
    let until = world.now() + Span::hours(4);
    for (until, why) in [
        (until, ""),
        (world.now(), "x"),
        (until + Span::days(40), "x"),
    ] {
        let refused = engine.silence_alert(&overdue(), until, ("olga", why)).await;
        assert!(refused.unwrap_err().is_refusal());
    }
    let why = ("olga", "the vendor works on it");
    let alert = engine.silence_alert(&overdue(), until, why).await.unwrap();
    assert_eq!(alert.silence.unwrap().until, until);
    assert_eq!(news(&world, &overdue()).await, (Some(News::Silenced), 2));
    world.wait(Span::hours(3));
    assert_eq!(look(&engine).await.written, 0);
    world.wait(Span::hours(1));
    assert_eq!(look(&engine).await.written, 1);
    assert_eq!(news(&world, &overdue()).await, (Some(News::Firing), 3));
    let again = engine.unsilence_alert(&overdue(), "olga").await;
    assert!(matches!(
        again,
        Err(Error::AlertState {
            why: Refusal::NotSilenced,
            ..
        })
    ));
    assert_eq!(
        leaves(&world, &overdue()).await,
        ["silence olga: rotation-overdue: the vendor works on it"]
    );
}

pub async fn a_database_that_is_frozen_neither_fires_nor_resolves(place: Place) {
    let world = World::new(place, 1);
    let (one, two) = (world.engine("one"), world.replica("two").await);
    world.wait(Span::days(9));
    look(&one).await;
    let assets = two.assets_in_use().await.unwrap();
    two.store().close().await;
    world.wait(Span::hours(2));
    let sources = Sources {
        assets: Some(&assets),
        key_store: None,
        usage: true,
        is_paused: never,
    };
    assert!(two.look_at_alerts(&sources).await.is_err());
    let mut watch = Watch::default();
    assert!(watch.round(&two, None, never).await.is_err());
    assert_eq!(look(&one).await.written, 0);
    assert_eq!(firing(&one).await.len(), 1);
}

pub async fn a_ring_that_cannot_sign_is_told_after_two_minutes(place: Place) {
    let world = World::new(place, 0);
    let engine = world.engine("one");
    let view: crate::alerts::KeyStoreView = std::sync::Arc::new(|| KeyStoreFacts {
        unavailable: vec![("records".to_owned(), "the token is gone".to_owned())],
        refused: Vec::new(),
    });
    let mut watch = Watch::default();
    let mut states = Vec::new();
    for _ in 0..3 {
        watch
            .round(&engine, Some(&view), never)
            .await
            .unwrap()
            .unwrap();
        let all = firing(&engine).await;
        states.push(all.first().map(|alert| (alert.state, alert.detail.clone())));
        world.wait(Span::minutes(1));
    }
    let told = |state| Some((state, "the token is gone".to_owned()));
    assert_eq!(states, [told("pending"), told("pending"), told("firing")]);
    let id = alert_id(AlertName::KeyStoreUnavailable, "records");
    assert_eq!(news(&world, &id).await, (Some(News::Firing), 1));
    let untold = world.store.untold_alerts(10).await.unwrap();
    world.store.told_alerts(&untold).await.unwrap();
    // It signs again, and fails once: that is nothing new, and what is told when it fires again is not what was told before.
    let well: crate::alerts::KeyStoreView = std::sync::Arc::new(KeyStoreFacts::default);
    let mut state = async |view: &crate::alerts::KeyStoreView, minutes: u64| {
        world.wait(Span::minutes(minutes));
        watch
            .round(&engine, Some(view), never)
            .await
            .unwrap()
            .unwrap();
        engine.alert(&id).await.unwrap().state
    };
    assert_eq!(state(&well, 1).await, "firing");
    assert_eq!(state(&well, 10).await, "resolved");
    assert_eq!(state(&view, 1).await, "pending");
    assert_eq!(state(&well, 1).await, "resolved");
    assert_eq!(state(&view, 1).await, "pending");
    assert_eq!(state(&view, 2).await, "firing");
    assert_eq!(news(&world, &id).await, (Some(News::Firing), 3));
    // A replica without a token decides nothing about it.
    world.wait(Span::days(1));
    let mut other = Watch::default();
    other.round(&engine, None, never).await.unwrap().unwrap();
    assert_eq!(firing(&engine).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_ten_thousand_conditions_is_kept_once_and_told_together() {
    let world = World::new(Place::sqlite().await, 0);
    let engine = world.engine("one");
    let of = |n: usize| Condition {
        name: AlertName::RotationOverdue,
        subject: format!("external/a{n:05}"),
        level: 1,
        detail: "it is old".to_owned(),
        by: None,
    };
    let mut observed = Observed {
        scopes: [Scope::Assets].into(),
        conditions: (0..MOST_OPEN + 500).map(of).collect(),
        ..Observed::default()
    };
    let began = Instant::now();
    let looked = engine.write_look(&observed, world.now()).await.unwrap();
    assert_eq!(looked.written, MOST_OPEN);
    assert_eq!(looked.left_out[&AlertName::RotationOverdue], 500);
    let again = engine.write_look(&observed, world.now()).await.unwrap();
    assert_eq!(again.written, 0);
    let alone = world.store.alerts_alone(1_000).await.unwrap();
    assert_eq!(alone.len(), MOST_ALONE);
    let crowds = world
        .store
        .alerts_together(crate::times::to_row(world.now()))
        .await
        .unwrap();
    assert_eq!(
        crowds[0].count,
        u64::try_from(MOST_OPEN - MOST_ALONE).unwrap()
    );
    // Pages of them, each once.
    let (mut seen, mut after) = (0, None);
    loop {
        let filter = AlertFilter::default();
        let page = engine.alerts(&filter, after.as_deref(), 1_000).await;
        let page = page.unwrap();
        seen += page.alerts.len();
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, MOST_OPEN);
    assert!(
        engine
            .alerts(&AlertFilter::default(), Some("x"), 1)
            .await
            .is_err()
    );
    observed.conditions.clear();
    for minutes in [1, 2] {
        let at = world.now() + Span::minutes(minutes);
        let looked = engine.write_look(&observed, at).await.unwrap();
        assert_eq!(looked.written, MOST_OPEN);
    }
    assert!(firing(&engine).await.is_empty());
    // Nothing of it is in the log.
    assert!(world.store.leaves(0, 10).await.unwrap().is_empty());
    assert!(began.elapsed().as_secs() < 60, "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_critical_alert_is_found_behind_ten_thousand_later_warnings_and_the_digest_counts_all() {
    let world = World::new(Place::sqlite().await, 0);
    let engine = world.engine("one");
    let of = |name, subject: String| Condition {
        name,
        subject,
        level: 1,
        detail: "d".to_owned(),
        by: None,
    };
    let mut observed = Observed {
        scopes: [Scope::Assets, Scope::Reports].into(),
        conditions: vec![
            of(AlertName::RotationOverdue, "external/early".to_owned()),
            of(AlertName::CompromiseReported, "cr_1".to_owned()),
        ],
        ..Observed::default()
    };
    engine.write_look(&observed, world.now()).await.unwrap();
    let late = (0..MOST_OPEN - 1).map(|n| of(AlertName::RotationOverdue, format!("external/a{n}")));
    observed.conditions.extend(late);
    let later = world.now() + Span::seconds(30);
    engine.write_look(&observed, later).await.unwrap();
    let page = async |filter: AlertFilter, after: Option<&str>| {
        engine.alerts(&filter, after, 3).await.unwrap()
    };
    let critical = page(
        AlertFilter {
            severity: Some(Severity::Critical),
            ..AlertFilter::default()
        },
        None,
    );
    let critical = critical.await;
    assert_eq!((critical.alerts.len(), critical.next), (1, None));
    let named = page(
        AlertFilter {
            name: Some(AlertName::CompromiseReported),
            ..AlertFilter::default()
        },
        None,
    );
    assert_eq!(named.await.alerts, critical.alerts);
    // Without a filter it is the first; the next page goes on with the warnings.
    let first = page(AlertFilter::default(), None).await;
    assert_eq!(first.alerts[0], critical.alerts[0]);
    let next = page(AlertFilter::default(), first.next.as_deref()).await;
    assert!(next.alerts.iter().all(|one| !first.alerts.contains(one)));
    assert_eq!(next.alerts[0].severity, Severity::Warning);
    let week = engine.week(world.now()).await.unwrap();
    assert_eq!((week.alerts.critical, week.alerts.warning), (1, MOST_OPEN));
    assert_eq!(week.alerts.first[0].id, critical.alerts[0].id);
}
