//! The hot path: places, the fence, first answers.

use super::super::*;
use super::place::Place;
use super::world::*;

pub async fn indexes_are_contiguous_from_zero(place: Place) {
    assert_eq!(place.change(Change::Record).await.unwrap(), 0);
    let kid = place.open_ring("atp").await;
    let size = place.store.log_size().await.unwrap();
    let batch: Vec<_> = (0..MAX_BATCH)
        .map(|n| signature(&kid, "atp", &format!("s{n}")))
        .collect();
    let outcomes = place.store.commit_signatures(&batch).await.unwrap();
    for (n, outcome) in outcomes.iter().enumerate() {
        assert_eq!(
            *outcome,
            SignatureOutcome::Committed {
                index: size + n as i64
            }
        );
    }
    assert_eq!(place.store.log_size().await.unwrap(), size + 256);
    let leaves = place.store.leaves(0, 10_000).await.unwrap();
    let indexes: Vec<i64> = leaves.iter().map(|leaf| leaf.index).collect();
    assert_eq!(indexes, (0..size + 256).collect::<Vec<_>>());
    let seventh = place.store.leaf(size + 7).await.unwrap().unwrap();
    assert_eq!(seventh.body, batch[7].leaf.body);
    assert_eq!(seventh.sig_hash, batch[7].leaf.sig_hash);
    assert_eq!((seventh.time, seventh.kind.as_str()), (NOW, "sign"));
    assert_eq!(
        (seventh.ring.as_deref(), seventh.kid),
        (Some("atp"), Some(kid))
    );
}

pub async fn revoked_key_gets_no_leaf_and_leaves_no_gap(place: Place) {
    let first = place.open_ring("atp").await;
    let second = place.open_ring("oauth").await;
    let change = place.revocation("stop", "atp", &first).await;
    place.change(change).await.unwrap();
    let size = place.store.log_size().await.unwrap();
    let batch = [
        signature(&second, "oauth", "a"),
        signature(&first, "atp", "b"),
        signature(&kid("nobody's"), "atp", "c"),
        signature(&second, "oauth", "d"),
    ];
    let outcomes = place.store.commit_signatures(&batch).await.unwrap();
    let expected = [
        SignatureOutcome::Committed { index: size },
        SignatureOutcome::KeyMayNotSign,
        SignatureOutcome::KeyMayNotSign,
        SignatureOutcome::Committed { index: size + 1 },
    ];
    assert_eq!(outcomes, expected);
    assert_eq!(place.store.log_size().await.unwrap(), size + 2);
    assert_eq!(place.change(Change::Record).await.unwrap(), size + 2);
}

/// On SQLite a statement has places for more rows than a group has leaves.
pub async fn groups_of_every_size_get_their_leaves(place: Place) {
    let kid = place.open_ring("atp").await;
    for count in [1, 2, 4, 5, 17, 64, 65, MAX_BATCH] {
        let size = place.store.log_size().await.unwrap();
        let batch: Vec<_> = (0..count)
            .map(|n| signature(&kid, "atp", &format!("{count}-{n}")))
            .collect();
        let outcomes = place.store.commit_signatures(&batch).await.unwrap();
        let placed = (size..).take(count);
        let expected: Vec<_> = placed
            .map(|index| SignatureOutcome::Committed { index })
            .collect();
        assert_eq!(outcomes, expected);
        assert_eq!(place.store.log_size().await.unwrap(), size + count as i64);
        let last = place.store.leaf(size + count as i64 - 1).await.unwrap();
        assert_eq!(last.unwrap().body, batch[count - 1].leaf.body);
    }
}

/// What a group before had inserted is not taken for what this one has.
pub async fn group_of_a_revoked_key_leaves_nothing(place: Place) {
    let revoked = place.open_ring("atp").await;
    let other = place.open_ring("oauth").await;
    let change = place.revocation("stop", "atp", &revoked).await;
    place.change(change).await.unwrap();
    let good = |name: &str| [signature(&other, "oauth", name)];
    place.store.commit_signatures(&good("a")).await.unwrap();
    let size = place.store.log_size().await.unwrap();
    let refused = [signature(&revoked, "atp", "b")];
    let outcomes = place.store.commit_signatures(&refused).await.unwrap();
    assert_eq!(outcomes, [SignatureOutcome::KeyMayNotSign]);
    assert_eq!(place.store.log_size().await.unwrap(), size);
    assert!(place.store.leaf(size).await.unwrap().is_none());
    let outcomes = place.store.commit_signatures(&good("c")).await.unwrap();
    assert_eq!(outcomes, [SignatureOutcome::Committed { index: size }]);
}

pub async fn first_answer_stands(place: Place) {
    let kid = place.open_ring("atp").await;
    let size = place.store.log_size().await.unwrap();
    let mut batch: Vec<_> = (0..4)
        .map(|n| signature(&kid, "atp", &format!("s{n}")))
        .collect();
    batch[0].idempotency = asked("k1", r#"{"signature":"one"}"#);
    batch[2].idempotency = asked("k1", r#"{"signature":"two"}"#);
    let first = IdempotentAnswer {
        request_hash: digest("k1"),
        response: r#"{"signature":"one"}"#.into(),
        index: size,
        time: NOW,
    };
    let outcomes = place.store.commit_signatures(&batch).await.unwrap();
    assert_eq!(outcomes[0], SignatureOutcome::Committed { index: size });
    assert_eq!(outcomes[2], SignatureOutcome::AnsweredBefore(first.clone()));
    assert_eq!(outcomes[3], SignatureOutcome::Committed { index: size + 2 });
    // A later batch, on another replica, for a key that has been revoked meanwhile.
    let change = place.revocation("stop", "atp", &kid).await;
    place.change(change).await.unwrap();
    let mut again = signature(&kid, "atp", "s9");
    again.idempotency = asked("k1", r#"{"signature":"three"}"#);
    let other = [signature(&kid, "atp", "s10"), again];
    let outcomes = place
        .replica()
        .await
        .commit_signatures(&other)
        .await
        .unwrap();
    assert_eq!(outcomes[0], SignatureOutcome::KeyMayNotSign);
    assert_eq!(outcomes[1], SignatureOutcome::AnsweredBefore(first.clone()));
    assert_eq!(
        place.store.idempotent("integrity", "k1").await.unwrap(),
        Some(first)
    );
    assert_eq!(
        place.store.idempotent("somebody", "k1").await.unwrap(),
        None
    );
    assert_eq!(place.store.forget_answers(NOW + 1).await.unwrap(), 1);
    assert_eq!(
        place.store.idempotent("integrity", "k1").await.unwrap(),
        None
    );
}

/// Whoever answers a retry keeps the leaf, although another replica committed it.
pub async fn case_l1_an_answer_is_kept_by_whoever_gives_it(place: Place) {
    let kid = place.open_ring("atp").await;
    let index = place.store.log_size().await.unwrap();
    place.store.covered(index);
    let mut first = signature(&kid, "atp", "s1");
    first.idempotency = asked("k1", r#"{"signature":"one"}"#);
    let body = first.leaf.body.clone();
    place.store.commit_signatures(&[first]).await.unwrap();
    let kept = (index, body);
    assert_eq!(place.store.kept(), std::slice::from_ref(&kept));
    let again = || {
        let mut again = signature(&kid, "atp", "s2");
        again.idempotency = asked("k1", r#"{"signature":"two"}"#);
        [again]
    };
    let (found, late) = (place.replica().await, place.replica().await);
    assert!(found.idempotent("integrity", "k1").await.unwrap().is_some());
    assert_eq!(found.kept(), std::slice::from_ref(&kept));
    late.commit_signatures(&again()).await.unwrap();
    assert_eq!(late.kept(), std::slice::from_ref(&kept));

    // While leaves are missing nothing is answered that may come too late for the file.
    let held = place.replica().await;
    held.hold_back(true);
    let refused = held.idempotent("integrity", "k1").await.unwrap_err();
    assert!(matches!(refused, Error::HeldBack), "{refused}");
    let refused = held.commit_signatures(&again()).await.unwrap_err();
    assert!(matches!(refused, Error::HeldBack), "{refused}");
    let refused = held.commit(&Change::Record, &leaf("admin")).await;
    assert!(matches!(refused, Err(Error::HeldBack)), "{refused:?}");
    held.hold_back(false);
    held.commit(&Change::Record, &leaf("admin")).await.unwrap();

    // What is published is answered with and not kept.
    held.covered(index + 10);
    held.hold_back(true);
    assert!(held.idempotent("integrity", "k1").await.unwrap().is_some());
    assert_eq!(held.kept(), []);
}

pub async fn malformed_leaves_and_batches_are_refused(place: Place) {
    let kid = place.open_ring("atp").await;
    let long = Leaf {
        body: "x".repeat(MAX_LEAF + 1),
        ..leaf("admin")
    };
    let refused = place.store.commit(&Change::Record, &long).await;
    assert!(
        matches!(refused, Err(Error::Malformed { .. })),
        "{refused:?}"
    );
    let unknown = place.store.commit(&Change::Record, &leaf("gossip")).await;
    assert!(
        matches!(unknown, Err(Error::Conflict { .. })),
        "{unknown:?}"
    );
    let by_the_fence = signature(&kid, "atp", "s").leaf;
    let refused = place.store.commit(&Change::Record, &by_the_fence).await;
    assert!(
        matches!(refused, Err(Error::Malformed { .. })),
        "{refused:?}"
    );
    let mut other = signature(&kid, "atp", "s");
    other.leaf.kid = Some(super::world::kid("other"));
    let refused = place.store.commit_signatures(&[other]).await;
    assert!(
        matches!(refused, Err(Error::Malformed { .. })),
        "{refused:?}"
    );
    let many = vec![signature(&kid, "atp", "s"); MAX_BATCH + 1];
    let refused = place.store.commit_signatures(&many).await;
    assert!(
        matches!(refused, Err(Error::Malformed { .. })),
        "{refused:?}"
    );
    assert_eq!(place.store.commit_signatures(&[]).await.unwrap(), []);
}
