//! Files of kept leaves at the next start.

use super::prune::{aged, apply as prune, plan as prune_plan};
use super::trouble::Trouble;
use crate::kept::{hold_against, save, text};

#[tokio::test]
async fn case_l1_what_an_earlier_process_kept_is_held_against_the_database() {
    let world = aged().await;
    let size = world.store.log_size().await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let keeps = |index: i64, body: &str| {
        let leaves = [(index, body.to_owned())];
        save(directory, "one", &text(&leaves, true, "one")).unwrap();
    };
    let there = || directory.join("kept-one").exists();
    let body = world.store.leaf(300).await.unwrap().unwrap().body;

    for (index, body) in [(size, "{}"), (300, "{}")] {
        keeps(index, body);
        let missing = hold_against(&world.store, directory, Some(1_000)).await;
        let why = missing.unwrap().expect("it is missing");
        assert!(why.contains(&format!("leaf {index} was answered")), "{why}");
        assert!(there(), "it is what is left of the leaf");
    }
    keeps(300, &body);
    for published in [None, Some(300)] {
        let found = hold_against(&world.store, directory, published).await;
        assert_eq!(found.unwrap(), None);
        assert!(there(), "not published yet");
    }
    // Its body is gone by retention.
    let plan = prune_plan(&world, 10).await.unwrap();
    prune(&world, &Trouble::at(&[]), &plan).await.unwrap();
    let row = world.store.leaf(300).await.unwrap().unwrap();
    assert_eq!(row.body, "");
    let found = hold_against(&world.store, directory, Some(301)).await;
    assert_eq!(found.unwrap(), None);
    assert!(!there(), "published: nothing is left to keep");
}
