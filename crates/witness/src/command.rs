//! A witness's key and what it is started with.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use trust::tlog::note::VerifierKey;

use super::{StateError, Witness, WitnessKey};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Generate a witness's key and print its verifier key.
    New(New),
    /// Run the witness (c2sp.org/tlog-witness).
    Serve(Serve),
}

#[derive(Debug, Args)]
pub struct New {
    /// A globally unique name without spaces, such as `witness.example.com/w1`.
    #[arg(long)]
    name: String,
    /// The key file. Never overwritten; readable by its owner only.
    #[arg(long)]
    out: PathBuf,
}

#[derive(Debug, Args)]
pub struct Serve {
    /// The key file written by the command `new`.
    #[arg(long)]
    key: PathBuf,
    /// Directory of the last cosigned checkpoint of each log. If it is lost, generate a new key:
    /// a witness without its state cannot detect forks.
    #[arg(long)]
    state: PathBuf,
    /// Listening address for plain HTTP. Logs connect over HTTPS except on loopback, so use a TLS
    /// proxy.
    #[arg(long)]
    pub listen: SocketAddr,
    /// Verifier key of a log, as printed by `chancery log vkey`.
    #[arg(long = "log")]
    logs: Vec<VerifierKey>,
    /// A file with the verifier key of one log per line (C2SP signed-note); blank lines and lines beginning with `#` are skipped.
    #[arg(long = "log-file")]
    log_files: Vec<PathBuf>,
}

/// Why a command did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The arguments, or the files that they name.
    #[error("{0:#}")]
    Usage(anyhow::Error),
    #[error("the state of the witness cannot be read or written")]
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
