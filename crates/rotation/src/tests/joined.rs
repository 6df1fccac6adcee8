//! The engine plans from the inventory and by the policies in force: assets of others beside rings.

use std::time::Duration;

use calendar::words::Reason;
use calendar::{AssetName, KeyTypes, PolicyDocument, Span};
use keyring::ceremony::Draft;
use log::{Event, Log};
use store::{Change, InventoryChange};
use trust::leaf::ActKind;
use trust::request::RevocationReason;

use super::rings::Ring;
use super::world::register;
use crate::compromise::{CompromiseReport, Target};
use crate::inventory::{AssetChange, InventoryService};
use crate::jobs::Scheduler;
use crate::times::from_row;

const PARTNER: &str = "external/partner";
const RING: &str = "signing/records";
/// Automatic, thirty days, published for an hour, a day of overlap, seven of grace.
const KEY_TYPE: &str = "api_key";
const DAY: Duration = Duration::from_secs(86_400);

fn name(text: &str) -> AssetName {
    text.parse().unwrap()
}

/// A ring, and an asset of others that came into use 29 days ago.
async fn installation() -> (Ring, Scheduler, InventoryService) {
    let ring = Ring::new().await;
    let now = from_row(ring.now());
    let store = &ring.place.store;
    register(store, (PARTNER, KEY_TYPE), now - Span::days(29), now).await;
    let (scheduler, inventory) = (ring.scheduler(), ring.inventory());
    (ring, scheduler, inventory)
}

/// The event that the daily check makes of the partner's next version.
async fn event(ring: &Ring, scheduler: &Scheduler) -> (String, u32) {
    // A run is known by its instant.
    ring.wait(Duration::from_secs(1));
    let run = scheduler.run_now("automated_key_rotation_check").await;
    let run = run.unwrap();
    assert!(run.succeeded, "{run:?}");
    let open = ring.place.store.open_rotations_of(PARTNER).await.unwrap();
    assert_eq!(open.len(), 1, "{run:?}");
    (open[0].id.clone(), open[0].version)
}

/// A person does these steps, one after the other, and says so.
async fn said(ring: &Ring, scheduler: &Scheduler, id: &str, steps: &[&str]) {
    for step in steps {
        assert_eq!(
            ring.waits_for(scheduler, id).await,
            Some(Reason::Person),
            "{step}"
        );
        let row = ring.place.store.rotation_event(id).await.unwrap().unwrap();
        let asked = format!("chancery rotation done {id} {step}");
        assert!(row.detail.unwrap().contains(&asked), "{step}");
        assert!(row.look_at > ring.now(), "{step}");
        let engine = scheduler.engine();
        engine
            .report_step(id, step, ("olga", "done"))
            .await
            .unwrap();
        let row = ring.place.store.rotation_event(id).await.unwrap().unwrap();
        assert!(row.look_at <= ring.now(), "{step} is gone on with at once");
    }
}

async fn states(inventory: &InventoryService) -> Vec<(u32, &'static str)> {
    let versions = inventory.versions(&name(PARTNER), None, 10).await.unwrap();
    versions
        .iter()
        .map(|one| (one.version, one.state))
        .collect()
}

/// When the asset's rotations of the next ninety days are due, and their key type.
async fn due(scheduler: &Scheduler, asset: &str) -> Vec<(String, calendar::Time)> {
    let plan = scheduler.engine().plan(Span::days(90)).await.unwrap();
    let of = plan.rotations.iter();
    of.filter(|one| one.asset.as_str() == asset)
        .map(|one| (one.key_type.to_string(), one.due))
        .collect()
}

async fn set_interval(inventory: &InventoryService, key_type: &str, days: u64, now: trust::Time) {
    let types = KeyTypes::standard();
    let document = PolicyDocument {
        version: 2,
        interval: Span::days(days),
        ..PolicyDocument::standard(types.get(key_type).unwrap())
    };
    let policies = inventory.policies();
    policies
        .set(document, "review", ("olga", now))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_due_of_an_asset_of_others_becomes_a_rotation_that_waits_for_people() {
    let (ring, scheduler, inventory) = installation().await;
    let (id, version) = event(&ring, &scheduler).await;
    assert_eq!(version, 2);
    let steps = ["generate", "publish", "test", "promote"];
    said(&ring, &scheduler, &id, &steps).await;
    assert_eq!(states(&inventory).await, [(1, "primary")]);
    // The inventory follows the word of whoever promoted it, and is not told again.
    assert_eq!(ring.waits_for(&scheduler, &id).await, Some(Reason::Person));
    assert_eq!(states(&inventory).await, [(2, "primary"), (1, "secondary")]);
    let versions = inventory.versions(&name(PARTNER), None, 1).await.unwrap();
    assert_eq!(versions[0].reported_by.as_deref(), Some("olga"));
    said(&ring, &scheduler, &id, &["retire", "archive"]).await;
    assert_eq!(ring.waits_for(&scheduler, &id).await, None);
    assert_eq!(states(&inventory).await, [(2, "primary"), (1, "archived")]);
    let row = ring.place.store.rotation_event(&id).await.unwrap().unwrap();
    assert_eq!((row.state.as_str(), row.version), ("done", 2));
    // The next one is an interval after this one.
    let since = from_row(versions[0].rotated_at.unwrap());
    let next = due(&scheduler, PARTNER).await;
    assert_eq!(next[0].1, since + Span::days(30));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_that_is_reported_as_a_whole_is_not_waited_for_step_by_step() {
    let (ring, scheduler, inventory) = installation().await;
    let (id, _) = event(&ring, &scheduler).await;
    said(&ring, &scheduler, &id, &["generate"]).await;
    let now = ring.now();
    let partner = name(PARTNER);
    let report = inventory.report(&partner, (now, None), ("partner-bot", now));
    assert_eq!(report.await.unwrap().version, 2);
    // Nothing of it waits for a person but the end of the old version.
    said(&ring, &scheduler, &id, &["retire"]).await;
    let row = ring.place.store.rotation_event(&id).await.unwrap().unwrap();
    assert_eq!(row.promoted_at, Some(now));
    assert_eq!(states(&inventory).await, [(2, "primary"), (1, "secondary")]);
    said(&ring, &scheduler, &id, &["archive"]).await;
    assert_eq!(ring.waits_for(&scheduler, &id).await, None);
    assert_eq!(states(&inventory).await, [(2, "primary"), (1, "archived")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_whose_old_version_a_later_report_ends_is_done() {
    let (ring, scheduler, inventory) = installation().await;
    let (id, _) = event(&ring, &scheduler).await;
    let partner = name(PARTNER);
    // A program that reports rotations as a whole, and nothing else.
    let report = async || {
        let now = ring.now();
        let report = inventory.report(&partner, (now, None), ("partner-bot", now));
        report.await.unwrap()
    };
    report().await;
    assert_eq!(ring.waits_for(&scheduler, &id).await, Some(Reason::Person));
    ring.wait(DAY);
    report().await;
    assert_eq!(ring.waits_for(&scheduler, &id).await, None);
    let row = ring.place.store.rotation_event(&id).await.unwrap().unwrap();
    assert_eq!(row.state, "done");
    let expected = [(3, "primary"), (2, "secondary"), (1, "retired")];
    assert_eq!(states(&inventory).await, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_of_an_asset_that_is_taken_out_of_use_after_its_promotion_is_done() {
    let (ring, scheduler, inventory) = installation().await;
    let (id, _) = event(&ring, &scheduler).await;
    let (partner, now) = (name(PARTNER), ring.now());
    let report = inventory.report(&partner, (now, None), ("partner-bot", now));
    report.await.unwrap();
    assert_eq!(ring.waits_for(&scheduler, &id).await, Some(Reason::Person));
    let retire = AssetChange {
        retire: true,
        ..AssetChange::default()
    };
    let retired = inventory.change(&partner, &retire, "closed", ("olga", ring.now()));
    retired.await.unwrap();
    ring.wait(DAY);
    assert_eq!(ring.waits_for(&scheduler, &id).await, None);
    let row = ring.place.store.rotation_event(&id).await.unwrap().unwrap();
    assert_eq!(row.state, "done");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_step_that_is_waited_for_is_reported_and_the_log_tells_of_it() {
    let (ring, scheduler, _) = installation().await;
    let (id, _) = event(&ring, &scheduler).await;
    let engine = scheduler.engine();
    let store = &ring.place.store;
    let report = async |step: &str| engine.report_step(&id, step, ("olga", "done")).await;
    assert_eq!(ring.waits_for(&scheduler, &id).await, Some(Reason::Person));
    for step in ["retire", "archive", "promote", "pre-check", "roll-back"] {
        let refused = report(step).await.unwrap_err();
        assert!(refused.is_refusal(), "{refused}");
        let said = refused.to_string();
        assert!(said.contains("has begun: generate"), "{said}");
        assert_eq!(store.rotation_report(&id, step).await.unwrap(), None);
    }
    let size = store.log_size().await.unwrap();
    report("generate").await.unwrap();
    let leaf = store.leaf(size).await.unwrap().unwrap();
    for part in [
        r#""action":"report-step""#,
        r#""actor":"olga""#,
        r#""kind":"rotation""#,
        r#""reason":"generate""#,
        &format!(r#""ref":"{id}""#),
    ] {
        assert!(leaf.body.contains(part), "{part}: {}", leaf.body);
    }
    let twice = report("generate").await.unwrap_err();
    assert!(twice.to_string().contains("reported twice"), "{twice}");
    assert_eq!(store.log_size().await.unwrap(), size + 1);
    // A word from before its step is none, whoever writes it.
    let early = Change::Inventory(Box::new(InventoryChange::ReportStep {
        event: id.clone(),
        step: "publish".to_owned(),
        report: store::RotationReport {
            at: ring.now(),
            by: "olga".to_owned(),
            evidence: "{}".to_owned(),
        },
    }));
    let leaf = Event::new(ActKind::Rotation, "report-step", "olga", ring.now());
    let told = Log::new(store.clone()).commit(&early, &leaf).await;
    assert!(told.unwrap_err().is_conflict());
    ring.wait(DAY);
    assert_eq!(ring.waits_for(&scheduler, &id).await, Some(Reason::Person));
    let published = ring.now();
    report("publish").await.unwrap();
    assert_eq!(ring.waits_for(&scheduler, &id).await, Some(Reason::Person));
    let row = store.rotation_event(&id).await.unwrap().unwrap();
    assert_eq!(row.published_at, Some(published));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_inventory_follows_a_roll_back() {
    let (ring, scheduler, inventory) = installation().await;
    let (id, _) = event(&ring, &scheduler).await;
    let steps = ["generate", "publish", "test", "promote"];
    said(&ring, &scheduler, &id, &steps).await;
    ring.waits_for(&scheduler, &id).await;
    let engine = scheduler.engine();
    let back = engine.roll_back(&id, "olga", Some("the partner cannot read it"));
    back.await.unwrap();
    said(&ring, &scheduler, &id, &["roll-back"]).await;
    assert_eq!(ring.waits_for(&scheduler, &id).await, None);
    let row = ring.place.store.rotation_event(&id).await.unwrap().unwrap();
    assert_eq!(row.state, "rolled-back");
    assert_eq!(states(&inventory).await, [(2, "secondary"), (1, "primary")]);
    // The old version is as old as it was, so the next rotation is due at once, and has a number of its own.
    let (next, version) = event(&ring, &scheduler).await;
    assert!(next != id);
    assert_eq!(version, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_that_is_set_changes_the_plan_of_all_its_assets() {
    let (ring, scheduler, inventory) = installation().await;
    let since = from_row(ring.now()) - Span::days(29);
    let before = due(&scheduler, PARTNER).await;
    assert_eq!(before[0].1, since + Span::days(30));
    set_interval(&inventory, KEY_TYPE, 60, ring.now()).await;
    let after = due(&scheduler, PARTNER).await;
    assert_eq!(after[0], (KEY_TYPE.to_owned(), since + Span::days(60)));
    // And what is made of the plan: nothing is due any more.
    ring.wait(Duration::from_secs(1));
    let run = scheduler.run_now("automated_key_rotation_check").await;
    assert_eq!(run.unwrap().summary["made"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ring_rotates_by_the_policy_of_the_key_type_that_it_is_given() {
    let (ring, scheduler, inventory) = installation().await;
    let as_signing = due(&scheduler, RING).await;
    assert_eq!(as_signing[0].0, "signing");
    let change = AssetChange {
        key_type: Some("jwt_signing".parse().unwrap()),
        ..AssetChange::default()
    };
    let by = ("olga", ring.now());
    let ring_asset = name(RING);
    let changed = inventory.change(&ring_asset, &change, "tokens", by);
    changed.await.unwrap();
    set_interval(&inventory, "jwt_signing", 45, ring.now()).await;
    let as_jwt = due(&scheduler, RING).await;
    assert_eq!(as_jwt[0].0, "jwt_signing");
    assert_eq!(as_signing[0].1 - Span::days(45), as_jwt[0].1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_asset_that_is_out_of_use_is_planned_no_more_and_its_rotation_needs_a_person() {
    let (ring, scheduler, inventory) = installation().await;
    let (id, _) = event(&ring, &scheduler).await;
    let retire = AssetChange {
        retire: true,
        ..AssetChange::default()
    };
    let by = ("olga", ring.now());
    let partner = name(PARTNER);
    let retired = inventory.change(&partner, &retire, "closed", by);
    retired.await.unwrap();
    assert_eq!(due(&scheduler, PARTNER).await, []);
    ring.wait(2 * DAY);
    assert_eq!(ring.waits_for(&scheduler, &id).await, Some(Reason::Person));
    let row = ring.place.store.rotation_event(&id).await.unwrap().unwrap();
    assert_eq!(row.state, "failed");
    assert_eq!(row.detail.as_deref(), Some("the asset is out of use"));
    let engine = scheduler.engine();
    engine.cancel(&id, "olga", None).await.unwrap();
    assert_eq!(ring.waits_for(&scheduler, &id).await, None);
}

fn report(asset: &str) -> CompromiseReport {
    CompromiseReport {
        report: "finding-1".to_owned(),
        target: Target::Asset(name(asset)),
        source: "secret scanner".to_owned(),
        reason: "it is in a public repository".to_owned(),
        evidence: None,
        compromised_since: None,
    }
}

/// Who reads the inventory sees that the old version is trusted for nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_of_others_that_is_compromised_is_revoked() {
    let (ring, scheduler, inventory) = installation().await;
    let engine = scheduler.engine();
    let filed = engine.report_compromise(&report(PARTNER), "scanner").await;
    let id = filed.unwrap().0.id;
    let why = ("olga", "it is real");
    let declared = engine.declare_compromise(&id, why).await.unwrap();
    let id = declared.decision.unwrap().rotation.unwrap();
    let steps = ["generate", "publish", "test", "promote"];
    said(&ring, &scheduler, &id, &steps).await;
    said(&ring, &scheduler, &id, &["retire"]).await;
    assert_eq!(ring.waits_for(&scheduler, &id).await, Some(Reason::Person));
    assert_eq!(states(&inventory).await, [(2, "primary"), (1, "revoked")]);
    said(&ring, &scheduler, &id, &["archive"]).await;
    assert_eq!(ring.waits_for(&scheduler, &id).await, None);
    assert_eq!(states(&inventory).await, [(2, "primary"), (1, "revoked")]);
    let row = ring.place.store.rotation_event(&id).await.unwrap().unwrap();
    assert_eq!(row.state, "done");
    let leaves = ring.place.store.leaves(0, 1_000).await.unwrap();
    let revoked = leaves
        .iter()
        .filter(|leaf| leaf.body.contains(r#""action":"revoke-version""#));
    assert_eq!(revoked.count(), 1);
}

/// The runbook's order: members rotate the ring, then somebody declares the report.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ring_that_was_reported_and_rotated_since_is_not_rotated_again() {
    let (ring, scheduler, _) = installation().await;
    let engine = scheduler.engine();
    ring.closed(Ring::generation(), None).await;
    ring.wait(2 * DAY);
    let filed = engine.report_compromise(&report(RING), "scanner").await;
    let filed = filed.unwrap().0;
    assert_eq!(filed.draft.unwrap().operation, "emergency-rotation");
    ring.keys.refresh().await;
    let primary = ring.keys.current().rings["records"]
        .primary
        .clone()
        .unwrap();
    let revoke = Draft::Revoke {
        kid: primary.kid.clone(),
        reason: RevocationReason::Compromised,
        compromised_since: Some(ring.now()),
    };
    ring.wait(Duration::from_secs(60));
    ring.closed(revoke, None).await;
    let view = engine.compromise_report(&filed.id).await.unwrap();
    assert_eq!(view.draft.unwrap().operation, "none");
    let why = ("olga", "it is real");
    let declared = engine.declare_compromise(&filed.id, why).await.unwrap();
    assert_eq!(
        (declared.state, declared.decision.unwrap().rotation),
        ("declared", None)
    );
    let open = ring.place.store.open_rotations_of(RING).await.unwrap();
    assert!(open.is_empty(), "{open:?}");
    // What is reported later is about the key that signs then.
    ring.wait(Duration::from_secs(60));
    let again = CompromiseReport {
        report: "finding-2".to_owned(),
        ..report(RING)
    };
    let again = engine.report_compromise(&again, "scanner").await.unwrap().0;
    assert_eq!(again.draft.unwrap().operation, "emergency-rotation");
}
