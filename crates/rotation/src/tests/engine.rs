//! One rotation and what may come of it.

use calendar::Span;
use calendar::admission::{Ask, Refusal};
use calendar::words::{Reason, Step};
use store::testing::place::Place;

use super::world::{Fault, KEY_TYPE, When, World, asset, register};
use crate::drivers::Doing;
use crate::engine::error::Error;
use crate::engine::{Engine, Probe, Propagation, Ran, Seen};

const ASSET: &str = "test/a0";

fn ended(state: &'static str) -> Ran {
    Ran::Ended { state }
}

pub async fn a_rotation_goes_from_its_check_to_the_end_of_the_old_version(place: Place) {
    let world = World::new(place, 1);
    let engine = world.engine("one");
    let event = world.event(&engine, ASSET).await;
    assert_eq!((event.version, event.previous_version), (2, Some(1)));
    // A plan that is made again makes nothing again.
    assert!(engine.make_due(Span::days(3)).await.unwrap().is_empty());
    assert_eq!(world.to_the_end(&engine, &event.id).await, ended("done"));
    let row = world.row(&event.id).await;
    assert!(row.promoted_at.unwrap() <= row.due, "{row:?}");
    assert!(row.published_at < row.promoted_at && row.promoted_at < row.retired_at);
    assert_eq!(world.states(ASSET), ["archived", "primary"]);
    let report = engine.report(&event.id).await.unwrap();
    let steps: Vec<_> = report.steps.iter().map(|step| step.step.as_str()).collect();
    let all: Vec<_> = Step::ALL.iter().map(|step| step.as_str()).collect();
    assert_eq!(steps, all);
    let phases = report.steps.iter().map(|step| step.phase);
    assert_eq!(phases.filter(|phase| *phase == "during").count(), 4);
    assert!(report.steps.iter().all(|step| step.attempt == 1));
    let expected = ["begin", "promote", "done"];
    let expected = expected.map(|action| format!("test/a0 {action} 1->2"));
    assert_eq!(world.leaves(&event.id).await, expected);
    // And again when it is due again.
    world.wait(Span::days(30));
    let next = world.event(&engine, ASSET).await;
    assert_eq!((next.version, next.previous_version), (3, Some(2)));
}

/// The custodians took its ring off those that they call routine, and keys of `signing` stay in the key sets.
#[tokio::test]
async fn threat_a_rotation_under_way_keeps_the_grace_of_a_key_type_that_does_not_hold_any_more() {
    let world = sqlite(1).await;
    let engine = world.engine("one");
    let event = world.event(&engine, ASSET).await;
    while world.row(&event.id).await.promoted_at.is_none() {
        match engine.run(&event.id).await.unwrap() {
            Ran::Waits { look_at, .. } => world.until(look_at),
            ran => panic!("{ran:?}"),
        }
    }
    world.elsewhere().held = Some("signing".parse().unwrap());
    assert_eq!(world.to_the_end(&engine, &event.id).await, ended("done"));
    assert_eq!(world.states(ASSET), ["retired", "primary"]);
}

pub async fn a_step_that_fails_is_tried_again_and_then_left_to_a_person(place: Place) {
    let world = World::new(place, 1);
    let engine = world.engine("one");
    let event = world.event(&engine, ASSET).await;
    world.elsewhere().fault = Some(Fault::Fails(Step::Test, true));
    let ran = world.to_the_end(&engine, &event.id).await;
    let person = |ran: &Ran| {
        matches!(
            ran,
            Ran::Waits {
                reason: Some(Reason::Person),
                ..
            }
        )
    };
    assert!(person(&ran), "{ran:?}");
    let row = world.row(&event.id).await;
    assert_eq!(row.state, "failed");
    assert_eq!(row.detail.as_deref(), Some("it is out of order"));
    let attempts =
        |steps: &[store::RotationStepRow]| steps.iter().filter(|step| step.step == "test").count();
    assert_eq!(attempts(&world.steps(&event.id).await), 10);
    // It stays so until somebody says otherwise.
    world.wait(Span::days(1));
    assert!(person(&engine.run(&event.id).await.unwrap()));
    world.elsewhere().fault = None;
    engine
        .retry(&event.id, "somebody", Some("it is mended"))
        .await
        .unwrap();
    assert_eq!(world.to_the_end(&engine, &event.id).await, ended("done"));
    let again = engine.retry(&event.id, "somebody", None).await;
    assert!(matches!(again, Err(Error::NotNow { .. })), "{again:?}");
    let steps = world.steps(&event.id).await;
    let last = steps.iter().rfind(|step| step.step == "test").unwrap();
    assert_eq!((last.attempt, last.outcome.as_deref()), (11, Some("done")));
}

pub async fn a_rotation_is_cancelled_before_its_promotion_and_rolled_back_after_it(place: Place) {
    let world = World::new(place, 1);
    let engine = world.engine("one");
    let event = world.event(&engine, ASSET).await;
    let refused = engine.roll_back(&event.id, "somebody", None).await;
    assert!(matches!(refused, Err(Error::NotNow { .. })), "{refused:?}");
    // Until the new version is published.
    while world.row(&event.id).await.published_at.is_none() {
        match engine.run(&event.id).await.unwrap() {
            Ran::Waits { look_at, .. } => world.until(look_at),
            other => panic!("{other:?}"),
        }
    }
    engine
        .cancel(&event.id, "somebody", Some("a mistake"))
        .await
        .unwrap();
    assert_eq!(engine.run(&event.id).await.unwrap(), ended("cancelled"));
    assert_eq!(world.states(ASSET), ["primary"]);
    let leaves = world.leaves(&event.id).await;
    assert_eq!(leaves.len(), 3, "{leaves:?}");
    assert!(leaves[1].contains("cancel") && leaves[2].contains("cancelled"));
    // The same version by another rotation, which is promoted.
    let event = world.event(&engine, ASSET).await;
    assert_eq!(event.version, 2);
    while world.row(&event.id).await.promoted_at.is_none() {
        match engine.run(&event.id).await.unwrap() {
            Ran::Waits { look_at, .. } => world.until(look_at),
            other => panic!("{other:?}"),
        }
    }
    let refused = engine.cancel(&event.id, "somebody", None).await;
    assert!(matches!(refused, Err(Error::NotNow { .. })), "{refused:?}");
    assert_eq!(world.states(ASSET), ["secondary", "primary"]);
    engine.roll_back(&event.id, "somebody", None).await.unwrap();
    assert_eq!(engine.run(&event.id).await.unwrap(), ended("rolled-back"));
    assert_eq!(world.states(ASSET), ["primary", "secondary"]);
    let unknown = engine.run("kr_nothing").await;
    assert!(
        matches!(unknown, Err(Error::UnknownEvent(_))),
        "{unknown:?}"
    );
}

async fn sqlite(assets: usize) -> World {
    World::new(Place::sqlite().await, assets)
}

fn ask<'a>(key_type: &'a calendar::Word, force: bool, may_force: bool) -> Ask<'a> {
    Ask {
        key_type,
        asset: None,
        force,
        may_force,
    }
}

#[tokio::test]
async fn fault_an_event_for_an_unknown_type_one_that_rotates_and_force_without_right() {
    let world = sqlite(2).await;
    let engine = world.engine("one");
    let known: calendar::Word = KEY_TYPE.parse().unwrap();
    let unknown: calendar::Word = "license_key".parse().unwrap();
    let refused = async |ask| match engine.schedule(ask, "somebody", None).await {
        Err(Error::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    };
    let refusal = refused(ask(&unknown, true, true)).await;
    assert_eq!(refusal, Refusal::UnknownType(unknown.clone()));
    let refusal = refused(ask(&known, true, false)).await;
    assert_eq!(refusal, Refusal::ForceWithoutRight);
    let made = engine.schedule(ask(&known, true, true), "somebody", None);
    assert_eq!(made.await.unwrap().len(), 2);
    let refusal = refused(ask(&known, true, true)).await;
    assert!(
        matches!(refusal, Refusal::AlreadyRotates { .. }),
        "{refusal:?}"
    );
    let declared = engine
        .declare(&unknown, None, ("somebody", "it leaked"))
        .await;
    assert!(matches!(
        declared,
        Err(Error::Refused(Refusal::UnknownType(_)))
    ));
}

#[tokio::test]
async fn an_emergency_waits_for_no_hour_no_pause_and_no_overlap() {
    let world = sqlite(1).await;
    let engine = world.engine("one");
    engine
        .pause(true, "somebody", Some("an audit"))
        .await
        .unwrap();
    let key_type: calendar::Word = KEY_TYPE.parse().unwrap();
    let declared = engine
        .declare(&key_type, None, ("somebody", "it leaked"))
        .await;
    let event = declared.unwrap().remove(0);
    assert_eq!((event.cause.as_str(), event.version), ("event", 2));
    let twice = engine
        .declare(&key_type, None, ("somebody", "it leaked"))
        .await;
    assert!(matches!(
        twice,
        Err(Error::Refused(Refusal::AlreadyRotates { .. }))
    ));
    // No verifier fetches these, so nothing has to be published for a time.
    assert_eq!(engine.run(&event.id).await.unwrap(), ended("done"));
    assert_eq!(world.states(ASSET), ["archived", "primary"]);
}

#[tokio::test]
async fn what_is_due_waits_while_the_scheduler_is_paused() {
    let world = sqlite(1).await;
    let engine = world.engine("one");
    let event = world.event(&engine, ASSET).await;
    engine.pause(true, "somebody", None).await.unwrap();
    world.wait(Span::days(2));
    let ran = engine.run(&event.id).await.unwrap();
    assert!(
        matches!(
            ran,
            Ran::Waits {
                reason: Some(Reason::Paused),
                ..
            }
        ),
        "{ran:?}"
    );
    assert!(world.steps(&event.id).await.is_empty());
    engine.pause(false, "somebody", None).await.unwrap();
    assert_eq!(world.to_the_end(&engine, &event.id).await, ended("done"));
}

/// By a person's word: what has begun comes to its end, nothing else begins, and the next one of the asset is not planned
/// meanwhile.
#[tokio::test]
async fn a_rotation_that_is_held_goes_on_when_it_is_released() {
    let world = sqlite(1).await;
    let engine = world.engine("one");
    let event = world.event(&engine, ASSET).await;
    let early = engine.release(&event.id, "somebody", None).await;
    assert!(matches!(early, Err(Error::NotNow { .. })), "{early:?}");
    engine
        .hold(&event.id, "somebody", Some("the partner is away"))
        .await
        .unwrap();
    let twice = engine.hold(&event.id, "somebody", None).await;
    assert!(matches!(twice, Err(Error::NotNow { .. })), "{twice:?}");
    for _ in 0..3 {
        world.wait(Span::days(1));
        assert_eq!(reason(&world, &engine, &event.id).await, Reason::Held);
    }
    assert!(world.steps(&event.id).await.is_empty());
    let plan = engine.plan(Span::days(90)).await.unwrap();
    assert!(
        plan.rotations.iter().all(|one| one.begins_at.is_none()),
        "{plan:?}"
    );
    engine.release(&event.id, "somebody", None).await.unwrap();
    assert_eq!(world.to_the_end(&engine, &event.id).await, ended("done"));
    let leaves = world.leaves(&event.id).await;
    assert!(
        leaves[1].contains(" hold ") && leaves[2].contains(" release "),
        "{leaves:?}"
    );
    // An emergency waits for nobody.
    let key_type: calendar::Word = KEY_TYPE.parse().unwrap();
    let declared = engine.declare(&key_type, None, ("somebody", "it leaked"));
    let event = declared.await.unwrap().remove(0);
    let held = engine.hold(&event.id, "somebody", None).await;
    assert!(matches!(held, Err(Error::NotNow { .. })), "{held:?}");
}

/// The replica died when it had promoted and had not written so.
#[tokio::test]
async fn what_is_in_use_is_not_cancelled() {
    let world = sqlite(1).await;
    let engine = world.engine("one");
    let event = world.event(&engine, ASSET).await;
    world.elsewhere().fault = Some(Fault::Hangs(Step::Promote, When::After));
    tokio::select! {
        ran = world.to_the_end(&engine, &event.id) => panic!("{ran:?}"),
        () = world.hangs.notified() => {}
    }
    world.elsewhere().fault = None;
    engine.cancel(&event.id, "somebody", None).await.unwrap();
    world.lease_ends(&event.id).await;
    assert_eq!(world.to_the_end(&engine, &event.id).await, ended("done"));
    assert_eq!(world.states(ASSET), ["archived", "primary"]);
    let leaves = world.leaves(&event.id).await;
    assert!(leaves[2].contains(" promote "), "{leaves:?}");
}

#[tokio::test]
async fn a_roll_back_that_cannot_be_waits_for_a_person_who_takes_it_back() {
    let world = sqlite(1).await;
    let engine = world.engine("one");
    let event = world.event(&engine, ASSET).await;
    while world.row(&event.id).await.promoted_at.is_none() {
        match engine.run(&event.id).await.unwrap() {
            Ran::Waits { look_at, .. } => world.until(look_at),
            other => panic!("{other:?}"),
        }
    }
    // The test's driver fails a roll-back as it fails this step.
    world.elsewhere().fault = Some(Fault::Fails(Step::Watch, false));
    engine.roll_back(&event.id, "somebody", None).await.unwrap();
    assert_eq!(reason(&world, &engine, &event.id).await, Reason::Person);
    assert_eq!(world.row(&event.id).await.state, "failed");
    assert_eq!(reason(&world, &engine, &event.id).await, Reason::Person);
    world.elsewhere().fault = None;
    engine.retry(&event.id, "somebody", None).await.unwrap();
    assert_eq!(world.to_the_end(&engine, &event.id).await, ended("done"));
    assert_eq!(world.states(ASSET), ["archived", "primary"]);
}

#[tokio::test]
async fn what_is_held_elsewhere_waits_for_a_persons_word_at_each_step() {
    let world = sqlite(0).await;
    let since = world.now() - Span::days(29);
    world
        .elsewhere()
        .assets
        .push(asset("external/partner", since));
    register(
        &world.store,
        ("external/partner", KEY_TYPE),
        since,
        world.now(),
    )
    .await;
    let engine = world.engine("one");
    let event = world.event(&engine, "external/partner").await;
    for step in [
        "generate", "publish", "test", "promote", "retire", "archive",
    ] {
        let ran = world.to_the_end(&engine, &event.id).await;
        assert!(
            matches!(
                ran,
                Ran::Waits {
                    reason: Some(Reason::Person),
                    ..
                }
            ),
            "{step} {ran:?}"
        );
        let row = world.row(&event.id).await;
        assert_eq!(row.state, "waiting");
        assert!(row.detail.unwrap().contains(step));
        for unfit in [String::new(), "x".repeat(1_001)] {
            let said = engine.report_step(&event.id, step, ("somebody", &unfit));
            assert!(matches!(said.await, Err(Error::Evidence)));
        }
        let said = engine.report_step(&event.id, step, ("somebody", "done at the partner's"));
        said.await.unwrap();
    }
    assert_eq!(world.to_the_end(&engine, &event.id).await, ended("done"));
    let late = engine
        .report_step(&event.id, "test", ("somebody", "too late"))
        .await;
    assert!(matches!(late, Err(Error::NotNow { .. })));
    let unknown = engine
        .report_step(&event.id, "dance", ("somebody", ""))
        .await;
    assert!(matches!(unknown, Err(Error::UnknownStep(_))));
}

/// Sees what it is told to.
struct Told(std::sync::Arc<std::sync::Mutex<Seen>>);

impl Probe for Told {
    fn name(&self) -> &str {
        "outside"
    }

    fn look<'a>(&'a self, _: &'a str) -> Doing<'a, Seen> {
        let seen = self.0.lock().unwrap().clone();
        Box::pin(async { seen })
    }
}

async fn reason(world: &World, engine: &Engine, id: &str) -> Reason {
    match world.to_the_end(engine, id).await {
        Ran::Waits {
            reason: Some(reason),
            ..
        } => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn fault_a_probe_that_never_sees_the_key_and_one_that_lies_hold_the_promotion() {
    let world = sqlite(1).await;
    let seen = std::sync::Arc::new(std::sync::Mutex::new(Seen::No("not there".to_owned())));
    let probes: Vec<Box<dyn Probe>> = vec![Box::new(Told(seen.clone()))];
    let propagation = Propagation::of(probes, vec!["verifier".to_owned()]);
    let engine = world.engine_with("one", world.store.clone(), propagation);
    let event = world.event(&engine, ASSET).await;
    for _ in 0..3 {
        assert_eq!(
            reason(&world, &engine, &event.id).await,
            Reason::Propagation
        );
        world.wait(Span::hours(1));
    }
    assert!(
        world
            .row(&event.id)
            .await
            .detail
            .unwrap()
            .contains("not there")
    );
    *seen.lock().unwrap() = Seen::Other("another key".to_owned());
    assert_eq!(
        reason(&world, &engine, &event.id).await,
        Reason::ProbeContradicts
    );
    *seen.lock().unwrap() = Seen::Yes;
    // The verifier has not said a word.
    assert_eq!(
        reason(&world, &engine, &event.id).await,
        Reason::Propagation
    );
    assert_eq!(world.states(ASSET), ["primary", "prepared"]);
    let made = world.row(&event.id).await.made.unwrap();
    let now = trust::Time::from_millis(world.now().millis());
    for principal in ["stranger", "verifier"] {
        assert!(world.row(&event.id).await.promoted_at.is_none());
        world
            .store
            .acknowledge_key(&made, principal, now)
            .await
            .unwrap();
        let _ = engine.run(&event.id).await.unwrap();
    }
    assert_eq!(world.states(ASSET), ["secondary", "primary"]);
    let steps = world.steps(&event.id).await;
    let promote = steps.iter().find(|step| step.step == "promote").unwrap();
    assert!(promote.evidence.as_ref().unwrap().contains("verifier"));
}

#[tokio::test]
async fn a_clock_that_jumped_back_does_nothing() {
    let world = sqlite(1).await;
    let engine = world.engine("one");
    let event = world.event(&engine, ASSET).await;
    let sql = format!(
        "INSERT INTO rotation_step (event, step, attempt, place, started_at, ended_at, outcome, actor)
         VALUES ('{}', 'pre-check', 1, 1, {at}, {at}, 'done', 'chancery')",
        event.id,
        at = (world.now() + Span::days(400)).millis()
    );
    world.place.raw(&sql).await.unwrap();
    world.wait(Span::days(3));
    assert_eq!(reason(&world, &engine, &event.id).await, Reason::Clock);
}

#[tokio::test]
async fn a_simulation_writes_nothing_and_is_bounded() {
    let world = sqlite(3).await;
    let engine = world.engine("one");
    let before = world.store.log_size().await.unwrap();
    let report = engine.simulate(&crate::engine::Simulation::default()).await;
    let report = report.unwrap();
    assert!(report.all.rotations >= 30, "{:?}", report.all);
    assert_eq!(world.store.log_size().await.unwrap(), before);
    let too_long = crate::engine::Simulation {
        days: Some(4_000),
        ..Default::default()
    };
    let refused = engine.simulate(&too_long).await;
    assert!(matches!(refused, Err(Error::Simulation(_))));
}
