//! `chancery digest`: what the weekly digest would say now.

use std::path::Path;

use clap::Args;
use verify::output::{Failure, Output};

use super::rotation::{failed, open_scheduler};
use super::{CliContext, World};
use calendar::{Span, Time};

/// Rotations since then are read.
const LOOKS_BACK: Span = Span::days(92);

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
    let until = command.until.unwrap_or(now);
    if until > now || until + LOOKS_BACK < now {
        return Err(Failure::usage(format!(
            "--until: expected an instant of the last {LOOKS_BACK}"
        )));
    }
    let week = engine.week(until).await;
    let week = week.map_err(failed)?;
    output.result(&week, || week.lines().join("\n") + "\n");
    Ok(())
}
