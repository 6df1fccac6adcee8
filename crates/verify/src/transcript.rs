//! The transcript of a ceremony, verified from the pinned genesis (`docs/TRANSCRIPT.md`).

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

use trust::attestation::{self, Attestation, Attestations, Attested, verify_attestations};
use trust::exception::EXCEPTION_STEP;
use trust::note::NOTE_STEP;
use trust::order_log::UseProof;
use trust::tally::Finished;
use trust::text::spelled_out;
use trust::transcript::Step;
use trust::{Name, Pin, Sha256Digest, VerifiedTranscript};

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
    /// What witnesses attested of it: a file of `ceremony attest`, or the answer at `/v1/ceremonies/ID/attestations`.
    #[arg(long)]
    attestations: Vec<PathBuf>,
    /// Refuse a key under a standing order if the file does not show what the log says of its use: that the order was in
    /// time, and the use taken once. Transcripts from `/v1/keys/KID/transcript` show it.
    #[arg(long)]
    require_order_use: bool,
}

/// A transcript that was verified, with what was given beside it.
pub struct Verified {
    pub bytes: Vec<u8>,
    pub pin: Pin,
    pub transcript: VerifiedTranscript,
    /// Not verified.
    pub attestations: Vec<Attestation>,
}

/// Why a file that leaves the order's leaves out is refused.
pub const USE_NOT_SHOWN: &str =
    "the file does not show what the log says of the use of the standing order";

/// Most steps that are listed; the file has them all.
const MOST_STEPS: usize = 60;

/// Most characters of a note that are shown.
const MOST_TEXT: usize = 1_200;

impl Transcript {
    /// Reads the files, and verifies the transcript.
    pub fn verified(&self) -> Result<Verified, Failure> {
        let bytes = std::fs::read(&self.file)
            .with_context(|| format!("cannot read {}", self.file.display()))?;
        // Whom it says it is for; what it is for is decided by the pinned genesis.
        let unverified = trust::Transcript::decode(&bytes)
            .and_then(|transcript| trust::Request::decode(transcript.record.request.as_bytes()))
            .map_err(|e| Failure::new(Code::NotValid, e))?;
        let (service, environment) = (unverified.service, unverified.environment);
        let pin = Pin {
            genesis: self.genesis,
            service: self.service.clone().unwrap_or(service),
            environment: self.environment.clone().unwrap_or(environment),
        };
        let transcript = trust::verify_transcript(&bytes, &pin);
        let transcript = transcript.map_err(|e| Failure::new(Code::NotValid, e))?;
        if self.require_order_use && transcript.use_proof() == Some(UseProof::NotShown) {
            return Err(Failure::new(Code::NotValid, anyhow::anyhow!(USE_NOT_SHOWN)));
        }
        let mut attestations = Vec::new();
        for file in &self.attestations {
            attestations.extend(read_attestations(file)?.attestations);
        }
        Ok(Verified {
            bytes,
            pin,
            transcript,
            attestations,
        })
    }
}

/// A file of attestations, unverified.
fn read_attestations(file: &Path) -> Result<Attestations, Failure> {
    let shown = file.display();
    let bytes = std::fs::read(file).with_context(|| format!("cannot read {shown}"))?;
    if bytes.len() > attestation::MAX_LEN {
        return Err(Failure::usage(format!("{shown} is too long")));
    }
    Attestations::decode(&bytes).map_err(|error| Failure::usage(format!("{shown}: {error}")))
}

/// The verified transcript, in words.
pub fn run(verify: &Transcript, output: &Output) -> Result<(), Failure> {
    let Verified {
        bytes,
        pin,
        transcript: verified,
        attestations,
    } = verify.verified()?;
    let steps = trust::Transcript::decode(&bytes).map_err(|e| Failure::new(Code::NotValid, e))?;
    let steps = steps.record.steps;
    let attested = verify_attestations(&verified, &attestations);
    let told: Vec<_> = attested
        .iter()
        .map(|attested| match attested {
            Ok(attested) => {
                json!({"valid": true, "witness": attested.witness, "note": attested.note})
            }
            Err(why) => json!({"valid": false, "why": why.to_string()}),
        })
        .collect();
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
        let shown = verified.use_proof().map_or("", said_of_use);
        format!("under        standing order {id}, use {number} of {uses}\nlog          {shown}\n")
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
            "order": order, "order_use": verified.use_proof(), "accepted_by_executor": verified.by_executor(),
            "core_digest": verified.core_digest(),
            "steps": steps, "attestations": told,
        }),
        || {
            format!(
                "VALID: {} for {}/{}\nsubject      {}\nkid          {}\n{}{}approved by  {}\naccepted by  {}{}{}",
                verified.request().operation.word(),
                pin.service,
                pin.environment,
                joined(verified.request().lines.iter().map(|line| &line.subject)),
                joined(verified.kids()),
                possession.map_or_else(String::new, |how| format!("possession   {how}\n")),
                order_line.unwrap_or_default(),
                joined(verified.approved_by()),
                accepted_by,
                noted(&steps),
                witnessed(&attested),
            )
        },
    );
    Ok(())
}

/// What was noted before the execution: it is covered by the acceptances, and as true as its author.
fn noted(steps: &[Step]) -> String {
    let is_noted = |step: &&Step| step.what == NOTE_STEP || step.what == EXCEPTION_STEP;
    let mut all = steps.iter().filter(is_noted);
    let mut out = String::new();
    for step in all.by_ref().take(MOST_STEPS) {
        let (name, note) = match &step.witness {
            Some(witness) => (witness.name.as_str(), witness.note.as_str()),
            None => ("", ""),
        };
        let (name, note) = (shown(name), shown(note));
        out += &format!("\n{:<12} {}, {name}: {note}", step.what, step.at);
    }
    match all.count() {
        0 => out,
        more => out + &format!("\nand {more} more steps, in the file"),
    }
}

/// In words.
pub fn said_of_use(proof: UseProof) -> &'static str {
    match proof {
        UseProof::Shown => "use shown by the log",
        UseProof::NotShown => "use not shown: the file has nothing of what the log says of it",
    }
}

fn witnessed(attested: &[Result<Attested, attestation::NotAttested>]) -> String {
    let mut out = String::new();
    for each in attested {
        out += &match each {
            Ok(Attested { witness, note, .. }) => {
                let note = note
                    .as_deref()
                    .map_or_else(String::new, |note| format!(": {}", shown(note)));
                format!("\nwitnessed    by {witness}{note}")
            }
            Err(why) => format!("\nwitnessed    NOT VALID: {why}"),
        };
    }
    out
}

/// Text from outside for a terminal.
fn shown(text: &str) -> String {
    let start: String = text.chars().take(MOST_TEXT).collect();
    match start.len() < text.len() {
        true => format!(
            "{}… ({} characters)",
            spelled_out(&start),
            text.chars().count()
        ),
        false => spelled_out(&start),
    }
}

fn joined(all: impl IntoIterator<Item = impl std::fmt::Display>) -> String {
    let all = all.into_iter().map(|each| each.to_string());
    all.collect::<Vec<_>>().join(", ")
}
