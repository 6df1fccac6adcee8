//! Leaves that a wrong clock wrote, as far as the log shows them.

use std::time::Duration;

use store::{Corrected, Store};
use trust::Time;

/// Leaves whose latest time one question asks for.
const AT_ONCE: i64 = 20_000;

/// Leaves that lie ahead of the clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspects {
    /// First and last leaf whose time lies ahead of the clock.
    pub ahead: Option<(u64, u64)>,
    /// Of the first leaf after them, or now.
    pub bound: Time,
}

/// Of every leaf of the log, but for those that are corrected already. None where more than `most` leaves would have to
/// be looked at, behind the last checkpoint that tells of none.
pub async fn suspects(
    store: &Store,
    now: Time,
    tolerance: Duration,
    most: i64,
) -> Result<Option<Suspects>, store::Error> {
    let latest = now + tolerance;
    let size = store.log_size().await?;
    let corrections = store.corrections().await?;
    let mut found = Suspects {
        ahead: None,
        bound: now,
    };
    let mut at = believable(store, size, latest).await?;
    if size - at > most {
        return Ok(None);
    }
    while at < size {
        let end = size.min(at + AT_ONCE);
        let told = store.latest_time(at, end - 1).await?;
        if found.ahead.is_none() && told <= Some(latest.millis()) {
            at = end;
            continue;
        }
        while at < end {
            let page = store.leaves(at, (end - at).min(store::MAX_PAGE)).await?;
            let Some(last) = page.last() else { break };
            at = last.index + 1;
            for leaf in page {
                let time = Corrected::time(&corrections, leaf.index, leaf.time);
                found.note(
                    leaf.index.unsigned_abs(),
                    Time::from_millis(time),
                    now,
                    latest,
                );
            }
        }
        at = end;
    }
    Ok(Some(found))
}

impl Suspects {
    fn note(&mut self, index: u64, time: Time, now: Time, latest: Time) {
        if time > latest {
            let first = self.ahead.map_or(index, |(first, _)| first);
            self.ahead = Some((first, index));
            self.bound = now;
        } else if self.ahead.is_some() {
            self.bound = self.bound.min(time);
        }
    }
}

/// So many leaves are covered by a checkpoint that tells of none that lies ahead. Of two checkpoints the larger one
/// tells no earlier time, so the largest such is found in a few steps.
async fn believable(store: &Store, size: i64, latest: Time) -> Result<i64, store::Error> {
    let (mut low, mut high) = (0, size);
    while low < high {
        let middle = low + (high - low + 1) / 2;
        let before = store.checkpoint_before(middle).await?;
        let row = match before.filter(|row| row.size > low) {
            Some(row) => row,
            None => match store.checkpoint_over(middle).await? {
                Some(row) if row.size <= high => row,
                _ => break,
            },
        };
        match row.clock <= latest {
            true => low = row.size,
            false => high = row.size - 1,
        }
    }
    Ok(low)
}

#[cfg(test)]
mod tests {
    use store::testing::place::Place;
    use store::{Change, CheckpointRow, Leaf, TreeRow};
    use trust::Sha256Digest;

    use super::*;

    const NOW: i64 = 1_795_000_000_000;

    async fn write(store: &Store, time: i64) -> i64 {
        let leaf = Leaf {
            time,
            kind: "admin",
            ring: None,
            kid: None,
            sig_hash: None,
            body: r#"{"v":1,"kind":"admin"}"#.to_owned(),
        };
        store.commit(&Change::Record, &leaf).await.unwrap()
    }

    /// A checkpoint of all that is there, as the integrator signs it.
    async fn cover(place: &Place, kid: &str, clock: i64) {
        let store = &place.store;
        let size = store.log_size().await.unwrap();
        let old = store.tree().await.unwrap();
        let new = TreeRow {
            size,
            root: Sha256Digest::of(&size.to_be_bytes()),
            clock: Time::from_millis(clock),
            ..old.clone()
        };
        assert!(store.swap_tree(&old, &new).await.unwrap());
        let row = CheckpointRow {
            size,
            root: new.root,
            time: new.clock,
            clock: new.clock,
            kid: kid.parse().unwrap(),
            note: "note".to_owned(),
            cosignatures: String::new(),
        };
        store.put_back_checkpoint(&row).await.unwrap();
    }

    #[tokio::test]
    async fn case_v1_leaves_of_a_wrong_clock_are_found_however_many_came_after() {
        let place = Place::sqlite().await;
        let store = &place.store;
        let kid = place.open_ring("log").await;
        for n in 0..40 {
            write(store, NOW + n).await;
            if n % 10 == 9 {
                cover(&place, &kid, NOW + n).await;
            }
        }
        let good = store.log_size().await.unwrap();
        let wrong = write(store, NOW * 2).await;
        for n in 0..25 {
            write(store, NOW + 1_000 + n).await;
            if n % 10 == 9 {
                cover(&place, &kid, NOW * 2).await;
            }
        }
        let now = Time::from_millis(NOW + 5_000);
        let size = store.log_size().await.unwrap();
        assert_eq!(believable(store, size, now).await.unwrap(), good);
        let found = suspects(store, now, Duration::ZERO, size);
        let found = found.await.unwrap().unwrap();
        let index = wrong.unsigned_abs();
        assert_eq!(found.ahead, Some((index, index)));
        assert_eq!(found.bound, Time::from_millis(NOW + 1_000));
        let tolerance = Duration::from_millis(NOW.unsigned_abs());
        let none = suspects(store, now, tolerance, size).await.unwrap();
        assert_eq!(none.unwrap().ahead, None);
        // Whoever may not look at all of them is not told of some.
        let few = suspects(store, now, Duration::ZERO, size - good - 1);
        assert_eq!(few.await.unwrap(), None);
    }
}
