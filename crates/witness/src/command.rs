//! A witness's key and what it is started with.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use trust::tlog::note::VerifierKey;

use super::{StateError, Witness, WitnessKey};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a witness's key, and say how logs and verifiers name it.
    New(New),
    /// Witness logs until told to stop (c2sp.org/tlog-witness).
    Serve(Serve),
}

#[derive(Debug, Args)]
pub struct New {
    /// A name without spaces that nobody else has, such as `witness.example.com/w1`.
    #[arg(long)]
    name: String,
    /// The key's file. Never overwritten; only its owner may read it.
    #[arg(long)]
    out: PathBuf,
}

#[derive(Debug, Args)]
pub struct Serve {
    /// What `witness new` wrote.
    #[arg(long)]
    key: PathBuf,
    /// What was cosigned last of each log. Losing it means to start over with a new key: a
    /// witness that forgets can be lied to.
    #[arg(long)]
    state: PathBuf,
    /// Plain HTTP; logs ask over HTTPS unless it is this very machine, so put a proxy before it.
    #[arg(long)]
    pub listen: SocketAddr,
    /// A log, as `chancery log vkey` prints it.
    #[arg(long = "log")]
    logs: Vec<VerifierKey>,
    /// A file with one log a line; blank lines and those that begin with `#` are skipped.
    #[arg(long = "log-file")]
    log_files: Vec<PathBuf>,
}

/// Why a command did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The arguments, or the files that they name.
    #[error("{0:#}")]
    Usage(anyhow::Error),
    #[error("the state")]
    State(#[source] StateError),
}

/// A new key, as others name it.
#[derive(Debug)]
pub struct Made {
    pub vkey: String,
    /// For the policy of a log (c2sp.org/tlog-policy).
    pub policy_line: String,
}

impl New {
    /// Makes the key of a random seed and writes its file.
    pub fn make(&self, seed: &[u8; 32]) -> Result<Made, CommandError> {
        let usage = |error: anyhow::Error| CommandError::Usage(error);
        let key = WitnessKey::from_seed(&self.name, seed).map_err(|error| usage(error.into()))?;
        key.write(&self.out).map_err(|error| usage(error.into()))?;
        let vkey = key.verifier().to_string();
        // The name inside a policy is the policy's own: any that has no space.
        let policy_line = format!("witness {} {vkey} https://REPLACE", self.name);
        Ok(Made { vkey, policy_line })
    }
}

impl Serve {
    pub fn open(&self) -> Result<Witness, CommandError> {
        let key = WitnessKey::read(&self.key).map_err(|error| CommandError::Usage(error.into()))?;
        let mut logs = self.logs.clone();
        for path in &self.log_files {
            let text = std::fs::read_to_string(path)
                .with_context(|| path.display().to_string())
                .map_err(CommandError::Usage)?;
            for (number, line) in (1..).zip(text.lines().map(str::trim)) {
                if line.is_empty() || line.starts_with('#') {
                    continue;
                }
                let log = line
                    .parse()
                    .with_context(|| format!("{}, line {number}", path.display()))
                    .map_err(CommandError::Usage)?;
                logs.push(log);
            }
        }
        if logs.is_empty() {
            return Err(CommandError::Usage(anyhow::anyhow!(
                "give at least one log with --log or --log-file"
            )));
        }
        if let Some(other) = logs.iter().find(|log| !log.kind().is_log()) {
            return Err(CommandError::Usage(anyhow::anyhow!(
                "{other} is not a log's verifier key"
            )));
        }
        Witness::open(key, &self.state, logs).map_err(CommandError::State)
    }
}
