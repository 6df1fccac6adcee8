//! Leaves that a wrong clock wrote: shown, and named in a correction.

use std::path::Path;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use store::{Corrected, Store};
use trust::Time;
use trust::request::ClockCorrection;

use super::{CliContext, World};
use verify::output::{Failure, Output};

/// What a correction says; by default what `log clock` shows.
#[derive(Debug, Args)]
pub struct Leaves {
    /// The first leaf that the wrong clock wrote.
    #[arg(long, value_name = "INDEX", requires = "last")]
    first: Option<u64>,
    /// The last one.
    #[arg(long, value_name = "INDEX", requires = "first")]
    last: Option<u64>,
    /// The instant that these leaves are not younger than; by default the time of the next leaf, or now.
    #[arg(long, value_name = "TIME")]
    bound: Option<Time>,
}

/// Leaves whose latest time one question asks for.
const AT_ONCE: i64 = 20_000;

struct Suspects {
    /// First and last leaf whose time lies ahead of the clock.
    ahead: Option<(u64, u64)>,
    /// Of the first leaf after them, or now.
    bound: Time,
}

/// Every leaf of the log, but for those that are corrected already.
async fn suspects(open: &CliContext, now: Time) -> Result<Suspects, Failure> {
    let tolerance: Duration = open.config.store.clock_tolerance();
    look(&open.store, now, now + tolerance)
        .await
        .map_err(Failure::unavailable)
}

async fn look(store: &Store, now: Time, latest: Time) -> Result<Suspects, store::Error> {
    let size = store.log_size().await?;
    let corrections = store.corrections().await?;
    let mut found = Suspects {
        ahead: None,
        bound: now,
    };
    let mut at = believable(store, size, latest).await?;
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
    Ok(found)
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

/// `chancery log clock`.
pub async fn show(path: &Path, world: &World, output: &Output) -> Result<(), Failure> {
    let open = CliContext::new(path, world).await?;
    let now = world.env.now();
    let (database, _) = open.store.look().await.map_err(Failure::unavailable)?;
    let found = suspects(&open, now).await?;
    let offset = now.millis() - database;
    let shown =
        json!({"now": now, "offset_ms": offset, "ahead": found.ahead, "bound": found.bound});
    output.result(&shown, || match found.ahead {
        None => format!(
            "No leaf lies ahead of the clock; this machine's clock is {offset} ms ahead of the database's."
        ),
        Some((first, last)) => format!(
            "Leaves {first} to {last} lie ahead of the clock; they are not younger than {}.",
            found.bound
        ),
    });
    if found.ahead.is_some() {
        output.remark(
            "Set the clocks first; then: chancery ceremony new clock-correction --proposer ID --reason WHY --key FILE",
        );
    }
    Ok(())
}

/// What the proposal says.
pub async fn correction(
    open: &CliContext,
    leaves: Leaves,
    world: &World,
) -> Result<ClockCorrection, Failure> {
    let tree = open.store.tree().await.map_err(Failure::unavailable)?;
    if tree.origin.is_empty() {
        return Err(Failure::refused("the log has no checkpoint yet"));
    }
    let given = leaves.first.zip(leaves.last);
    let found = match (given, leaves.bound) {
        (Some(ahead), Some(bound)) => Suspects {
            ahead: Some(ahead),
            bound,
        },
        _ => suspects(open, world.env.now()).await?,
    };
    let ahead = given.or(found.ahead).ok_or_else(|| {
        Failure::refused("no leaf lies ahead of the clock: name them with --first and --last")
    })?;
    Ok(ClockCorrection {
        bound: leaves.bound.unwrap_or(found.bound),
        first: ahead.0,
        last: ahead.1,
        origin: tree.origin,
    })
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
        let found = look(store, now, now).await.unwrap();
        let index = wrong.unsigned_abs();
        assert_eq!(found.ahead, Some((index, index)));
        assert_eq!(found.bound, Time::from_millis(NOW + 1_000));
        let none = look(store, now, Time::from_millis(NOW * 2)).await.unwrap();
        assert_eq!(none.ahead, None);
    }
}
