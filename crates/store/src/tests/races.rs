//! Several replicas at once.

use std::time::{Duration, Instant};

use super::super::*;
use super::place::Place;
use super::world::*;

/// What the log holds from 0 to its size: every index once, and nothing beyond.
async fn whole_log(store: &Store) -> Vec<LeafRow> {
    let leaves = store.leaves(0, MAX_PAGE).await.unwrap();
    let size = store.log_size().await.unwrap();
    let indexes: Vec<i64> = leaves.iter().map(|leaf| leaf.index).collect();
    assert_eq!(indexes, (0..size).collect::<Vec<_>>());
    leaves
}

pub async fn concurrent_writers_leave_no_gap(place: Place) {
    let kid = place.open_ring("atp").await;
    let mut writers = Vec::new();
    for writer in 0..4 {
        let store = place.replica().await;
        let kid = kid.clone();
        writers.push(tokio::spawn(async move {
            let mut taken = Vec::new();
            for round in 0..8 {
                let mut batch: Vec<_> = (0..1 + round % 3 * 5)
                    .map(|n| signature(&kid, "atp", &format!("{writer}.{round}.{n}")))
                    .collect();
                // One in each batch is refused, so that places are given back.
                batch.push(signature(&super::world::kid("none"), "atp", "x"));
                for (outcome, record) in store
                    .commit_signatures(&batch)
                    .await
                    .unwrap()
                    .into_iter()
                    .zip(batch)
                {
                    if let SignatureOutcome::Committed { index } = outcome {
                        taken.push((index, record.leaf.body));
                    }
                }
                taken.push((
                    store
                        .commit(&Change::Record, &leaf("refusal"))
                        .await
                        .unwrap(),
                    leaf("refusal").body,
                ));
            }
            taken
        }));
    }
    let mut taken = Vec::new();
    for writer in writers {
        taken.extend(writer.await.unwrap());
    }
    let leaves = whole_log(&place.store).await;
    for (index, body) in taken {
        assert_eq!(leaves[index as usize].body, body);
    }
}

/// Invariant 4: after the leaf that tells of the revocation there is no signature by the key.
pub async fn revocation_fences_signatures(place: Place) {
    let kid = place.open_ring("atp").await;
    let revoke = place.revocation("stop", "atp", &kid).await;
    let mut signers = Vec::new();
    for signer in 0..3 {
        let store = place.replica().await;
        let kid = kid.clone();
        signers.push(tokio::spawn(async move {
            let mut released = Vec::new();
            for n in 0.. {
                assert!(n < 5000, "the fence is open");
                let record = signature(&kid, "atp", &format!("{signer}.{n}"));
                match &store.commit_signatures(&[record]).await.unwrap()[..] {
                    [SignatureOutcome::Committed { index }] => released.push(*index),
                    [SignatureOutcome::KeyMayNotSign] => break,
                    other => panic!("{other:?}"),
                }
            }
            released
        }));
    }
    let before = place.store.log_size().await.unwrap();
    while place.store.log_size().await.unwrap() < before + 20 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let revoked = place.change(revoke).await.unwrap();
    let mut released = Vec::new();
    for signer in signers {
        released.extend(signer.await.unwrap());
    }
    assert!(!released.is_empty());
    assert!(released.iter().all(|index| *index < revoked));
    let signed = whole_log(&place.store).await;
    let signed = signed.iter().filter(|leaf| leaf.kind == "sign");
    released.sort();
    assert_eq!(signed.map(|leaf| leaf.index).collect::<Vec<_>>(), released);
}

pub async fn one_of_two_replicas_switches(place: Place) {
    let mut primary = place.open_ring("atp").await;
    for round in 0..6 {
        let mine = place
            .prepared(&format!("mine {round}"), "atp", 2 + 2 * round)
            .await;
        let theirs = place
            .prepared(&format!("theirs {round}"), "atp", 3 + 2 * round)
            .await;
        let expected_version = place.ring_version("atp").await;
        let change = |new: &str| Change::SwitchPrimary {
            ring: "atp".into(),
            expected_version,
            old: Some(primary.clone()),
            new: new.into(),
            at: NOW,
        };
        let replica = place.replica().await;
        let (one, other) = (change(&mine), change(&theirs));
        let leaf = leaf("key");
        let (one, other) = tokio::join!(
            place.store.commit(&one, &leaf),
            replica.commit(&other, &leaf)
        );
        let version = Subject::RingVersion;
        primary = match (one, other) {
            (Ok(_), Err(Error::Conflict { what, .. })) if what == version => mine,
            (Err(Error::Conflict { what, .. }), Ok(_)) if what == version => theirs,
            other => panic!("{other:?}"),
        };
        let keys = place.store.keys().await.unwrap().all().unwrap();
        let primaries: Vec<_> = keys
            .iter()
            .filter(|key| key.status == KeyStatus::Primary)
            .collect();
        assert_eq!(primaries.len(), 1);
        assert_eq!(primaries[0].kid.as_str(), primary);
    }
}

pub async fn one_answer_for_one_idempotency_key(place: Place) {
    let kid = place.open_ring("atp").await;
    for round in 0..10 {
        let replica = place.replica().await;
        let record = |who: &str| {
            let mut record = signature(&kid, "atp", &format!("{who} {round}"));
            record.idempotency = asked(&format!("key {round}"), who);
            [record]
        };
        let (mine, theirs) = (record("mine"), record("theirs"));
        let (one, other) = tokio::join!(
            place.store.commit_signatures(&mine),
            replica.commit_signatures(&theirs)
        );
        let mut outcomes = [one.unwrap().remove(0), other.unwrap().remove(0)];
        outcomes.sort_by_key(|outcome| matches!(outcome, SignatureOutcome::AnsweredBefore(_)));
        match outcomes {
            [
                SignatureOutcome::Committed { index },
                SignatureOutcome::AnsweredBefore(answer),
            ] => {
                assert_eq!(answer.index, index);
            }
            other => panic!("{other:?}"),
        }
    }
    whole_log(&place.store).await;
}

pub async fn replicas_hear_of_a_change(place: Place) {
    let replica = place.replica().await;
    let since = replica.version().await.unwrap();
    let began = Instant::now();
    let same = replica
        .wait_for_change(since, Duration::from_millis(200))
        .await
        .unwrap();
    assert_eq!(same, since);
    assert!(began.elapsed() >= Duration::from_millis(190));

    let waiting = tokio::spawn(async move {
        // Two at once, of which one holds the listener.
        let long = Duration::from_secs(20);
        let second = replica.clone();
        let (one, other) = tokio::join!(
            replica.wait_for_change(since, long),
            second.wait_for_change(since, long)
        );
        (one.unwrap(), other.unwrap(), replica)
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    let began = Instant::now();
    place.ring("atp").await;
    let (one, other, replica) = waiting.await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(10));
    assert_eq!((one, other), (since + 1, since + 1));
    // What has happened before is not waited for; records and signatures are no change.
    assert_eq!(
        replica
            .wait_for_change(since, Duration::from_secs(20))
            .await
            .unwrap(),
        since + 1
    );
    place.change(Change::Record).await.unwrap();
    assert_eq!(replica.version().await.unwrap(), since + 1);
}

/// Whoever drops a call in the middle leaves nothing locked and nothing half done.
pub async fn dropped_calls_leave_nothing_behind(place: Place) {
    let kid = place.open_ring("atp").await;
    for n in 0..60 {
        let record = [signature(&kid, "atp", &format!("s{n}"))];
        let call = place.store.commit_signatures(&record);
        let _ = tokio::time::timeout(Duration::from_micros(100 * n), call).await;
    }
    place.change(Change::Record).await.unwrap();
    whole_log(&place.store).await;
}

pub async fn closed_store_refuses_and_keeps(place: Place) {
    assert_eq!(place.change(Change::Record).await.unwrap(), 0);
    place.store.clone().close().await;
    let refused = place.change(Change::Record).await;
    assert!(
        matches!(refused, Err(Error::Unavailable { .. })),
        "{refused:?}"
    );
    let replica = place.replica().await;
    assert_eq!(whole_log(&replica).await.len(), 1);
}
