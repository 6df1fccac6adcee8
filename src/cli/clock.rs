//! Leaves that a wrong clock wrote: shown, and named in a correction.

use std::path::Path;

use clap::Args;
use serde_json::json;
use trust::Time;

use super::{CliContext, World};
use keyring::ceremony::WrongLeaves;
use log::suspects;
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

impl Leaves {
    /// As far as they are named.
    pub fn named(&self) -> WrongLeaves {
        WrongLeaves {
            range: self.first.zip(self.last),
            bound: self.bound,
        }
    }
}

/// `chancery log clock`.
pub async fn show(path: &Path, world: &World, output: &Output) -> Result<(), Failure> {
    let open = CliContext::new(path, world).await?;
    let now = world.env.now();
    let (database, _) = open.store.look().await.map_err(Failure::unavailable)?;
    let tolerance = open.config.store.clock_tolerance();
    let found = suspects(&open.store, now, tolerance, i64::MAX).await;
    let found = found.map_err(Failure::unavailable)?;
    let found = found.ok_or_else(|| Failure::refused("there are too many leaves"))?;
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
