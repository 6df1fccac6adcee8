//! `chancery digest`: what the weekly digest would say now.

use std::path::Path;

use clap::Args;
use verify::output::{Failure, Output};

use super::rotation::{failed, open_scheduler};
use super::{CliContext, World};
use calendar::Time;

#[derive(Debug, Args)]
pub struct Command {
    /// The week until this instant; until now without it.
    #[arg(long)]
    until: Option<Time>,
}

pub async fn run(
    path: &Path,
    command: Command,
    world: &World,
    output: &Output,
) -> Result<(), Failure> {
    let open = CliContext::new(path, world).await?;
    let scheduler = open_scheduler(&open, world).await?;
    let engine = scheduler.engine();
    let now = engine.now().await.map_err(Failure::unavailable)?;
    let week = engine.week(command.until.unwrap_or(now)).await;
    let week = week.map_err(failed)?;
    output.result(&week, || week.lines().join("\n") + "\n");
    Ok(())
}
