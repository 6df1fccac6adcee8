//! The transparency log, from its operator's side.

mod check;
mod follow;
mod monitor;

use std::path::Path;

use clap::Subcommand;
use serde_json::{Value, json};
use trust::LOG_RING;
use trust::tlog::note::VerifierKey;

use super::output::{Failure, Output};
use super::{Open, World, prune, witness};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Hold the whole log against database, tiles, checkpoints and archive. Exit code 5: something
    /// was changed.
    Check,
    /// The log's keys, in the form that witnesses and verifiers put into their policies.
    Vkey,
    /// Remove the bodies of signatures that are older than `log.retention`. Proofs and acts stay.
    Prune(prune::Prune),
    /// A witness: it cosigns the checkpoints of logs that only grow.
    #[command(subcommand)]
    Witness(witness::Command),
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
        Command::Vkey => vkey(path, world, output).await,
        Command::Prune(command) => prune::run(path, command, world, output).await,
        Command::Witness(command) => witness::run(command, world, output),
        Command::Monitor(command) => monitor::run(command, world, output).await,
    }
}

async fn vkey(path: &Path, world: &World, output: &Output) -> Result<(), Failure> {
    let open = Open::new(path, world).await?;
    let tree = open.store.tree().await.map_err(Failure::unavailable)?;
    // What the log has called itself stands; before its first checkpoint it will be this.
    let origin = match tree.origin.is_empty() {
        true => open.config.log.origin(&open.config.service.issuer),
        false => tree.origin,
    };
    let snapshot = open.snapshot().await?;
    let ring = snapshot.rings.get(LOG_RING).ok_or_else(|| {
        Failure::usage(format!(
            "there is no ring {LOG_RING:?} yet, so the log has no key"
        ))
    })?;
    let mut shown = Vec::new();
    let mut lines = Vec::new();
    for key in &ring.keys {
        let verifier = VerifierKey::for_log(&origin, &key.public).map_err(anyhow::Error::new)?;
        lines.push(verifier.to_string());
        shown.push(json!({
            "kid": key.kid, "state": key.status(), "vkey": verifier.to_string(),
        }));
    }
    let value: Value = json!({"origin": origin, "keys": shown});
    output.result(&value, || lines.join("\n"));
    output.remark(format!(
        "The log calls itself {origin}. Every key it ever had is listed: a checkpoint by any of them is its own."
    ));
    Ok(())
}
