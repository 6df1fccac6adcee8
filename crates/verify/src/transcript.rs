//! The transcript of a ceremony, verified from the pinned genesis (`docs/TRANSCRIPT.md`).

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

use trust::tally::Finished;
use trust::{Name, Pin, Sha256Digest};

use crate::output::{Code, Failure, Output};

#[derive(Debug, Args)]
pub struct Transcript {
    /// The transcript.
    file: PathBuf,
    /// The pinned digest of the genesis.
    #[arg(long)]
    genesis: Sha256Digest,
    /// The expected service; default: the one in the transcript.
    #[arg(long)]
    service: Option<Name>,
    /// The expected environment; default: the one in the transcript.
    #[arg(long)]
    environment: Option<Name>,
}

/// The verified transcript, in words.
pub fn run(verify: &Transcript, output: &Output) -> Result<(), Failure> {
    let bytes = std::fs::read(&verify.file)
        .with_context(|| format!("cannot read {}", verify.file.display()))?;
    let not_valid = |e: trust::TranscriptError| Failure::new(Code::NotValid, e);
    // Whom it says it is for; what it is for is decided by the pinned genesis.
    let unverified = trust::Transcript::decode(&bytes)
        .and_then(|transcript| trust::Request::decode(transcript.record.request.as_bytes()))
        .map_err(|e| Failure::new(Code::NotValid, e))?;
    let (service, environment) = (unverified.service, unverified.environment);
    let pin = Pin {
        genesis: verify.genesis,
        service: verify.service.clone().unwrap_or(service),
        environment: verify.environment.clone().unwrap_or(environment),
    };
    let verified = trust::verify_transcript(&bytes, &pin).map_err(not_valid)?;
    // Nobody without the device can tell whether it holds a key that has no public half.
    let possession = match verified.finished() {
        Finished::Generated(_) => Some("proven"),
        Finished::WrapKey(_) => Some("stated"),
        _ => None,
    };
    let under = verified.under();
    let order = under.map(|under| json!({"id": under.used.id, "use": under.used.number}));
    let order_line = under.map(|under| {
        let (id, number, uses) = (under.used.id, under.used.number, under.order.uses);
        format!("under        standing order {id}, use {number} of {uses}\n")
    });
    let accepted_by = match verified.by_executor() {
        Some(executor) => format!("{executor} (executor)"),
        None => joined(verified.accepted_by()),
    };
    output.result(
        &json!({
            "valid": true,
            "operation": verified.request().operation.word(),
            "ring": verified.request().operation.ring(),
            "service": pin.service, "environment": pin.environment,
            "kids": verified.kids(),
            "lines": verified.request().lines,
            "proposed_by": verified.request().proposer,
            "approvals_in_log": verified.logged_at().len(),
            "possession": possession,
            "approved_by": verified.approved_by(), "accepted_by": verified.accepted_by(),
            "order": order, "accepted_by_executor": verified.by_executor(),
        }),
        || {
            format!(
                "VALID: {} for {}/{}\nsubject      {}\nkid          {}\n{}{}approved by  {}\naccepted by  {}",
                verified.request().operation.word(),
                pin.service,
                pin.environment,
                joined(verified.request().lines.iter().map(|line| &line.subject)),
                joined(verified.kids()),
                possession.map_or_else(String::new, |how| format!("possession   {how}\n")),
                order_line.unwrap_or_default(),
                joined(verified.approved_by()),
                accepted_by,
            )
        },
    );
    Ok(())
}

fn joined(all: impl IntoIterator<Item = impl std::fmt::Display>) -> String {
    let all = all.into_iter().map(|each| each.to_string());
    all.collect::<Vec<_>>().join(", ")
}
