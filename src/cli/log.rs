//! The transparency log, from its operator's side.

mod check;

use std::path::Path;

use anyhow::Context as _;
use clap::Subcommand;
use serde_json::{Value, json};
use trust::LOG_RING;
use trust::tlog::note::VerifierKey;

use super::{CliContext, World, prune};
use verify::output::{Code, Failure, Output};

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
    Monitor(verify::Monitor),
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
        Command::Witness(command) => witness(command, world, output),
        Command::Monitor(command) => {
            verify::monitor::run(command, &|| world.env.now(), output).await
        }
    }
}

async fn vkey(path: &Path, world: &World, output: &Output) -> Result<(), Failure> {
    let open = CliContext::new(path, world).await?;
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

/// `main` serves; the other commands of a witness are done at once.
fn witness(command: witness::Command, world: &World, output: &Output) -> Result<(), Failure> {
    let witness::Command::New(new) = command else {
        return Err(Failure::usage("not to be run here"));
    };
    let seed = world.env.random().context("the key")?;
    let made = new.make(&seed).map_err(witness_failed)?;
    let shown = json!({"vkey": made.vkey, "policy_line": made.policy_line});
    output.result(&shown, || made.vkey.clone());
    output.remark(format!(
        "A log asks this witness with a line in its policy: {}",
        made.policy_line
    ));
    Ok(())
}

pub fn witness_failed(error: witness::CommandError) -> Failure {
    match error {
        witness::CommandError::Usage(error) => Failure::new(Code::Usage, error),
        error => Failure::unavailable(error),
    }
}
