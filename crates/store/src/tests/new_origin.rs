//! A new origin of the log: one transaction, and no other way to it.

use trust::{Sha256Digest, Time};

use super::super::*;
use super::place::Place;
use super::world::*;

const OLD: &str = "keys.example/log";
const NEW: &str = "keys.example/log-2";

fn root(size: i64) -> Sha256Digest {
    digest(&format!("root of {size}")).parse().unwrap()
}

/// A log of six leaves and more, of which the tree has four.
async fn log(place: &Place) -> i64 {
    let kid = place.open_ring("log").await;
    let batch: Vec<_> = (0..6)
        .map(|n| signature(&kid, "log", &format!("s{n}")))
        .collect();
    place.store.commit_signatures(&batch).await.unwrap();
    let old = place.store.tree().await.unwrap();
    let tree = TreeRow {
        size: 4,
        root: root(4),
        origin: OLD.to_owned(),
        ..old.clone()
    };
    assert!(place.store.swap_tree(&old, &tree).await.unwrap());
    let row = CheckpointRow {
        size: 4,
        root: root(4),
        time: Time::from_millis(NOW),
        clock: tree.clock,
        kid: kid.parse().unwrap(),
        note: format!("{OLD}\n4\n"),
        cosignatures: String::new(),
    };
    place.store.add_checkpoint(&row).await.unwrap();
    place.store.log_size().await.unwrap()
}

fn begin(size: i64) -> BeginOrigin {
    BeginOrigin {
        row: CeremonyRow {
            state: CeremonyState::Closed,
            execution: Some(vec![1]),
            transcript: Some(vec![2]),
            ..ceremony("new", "new-origin", None)
        },
        lines: vec![line("log", 1)],
        previous_origin: OLD.to_owned(),
        origin: NEW.to_owned(),
        size,
        root: root(size),
        clock: Time::from_millis(NOW + 9),
        at: NOW,
    }
}

fn told(begin: &BeginOrigin) -> Leaf {
    let (size, origin, id) = (begin.size, &begin.origin, begin.row.id);
    let body = format!(
        r#"{{"action":"new-origin","first":{size},"kind":"log","origin":"{origin}","ref":"{id}","v":1}}"#
    );
    Leaf {
        body,
        ..leaf("log")
    }
}

async fn commit(place: &Place, begin: &BeginOrigin, leaf: &Leaf) -> Result<i64, Error> {
    let change = Change::BeginOrigin(Box::new(begin.clone()));
    place.store.commit(&change, leaf).await
}

pub async fn case_l2_origin_begins_once_with_all_of_its_ceremony(place: Place) {
    let size = log(&place).await;
    let before = place.store.tree().await.unwrap();
    // Not the leaves that there are; not the origin that it is; a ceremony that has not ended, or of something else.
    let good = begin(size);
    let mut wrong = vec![
        begin(size - 1),
        begin(size + 1),
        BeginOrigin {
            previous_origin: "other".into(),
            ..good.clone()
        },
        BeginOrigin {
            lines: vec![line("log", 2)],
            ..good.clone()
        },
    ];
    let mut row = good.row.clone();
    row.transcript = None;
    wrong.push(BeginOrigin {
        row: row.clone(),
        ..good.clone()
    });
    row = CeremonyRow {
        operation: "clock-correction".parse().unwrap(),
        ..good.row.clone()
    };
    wrong.push(BeginOrigin {
        row,
        ..good.clone()
    });
    for wrong in &wrong {
        let refused = commit(&place, wrong, &told(wrong)).await.unwrap_err();
        assert!(
            refused.is_conflict() || matches!(refused, Error::Malformed { .. }),
            "{refused:?}"
        );
    }
    // The leaf has to tell of it.
    let mut leaves = vec![leaf("ceremony"), told(&begin(size - 1))];
    let mut other = told(&good);
    other.body = other.body.replace(NEW, "elsewhere");
    leaves.push(other);
    let mut other = told(&good);
    other.body = other.body.replace("\"new-origin\"", "\"other\"");
    leaves.push(other);
    for leaf in &leaves {
        assert!(commit(&place, &good, leaf).await.is_err(), "{leaf:?}");
    }
    let refused = commit(&place, &begin(size + 1), &told(&good)).await;
    let why = refused.unwrap_err().to_string();
    assert!(why.contains("the number of leaves in the log"), "{why}");
    assert_eq!(place.store.log_size().await.unwrap(), size);
    assert_eq!(place.store.tree().await.unwrap(), before);
    assert_eq!(place.store.ceremony(&digest("new")).await.unwrap(), None);

    assert_eq!(commit(&place, &good, &told(&good)).await.unwrap(), size);
    let tree = place.store.tree().await.unwrap();
    let now = (tree.size, tree.root, tree.origin.as_str(), tree.clock);
    assert_eq!(now, (size, root(size), NEW, Time::from_millis(NOW + 9)));
    let row = place.ceremony("new").await;
    assert_eq!(row.state, CeremonyState::Closed);
    assert_eq!(
        (row.execution, row.transcript),
        (Some(vec![1]), Some(vec![2]))
    );
    let head = place.store.line_head("log").await.unwrap().unwrap();
    assert_eq!((head.seq, head.ceremony), (1, digest("new")));
    // What was signed before is not the log's last word, and still covers what it covered.
    assert_eq!(place.store.last_checkpoint().await.unwrap(), None);
    let covers = place.store.checkpoint_over(2).await.unwrap();
    assert_eq!(covers.map(|row| row.size), Some(4));
    for again in [begin(size), begin(size + 1)] {
        assert!(commit(&place, &again, &told(&again)).await.is_err());
    }
    assert_eq!(place.store.log_size().await.unwrap(), size + 1);
}

pub async fn case_l2_no_hand_gives_the_log_another_origin(place: Place) {
    let size = log(&place).await;
    let by_hand = [
        "UPDATE log_tree SET origin = 'x'",
        "UPDATE log_tree SET origin = 'x', size = (SELECT size - 1 FROM log_head)",
    ];
    for sql in by_hand {
        place.refuses(sql).await;
    }
    // A leaf that no closed ceremony stands behind.
    let alone = place
        .store
        .commit(&Change::Record, &told(&begin(size)))
        .await;
    alone.unwrap();
    place
        .refuses("UPDATE log_tree SET origin = 'keys.example/log-2', size = (SELECT size - 1 FROM log_head)")
        .await;
    let good = begin(size + 1);
    commit(&place, &good, &told(&good)).await.unwrap();
    for sql in by_hand {
        place.refuses(sql).await;
    }
    place
        .refuses("UPDATE log_tree SET origin = 'keys.example/log'")
        .await;
}
