//! The transparency log from the command line.

mod check;
mod follow;
mod monitor;

use std::path::Path;

use clap::Subcommand;

use super::World;
use super::output::{Failure, Output};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Hold the whole log against database, tiles, checkpoints and archive. Exit code 5: something
    /// was changed.
    Check,
    /// Follow a log from outside: that it only grows, that it is fresh, and that every published key
    /// has its ceremony in it. Needs no configuration. Exit code 5: an alarm.
    Monitor(monitor::Monitor),
}

pub async fn run(
    path: &Path,
    command: Command,
    world: &World,
    output: &Output,
) -> Result<(), Failure> {
    match command {
        Command::Check => check::run(path, world, output).await,
        Command::Monitor(command) => monitor::run(command, world, output).await,
    }
}
