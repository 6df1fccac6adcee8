//! What a key has signed is counted wherever the counts stand.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use super::super::*;
use super::index::Numbers;
use super::place::Place;
use super::world::*;

const DAY: i64 = 86_400_000;

/// By reading every leaf.
async fn by_hand(store: &Store, kid: &str, since: i64) -> Vec<DayRow> {
    let mut days = BTreeMap::new();
    for leaf in store.leaves(0, MAX_PAGE).await.unwrap() {
        if leaf.kind != "sign" || leaf.kid.as_deref() != Some(kid) || leaf.time < since {
            continue;
        }
        let day = days.entry(leaf.time / DAY).or_insert(DayRow {
            day: leaf.time / DAY,
            signatures: 0,
            first_index: leaf.index,
            last_index: leaf.index,
            first_time: leaf.time,
            last_time: leaf.time,
        });
        day.signatures += 1;
        day.last_index = leaf.index;
        day.first_time = day.first_time.min(leaf.time);
        day.last_time = day.last_time.max(leaf.time);
    }
    days.into_values().collect()
}

/// Two keys, clocks that differ, midnights that pass.
pub async fn case_s3_counts_by_day_are_those_of_the_leaves(place: Place) {
    let kids = [place.open_ring("atp").await, place.open_ring("oauth").await];
    let start = place.store.log_size().await.unwrap();
    let mut numbers = Numbers(11);
    let mut now = NOW / DAY * DAY + DAY - 40_000;
    for round in 0..40 {
        let batch: Vec<_> = (0..numbers.below(12))
            .map(|n| {
                let ring = numbers.below(3).min(1) as usize;
                let name = format!("{round}.{n}");
                let mut record = signature(&kids[ring], ["atp", "oauth"][ring], &name);
                now += numbers.below(3_000) as i64;
                record.leaf.time = now - numbers.below(9_000) as i64;
                record
            })
            .collect();
        place.store.commit_signatures(&batch).await.unwrap();
        if round == 25 {
            now += DAY;
        }
        if numbers.below(3) == 0 {
            place.change(Change::Record).await.unwrap();
        }
        let before = place.store.uncounted().await.unwrap();
        let asked = (numbers.below(20) as i64 - 2).max(before - 40);
        let done = place.store.count_signatures(asked).await.unwrap();
        assert_eq!(done, asked.clamp(0, before), "round {round}");
        for kid in &kids {
            for since in [0, now - 90_000, now - 5_000, now - 3 * DAY / 2, now + 1] {
                assert_eq!(
                    place.store.signatures_by_day(kid, since).await.unwrap(),
                    by_hand(&place.store, kid, since).await,
                    "round {round}, since {since}"
                );
            }
        }
    }
    while place.store.count_signatures(i64::MAX).await.unwrap() > 0 {}
    assert_eq!(place.store.uncounted().await.unwrap(), 0);
    // The key's pages hold what was counted, and no page reads more leaves than it returns.
    let counted = place.store.signatures_by_day(&kids[0], 0).await.unwrap();
    let (mut from, mut listed) = (start, 0);
    loop {
        let page = place.store.leaves_of_key(&kids[0], from, 7).await.unwrap();
        listed += page.len() as i64;
        match page.last() {
            Some(last) => from = last.index + 1,
            None => break,
        }
    }
    let signatures: i64 = counted.iter().map(|day| day.signatures).sum();
    assert_eq!(listed, signatures);
}

/// Rather no answer than one that reads through a log that nobody counted.
pub async fn case_s3_a_log_that_is_not_counted_is_not_read_through(place: Place) {
    let kid = place.open_ring("atp").await;
    let batch: Vec<_> = (0..100)
        .map(|n| signature(&kid, "atp", &format!("s{n}")))
        .collect();
    place.store.commit_signatures(&batch).await.unwrap();
    let waiting = place.store.uncounted().await.unwrap();
    let refused = place.store.signatures_by_day(&kid, 0).await.unwrap_err();
    assert!(refused.is_transient(), "{refused:?}");
    assert!(matches!(refused, Error::Uncounted { leaves } if leaves == waiting));
    place.store.count_signatures(waiting - 10).await.unwrap();
    let counted = place.store.signatures_by_day(&kid, 0).await.unwrap();
    assert_eq!(counted.iter().map(|day| day.signatures).sum::<i64>(), 100);
}

/// Two replicas count at once, and are cut off now and then; each leaf is counted once.
pub async fn signatures_are_counted_once(place: Place) {
    let kid = place.open_ring("atp").await;
    for n in 0..10 {
        let batch: Vec<_> = (0..20)
            .map(|m| signature(&kid, "atp", &format!("{n}.{m}")))
            .collect();
        place.store.commit_signatures(&batch).await.unwrap();
    }
    let counters = (0..2).map(async |_| {
        let store = place.replica().await;
        for round in 0_u64.. {
            let work = store.count_signatures(5 + round as i64 % 3);
            if round % 3 == 1 {
                // Dropped half way: as if the process had died there.
                let limit = std::time::Duration::from_micros(300 * (round % 20));
                let _ = tokio::time::timeout(limit, work).await;
                continue;
            }
            work.await.unwrap();
            if store.uncounted().await.unwrap() == 0 {
                break;
            }
        }
    });
    let counters: Vec<_> = counters.collect();
    let [one, two] = <[_; 2]>::try_from(counters).unwrap_or_else(|_| panic!());
    tokio::join!(one, two);
    assert_eq!(
        place.store.signatures_by_day(&kid, 0).await.unwrap(),
        by_hand(&place.store, &kid, 0).await
    );
}

/// Where the replica that signs is ahead of who ends the key: nothing that stands in the log is of after
/// its end, and a leaf that comes between the plan and the head is counted as well.
pub async fn case_s10_the_instant_is_decided_under_the_head(place: Place) {
    let kid = place.open_ring("atp").await;
    let leaf_at = |at: i64| Leaf {
        time: at,
        ..leaf("admin")
    };
    for n in 0..20 {
        let mut record = signature(&kid, "atp", &format!("s{n}"));
        record.leaf.time = NOW + 5_000 + n % 7;
        place.store.commit_signatures(&[record]).await.unwrap();
    }
    let (store, signed) = (place.replica().await, AtomicBool::new(false));
    let make = |at: i64| (Change::Record, leaf_at(at));
    let at = async |strictly, earliest| {
        let when = AfterLatest { earliest, strictly };
        let index = place.store.commit_at(&when, &make).await.unwrap();
        place.store.leaf(index).await.unwrap().unwrap().time
    };
    assert_eq!(at(false, NOW).await, NOW + 5_006);
    assert_eq!(at(true, NOW).await, NOW + 5_007);
    assert_eq!(at(true, NOW + 9_000).await, NOW + 9_000);

    // Signers race: the leaf of each end is after all of before it.
    let signer = async {
        for n in 0..60 {
            let mut record = signature(&kid, "atp", &format!("r{n}"));
            record.leaf.time = NOW + 10_000 + n * 10;
            store.commit_signatures(&[record]).await.unwrap();
        }
        signed.store(true, Ordering::Relaxed);
    };
    let ender = async {
        while !signed.load(Ordering::Relaxed) {
            at(true, NOW).await;
        }
    };
    tokio::join!(signer, ender);
    let mut latest = i64::MIN;
    let mut ends = 0;
    for leaf in place.store.leaves(0, MAX_PAGE).await.unwrap() {
        if leaf.kind == "admin" && leaf.time > NOW + 10_000 {
            assert!(leaf.time > latest, "{leaf:?}");
            ends += 1;
        }
        latest = latest.max(leaf.time);
    }
    assert!(ends > 0);
}
