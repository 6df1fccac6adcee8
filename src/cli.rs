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

pub use arguments::{Arguments, Command};
pub use context::{CliContext, compare_clocks, from_keys, variable};
pub use log::{Command as LogCommand, witness_failed};
pub use notify::context as notify_context;
pub use rotation::scheduler;
pub use ssh::KeyFile;

use base::Env;
use verify::output::Output;
use verify::signatures;

/// What `main` hands in: the world as far as the command line may touch it.
pub struct World {
    pub env: Env,
    /// The environment's variables.
    pub environment: Vec<(String, String)>,
    /// This program, to start worker processes from.
    pub program: std::path::PathBuf,
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
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => output.failure(&failure),
    }
}
