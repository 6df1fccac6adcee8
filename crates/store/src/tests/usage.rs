//! How often keys signed in each hour, and keys that leave the key sets.

use std::collections::BTreeMap;

use trust::Time;

use super::super::*;
use super::conflicts::conflicts;
use super::index::Numbers;
use super::place::Place;
use super::world::*;

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

/// By reading every leaf.
async fn by_hand(store: &Store, kid: &str, since: i64) -> Vec<HourRow> {
    let mut hours = BTreeMap::new();
    for leaf in store.leaves(0, MAX_PAGE).await.unwrap() {
        if leaf.kind == "sign" && leaf.kid.as_deref() == Some(kid) {
            *hours.entry(leaf.time / HOUR).or_insert(0) += 1;
        }
    }
    let hours = hours.into_iter().filter(|(hour, _)| *hour >= since / HOUR);
    hours
        .map(|(hour, signatures)| HourRow {
            from: Time::from_millis(hour * HOUR),
            signatures,
        })
        .collect()
}

async fn by_hour(store: &Store, kid: &str, since: i64) -> Vec<HourRow> {
    let since = Time::from_millis(since);
    store.signatures_by_hour(kid, since).await.unwrap()
}

/// Two keys, two replicas that count, clocks that differ, hours that pass; the counts stand anywhere behind the leaves.
pub async fn hours_are_those_of_the_leaves_wherever_the_counts_stand(place: Place) {
    let kids = [place.open_ring("atp").await, place.open_ring("oauth").await];
    let other = place.replica().await;
    let mut numbers = Numbers(7);
    let mut now = NOW / DAY * DAY + DAY - HOUR;
    for round in 0..25 {
        let batch: Vec<_> = (0..numbers.below(8))
            .map(|n| {
                let ring = numbers.below(2) as usize;
                let name = format!("{round}.{n}");
                let mut record = signature(&kids[ring], ["atp", "oauth"][ring], &name);
                now += numbers.below(600_000) as i64;
                record.leaf.time = now - numbers.below(9_000) as i64;
                record
            })
            .collect();
        place.store.commit_signatures(&batch).await.unwrap();
        let at_most = numbers.below(12) as i64;
        let (one, two) = tokio::join!(
            place.store.count_signatures(at_most),
            other.count_signatures(at_most)
        );
        one.unwrap();
        two.unwrap();
        for kid in &kids {
            for since in [0, now - 5 * HOUR, now + HOUR] {
                assert_eq!(
                    by_hour(&place.store, kid, since).await,
                    by_hand(&place.store, kid, since).await,
                    "round {round}, since {since}"
                );
            }
        }
    }
    assert!(by_hour(&place.store, &kids[0], 0).await.len() > 5);
    assert!(place.store.hours_since().await.unwrap().is_none());
    for sql in [
        "UPDATE log_key_hour SET signatures = 1",
        "DELETE FROM log_key_hour",
        "UPDATE log_hours SET since = 7",
    ] {
        while place.store.count_signatures(MAX_INDEXED).await.unwrap() > 0 {}
        place.refuses(sql).await;
    }
}

pub async fn old_hours_go_in_pages_and_the_days_stay(place: Place) {
    let kid = place.open_ring("atp").await;
    // Before its time: what is kept is decided by the clock of the log.
    let old = NOW - 100 * DAY;
    for hour in 0..1_100_i64 {
        let mut record = signature(&kid, "atp", &format!("s{hour}"));
        record.leaf.time = old + hour * 60_000 * 20;
        if hour % 100 == 0 || hour > 1_090 {
            place.store.commit_signatures(&[record]).await.unwrap();
        }
    }
    let all = by_hour(&place.store, &kid, 0).await;
    while place.store.count_signatures(50).await.unwrap() > 0 {}
    assert_eq!(by_hour(&place.store, &kid, 0).await, all);
    let days = place.store.signatures_by_day(&kid, 0).await.unwrap();
    let before = NOW - 91 * DAY;
    let older = all.iter().filter(|row| row.from.millis() < before - HOUR);
    let gone = place.store.forget_hours(before).await.unwrap();
    assert!(gone >= older.count() as u64 && gone > 3, "{gone}");
    assert_eq!(place.store.forget_hours(before).await.unwrap(), 0);
    let kept = by_hour(&place.store, &kid, 0).await;
    assert_eq!(kept, by_hand(&place.store, &kid, before).await);
    assert!(!kept.is_empty());
    let still = place.store.signatures_by_day(&kid, 0).await.unwrap();
    assert_eq!(still, days);
}

async fn unpublish(place: &Place, name: &str) -> Change {
    Change::UnpublishKey {
        ring: "atp".into(),
        expected_version: place.ring_version("atp").await,
        kid: kid(name),
        at: NOW,
    }
}

pub async fn a_key_leaves_the_key_sets_once_after_its_end(place: Place) {
    let first = place.ring_with_a_retired_key("atp").await;
    place.prepared("atp-3", "atp", 3).await;
    // Neither what signs nor what waits to.
    for name in ["atp-2", "atp-3"] {
        let change = unpublish(&place, name).await;
        conflicts(&place, change, Subject::KeyState).await;
        let sql = format!(
            "UPDATE signing_key SET unpublished_at = {NOW} WHERE kid = '{}'",
            kid(name)
        );
        place.refuses(&sql).await;
    }
    let published = async || {
        let ended = place.store.ended_published("atp", EndedBefore::EVER, 10);
        ended.await.unwrap().read.len()
    };
    assert_eq!(published().await, 1);
    let stale = unpublish(&place, "atp-1").await;
    place.change(stale.clone()).await.unwrap();
    assert_eq!(
        place.key(&first).await.unpublished_at,
        Some(Time::from_millis(NOW))
    );
    assert_eq!(published().await, 0);
    let all = place.store.ended_keys("atp", EndedBefore::EVER, 10).await;
    assert_eq!(all.unwrap().read.len(), 1);
    let counts = place.store.unpublished_counts().await.unwrap();
    assert_eq!(counts.get("atp"), Some(&1));
    assert!(!place.store.key_counts().await.unwrap()["atp"].contains_key("unpublished"));
    // For good.
    conflicts(&place, stale, Subject::RingVersion).await;
    let again = unpublish(&place, "atp-1").await;
    conflicts(&place, again, Subject::KeyState).await;
    for sql in [
        "UPDATE signing_key SET unpublished_at = NULL WHERE unpublished_at IS NOT NULL",
        "UPDATE signing_key SET unpublished_at = unpublished_at + 1 WHERE unpublished_at IS NOT NULL",
    ] {
        place.refuses(sql).await;
    }
    let change = place.revocation("r", "atp", &first).await;
    place.change(change).await.unwrap();
    let counts = place.store.unpublished_counts().await.unwrap();
    assert_eq!(counts.get("atp"), Some(&0));
}
