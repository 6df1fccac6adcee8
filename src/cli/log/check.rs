//! `chancery log check`: from inside, against everything that is stored.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::super::context::variable;
use super::super::{CliContext, World};
use ::log::{Auditor, CheckError, Report, Storage};
use verify::findings;
use verify::output::{Code, Failure, Output, progress};

#[derive(Debug, Args)]
pub struct Check {
    /// Begin with the first leaf.
    #[arg(long)]
    full: bool,
    /// Where it is kept how far a check came; default: `checked` in the directory `log.kept`.
    #[arg(long)]
    state: Option<PathBuf>,
}

pub async fn run(
    path: &Path,
    command: Check,
    world: &World,
    output: &Output,
) -> Result<(), Failure> {
    let open = CliContext::new(path, world).await?;
    let storage = Storage::open(&open.config.log, |name| variable(world, name))
        .map_err(Failure::unavailable)?;
    let origin = open.config.log.origin(&open.config.service.issuer);
    let pin = open.settings.pin.clone();
    let state = command
        .state
        .unwrap_or_else(|| open.config.log.kept.join("checked"));
    let auditor = Auditor::new(open.store.clone(), storage, pin, origin);
    let auditor = auditor.with_state(state, command.full);
    let bar = progress(0, output);
    let report = auditor.check(|done, of| {
        bar.set_length(of.unsigned_abs());
        bar.set_position(done.unsigned_abs());
    });
    let report = report.await.map_err(failed)?;
    bar.finish_and_clear();
    let shown = json!({
        "leaves": report.leaves,
        "resumed_at": report.resumed_at,
        "checkpoints": report.checkpoints,
        "keys": report.keys,
        "findings": report.findings,
        "remarks": report.remarks,
    });
    output.result(&shown, || human(&report));
    match report.findings.len() {
        0 => Ok(()),
        n => Err(Failure::told(
            Code::NotValid,
            format_args!("the log is inconsistent: {n} finding(s)"),
        )),
    }
}

/// A row that cannot be read at all is no trouble of the network.
fn failed(error: CheckError) -> Failure {
    match error {
        CheckError::Store(ref store) if store.is_corrupt() => Failure::new(Code::NotValid, error),
        error => Failure::unavailable(error),
    }
}

fn human(report: &Report) -> String {
    let mut text = format!(
        "{} leaves, {} checkpoints, {} keys\n",
        report.leaves, report.checkpoints, report.keys
    );
    for remark in &report.remarks {
        text.push_str(&format!("note: {remark}\n"));
    }
    if report.findings.is_empty() {
        text.push_str("no findings");
        return text;
    }
    text.push_str(&findings(&report.findings));
    text
}
