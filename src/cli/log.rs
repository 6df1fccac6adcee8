//! The transparency log, from its operator's side.

mod check;
mod recover;

use std::path::Path;

use anyhow::Context as _;
use clap::Subcommand;
use serde_json::{Value, json};
use trust::LOG_RING;
use trust::tlog::note::VerifierKey;

use super::{CliContext, World, clock, prune};
use verify::output::{Code, Failure, Output};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check the log against database, tiles and checkpoints, from where the last check without a finding came to. Exit
    /// code 5: findings.
    Check(check::Check),
    /// Print the log's verifier keys, for the policies of witnesses and verifiers.
    Vkey,
    /// Show leaves whose time lies ahead of the clock, and how far the clocks of this machine and of the database
    /// are apart.
    Clock,
    /// Remove the bodies of signature leaves older than `log.retention`. Hashes and acts are kept.
    Prune(prune::Prune),
    /// Put back leaves that the database lacks after a fail-over or a restore, from what is published and what
    /// replicas kept. The plan is shown; --apply carries it out.
    Recover(recover::Recover),
    /// A witness: cosigns checkpoints of append-only logs.
    #[command(subcommand)]
    Witness(witness::Command),
    /// Monitor a log from outside: that it is append-only and fresh, and that every published key
    /// has its ceremony in it. Needs no configuration. Exit code 5: alarm.
    Monitor(verify::Monitor),
}

pub async fn run(
    path: &Path,
    command: Command,
    world: &World,
    output: &Output,
) -> Result<(), Failure> {
    match command {
        Command::Check(command) => check::run(path, command, world, output).await,
        Command::Vkey => vkey(path, world, output).await,
        Command::Clock => clock::show(path, world, output).await,
        Command::Prune(command) => prune::run(path, command, world, output).await,
        Command::Recover(command) => recover::run(path, command, world, output).await,
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
            "the log has no key yet: there is no ring {LOG_RING:?}"
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
        "Origin: {origin}. All keys of the log, past and present, are listed; checkpoints may be signed by any of them."
    ));
    Ok(())
}

/// `main` serves; the other commands of a witness are done at once.
fn witness(command: witness::Command, world: &World, output: &Output) -> Result<(), Failure> {
    let witness::Command::New(new) = command else {
        return Err(Failure::usage("not available here"));
    };
    let seed = world.env.random().context("the key")?;
    let made = new.make(&seed).map_err(witness_failed)?;
    let shown = json!({"vkey": made.vkey, "policy_line": made.policy_line});
    output.result(&shown, || made.vkey.clone());
    output.remark(format!(
        "Line for the witness policy of a log: {}",
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
