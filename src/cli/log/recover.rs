//! `chancery log recover`: leaves that the database lacks, from what is published and what replicas kept.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::super::context::{from_store, variable};
use super::super::{CliContext, World};
use log::{RecoverError, Recovery, RecoveryPlan};
use trust::tlog::note::VerifierKey;
use verify::output::{Code, Failure, Output};

/// Kept leaves of one replica: each with its index.
type Kept = Vec<(u64, Vec<u8>)>;

#[derive(Debug, Args)]
pub struct Recover {
    /// Leaves that a replica answered with and no checkpoint covers yet: the file that it wrote when it halted or
    /// stopped, or what `GET /log/kept` of its operations listener says. Repeat it for each replica.
    #[arg(long, value_name = "FILE")]
    kept: Vec<PathBuf>,
    /// There are no such files: what was answered and not yet published is given up, unseen.
    #[arg(long, conflicts_with = "kept")]
    without_kept: bool,
    /// Give up these leaves, which are nowhere: leaves that say so take their places. Repeat it for each range.
    #[arg(long, value_name = "FIRST-LAST", value_parser = range)]
    lose: Vec<(u64, u64)>,
    /// The log's key was rotated since the dump: the verifier key that `chancery log vkey` printed of the new one.
    /// Believed only if the published leaves tell of its ceremony.
    #[arg(long, value_name = "VKEY")]
    log_key: Option<String>,
    /// Apply the change; without it only the plan is shown.
    #[arg(long)]
    apply: bool,
}

fn range(text: &str) -> Result<(u64, u64), String> {
    let parsed = text.split_once('-').and_then(|(first, last)| {
        let (first, last) = (first.parse().ok()?, last.parse().ok()?);
        (first <= last).then_some((first, last))
    });
    parsed.ok_or_else(|| "expected FIRST-LAST, two indexes".to_owned())
}

pub async fn run(
    path: &Path,
    command: Recover,
    world: &World,
    output: &Output,
) -> Result<(), Failure> {
    let open = CliContext::for_recovery(path, world).await?;
    let keys = open.verifier_keys().await?;
    let recovery = Recovery::open(
        &open.config.log,
        |name| variable(world, name),
        open.store.clone(),
        keys,
    );
    let mut recovery = recovery.map_err(failed)?;
    if let Some(key) = &command.log_key {
        recovery = recovery.with_log_key(log_key(key, &open)?);
    }
    let kept = command.kept.iter().map(|file| read(file, output));
    let kept = kept.collect::<Result<Vec<Kept>, _>>()?;
    let plan = recovery.plan(&kept, &command.lose).await.map_err(failed)?;
    let mut shown = json!({
        "leaves": plan.known, "published": plan.published, "size": plan.size(),
        "from_bundles": plan.published.saturating_sub(plan.known),
        "kept": plan.kept(), "lost": plan.lost().collect::<Vec<_>>(),
        "other_database": plan.other_database, "applied": false, "by_hand": [],
    });
    if !command.apply || plan.is_empty() {
        output.result(&shown, || human(&plan));
        if !plan.is_empty() {
            output.remark("Nothing was changed; stop all replicas and run again with --apply.");
        }
        return Ok(());
    }
    if kept.is_empty() && !command.without_kept {
        return Err(Failure::usage(
            "give the files of leaves that the replicas kept (--kept FILE, one for each), or say that there are none (--without-kept)",
        ));
    }
    let progress = |at: u64| output.remark(format!("{at} of {} leaves", plan.size()));
    let applied = recovery.apply(&plan, &open.actor, || world.env.now(), progress);
    let done = applied.await.map_err(failed)?;
    shown["applied"] = true.into();
    shown["by_hand"] = json!(done.by_hand);
    output.result(&shown, || {
        let mut text = format!("{}\n{} leaves put back", human(&plan), done.leaves);
        for each in &done.by_hand {
            text.push_str("\nput back by hand: ");
            text.push_str(each);
        }
        text
    });
    output.remark("Start the replicas, then run `chancery log check`.");
    Ok(())
}

fn human(plan: &RecoveryPlan) -> String {
    if plan.is_empty() {
        return format!("Nothing is missing: {} leaves.", plan.known);
    }
    let mut lines = vec![format!(
        "the database has {} leaves, {} are published",
        plan.known, plan.published
    )];
    let mut add = |number: u64, what: &str| {
        if number > 0 {
            lines.push(format!("{number} {what}"));
        }
    };
    add(
        plan.published.saturating_sub(plan.known),
        "come from the published bundles",
    );
    add(
        plan.kept(),
        "are kept by replicas, or stand in the log's storage",
    );
    for (first, last) in plan.lost() {
        lines.push(format!("leaves {first} to {last} are given up"));
    }
    if plan.other_database {
        lines.push("from now on the log is written with this database".to_owned());
    }
    lines.join("\n")
}

/// A verifier key of this log.
fn log_key(text: &str, open: &CliContext) -> Result<VerifierKey, Failure> {
    let usage = |why: String| Failure::usage(format!("--log-key: {why}"));
    let key: VerifierKey = text
        .parse()
        .map_err(|error: trust::tlog::note::KeyError| usage(error.to_string()))?;
    let origin = open.config.log.origin(&open.config.service.issuer);
    if key.name() != origin || !key.kind().is_log() {
        return Err(usage(format!("expected a key of the log {origin:?}")));
    }
    Ok(key)
}

fn read(file: &Path, output: &Output) -> Result<Kept, Failure> {
    let name = file.display();
    let usage = |why: String| Failure::usage(format!("{name}: {why}"));
    let text = std::fs::read_to_string(file).map_err(|error| usage(error.to_string()))?;
    let read = log::kept::read(&text).map_err(|error| usage(error.to_string()))?;
    match &read.end {
        None => output.remark(format!(
            "{name}: an older version wrote it, without a last line: it may be cut off."
        )),
        Some(end) if !end.complete => output.remark(format!(
            "{name}: replica {} kept more than 64 MiB and dropped the oldest leaves.",
            end.instance
        )),
        Some(_) => {}
    }
    Ok(read.leaves)
}

fn failed(error: RecoverError) -> Failure {
    match error {
        RecoverError::Store(error) => from_store(error),
        error @ (RecoverError::Storage(_) | RecoverError::Tiles(_)) => Failure::unavailable(error),
        error @ RecoverError::WrongRange(_) => Failure::new(Code::Usage, error),
        error => Failure::new(Code::Refused, error),
    }
}
