//! Signatures are found wherever the index stands.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::super::*;
use super::place::Place;
use super::world::*;

/// The same numbers each time, and no pattern in them.
pub struct Numbers(pub u64);

impl Numbers {
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

async fn all_are_found(store: &Store, first: &HashMap<String, i64>) {
    let mut asked: Vec<String> = first.keys().cloned().collect();
    asked.push(digest("nobody's"));
    let found = store.occurrences(&asked).await.unwrap();
    let found: HashMap<String, i64> = found
        .into_iter()
        .map(|occurrence| (occurrence.sig_hash, occurrence.index))
        .collect();
    assert_eq!(&found, first);
}

pub async fn earliest_is_found_at_every_state_of_the_index(place: Place) {
    let kid = place.open_ring("atp").await;
    let mut numbers = Numbers(7);
    let mut first = HashMap::new();
    for round in 0..40 {
        // Few names, so that many signatures come again; some share the first eight bytes.
        let batch: Vec<_> = (0..numbers.below(12))
            .map(|_| {
                let name = numbers.below(60);
                let mut record = signature(&kid, "atp", &format!("s{name}"));
                if name.is_multiple_of(3) {
                    let hash = digest(&format!("s{name}"));
                    record.leaf.sig_hash = Some(format!("{}{}", "00ff".repeat(4), &hash[16..]));
                }
                record
            })
            .collect();
        let outcomes = place.store.commit_signatures(&batch).await.unwrap();
        for (record, outcome) in batch.into_iter().zip(outcomes) {
            let SignatureOutcome::Committed { index } = outcome else {
                panic!("{outcome:?}");
            };
            first.entry(record.leaf.sig_hash.unwrap()).or_insert(index);
        }
        if numbers.below(3) == 0 {
            place.change(Change::Record).await.unwrap();
        }
        let before = place.store.unindexed().await.unwrap();
        let asked = numbers.below(20) as i64 - 2;
        let done = place.store.index_signatures(asked).await.unwrap();
        assert_eq!(done, asked.clamp(0, before), "round {round}");
        assert_eq!(place.store.unindexed().await.unwrap(), before - done);
        all_are_found(&place.store, &first).await;
    }
    while place.store.index_signatures(MAX_INDEXED).await.unwrap() > 0 {}
    assert_eq!(place.store.unindexed().await.unwrap(), 0);
    all_are_found(&place.store, &first).await;
}

/// Two replicas sign, two fill the index and are cut off now and then, and all the while what was
/// acknowledged is found in its place.
pub async fn what_was_signed_is_found_while_the_index_grows(place: Place) {
    let kid = place.open_ring("atp").await;
    let stop = Arc::new(AtomicBool::new(false));
    let indexed = Arc::new(AtomicUsize::new(0));
    let mut fillers = Vec::new();
    for filler in 0..2 {
        let (store, stop) = (place.replica().await, stop.clone());
        let indexed = indexed.clone();
        fillers.push(tokio::spawn(async move {
            for round in filler.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let work = store.index_signatures(5 + round % 3);
                if round % 4 > 1 {
                    indexed.fetch_add(work.await.unwrap() as usize, Ordering::Relaxed);
                    continue;
                }
                // Dropped half way: as if the process had died there.
                let limit = std::time::Duration::from_micros(200 * (1 + round as u64 % 40));
                let _ = tokio::time::timeout(limit, work).await;
            }
        }));
    }
    let mut signers = Vec::new();
    for signer in 0..2 {
        let (store, kid) = (place.replica().await, kid.clone());
        signers.push(tokio::spawn(async move {
            let mut first = HashMap::new();
            for round in 0..25 {
                let batch: Vec<_> = (0..1 + round % 5)
                    .map(|n| signature(&kid, "atp", &format!("{signer}.{round}.{n}")))
                    .collect();
                let outcomes = store.commit_signatures(&batch).await.unwrap();
                for (record, outcome) in batch.into_iter().zip(outcomes) {
                    let SignatureOutcome::Committed { index } = outcome else {
                        panic!("{outcome:?}");
                    };
                    first.insert(record.leaf.sig_hash.unwrap(), index);
                }
                all_are_found(&store, &first).await;
            }
            first
        }));
    }
    let mut first = HashMap::new();
    for signer in signers {
        first.extend(signer.await.unwrap());
    }
    stop.store(true, Ordering::Relaxed);
    for filler in fillers {
        filler.await.unwrap();
    }
    assert!(indexed.load(Ordering::Relaxed) > 0);
    while place.store.index_signatures(MAX_INDEXED).await.unwrap() > 0 {}
    all_are_found(&place.store, &first).await;
    // Each signature once, and nothing else.
    let whole = "INSERT INTO ring SELECT 'x', 'ES256', 'P-256', 'raw', 0, 0
        WHERE (SELECT COUNT(*) FROM log_signature_part)
            = (SELECT COUNT(*) FROM log_leaf WHERE kind = 'sign')";
    assert_eq!(place.raw(whole).await.unwrap(), 1);
}

/// A database that is older than the index.
pub async fn index_begins_with_what_is_there(place: Place) {
    let kid = place.open_ring("atp").await;
    let batch: Vec<_> = (0..MAX_BATCH)
        .map(|n| signature(&kid, "atp", &format!("s{n}")))
        .collect();
    let size = place.store.log_size().await.unwrap();
    place.store.commit_signatures(&batch).await.unwrap();
    let names = 0..MAX_BATCH as i64;
    let first = names
        .map(|n| (digest(&format!("s{n}")), size + n))
        .collect();
    all_are_found(&place.store, &first).await;
    let all = size + MAX_BATCH as i64;
    assert_eq!(place.store.unindexed().await.unwrap(), all);
    assert_eq!(place.store.index_signatures(i64::MAX).await.unwrap(), all);
    assert_eq!(place.store.index_signatures(i64::MAX).await.unwrap(), 0);
    all_are_found(&place.store, &first).await;
}

/// The schema's own number: leaves of one part.
const PART: i64 = 2_097_152;

/// The first of two equal signatures stands in the part before.
pub async fn index_goes_on_in_the_next_part(place: Place) {
    let kid = place.open_ring("atp").await;
    // Two million leaves take too long: the log goes on where they would end.
    let lift = match place.is_sqlite() {
        true => "DROP TRIGGER log_leaf_contiguous",
        false => "ALTER TABLE log_leaf DISABLE TRIGGER log_leaf_contiguous",
    };
    place.raw(lift).await.unwrap();
    for table in ["log_head", "log_indexed"] {
        let sql = format!("UPDATE {table} SET size = {}", PART - 2);
        place.raw(&sql).await.unwrap();
    }
    let names = ["a", "b", "c", "a", "d"];
    let batch: Vec<_> = names
        .iter()
        .map(|name| signature(&kid, "atp", name))
        .collect();
    place.store.commit_signatures(&batch).await.unwrap();
    assert_eq!(place.store.index_signatures(i64::MAX).await.unwrap(), 5);
    assert_eq!(place.store.unindexed().await.unwrap(), 0);
    let places = [("a", 0), ("b", 1), ("c", 2), ("d", 4)];
    let first = places
        .iter()
        .map(|(name, n)| (digest(name), PART - 2 + n))
        .collect();
    all_are_found(&place.store, &first).await;
    let in_each = format!(
        "INSERT INTO ring SELECT 'x', 'ES256', 'P-256', 'raw', 0, 0
         WHERE (SELECT COUNT(*) FROM log_signature_part WHERE part = 0 AND idx < {PART}) = 2
             AND (SELECT COUNT(*) FROM log_signature_part WHERE part = 1 AND idx >= {PART}) = 3"
    );
    assert_eq!(place.raw(&in_each).await.unwrap(), 1);
}
