//! What must be refused, and what must not.

use std::sync::atomic::Ordering;

use futures_util::TryStreamExt as _;
use object_store::path::Path;
use object_store::{ObjectStore as _, ObjectStoreExt as _};

use super::trouble::Trouble;
use super::world::{World, run};
use crate::integrator::{Error, Step};
use crate::same_database;
use crate::tree_store::INTEGRATOR;

fn calm() -> std::sync::Arc<Trouble> {
    Trouble::at(&[])
}

#[tokio::test]
async fn a_second_integrator_waits_for_the_lease() {
    let world = World::new().await;
    world.sign(10).await;
    let lasting = calm();
    lasting.lasting.store(true, Ordering::Relaxed);
    let mut one = world.integrator("one", &lasting);
    let mut two = world.integrator("two", &lasting);
    run(&mut one).await.unwrap();
    // Whatever its own clock says.
    for _ in 0..3 {
        assert_eq!(two.step().await.unwrap(), Step::Elsewhere);
    }
    world.sign(10).await;
    run(&mut one).await.unwrap();
    world.store.return_lease(INTEGRATOR, "one").await.unwrap();
    run(&mut two).await.unwrap();
    world.holds().await;
}

#[tokio::test]
async fn two_that_both_think_they_hold_the_lease_do_not_fork() {
    let world = World::new().await;
    let mut one = world.integrator("same", &calm());
    let mut two = world.integrator("same", &calm());
    for round in 0..6 {
        world.sign(100).await;
        let (first, second) = tokio::join!(one.step(), two.step());
        for outcome in [first, second] {
            if let Err(error) = outcome {
                assert!(!error.is_fatal(), "round {round}: {error}");
            }
        }
    }
    run(&mut one).await.unwrap();
    world.holds().await;
}

/// A recovery took the log over for another database, and a replica of the old one still runs.
#[tokio::test]
async fn case_l1_a_replica_of_another_database_publishes_nothing() {
    let world = World::new().await;
    world.sign(10).await;
    let old = calm();
    *old.word.lock().unwrap() = "one".to_owned();
    let mut one = world.integrator("one", &old);
    run(&mut one).await.unwrap();
    let published = world.published().await.unwrap();
    let storage = world.storage(&calm());
    same_database::adopt(&storage, "two").await.unwrap();
    world.sign(10).await;
    let refused = run(&mut one).await.unwrap_err();
    assert!(matches!(refused, Error::OtherDatabase), "{refused:?}");
    assert!(refused.is_incomplete());
    assert_eq!(world.published().await.unwrap(), published);
}

/// Yesterday's database, with signatures of its own since.
#[tokio::test]
async fn a_restored_backup_does_not_fork_the_log() {
    let mut world = World::new().await;
    world.sign(50).await;
    run(&mut world.integrator("one", &calm())).await.unwrap();
    let backup = world.backup().await;
    world.sign(50).await;
    run(&mut world.integrator("one", &calm())).await.unwrap();
    let published = world.published().await.unwrap();

    world.restore(&backup).await;
    let refused = world.integrator("one", &calm()).step().await;
    assert!(matches!(refused, Err(Error::Behind { .. })), "{refused:?}");
    world.sign(200).await;
    let refused = run(&mut world.integrator("two", &calm()))
        .await
        .unwrap_err();
    assert!(refused.is_fatal(), "{refused}");
    assert_eq!(world.published().await.unwrap(), published);
}

/// The same, and the published checkpoint is lost with the backup: the tiles are still there.
#[tokio::test]
async fn tiles_of_another_history_are_never_overwritten() {
    let mut world = World::new().await;
    world.sign(50).await;
    run(&mut world.integrator("one", &calm())).await.unwrap();
    let backup = world.backup().await;
    world.sign(300).await;
    run(&mut world.integrator("one", &calm())).await.unwrap();
    world.restore(&backup).await;
    let checkpoint = Path::from("prefix/checkpoint");
    world.objects.delete(&checkpoint).await.unwrap();
    world.sign_others(300).await;
    let mut late = world.integrator("two", &calm());
    let refused = run(&mut late).await.unwrap_err();
    assert!(matches!(refused, Error::Forked { .. }), "{refused:?}");
}

/// One leaf each: no tile of the two histories has the same name.
#[tokio::test]
async fn a_backup_that_signs_more_than_was_lost_does_not_fork_the_log() {
    let mut world = World::new().await;
    world.sign(50).await;
    run(&mut world.integrator("one", &calm())).await.unwrap();
    let backup = world.backup().await;
    world.sign(1).await;
    run(&mut world.integrator("one", &calm())).await.unwrap();
    world.restore(&backup).await;
    let checkpoint = Path::from("prefix/checkpoint");
    world.objects.delete(&checkpoint).await.unwrap();
    let idle = run(&mut world.integrator("two", &calm())).await;
    assert!(matches!(idle, Err(Error::Behind { .. })), "{idle:?}");
    world.sign_others(2).await;
    let refused = run(&mut world.integrator("two", &calm())).await;
    assert!(matches!(refused, Err(Error::Forked { .. })), "{refused:?}");
}

/// Two databases that were one: each checkpoint would be larger than the one before it.
#[tokio::test]
async fn a_cloned_database_cannot_publish_beside_the_first() {
    let mut world = World::new().await;
    world.sign(50).await;
    run(&mut world.integrator("one", &calm())).await.unwrap();
    let clone = world.backup().await;
    let mut other = World::new().await;
    (other.objects, other.key) = (world.objects.clone(), world.key.clone());
    other.restore(&clone).await;
    let mut one = world.integrator("one", &calm());
    let mut two = other.integrator("two", &calm());
    run(&mut two).await.unwrap();
    world.sign(1).await;
    run(&mut one).await.unwrap();
    other.sign_others(2).await;
    let refused = run(&mut two).await.unwrap_err();
    assert!(refused.is_fatal(), "{refused}");
    assert_eq!(
        world.published().await.unwrap().size as i64,
        world.store.log_size().await.unwrap()
    );
}

#[tokio::test]
async fn a_lost_tile_is_written_again_and_a_garbled_one_is_refused() {
    let world = World::new().await;
    world.sign(700).await;
    run(&mut world.integrator("one", &calm())).await.unwrap();
    let size = world.store.log_size().await.unwrap();
    let edge = Path::from(format!("prefix/tile/0/002.p/{}", size - 512));
    world.objects.delete(&edge).await.unwrap();
    world.sign(1).await;
    run(&mut world.integrator("one", &calm())).await.unwrap();
    world.holds().await;

    let edge = Path::from(format!("prefix/tile/0/002.p/{}", size + 1 - 512));
    let mut bytes = world
        .objects
        .get(&edge)
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap()
        .to_vec();
    bytes[5] ^= 1;
    world.objects.put(&edge, bytes.into()).await.unwrap();
    let refused = world.integrator("one", &calm()).step().await.unwrap_err();
    assert!(matches!(refused, Error::Forked { .. }), "{refused}");
}

#[tokio::test]
async fn a_checkpoint_by_somebody_else_is_refused() {
    let world = World::new().await;
    world.sign(5).await;
    run(&mut world.integrator("one", &calm())).await.unwrap();
    let checkpoint = Path::from("prefix/checkpoint");
    let note = "log.example/log\n5\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n\u{2014} log.example/log AAAAAAAA\n";
    world.objects.put(&checkpoint, note.into()).await.unwrap();
    let refused = world.integrator("one", &calm()).step().await.unwrap_err();
    assert!(matches!(refused, Error::NotOurs(_)), "{refused}");
}

#[tokio::test]
async fn partial_tiles_go_when_the_full_ones_are_there() {
    let world = World::new().await;
    let mut integrator = world.integrator("one", &calm());
    for _ in 0..6 {
        world.sign(100).await;
        run(&mut integrator).await.unwrap();
    }
    let all: Vec<String> = {
        use futures_util::TryStreamExt as _;
        use object_store::ObjectStore as _;
        let listed = world.objects.list(None);
        let found: Vec<_> = listed.try_collect().await.unwrap();
        found
            .into_iter()
            .map(|meta| meta.location.to_string())
            .collect()
    };
    let stale = |path: &&String| path.contains("/000.p/") && !path.contains("tile/1/");
    assert_eq!(all.iter().filter(stale).count(), 0, "{all:?}");
    world.holds().await;
}

/// The fence: a revoked log key's checkpoint is never recorded, so never published.
#[tokio::test]
async fn a_checkpoint_of_a_revoked_key_is_not_published() {
    let world = World::new().await;
    world.sign(5).await;
    let mut integrator = world.integrator("one", &calm());
    run(&mut integrator).await.unwrap();
    world.revoke_log_key().await;
    let before = world.published().await;
    let refused = run(&mut integrator).await.unwrap_err();
    assert!(
        matches!(&refused, Error::Store(error) if error.is_conflict()),
        "{refused}"
    );
    assert_eq!(world.published().await, before);
}

#[tokio::test]
async fn case_a8_a_replica_that_was_stopped_does_not_take_the_database_for_an_old_one() {
    let world = World::new().await;
    let mut one = world.integrator("one", &calm());
    world.sign(300).await;
    run(&mut one).await.unwrap();
    let old = world.store.tree().await.unwrap();
    let shown = world.store.last_checkpoint().await.unwrap().unwrap();
    world.sign(400).await;
    run(&mut one).await.unwrap();
    // It read the tree and was stopped; meanwhile the other one went on.
    let trouble = calm();
    let mut two = world.integrator("two", &trouble);
    *trouble.old_tree.lock().unwrap() = Some(old.clone());
    two.inspect().await.unwrap();
    // The same where no checkpoint tells: tiles that are missing for the old row are not made anew.
    let published = Path::from("prefix/checkpoint");
    world.objects.delete(&published).await.unwrap();
    *trouble.old_tree.lock().unwrap() = Some(old);
    two.inspect().await.unwrap();
    run(&mut one).await.unwrap();
    // A checkpoint that was read before another one was published is not shown, and nobody is alarmed.
    run(&mut world.integrator("one", &calm())).await.unwrap();
    let error = two.show(&shown).await.unwrap_err();
    assert!(!error.is_fatal(), "{error}");
    world.holds().await;
}

#[tokio::test]
async fn case_a9_partial_tiles_of_an_earlier_process_go() {
    let world = World::new().await;
    for _ in 0..6 {
        world.sign(50).await;
        // Each step is a process of its own, which remembers nothing of those before.
        run(&mut world.integrator("one", &calm())).await.unwrap();
    }
    world.sign(1).await;
    run(&mut world.integrator("one", &calm())).await.unwrap();
    let covered = |path: &Path| {
        let path = path.as_ref();
        path.contains("tile/0/000.p/") || path.contains("tile/entries/000.p/")
    };
    let end = std::time::Instant::now() + std::time::Duration::from_secs(30);
    loop {
        let all: Vec<_> = world.objects.list(None).try_collect().await.unwrap();
        let all: Vec<Path> = all.into_iter().map(|meta| meta.location).collect();
        if !all.iter().any(covered) {
            let partial = |path: &&Path| path.as_ref().contains(".p/");
            assert!(all.iter().any(|path| partial(&path)), "others stay");
            break;
        }
        assert!(std::time::Instant::now() < end, "{all:?}");
        tokio::task::yield_now().await;
    }
    world.holds().await;
}
