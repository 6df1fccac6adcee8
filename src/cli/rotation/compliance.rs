//! `chancery rotation compliance-check`: everything that rotates against its policy, read over HTTP. It writes nothing.

mod facts;
mod rules;

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use trust::Time;
use trust::text::spelled_out;

use super::super::World;
use super::exercise::Service;
use super::place::{Place, lines_spelled_out};
use facts::{Counts, read};
use rules::{Finding, Severity, findings};
use verify::output::{Code, Failure, Output, table};

/// For the end of `--help`.
pub const HELP: &str = "The credential needs the role operator, administrator or on-call. Example:

  chancery --output json rotation compliance-check --url https://seal.example --access-token-file operator.token

What it says is what the service says of itself, held against the policies in force; it is no claim of conformity. That the log \
says the same, `chancery log check` shows.";

/// Findings of a report at most; the others are counted.
const MOST: usize = 10_000;

#[derive(Debug, Clone, Args)]
pub struct Options {
    #[command(flatten)]
    service: Service,
    /// File for the report as JSON; never overwritten.
    #[arg(long)]
    out: Option<PathBuf>,
}

/// What was found.
#[derive(Debug, Serialize)]
struct Report {
    /// Nothing was found that is an error.
    passed: bool,
    environment: String,
    at: Time,
    looked_at: Counts,
    errors: usize,
    warnings: usize,
    /// Of the last 92 days, as at `GET /v1/key-rotation/report`.
    adherence: serde_json::Value,
    /// The gravest first.
    findings: Vec<Finding>,
    /// Findings that the report has no room for.
    #[serde(skip_serializing_if = "Option::is_none")]
    left_out: Option<usize>,
}

pub async fn run(options: &Options, world: &World, output: &Output) -> Result<(), Failure> {
    let out = Place::of(options.out.as_deref())?;
    let api = options.service.open()?;
    let facts = read(&api, world.env.now(), output).await?;
    let mut found = findings(&facts);
    found.sort_by(|a, b| (b.severity, a.rule, &a.subject).cmp(&(a.severity, b.rule, &b.subject)));
    let of = |severity: Severity| found.iter().filter(|one| one.severity == severity).count();
    let (errors, warnings) = (of(Severity::Error), of(Severity::Warning));
    let left_out = found.len().saturating_sub(MOST);
    found.truncate(MOST);
    let report = Report {
        passed: errors == 0,
        environment: facts.environment.clone(),
        at: facts.now,
        looked_at: facts.counts(),
        errors,
        warnings,
        adherence: facts.report.clone(),
        findings: found,
        left_out: (left_out > 0).then_some(left_out),
    };
    output.result(&report, || lines_spelled_out(&report.text()));
    if let Some(out) = out {
        let json = serde_json::to_vec_pretty(&report).map_err(Failure::refused)?;
        out.write(&json)?;
    }
    match errors {
        0 => Ok(()),
        count => Err(Failure::told(
            Code::Failed,
            format_args!("{count} finding(s) are errors"),
        )),
    }
}

impl Report {
    fn text(&self) -> String {
        let Counts {
            assets,
            policies,
            keys,
            rotations,
        } = self.looked_at;
        let mut text = format!(
            "compliance of {} at {}: {}\n\n{assets} assets, {policies} policies, {keys} keys, {rotations} rotations of the last 92 days\n\
             {} errors, {} warnings\n\n",
            self.environment,
            self.at,
            if self.passed { "passed" } else { "FAILED" },
            self.errors,
            self.warnings
        );
        let rows = self.findings.iter().map(|finding| {
            [
                finding.severity.word().to_owned(),
                finding.rule.to_owned(),
                spelled_out(&finding.subject),
                spelled_out(&finding.found),
                spelled_out(&finding.remedy),
                finding.runbook.unwrap_or_default().to_owned(),
            ]
        });
        let header = ["", "rule", "about", "found", "what to do", "runbook"];
        text.push_str(&table(&header, rows));
        if let Some(count) = self.left_out {
            text.push_str(&format!("\nand {count} more"));
        }
        text
    }
}
