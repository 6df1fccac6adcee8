//! The tree's row, checkpoints, and what retention may take.

use trust::Time;

use std::time::Duration;

use super::super::*;
use super::place::Place;
use super::world::*;

/// The tree after leaves `0..size`, with a root that stands for it.
fn grown(from: &TreeRow, size: i64) -> TreeRow {
    TreeRow {
        size,
        root: digest(&format!("root of {size}")).parse().unwrap(),
        clock: Time::from_millis(NOW + size),
        origin: "keys.example/log".into(),
        ..from.clone()
    }
}

fn checkpoint(tree: &TreeRow, kid: &str) -> CheckpointRow {
    CheckpointRow {
        size: tree.size,
        root: tree.root,
        time: Time::from_millis(NOW),
        clock: tree.clock,
        kid: kid.parse().unwrap(),
        note: format!("{}\n{}\n", tree.origin, tree.size),
        cosignatures: String::new(),
    }
}

impl Place {
    async fn swapped(&self, size: i64) -> TreeRow {
        let old = self.store.tree().await.unwrap();
        let new = grown(&old, size);
        assert!(self.store.swap_tree(&old, &new).await.unwrap());
        let stands = self.store.tree().await.unwrap();
        assert_eq!(stands, new);
        stands
    }

    /// Signatures until the log has `size` leaves.
    async fn filled(&self, kid: &str, size: i64) {
        let now = self.store.log_size().await.unwrap();
        let batch: Vec<_> = (now..size)
            .map(|n| signature(kid, "log", &format!("s{n}")))
            .collect();
        for part in batch.chunks(MAX_BATCH) {
            self.store.commit_signatures(part).await.unwrap();
        }
    }

    async fn prune(&self, below: i64) -> Result<i64, Error> {
        self.change(Change::Prune { below }).await
    }

    /// Bodies of signatures that are gone, and of acts.
    async fn gone(&self) -> (Vec<i64>, Vec<i64>) {
        let leaves = self.store.leaves(0, MAX_PAGE).await.unwrap();
        let gone = leaves.iter().filter(|leaf| leaf.body.is_empty());
        let (signatures, acts): (Vec<_>, Vec<_>) = gone.partition(|leaf| leaf.kind == "sign");
        let indexes = |leaves: Vec<&LeafRow>| leaves.into_iter().map(|leaf| leaf.index).collect();
        (indexes(signatures), indexes(acts))
    }
}

/// By the database's clock: what the holders' clocks say is not asked.
pub async fn case_v1_one_integrator_at_a_time(place: Place) {
    const LONG: Duration = Duration::from_secs(3_600);
    let (store, other) = (&place.store, place.replica().await);
    let take = async |store: &Store, name, holder, time| store.lease(name, holder, time).await;
    let (now, _) = store.look().await.unwrap();
    assert!(take(store, "integrator", "a", LONG).await.unwrap());
    assert!(!take(&other, "integrator", "b", LONG).await.unwrap());
    // Renewed by its holder, to another end.
    assert!(take(store, "integrator", "a", LONG / 2).await.unwrap());
    assert!(!take(&other, "integrator", "b", LONG).await.unwrap());
    let until = |least: i64, most: i64| {
        format!(
            "UPDATE lease SET until = 1 WHERE name = 'integrator' AND holder = 'a'
            AND until BETWEEN {} AND {}",
            now + least,
            now + most
        )
    };
    let half = 1_800_000;
    assert_eq!(place.raw(&until(half, half + 60_000)).await.unwrap(), 1);
    // It has run out.
    assert!(take(&other, "integrator", "b", LONG).await.unwrap());
    assert!(!take(store, "integrator", "a", LONG).await.unwrap());
    // Of another name it is another lease.
    assert!(take(store, "jobs", "a", LONG).await.unwrap());
    // Whoever does not hold it gives nothing back; its holder does, and the next need not wait.
    assert!(!store.return_lease("integrator", "a").await.unwrap());
    assert!(!take(store, "integrator", "a", LONG).await.unwrap());
    assert!(other.return_lease("integrator", "b").await.unwrap());
    assert!(!other.return_lease("integrator", "b").await.unwrap());
    assert!(
        take(store, "integrator", "a", Duration::ZERO)
            .await
            .unwrap()
    );
    assert!(take(&other, "integrator", "b", LONG).await.unwrap());
    // One of a clock that ran far ahead does not hold for ever.
    let short = Duration::from_secs(60);
    assert!(take(store, "integrator", "a", short).await.unwrap());
    assert!(store.return_lease("integrator", "a").await.unwrap());
    let (one, two) = tokio::join!(
        take(store, "integrator", "c", LONG),
        take(&other, "integrator", "d", LONG)
    );
    assert!(one.unwrap() ^ two.unwrap(), "one of two");
}

pub async fn tree_is_swapped_from_what_it_was(place: Place) {
    place.open_ring("log").await;
    let empty = place.store.tree().await.unwrap();
    let root = trust::tlog::merkle::empty_root();
    assert_eq!((empty.size, empty.root), (0, root));
    let (three, four) = (grown(&empty, 3), grown(&empty, 4));
    let other = place.replica().await;
    let (one, two) = tokio::join!(
        place.store.swap_tree(&empty, &three),
        other.swap_tree(&empty, &four)
    );
    let (one, two) = (one.unwrap(), two.unwrap());
    assert!(one ^ two, "one of two");
    let stands = place.store.tree().await.unwrap();
    assert_eq!(stands, if one { three } else { four });
    // Planned on another root of the same size, and on the past.
    let imagined = TreeRow {
        root: digest("another").parse().unwrap(),
        ..stands.clone()
    };
    let next = grown(&stands, 5);
    assert!(!other.swap_tree(&imagined, &next).await.unwrap());
    assert!(!other.swap_tree(&empty, &next).await.unwrap());
    assert!(other.swap_tree(&stands, &next).await.unwrap());
}

pub async fn tree_only_grows(place: Place) {
    place.open_ring("log").await;
    let tree = place.swapped(4).await;
    let smaller = grown(&tree, 3);
    let refused = place.store.swap_tree(&tree, &smaller).await;
    assert!(refused.unwrap_err().is_conflict());
    let size = place.store.log_size().await.unwrap();
    let beyond = place.store.swap_tree(&tree, &grown(&tree, size + 1)).await;
    assert!(beyond.unwrap_err().is_conflict());
    for sql in [
        "UPDATE log_tree SET size = 3",
        "UPDATE log_tree SET size = 99",
        "UPDATE log_tree SET clock = clock - 1",
        "UPDATE log_tree SET origin = 'elsewhere/log'",
        "UPDATE log_tree SET pruned = 5",
        "UPDATE log_tree SET pruned = -1",
        "DELETE FROM log_tree",
        "INSERT INTO log_tree SELECT * FROM log_tree",
    ] {
        place.refuses(sql).await;
    }
    let rewritten = format!("UPDATE log_tree SET root = '{}'", digest("another"));
    place.refuses(&rewritten).await;
    assert_eq!(place.store.tree().await.unwrap(), tree);
}

pub async fn checkpoint_is_of_the_tree_and_by_a_key_that_signs(place: Place) {
    let kid = place.open_ring("log").await;
    let standby = place.prepared("log-2", "log", 2).await;
    let tree = place.swapped(4).await;
    let row = checkpoint(&tree, &kid);
    for by in [&standby, &super::world::kid("nobody")] {
        let refused = place.store.add_checkpoint(&checkpoint(&tree, by)).await;
        let refused = refused.unwrap_err();
        assert!(
            matches!(
                refused,
                Error::Conflict {
                    what: Subject::KeyState,
                    ..
                }
            ),
            "{refused:?}"
        );
    }
    let unswapped = checkpoint(&grown(&tree, 5), &kid);
    let unswapped = place.store.add_checkpoint(&unswapped).await;
    assert!(unswapped.unwrap_err().is_conflict());
    assert_eq!(place.store.last_checkpoint().await.unwrap(), None);

    assert_eq!(place.store.add_checkpoint(&row).await.unwrap(), row);
    // Another replica signed the same tree a moment later: the first one stands.
    let second = CheckpointRow {
        note: "another note\n".into(),
        ..row.clone()
    };
    let other = place.replica().await;
    assert_eq!(other.add_checkpoint(&second).await.unwrap(), row);
    for sql in [
        "UPDATE log_checkpoint SET note = ''",
        "UPDATE log_checkpoint SET time = 0",
        "UPDATE log_checkpoint SET size = size + 1",
        "DELETE FROM log_checkpoint",
        "INSERT INTO log_checkpoint SELECT * FROM log_checkpoint",
    ] {
        place.refuses(sql).await;
    }
}

pub async fn revoked_log_key_signs_no_checkpoint(place: Place) {
    let kid = place.open_ring("log").await;
    let tree = place.swapped(4).await;
    let revoke = place.revocation("stop", "log", &kid).await;
    place.change(revoke).await.unwrap();
    let refused = place.store.add_checkpoint(&checkpoint(&tree, &kid)).await;
    assert!(refused.unwrap_err().is_conflict());
    assert_eq!(place.store.last_checkpoint().await.unwrap(), None);
}

pub async fn cosignatures_are_added_to_what_was_read(place: Place) {
    let kid = place.open_ring("log").await;
    let tree = place.swapped(4).await;
    let row = checkpoint(&tree, &kid);
    place.store.add_checkpoint(&row).await.unwrap();
    let other = place.replica().await;
    let (one, two) = tokio::join!(
        place.store.cosign(4, "", "one\n"),
        other.cosign(4, "", "two\n")
    );
    let (one, two) = (one.unwrap(), two.unwrap());
    assert!(one ^ two, "one of two");
    let (known, all) = match one {
        true => ("one\n", "one\ntwo\n"),
        false => ("two\n", "two\none\n"),
    };
    assert!(other.cosign(4, known, all).await.unwrap());
    let stands = other.last_checkpoint().await.unwrap().unwrap();
    assert_eq!(stands.signed(), format!("keys.example/log\n4\n{all}"));
    // Of no checkpoint; and taken away again.
    assert!(!other.cosign(3, "", "x").await.unwrap());
    let shorter = other.cosign(4, all, known).await;
    assert!(shorter.unwrap_err().is_conflict());
    place
        .refuses("UPDATE log_checkpoint SET cosignatures = ''")
        .await;
}

pub async fn checkpoints_are_found_by_what_they_cover(place: Place) {
    let kid = place.open_ring("log").await;
    for size in [2, 4, 6] {
        let tree = place.swapped(size).await;
        let row = checkpoint(&tree, &kid);
        place.store.add_checkpoint(&row).await.unwrap();
    }
    let store = &place.store;
    let size = |row: Option<CheckpointRow>| row.map(|row| row.size);
    for (index, over, before) in [
        (0, Some(2), None),
        (1, Some(2), None),
        (2, Some(4), Some(2)),
        (5, Some(6), Some(4)),
        (6, None, Some(6)),
    ] {
        assert_eq!(size(store.checkpoint_over(index).await.unwrap()), over);
        assert_eq!(size(store.checkpoint_before(index).await.unwrap()), before);
    }
    let page = store.checkpoints(3, 1).await.unwrap();
    assert_eq!(page.iter().map(|row| row.size).collect::<Vec<_>>(), [4]);
}

pub async fn bodies_of_old_signatures_may_go(place: Place) {
    let kid = place.open_ring("log").await;
    let acts = place.store.log_size().await.unwrap();
    place.filled(&kid, acts + 10).await;
    place.swapped(acts + 8).await;
    assert_eq!(place.store.tree().await.unwrap().emptied, 0);
    // Nothing is allowed yet, and of what is not in the tree nothing ever is.
    assert_eq!(place.store.prune().await.unwrap(), 0);
    let beyond = place.prune(acts + 9).await;
    assert!(
        matches!(
            beyond,
            Err(Error::Conflict {
                what: Subject::Tree,
                ..
            })
        ),
        "{beyond:?}"
    );
    let size = place.store.log_size().await.unwrap();
    assert_eq!(place.prune(acts + 3).await.unwrap(), size, "it has a leaf");
    assert_eq!(place.store.tree().await.unwrap().pruned, acts + 3);
    assert_eq!(place.store.prune().await.unwrap(), 3);
    let gone: Vec<i64> = (acts..acts + 3).collect();
    assert_eq!(place.gone().await, (gone, Vec::new()));
    assert_eq!(place.store.prune().await.unwrap(), 0);
    assert_eq!(place.store.tree().await.unwrap().emptied, acts + 3);
    // The mark does not go back, and what it was set to is not set again.
    for below in [acts + 3, acts, 0] {
        assert!(place.prune(below).await.unwrap_err().is_conflict());
    }
    // What is left of a signature is found as before.
    let hashes = [digest(&format!("s{acts}"))];
    let found = place.store.occurrences(&hashes).await.unwrap();
    assert_eq!(found[0].index, acts);
}

pub async fn nothing_else_of_a_leaf_may_change(place: Place) {
    let kid = place.open_ring("log").await;
    let acts = place.store.log_size().await.unwrap();
    place.filled(&kid, acts + 4).await;
    place.swapped(acts + 4).await;
    place.prune(acts + 2).await.unwrap();
    let signature = format!("WHERE idx = {acts}");
    for set in [
        "body = '{}'",
        "body = ' '",
        "body = '', time = time - 1",
        "body = '', kind = 'admin', sig_hash = NULL",
        "body = '', ring = 'atp'",
        "body = '', kid = 'x'",
        "body = '', idx = 9999",
        "time = 0",
    ] {
        let sql = format!("UPDATE log_leaf SET {set} {signature}");
        place.refuses(&sql).await;
    }
    let other = format!(
        "UPDATE log_leaf SET body = '', sig_hash = '{}'",
        digest("x")
    );
    place.refuses(&format!("{other} {signature}")).await;
    place
        .refuses(&format!("DELETE FROM log_leaf {signature}"))
        .await;
    // From the mark on, and acts wherever they are.
    for (sql, index) in [("'sign'", acts + 2), ("'sign'", acts + 3)] {
        let sql = format!("UPDATE log_leaf SET body = '' WHERE idx = {index} AND kind = {sql}");
        place.refuses(&sql).await;
    }
    place
        .refuses("UPDATE log_leaf SET body = '' WHERE idx = 0")
        .await;
    place
        .refuses("UPDATE log_leaf SET body = '' WHERE kind <> 'sign'")
        .await;
    assert_eq!(place.gone().await, (Vec::new(), Vec::new()));
    let allowed = format!("UPDATE log_leaf SET body = '' {signature}");
    assert_eq!(place.raw(&allowed).await.unwrap(), 1);
    // Gone is gone.
    let back = format!("UPDATE log_leaf SET body = '{{}}' {signature}");
    place.refuses(&back).await;
}

/// The mark was set, and the process died; or it died between two pages.
pub async fn pruning_goes_on_where_it_died(place: Place) {
    let kid = place.open_ring("log").await;
    let acts = place.store.log_size().await.unwrap();
    place.filled(&kid, acts + 6).await;
    place.swapped(acts + 6).await;
    place.prune(acts + 4).await.unwrap();
    let one = format!("UPDATE log_leaf SET body = '' WHERE idx = {acts}");
    place.raw(&one).await.unwrap();
    assert_eq!(place.store.tree().await.unwrap().emptied, 0);
    assert_eq!(place.store.prune().await.unwrap(), 3);
    assert_eq!(place.store.tree().await.unwrap().emptied, acts + 4);
    place
        .refuses("UPDATE log_tree SET emptied = emptied - 1")
        .await;
    place
        .refuses("UPDATE log_tree SET emptied = pruned + 1")
        .await;
    let gone: Vec<i64> = (acts..acts + 4).collect();
    assert_eq!(place.gone().await, (gone, Vec::new()));
}
