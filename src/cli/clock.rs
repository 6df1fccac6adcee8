//! Leaves that a wrong clock wrote: shown, and named in a correction.

use std::path::Path;
use std::time::Duration;

use clap::Args;
use serde_json::json;
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

/// Leaves looked at, from the newest back.
const LOOKED_AT: i64 = 20_000;

struct Suspects {
    /// First and last leaf whose time lies ahead of the clock.
    ahead: Option<(u64, u64)>,
    /// Of the first leaf after them, or now.
    bound: Time,
}

async fn suspects(open: &CliContext, now: Time) -> Result<Suspects, Failure> {
    let store = &open.store;
    let size = store.log_size().await.map_err(Failure::unavailable)?;
    let tolerance: Duration = open.config.store.clock_tolerance();
    let mut found = Suspects {
        ahead: None,
        bound: now,
    };
    let mut at = (size - LOOKED_AT).max(0);
    while at < size {
        let page = store.leaves(at, store::MAX_PAGE).await;
        let page = page.map_err(Failure::unavailable)?;
        let Some(last) = page.last() else { break };
        at = last.index + 1;
        for leaf in page {
            let (index, time) = (leaf.index.unsigned_abs(), Time::from_millis(leaf.time));
            if time > now + tolerance {
                let first = found.ahead.map_or(index, |(first, _)| first);
                found.ahead = Some((first, index));
                found.bound = now;
            } else if found.ahead.is_some() {
                found.bound = found.bound.min(time);
            }
        }
    }
    Ok(found)
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
