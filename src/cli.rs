//! The command line: one sub-command, one file. People get tables, programs `--output json`.

mod access;
mod alert;
mod arguments;
mod asset;
mod audit;
mod ceremony;
mod clock;
mod config;
mod context;
mod digest;
mod doctor;
mod emergency;
mod evidence;
mod executor;
mod genesis;
mod health;
mod job;
mod key;
mod log;
mod migrate;
mod notice;
mod notify;
mod order;
mod policy;
mod prune;
mod ring;
mod rotation;
mod sign;
mod ssh;
mod trust;
mod usage;

use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::Duration;

pub use arguments::{Arguments, Command};
pub use context::{CliContext, compare_clocks, from_keys, variable};
pub use log::{Command as LogCommand, witness_failed};
pub use notify::context as notify_context;
pub use rotation::scheduler;
pub use ssh::KeyFile;

use base::Env;
use store::Store;
use verify::output::Output;
use verify::signatures;

/// How long the database file may take to close when a command ends.
const CLOSING: Duration = Duration::from_secs(3);

/// What `main` hands in: the world as far as the command line may touch it.
pub struct World {
    pub env: Env,
    /// The environment's variables.
    pub environment: Vec<(String, String)>,
    /// This program, to start worker processes from.
    pub program: std::path::PathBuf,
    /// The database file that a command has open, to be closed when it ends.
    pub file: OnceLock<Store>,
}

impl World {
    /// What a command wrote is in the file itself then, and not in the WAL beside it, unless a service has it open too.
    async fn close(&self) {
        if let Some(store) = self.file.get() {
            let _ = tokio::time::timeout(CLOSING, store.close()).await;
        }
    }
}

/// Carries a sub-command out. `serve` and the worker are `main`'s.
pub async fn run(arguments: Arguments, world: &World) -> ExitCode {
    let output = Output::new("chancery", arguments.output);
    let outcome = match arguments.command {
        Command::Serve | Command::HsmWorker => return ExitCode::from(2),
        Command::Doctor => doctor::run(&arguments.config, world, &output).await,
        Command::Health(command) => health::run(&arguments.config, command, world, &output).await,
        Command::Migrate => migrate::run(&arguments.config, world, &output).await,
        Command::Config(command) => config::run(&arguments.config, &command, world, &output),
        Command::Ring(command) => ring::run(&arguments.config, command, world, &output).await,
        Command::Key(command) => key::run(&arguments.config, command, world, &output).await,
        Command::Ceremony(command) => {
            ceremony::run(&arguments.config, command, world, &output).await
        }
        Command::Asset(command) => asset::run(&arguments.config, command, world, &output).await,
        Command::Policy(command) => policy::run(&arguments.config, command, world, &output).await,
        Command::Order(command) => order::run(&arguments.config, command, world, &output).await,
        Command::Emergency(command) => {
            emergency::run(&arguments.config, command, world, &output).await
        }
        Command::Rotation(command) => {
            rotation::run(&arguments.config, command, world, &output).await
        }
        Command::Alert(command) => alert::run(&arguments.config, command, world, &output).await,
        Command::Job(command) => job::run(&arguments.config, command, world, &output).await,
        Command::Trust(command) => trust::run(&arguments.config, command, world, &output).await,
        Command::Audit(command) => audit::run(&arguments.config, command, world, &output).await,
        Command::Log(command) => log::run(&arguments.config, command, world, &output).await,
        Command::Access(command) => access::run(&arguments.config, command, world, &output).await,
        Command::Notify(command) => notify::run(&arguments.config, command, world, &output).await,
        Command::Digest(command) => digest::run(&arguments.config, command, world, &output).await,
        Command::Notice(command) => notice::run(&arguments.config, command, world, &output).await,
        Command::Sign(command) => sign::run(command, &output).await,
        Command::Verify(command) => signatures::run(command, &output).await,
        Command::Executor(command) => {
            executor::run(&arguments.config, command, world, &output).await
        }
        Command::Evidence(command) => evidence::run(command, &output).await,
    };
    world.close().await;
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => output.failure(&failure),
    }
}
