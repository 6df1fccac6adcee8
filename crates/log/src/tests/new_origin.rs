//! A log that lost leaves for good, and the origin that takes over the others.

use std::sync::Arc;

use testkit::custodians::Custodians;
use trust::leaf::ActKind;
use trust::log_acts::LogAct;
use trust::request::{NewOrigin, Operation};
use trust::tlog::checkpoint::{self, Checkpoint};
use trust::tlog::note::{Note, VerifierKey};
use trust::{Sha256Digest, Time};

use super::prune::{aged, apply as prune, plan as prune_plan};
use super::trouble::{Objects, Trouble};
use super::world::{Key, ORIGIN, World};
use crate::act_index::ActIndex;
use crate::integrator::{Error as IntegrationError, Integrator, Settings, Step};
use crate::new_origin::{Error, OriginChange, OriginState, Retained};
use crate::signer::CheckpointSigner as _;
use crate::storage::Storage;
use crate::tiles::Tiles;
use crate::tree_store::INTEGRATOR;
use crate::{Event, Log, RecoverError, Recovery};
use base::Env;
use store::testing::world::NOW;
use store::{BeginOrigin, CeremonyRow, CeremonyState, Change, LineRow};

const NEW: &str = "log.example/log-2";

fn calm() -> Arc<Trouble> {
    Trouble::at(&[])
}

fn now() -> Time {
    Time::from_millis(NOW + 3_600_000)
}

async fn write(world: &World, count: usize) {
    let log = Log::new(world.store.clone());
    for number in 0..count {
        let why = format!("{number}");
        let event = Event {
            reason: Some(&why),
            ..Event::new(ActKind::Admin, "test", "cli", Time::from_millis(NOW))
        };
        log.commit(&Change::Record, &event).await.unwrap();
    }
}

async fn integrate(integrator: &mut Integrator<super::trouble::Troubled>) {
    while integrator.step().await.unwrap() != Step::Done {}
}

async fn note(key: &Key, origin: &str, size: u64, root: Sha256Digest) -> String {
    let text = Checkpoint {
        origin: origin.to_owned(),
        size,
        root,
    }
    .body();
    let signed = key.sign(text.clone(), std::time::Instant::now()).await;
    let signature = signed.unwrap().signature;
    let verifier = VerifierKey::for_log(origin, &key.public()).unwrap();
    let line = checkpoint::signature_line(&verifier, &signature).unwrap();
    let note = Note {
        text,
        signatures: vec![line],
    };
    note.to_string()
}

/// Another place in the same store.
fn place(world: &World, name: &str) -> Storage {
    let objects = Objects {
        held: world.objects.clone(),
        trouble: calm(),
    };
    Storage::new(Arc::new(objects), name).unwrap()
}

fn change(world: &World, old: bool) -> OriginChange {
    let key = VerifierKey::for_log(ORIGIN, &world.key.public()).unwrap();
    let old = old.then(|| world.storage(&calm()));
    OriginChange::new(world.store.clone(), old, vec![key])
}

fn integrator(world: &World, origin: &str, place: Storage) -> Integrator<store::Store> {
    let settings = Settings {
        origin: origin.to_owned(),
        holder: "after".to_owned(),
        remove_partial: true,
    };
    let tiles = Tiles::new(place);
    let env = Env::new(now, |_| Ok(()));
    Integrator::new(world.store.clone(), tiles, world.key.clone(), env, settings)
}

/// A database that lacks 400 published leaves; the last checkpoint.
async fn lost() -> (World, String) {
    let mut world = World::new().await;
    write(&world, 300).await;
    integrate(&mut world.integrator("one", &calm())).await;
    write(&world, 5).await;
    let backup = world.backup().await;
    write(&world, 400).await;
    integrate(&mut world.integrator("one", &calm())).await;
    let published = world.storage(&calm()).checkpoint().await.unwrap().unwrap();
    world.restore(&backup).await;
    (world, String::from_utf8(published.bytes).unwrap())
}

async fn draft(
    world: &World,
    old: bool,
    origin: &str,
    note: &str,
    custodians: &Custodians,
) -> Result<NewOrigin, Error> {
    let change = change(world, old);
    change
        .draft(origin, note, custodians.pin(), |_, _| {})
        .await
}

/// The ceremony and the leaf, as the command writes them.
async fn begin(
    world: &World,
    custodians: &Custodians,
    order: &NewOrigin,
    retained: &Retained,
) -> Result<i64, store::Error> {
    let (id, transcript) = custodians.close(0, Operation::NewOrigin(order.clone()));
    let digest = Sha256Digest::of(&transcript);
    let id_text = id.to_string();
    let before = order.lost.map_or(order.size, |lost| lost.last + 1);
    let row = CeremonyRow {
        id,
        operation: "new-origin".parse().unwrap(),
        ring: None,
        state: CeremonyState::Closed,
        nonce: trust::bytes16::Nonce([0; 16]),
        request: vec![1],
        execution: Some(vec![1]),
        transcript: Some(transcript),
        created_at: now(),
        updated_at: now(),
    };
    let change = Change::BeginOrigin(Box::new(BeginOrigin {
        row,
        lines: vec![LineRow {
            subject: "log".into(),
            seq: 1,
        }],
        previous_origin: order.previous_origin.clone(),
        origin: order.origin.clone(),
        size: order.size.cast_signed(),
        root: retained.root,
        clock: retained.clock,
        at: now().millis(),
    }));
    let event = Event {
        digest: Some(digest),
        leaves: Some((order.size, before)),
        origin: Some(&order.origin),
        reference: Some(&id_text),
        ..Event::new(ActKind::Log, "new-origin", "cli", now())
    };
    Log::new(world.store.clone()).commit(&change, &event).await
}

#[tokio::test]
async fn case_l2_what_is_left_goes_on_at_another_place_and_an_interrupted_copy_is_repeated() {
    let (mut world, published) = lost().await;
    let custodians = Custodians::new("test");
    let order = draft(&world, true, NEW, &published, &custodians)
        .await
        .unwrap();
    let before = world.backup().await;
    let known = world.store.log_size().await.unwrap().unsigned_abs();
    assert_eq!(order.size, known);
    let lost = order.lost.unwrap();
    assert_eq!((lost.first, lost.last), (known, known + 399));
    let new = place(&world, "second");
    let moving = change(&world, false);
    let state = moving.compare(&order, |_, _| {}).await.unwrap();
    let OriginState::Due(retained) = state else {
        panic!("{state:?}")
    };
    assert_eq!(retained.root, order.root);
    moving.expect_empty(&new, &order).await.unwrap();
    // Dead behind the copy: nothing has happened, and it is repeated.
    moving.copy(&new, &order, |_, _| {}).await.unwrap();
    assert_eq!(world.store.tree().await.unwrap().origin, ORIGIN);
    moving.expect_empty(&new, &order).await.unwrap();
    let copied = moving.copy(&new, &order, |_, _| {}).await.unwrap();
    assert_eq!(copied, retained);
    let index = begin(&world, &custodians, &order, &copied).await.unwrap();
    assert_eq!(index.unsigned_abs(), order.size);
    // Dead before the lease was returned.
    let state = moving.compare(&order, |_, _| {}).await.unwrap();
    assert_eq!(state, OriginState::Begun);
    assert!(begin(&world, &custodians, &order, &copied).await.is_err());
    moving.end().await.unwrap();

    // Both settings, or none of them.
    let old = integrator(&world, ORIGIN, new.clone()).inspect().await;
    assert!(
        matches!(old, Err(IntegrationError::Origin { .. })),
        "{old:?}"
    );
    let mut stale = integrator(&world, NEW, world.storage(&calm()));
    let stale = stale.inspect().await.unwrap_err();
    assert!(
        matches!(&stale, IntegrationError::OtherPlace { there, .. } if there == ORIGIN),
        "{stale:?}"
    );
    assert!(stale.is_fatal());
    let mut after = integrator(&world, NEW, new.clone());
    while after.step().await.unwrap() != Step::Done {}
    write(&world, 300).await;
    while after.step().await.unwrap() != Step::Done {}
    let last = world.store.last_checkpoint().await.unwrap().unwrap();
    assert_eq!(last.origin(), NEW);
    let size = world.store.log_size().await.unwrap();
    assert_eq!(last.size, size);
    let tiles = Tiles::new(new.clone());
    let now = size.unsigned_abs();
    assert_eq!(tiles.root_at(now, now).await.unwrap(), last.root);
    let root = tiles.root_at(order.size, now).await.unwrap();
    assert_eq!(root, order.root, "it begins with what was left");
    let acts = ActIndex::of_log(&world.store, custodians.pin())
        .await
        .unwrap();
    let [act] = acts.log_acts() else {
        panic!("{:?}", acts.log_acts())
    };
    assert_eq!(act.act, LogAct::Began(order.clone()));
    // An origin comes once.
    let again = note(&world.key, NEW, now, last.root).await;
    let keys = OriginChange::new(
        world.store.clone(),
        None,
        vec![VerifierKey::for_log(NEW, &world.key.public()).unwrap()],
    );
    for origin in [ORIGIN, NEW] {
        let refused = keys
            .draft(origin, &again, custodians.pin(), |_, _| {})
            .await;
        assert!(matches!(refused, Err(Error::UsedBefore(_))), "{refused:?}");
    }
    keys.draft("third", &again, custodians.pin(), |_, _| {})
        .await
        .unwrap();

    // The database of before it once more: what follows would be a second log of that name.
    world.restore(&before).await;
    let key = VerifierKey::for_log(ORIGIN, &world.key.public()).unwrap();
    let proposing = OriginChange::new(world.store.clone(), Some(new.clone()), vec![key]);
    let drafted = proposing
        .draft(NEW, &published, custodians.pin(), |_, _| {})
        .await;
    assert!(matches!(drafted, Err(Error::UsedBefore(_))), "{drafted:?}");
    let twice = change(&world, false).expect_empty(&new, &order).await;
    assert!(matches!(twice, Err(Error::BegunBefore(_))), "{twice:?}");
    let key = VerifierKey::for_log(NEW, &world.key.public()).unwrap();
    let recovery = Recovery::new(new, world.store.clone(), vec![(world.log_kid(), key)]);
    let across = recovery.plan(&[], &[]).await.map(|_| ());
    assert!(
        matches!(across, Err(RecoverError::AcrossOrigin { .. })),
        "{across:?}"
    );
}

#[tokio::test]
async fn case_l2_a_previous_checkpoint_is_the_last_one_and_the_logs_own() {
    let (world, published) = lost().await;
    let custodians = Custodians::new("test");
    let size = world.store.log_size().await.unwrap().unsigned_abs();
    let root = Sha256Digest::of(b"some tree");
    let stranger = World::new().await;
    let foreign = note(&stranger.key, ORIGIN, size + 3, root).await;
    let other = note(&world.key, "other.example/log", size + 3, root).await;
    for (note, old) in [
        (foreign, false),
        (other, false),
        ("nothing".to_owned(), true),
    ] {
        let refused = draft(&world, old, NEW, &note, &custodians).await;
        assert!(matches!(refused, Err(Error::NotOurs { .. })), "{refused:?}");
    }
    let earlier = note(&world.key, ORIGIN, size + 3, root).await;
    let refused = draft(&world, true, NEW, &earlier, &custodians).await;
    assert!(
        matches!(refused, Err(Error::NotTheLast { .. })),
        "{refused:?}"
    );
    let small = note(&world.key, ORIGIN, size - 1, root).await;
    let refused = draft(&world, false, NEW, &small, &custodians).await;
    assert!(
        matches!(refused, Err(Error::TooSmall { .. })),
        "{refused:?}"
    );
    let refused = draft(&world, true, ORIGIN, &published, &custodians).await;
    assert!(matches!(refused, Err(Error::UsedBefore(_))), "{refused:?}");
}

#[tokio::test]
async fn case_l2_nothing_begins_that_is_not_as_it_was_signed() {
    let (world, published) = lost().await;
    let custodians = Custodians::new("test");
    let order = draft(&world, true, NEW, &published, &custodians)
        .await
        .unwrap();
    let moving = change(&world, false);
    let compared = async |order: &NewOrigin| moving.compare(order, |_, _| {}).await;
    let root = Sha256Digest::of(b"another");
    let other = NewOrigin {
        root,
        ..order.clone()
    };
    let refused = compared(&other).await;
    assert!(matches!(refused, Err(Error::OtherRoot)), "{refused:?}");
    let other = NewOrigin {
        previous_origin: "other".into(),
        ..order.clone()
    };
    let refused = compared(&other).await;
    assert!(
        matches!(refused, Err(Error::OtherLog { .. })),
        "{refused:?}"
    );
    let stranger = World::new().await;
    let other = NewOrigin {
        previous_checkpoint: note(&stranger.key, ORIGIN, order.size + 400, root).await,
        ..order.clone()
    };
    let refused = compared(&other).await;
    assert!(matches!(refused, Err(Error::NotOurs { .. })), "{refused:?}");

    // A place that is not empty; a replica that runs.
    let old = world.storage(&calm());
    let refused = moving.expect_empty(&old, &order).await;
    assert!(matches!(refused, Err(Error::Occupied(_))), "{refused:?}");
    let new = place(&world, "second");
    for file in ["tile/0/000.p/7", "tile/1/009", "tile/entries/001.p/3"] {
        let used = place(&world, file);
        used.put_immutable(file, b"x").await.unwrap();
        let refused = moving.expect_empty(&used, &order).await;
        assert!(matches!(refused, Err(Error::Occupied(_))), "{refused:?}");
    }
    let three = std::time::Duration::from_secs(3);
    let held = world.store.lease(INTEGRATOR, "a replica", three).await;
    assert!(held.unwrap());
    let refused = moving.copy(&new, &order, |_, _| {}).await;
    assert!(matches!(refused, Err(Error::Running)), "{refused:?}");

    // Written to since.
    write(&world, 1).await;
    let refused = compared(&order).await;
    assert!(
        matches!(refused, Err(Error::OtherSize { .. })),
        "{refused:?}"
    );
    let state = world.store.tree().await.unwrap();
    assert_eq!(state.origin, ORIGIN);
    let retained = Retained {
        root: order.root,
        clock: now(),
    };
    let refused = begin(&world, &custodians, &order, &retained).await;
    assert!(refused.unwrap_err().is_conflict());
}

#[tokio::test]
async fn case_l2_bodies_that_retention_took_are_known_by_the_old_place() {
    let world = aged().await;
    let plan = prune_plan(&world, 10).await.unwrap();
    prune(&world, &calm(), &plan).await.unwrap();
    let custodians = Custodians::new("test");
    let size = world.store.log_size().await.unwrap().unsigned_abs();
    let last = note(&world.key, ORIGIN, size + 9, Sha256Digest::of(b"lost")).await;
    let refused = draft(&world, false, NEW, &last, &custodians).await;
    assert!(matches!(refused, Err(Error::Pruned(_))), "{refused:?}");
    let order = draft(&world, true, NEW, &last, &custodians).await.unwrap();
    let new = place(&world, "second");
    let moving = change(&world, true);
    let copied = moving.copy(&new, &order, |_, _| {}).await.unwrap();
    begin(&world, &custodians, &order, &copied).await.unwrap();
    moving.end().await.unwrap();
    // The bundle with acts is there, as it was; those of signatures alone are gone here too.
    let old = world.storage(&calm());
    for (bundle, there) in [("tile/entries/000", true), ("tile/entries/001", false)] {
        let copied = new.get(bundle).await.unwrap();
        assert_eq!(copied.is_some(), there, "{bundle}");
        assert_eq!(copied, old.get(bundle).await.unwrap(), "{bundle}");
    }
    let mut after = integrator(&world, NEW, new);
    while after.step().await.unwrap() != Step::Done {}
    let last = world.store.last_checkpoint().await.unwrap().unwrap();
    assert_eq!((last.origin(), last.size.unsigned_abs()), (NEW, size + 1));
}
