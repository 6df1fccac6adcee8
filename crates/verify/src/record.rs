//! The record of a ceremony for paper, of a transcript that verifies.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use serde_json::json;
use trust::printed::print;

use crate::output::{Code, Failure, Output};
use crate::transcript::{Transcript, Verified};

#[derive(Debug, Args)]
pub struct Record {
    #[command(flatten)]
    transcript: Transcript,
    /// The page; never overwritten.
    #[arg(long, default_value = "record.html")]
    out: PathBuf,
}

/// Verifies the transcript, and writes the page.
pub fn run(record: &Record, output: &Output) -> Result<(), Failure> {
    let Verified {
        bytes,
        pin,
        attestations,
        ..
    } = record.transcript.verified()?;
    let page = print(&bytes, &pin, &attestations);
    let page = page.map_err(|error| Failure::new(Code::NotValid, error))?;
    let shown = record.out.display();
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&record.out)
        .with_context(|| format!("cannot create {shown}"))?;
    file.write_all(page.as_bytes())
        .with_context(|| format!("cannot write {shown}"))?;
    output.result(&json!({"file": record.out, "sheets": 2}), || {
        format!("Record written to {shown}; it prints on two sheets.")
    });
    Ok(())
}
