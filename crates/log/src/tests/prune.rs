//! What retention takes, and what it must leave alone.

use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use object_store::path::Path;
use object_store::{ObjectStore as _, ObjectStoreExt as _};
use tokio::sync::watch;
use trust::Time;
use trust::tlog::merkle::leaf_hash;
use trust::tlog::note::VerifierKey;
use trust::tlog::policy::WitnessPolicy;

use super::trouble::{Fault, Trouble};
use super::world::{ORIGIN, World, run};
use crate::proofs::{Error as ProofError, Proofs};
use crate::prune::{Error, Plan, Pruner};
use crate::published::Published;
use crate::tiles::Tiles;
use store::testing::place::Place;
use store::testing::world::{NOW, signature};

const DAY: i64 = 86_400_000;
const RETENTION: Duration = Duration::from_secs(5 * 86_400);

fn calm() -> Arc<Trouble> {
    Trouble::at(&[])
}

/// Three bundles and a half of the first day (the first of them begins with acts), and as much of ten
/// days later.
pub async fn aged() -> World {
    let world = World::new().await;
    // Files that a test puts there are the pruner's to find.
    world.keeps_partial.set(true);
    let acts = world.store.log_size().await.unwrap();
    signed(&world, "old", NOW, 3 * 256 + 128 - acts).await;
    signed(&world, "young", NOW + 10 * DAY, 300).await;
    run(&mut world.integrator("one", &calm())).await.unwrap();
    world
}

async fn signed(world: &World, name: &str, time: i64, count: i64) {
    let record = |n| {
        let mut record = signature(&world.signer, "atp", &format!("{name}{n}"));
        record.leaf.time = time;
        record
    };
    let all: Vec<_> = (0..count).map(record).collect();
    for part in all.chunks(256) {
        world.store.commit_signatures(part).await.unwrap();
    }
}

fn pruner(world: &World, trouble: &Arc<Trouble>) -> Pruner {
    let key = VerifierKey::for_log(ORIGIN, &world.key.public()).unwrap();
    Pruner::new(world.storage(trouble), world.store.clone(), vec![key])
}

pub async fn plan(world: &World, days: i64) -> Result<Plan, Error> {
    let now = Time::from_millis(NOW + days * DAY);
    pruner(world, &calm()).plan(now, RETENTION).await
}

pub async fn apply(world: &World, trouble: &Arc<Trouble>, plan: &Plan) -> Result<u64, Error> {
    let now = Time::from_millis(NOW + 10 * DAY);
    pruner(world, trouble).apply(plan, "archivist", now).await
}

async fn is_there(world: &World, object: &str) -> bool {
    let storage = world.storage(&calm());
    storage.get(object).await.unwrap().is_some()
}

async fn raw(world: &World, sql: &str) {
    let place = Place::of(world.store.clone(), world.database.clone());
    place.raw(sql).await.unwrap();
}

/// The acts of the archivist, by what they refer to.
async fn told(world: &World) -> Vec<String> {
    let leaves = world.store.leaves(0, 10_000).await.unwrap();
    let acts = leaves.iter().filter(|leaf| leaf.kind == "admin");
    let bodies = acts.map(|leaf| serde_json::from_str::<serde_json::Value>(&leaf.body).unwrap());
    let prunes = bodies.filter(|body| body["action"] == "prune");
    prunes
        .map(|body| body["ref"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn whole_bundles_of_old_signatures_go_and_nothing_else() {
    let world = aged().await;
    let before = world.store.leaves(0, 10_000).await.unwrap();
    let acts = before.iter().filter(|leaf| leaf.kind != "sign").count();
    let plan = plan(&world, 10).await.unwrap();
    assert_eq!((plan.from, plan.below), (0, 768));
    assert_eq!((plan.bundles.clone(), plan.with_acts), (vec![1, 2], 1));
    assert_eq!(plan.bodies as usize, 768 - acts);
    assert_eq!(told(&world).await, [""; 0], "a plan changes nothing");

    assert_eq!(apply(&world, &calm(), &plan).await.unwrap(), plan.bodies);
    let after = world.store.leaves(0, 10_000).await.unwrap();
    for (old, new) in before.iter().zip(&after) {
        let gone = old.kind == "sign" && old.index < 768;
        assert_eq!(new.body, if gone { "" } else { &old.body }, "{}", old.index);
        assert_eq!(
            (old.time, &old.kid, &old.sig_hash),
            (new.time, &new.kid, &new.sig_hash)
        );
    }
    assert_eq!(told(&world).await, ["0..768"]);
    for (bundle, there) in [("000", true), ("001", false), ("002", false), ("003", true)] {
        assert_eq!(
            is_there(&world, &format!("tile/entries/{bundle}")).await,
            there
        );
        assert!(
            is_there(&world, &format!("tile/0/{bundle}")).await,
            "hashes stay"
        );
    }

    // It is done once, and the log goes on; what was proven before is proven still.
    assert!(self::plan(&world, 10).await.unwrap().is_empty());
    signed(&world, "new", NOW + 16 * DAY, 500).await;
    run(&mut world.integrator("one", &calm())).await.unwrap();
    let published = world.published().await.unwrap();
    let tiles = Tiles::new(world.storage(&calm()));
    for leaf in before.iter().step_by(50) {
        let (index, size) = (leaf.index as u64, published.size);
        let path = tiles.inclusion(index, size, size).await.unwrap();
        let hash = leaf_hash(leaf.body.as_bytes());
        trust::tlog::merkle::verify_inclusion(index, size, hash, &path, published.root).unwrap();
    }
    // Later the next bundles go, with a leaf of their own.
    let later = self::plan(&world, 17).await.unwrap();
    assert_eq!((later.from, later.below), (768, 1024));
    apply(&world, &calm(), &later).await.unwrap();
    assert_eq!(told(&world).await, ["0..768", "768..1024"]);
}

#[tokio::test]
async fn what_is_pruned_says_so_and_acts_are_still_proven() {
    let world = aged().await;
    let plan = plan(&world, 10).await.unwrap();
    apply(&world, &calm(), &plan).await.unwrap();
    let (_, watched) = watch::channel(Published::default());
    let proofs = Proofs::new(
        world.store.clone(),
        Tiles::new(world.storage(&calm())),
        watched,
        None,
    );
    for index in [255, 700] {
        let answer = proofs.receipt(index).await;
        assert!(matches!(answer, Err(ProofError::Pruned(told)) if told == index));
    }
    let nobody = WitnessPolicy::parse("quorum none\n").unwrap();
    let keys = [VerifierKey::for_log(ORIGIN, &world.key.public()).unwrap()];
    for index in [0, 768] {
        let receipt = proofs.receipt(index).await.unwrap().unwrap();
        let hash = leaf_hash(receipt.leaf.body.as_bytes());
        let proven = receipt.proof.verify(hash, &keys, &nobody);
        assert_eq!(proven.unwrap().index, index as u64);
    }
    // A body that retention did not take is a defect, not retention.
    raw(&world, "DROP TRIGGER log_leaf_no_update").await;
    raw(
        &world,
        "UPDATE log_leaf SET body = '' WHERE idx IN (1, 800)",
    )
    .await;
    for index in [1, 800] {
        let answer = proofs.receipt(index).await;
        assert!(matches!(answer, Err(ProofError::Broken(_))), "{index}");
    }
}

#[tokio::test]
async fn a_clock_that_runs_ahead_makes_nothing_old() {
    let world = aged().await;
    let ahead = plan(&world, 40_000).await.unwrap();
    assert_eq!(ahead.below, 768, "by the clock of the log itself");
    assert!(plan(&world, 1).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_is_not_published_stays() {
    let world = World::new().await;
    signed(&world, "old", NOW, 1_000).await;
    signed(&world, "young", NOW + 10 * DAY, 1).await;
    let none = plan(&world, 10).await.unwrap();
    assert_eq!((none.below, none.is_empty()), (0, true));
    run(&mut world.integrator("one", &calm())).await.unwrap();
    assert!(!plan(&world, 10).await.unwrap().is_empty());
    // Another log's checkpoint in the place of ours.
    let path = Path::from("prefix/checkpoint");
    let other = World::new().await;
    signed(&other, "old", NOW, 1_000).await;
    run(&mut other.integrator("one", &calm())).await.unwrap();
    let stolen = other
        .objects
        .get(&path)
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap();
    world.objects.put(&path, stolen.into()).await.unwrap();
    assert!(matches!(plan(&world, 10).await, Err(Error::NotOurs(_))));
}

#[tokio::test]
async fn what_was_tampered_with_is_not_removed() {
    let world = aged().await;
    raw(&world, "DROP TRIGGER log_leaf_no_update").await;
    let leaf = world.store.leaf(300).await.unwrap().unwrap();
    raw(&world, "UPDATE log_leaf SET body = '{}' WHERE idx = 300").await;
    let refused = plan(&world, 10).await;
    assert!(matches!(refused, Err(Error::Broken { index: 300, .. })));
    let restored = format!("UPDATE log_leaf SET body = '{}' WHERE idx = 300", leaf.body);
    raw(&world, &restored).await;
    plan(&world, 10).await.unwrap();
    // An act without its body, a tile that was exchanged along with its rows, one that is lost.
    raw(&world, "UPDATE log_leaf SET body = '' WHERE idx = 2").await;
    let refused = plan(&world, 10).await;
    assert!(
        matches!(refused, Err(Error::Broken { index: 2, .. })),
        "{refused:?}"
    );

    let world = aged().await;
    let path = Path::from("prefix/tile/0/001");
    let tile = world
        .objects
        .get(&path)
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap();
    let mut bytes = tile.to_vec();
    bytes[8_000] ^= 1;
    world.objects.put(&path, bytes.into()).await.unwrap();
    let refused = plan(&world, 10).await;
    assert!(
        matches!(refused, Err(Error::Broken { index: 256, .. })),
        "{refused:?}"
    );
    world.objects.delete(&path).await.unwrap();
    assert!(matches!(plan(&world, 10).await, Err(Error::Tiles(_))));
}

/// A fault at each call that removes something; then the same command again.
#[tokio::test]
async fn a_run_that_died_is_finished_by_the_next() {
    let bundles = 2;
    for fault in [Fault::Before, Fault::After] {
        for at in 0..bundles {
            let world = aged().await;
            let plan = plan(&world, 10).await.unwrap();
            let died = apply(&world, &Trouble::at_removal(at, fault), &plan).await;
            assert!(matches!(died, Err(Error::Storage(_))), "{died:?}");
            assert_eq!(world.store.tree().await.unwrap().emptied, 0);
            let again = self::plan(&world, 10).await.unwrap();
            assert_eq!((again.bodies, again.below), (plan.bodies, 768));
            apply(&world, &calm(), &again).await.unwrap();
            for bundle in ["001", "002"] {
                assert!(!is_there(&world, &format!("tile/entries/{bundle}")).await);
            }
            assert_eq!(told(&world).await, ["0..768"], "said once");
            assert!(self::plan(&world, 10).await.unwrap().is_empty());
        }
    }
}

/// Partial bundles tell what the whole one told.
#[tokio::test]
async fn partial_bundles_that_were_kept_go_too() {
    let world = aged().await;
    for name in ["001.p/7", "001.p/200", "000.p/3"] {
        let path = Path::from(format!("prefix/tile/entries/{name}"));
        world.objects.put(&path, vec![1].into()).await.unwrap();
    }
    let plan = plan(&world, 10).await.unwrap();
    apply(&world, &calm(), &plan).await.unwrap();
    for (name, there) in [("001.p/7", false), ("001.p/200", false), ("000.p/3", true)] {
        assert_eq!(
            is_there(&world, &format!("tile/entries/{name}")).await,
            there
        );
    }
}

/// Leaves without bodies would give another tile, which would then stand for ever; what is made of other leaves is
/// written again.
#[tokio::test]
async fn a_lost_tile_is_not_made_of_pruned_leaves() {
    let world = aged().await;
    let plan = plan(&world, 10).await.unwrap();
    apply(&world, &calm(), &plan).await.unwrap();
    let lose = async |name: &str| {
        let path = Path::from(format!("prefix/{name}"));
        world.objects.delete(&path).await.unwrap();
    };
    let tree = world.store.tree().await.unwrap();
    let young = format!("tile/0/004.p/{}", tree.size - 1024);
    lose(&young).await;
    run(&mut world.integrator("one", &calm())).await.unwrap();
    assert!(is_there(&world, &young).await);
    let old = "tile/1/000.p/4";
    lose(old).await;
    let refused = world.integrator("one", &calm()).step().await.unwrap_err();
    assert!(refused.is_fatal(), "{refused}");
    assert!(refused.to_string().contains(old), "{refused}");
    assert!(!is_there(&world, old).await);
}

/// What stands under a prefix.
async fn objects(world: &World) -> Vec<(Path, bytes::Bytes)> {
    let listed: Vec<_> = world.objects.list(None).try_collect().await.unwrap();
    let mut all = Vec::new();
    for object in listed {
        let read = world.objects.get(&object.location).await.unwrap();
        all.push((object.location, read.bytes().await.unwrap()));
    }
    all
}

/// The storage is restored from a copy that is older than the prune and than the last leaves.
#[tokio::test]
async fn case_l2_an_older_copy_of_the_tiles_is_completed_from_leaves_that_are_not_pruned() {
    let world = aged().await;
    let copy = objects(&world).await;
    signed(&world, "younger", NOW + 10 * DAY, 700).await;
    run(&mut world.integrator("one", &calm())).await.unwrap();
    let plan = plan(&world, 10).await.unwrap();
    apply(&world, &calm(), &plan).await.unwrap();
    run(&mut world.integrator("one", &calm())).await.unwrap();
    let before = objects(&world).await;
    let size = world.published().await.unwrap().size;
    for (path, _) in &before {
        world.objects.delete(path).await.unwrap();
    }
    for (path, bytes) in &copy {
        world.objects.put(path, bytes.clone().into()).await.unwrap();
    }
    run(&mut world.integrator("one", &calm())).await.unwrap();
    assert_eq!(world.published().await.unwrap().size, size);
    let after: Vec<Path> = objects(&world)
        .await
        .into_iter()
        .map(|(path, _)| path)
        .collect();
    let full = |path: &&Path| !path.as_ref().contains(".p/");
    for (path, _) in &before {
        assert!(!full(&path) || after.contains(path), "{path}");
    }
    let tiles = Tiles::new(world.storage(&calm()));
    tiles.consistency(700, size, size).await.unwrap();

    // Nothing of the copy is left: what has to come back is named.
    for path in after {
        world.objects.delete(&path).await.unwrap();
    }
    let refused = run(&mut world.integrator("two", &calm()))
        .await
        .unwrap_err();
    let why = refused.to_string();
    assert!(refused.is_fatal() && why.contains("tile/0/"), "{why}");
    assert!(why.contains("below 768 are pruned"), "{why}");
}
