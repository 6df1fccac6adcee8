//! The transparency log from the command line.

mod check;

use std::path::Path;

use clap::Subcommand;

use super::World;
use super::output::{Failure, Output};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Hold the whole log against database, tiles, checkpoints and archive. Exit code 5: something
    /// was changed.
    Check,
}

pub async fn run(
    path: &Path,
    command: Command,
    world: &World,
    output: &Output,
) -> Result<(), Failure> {
    match command {
        Command::Check => check::run(path, world, output).await,
    }
}
