//! A witness's key and what it is started with.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::json;
use trust::tlog::note::VerifierKey;

use super::World;
use super::output::{Code, Failure, Output};
use crate::witness::{Witness, WitnessKey};

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

pub fn run(command: Command, world: &World, output: &Output) -> Result<(), Failure> {
    match command {
        Command::New(new) => {
            let seed = world.env.random().context("the key")?;
            let key = WitnessKey::from_seed(&new.name, &seed)
                .map_err(|error| Failure::new(Code::Usage, error))?;
            key.write(&new.out)
                .map_err(|error| Failure::new(Code::Usage, error))?;
            let vkey = key.verifier().to_string();
            // The name inside a policy is the policy's own: any that has no space.
            let line = format!("witness {} {vkey} https://REPLACE", new.name);
            output.result(&json!({"vkey": vkey, "policy_line": line}), || vkey.clone());
            output.remark(format!(
                "A log asks this witness with a line in its policy: {line}"
            ));
            Ok(())
        }
        // `main` serves.
        Command::Serve(_) => Err(Failure::usage("not to be run here")),
    }
}

impl Serve {
    pub fn open(&self) -> Result<Witness, Failure> {
        let key = WitnessKey::read(&self.key).map_err(|error| Failure::new(Code::Usage, error))?;
        let mut logs = self.logs.clone();
        for path in &self.log_files {
            let text = std::fs::read_to_string(path)
                .with_context(|| path.display().to_string())
                .map_err(|error| Failure::new(Code::Usage, error))?;
            for (number, line) in (1..).zip(text.lines().map(str::trim)) {
                if line.is_empty() || line.starts_with('#') {
                    continue;
                }
                let log = line
                    .parse()
                    .with_context(|| format!("{}, line {number}", path.display()))
                    .map_err(|error| Failure::new(Code::Usage, error))?;
                logs.push(log);
            }
        }
        if logs.is_empty() {
            return Err(Failure::usage("name at least one log: --log or --log-file"));
        }
        if let Some(other) = logs.iter().find(|log| !log.kind().is_log()) {
            return Err(Failure::usage(format!("{other} is not the key of a log")));
        }
        Witness::open(key, &self.state, logs)
            .context("the state")
            .map_err(Failure::unavailable)
    }
}
