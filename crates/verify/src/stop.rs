//! A stop of signing, verified from the pinned genesis (`docs/TRANSCRIPT.md`, section 7b).

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

use trust::chain::Genesis;
use trust::json::require_canonical;
use trust::stop_file::{StopFile, StopFileError, verify_stop_file};
use trust::{Pin, Sha256Digest};

use crate::output::{Code, Failure, Output};

#[derive(Debug, Args)]
pub struct Stop {
    /// The file, as `GET /v1/emergency/stops/STOP` gives it.
    file: PathBuf,
    /// The pinned digest of the genesis.
    #[arg(long)]
    genesis: Sha256Digest,
}

/// The verified stop, in words.
pub fn run(verify: &Stop, output: &Output) -> Result<(), Failure> {
    let bytes = std::fs::read(&verify.file)
        .with_context(|| format!("cannot read {}", verify.file.display()))?;
    let not_valid = |e: trust::JsonError| Failure::new(Code::NotValid, e);
    // Whom it says it is for; what it is for is decided by the pinned genesis.
    let unverified: StopFile = require_canonical(&bytes).map_err(not_valid)?;
    let genesis = unverified.chains.genesis.body;
    let genesis: Genesis = require_canonical(genesis.as_bytes()).map_err(not_valid)?;
    let pin = Pin {
        genesis: verify.genesis,
        service: genesis.roster.service,
        environment: genesis.roster.environment,
    };
    let verified = verify_stop_file(&bytes, &pin);
    let verified = verified.map_err(|e: StopFileError| Failure::new(Code::NotValid, e))?;
    let (stop, logged_at) = (verified.stop, verified.logged_at);
    let body = &stop.body;
    output.result(
        &json!({
            "valid": true, "stop": stop.digest, "subject": body.line.subject,
            "sequence": body.line.sequence, "by": stop.by, "reason": body.reason,
            "expires_at": body.expires_at, "logged_at": logged_at,
            "service": pin.service, "environment": pin.environment,
        }),
        || {
            let logged = logged_at.map_or_else(
                || "the file has no proof of it".to_owned(),
                |at| at.to_string(),
            );
            format!(
                "VALID: stop for {}/{}\nsubject      {} (sequence {})\nstop         {}\nby           {}\nreason       {}\nlogged       {logged}",
                pin.service,
                pin.environment,
                body.line.subject,
                body.line.sequence,
                stop.digest,
                stop.by,
                trust::text::spelled_out(&body.reason),
            )
        },
    );
    Ok(())
}
