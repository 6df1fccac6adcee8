use std::time::Duration;

use log::Log;
use trust::Kid;
use trust::plan::{Action, Blocked};

use super::installation::{Installation, LONG};
use crate::ceremony::Draft;
use crate::rotation::{Plan, RingChange, apply, plan};

async fn planned(all: &Installation, change: &RingChange) -> Result<Plan, Blocked> {
    let snapshot = all.snapshot().await;
    plan(
        &snapshot.rings["records"],
        change,
        &all.settings.safety,
        all.now(),
    )
}

async fn applied(all: &Installation, plan: &Plan) -> Result<i64, store::Error> {
    apply(
        plan,
        &Log::new(all.store.clone()),
        "test",
        Some("why"),
        all.now(),
    )
    .await
}

async fn primary(all: &Installation) -> Option<Kid> {
    let snapshot = all.snapshot().await;
    snapshot.rings["records"]
        .primary
        .as_ref()
        .map(|key| key.kid.clone())
}

#[tokio::test]
async fn a_key_signs_when_verifiers_have_had_it_and_not_before() {
    let all = Installation::new().await;
    all.create_ring("records").await;
    assert!(matches!(
        planned(&all, &RingChange::Rotate).await,
        Err(Blocked::NoStandby)
    ));
    let kid = all.standby("records").await;
    let safety = i64::try_from(all.settings.safety.publish_safety().as_secs() / 60).unwrap();
    all.wait(safety - 1);
    let early = planned(&all, &RingChange::Rotate).await.unwrap_err();
    assert!(
        matches!(&early, Blocked::NotReady { kid: found, .. } if *found == kid),
        "{early:?}"
    );
    all.wait(1);
    let plan = planned(&all, &RingChange::Rotate).await.unwrap();
    let actions: Vec<_> = plan.steps.iter().map(|step| step.action).collect();
    assert_eq!(actions, [Action::Activate]);
    assert_eq!(primary(&all).await, None, "a plan changes nothing");
    applied(&all, &plan).await.unwrap();
    assert_eq!(primary(&all).await, Some(kid));
    assert_eq!(all.last_act().await, "key rotate: why");
}

#[tokio::test]
async fn what_was_approved_of_a_key_is_not_overtaken_by_a_shorter_waiting_time() {
    let all = Installation::new().await;
    all.create_ring("records").await;
    let draft = match Installation::generation() {
        Draft::Generate {
            token_serial,
            token_label,
            lifetime,
            ..
        } => Draft::Generate {
            token_serial,
            token_label,
            lifetime,
            activate_in: Duration::from_secs(30 * 86_400),
        },
        _ => panic!("no generation"),
    };
    all.closed("records", draft).await;
    all.wait(29 * 24 * 60);
    let early = planned(&all, &RingChange::Rotate).await.unwrap_err();
    let activate_at = all.snapshot().await.rings["records"].keys[0].activate_at;
    assert!(matches!(early, Blocked::NotReady { ready_at, .. } if ready_at == activate_at));
    all.wait(24 * 60);
    planned(&all, &RingChange::Rotate).await.unwrap();
}

#[tokio::test]
async fn a_plan_is_applied_to_the_ring_that_it_was_made_on_and_to_no_other() {
    let (all, first) = Installation::open("records").await;
    all.standby("records").await;
    all.wait(LONG);
    let stale = planned(&all, &RingChange::Rotate).await.unwrap();
    // Of two replicas that planned the same, one is first.
    let same = planned(&all, &RingChange::Rotate).await.unwrap();
    applied(&all, &same).await.unwrap();
    let state = all.state().await;
    let size = all.store.log_size().await.unwrap();
    let conflict = applied(&all, &stale).await.unwrap_err();
    assert!(conflict.is_conflict(), "{conflict:?}");
    // Back where it was, but another version.
    let back = planned(&all, &RingChange::RollBack).await.unwrap();
    applied(&all, &back).await.unwrap();
    assert_eq!(primary(&all).await, Some(first));
    let conflict = applied(&all, &stale).await.unwrap_err();
    assert!(conflict.is_conflict(), "{conflict:?}");
    assert_eq!(
        all.store.log_size().await.unwrap(),
        size + 1,
        "a conflict writes nothing"
    );
    assert_ne!(all.state().await, state);
}

#[tokio::test]
async fn a_change_that_the_database_did_not_take_happens_whole_or_not_at_all() {
    let (all, first) = Installation::open("records").await;
    all.standby("records").await;
    all.wait(LONG);
    let plan = planned(&all, &RingChange::Rotate).await.unwrap();
    let before = all.state().await;
    // The new key is the second of two rows.
    all.break_at("UPDATE ON signing_key", "NEW.role = 'primary'")
        .await;
    applied(&all, &plan).await.unwrap_err();
    all.repair().await;
    assert_eq!(all.state().await, before);
    assert_eq!(primary(&all).await.as_ref(), Some(&first));
    applied(&all, &plan).await.unwrap();
    assert_ne!(primary(&all).await.as_ref(), Some(&first));
}

#[tokio::test]
async fn a_secondary_is_retired_after_its_time_and_a_primary_never() {
    let (all, first) = Installation::open("records").await;
    let blocked = planned(&all, &RingChange::Retire(first.clone()))
        .await
        .unwrap_err();
    assert!(
        matches!(
            blocked,
            Blocked::State {
                found: "primary",
                ..
            }
        ),
        "{blocked:?}"
    );
    assert!(matches!(
        planned(&all, &RingChange::RollBack).await,
        Err(Blocked::NothingToRollBackTo)
    ));
    let second = all.next_primary("records").await;
    let early = planned(&all, &RingChange::Retire(first.clone()))
        .await
        .unwrap_err();
    assert!(matches!(early, Blocked::NotReady { .. }), "{early:?}");
    all.wait(LONG);
    all.change("records", &RingChange::Retire(first.clone()))
        .await;
    assert_eq!(
        all.state().await,
        "generate closed, generate closed | present, present | \
         records/1 retired, records/2 primary | pair, pair"
    );
    assert!(matches!(
        planned(&all, &RingChange::RollBack).await,
        Err(Blocked::NothingToRollBackTo)
    ));
    assert_eq!(primary(&all).await, Some(second));
}

/// A replica whose clock is behind the one that made the change before.
#[tokio::test]
async fn a_clock_that_is_behind_writes_no_life_that_runs_backwards() {
    let (all, first) = Installation::open("records").await;
    let second = all.next_primary("records").await;
    let activated_at = all.now();
    let plan = planned(&all, &RingChange::RollBack).await.unwrap();
    all.wait(-60);
    applied(&all, &plan).await.unwrap();
    let snapshot = all.snapshot().await;
    assert!(snapshot.refused.is_empty());
    assert!(snapshot.keys[&second].last_change() >= activated_at);
    assert_eq!(primary(&all).await, Some(first));
}
