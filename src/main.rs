//! Wires everything; the only file that names everything.

mod access;
mod ambient;
mod ceremony;
mod cli;
mod config;
mod keys;
mod log;
mod rotation;
mod signing;
mod store;
mod token;
mod verification;

use std::process::ExitCode;

use clap::Parser as _;

use crate::ambient::{Ambient, NoRandomness};
use crate::cli::{Arguments, Command, World};

fn main() -> ExitCode {
    // Reqwest, axum-server and sqlx all look for it; without it they panic at the first use.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let arguments = Arguments::parse();
    if matches!(arguments.command, Command::HsmWorker) {
        return token::worker();
    }
    let program = std::env::current_exe().unwrap_or_else(|_| "chancery".into());
    let world = World {
        ambient: Ambient::new(now, fill),
        environment: std::env::vars().collect(),
        program,
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("chancery: {error}");
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(cli::run(arguments, &world))
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the wall clock"
)]
fn now() -> trust::Time {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    trust::Time::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place that draws randomness"
)]
fn fill(bytes: &mut [u8]) -> Result<(), NoRandomness> {
    aws_lc_rs::rand::fill(bytes).map_err(|_| NoRandomness)
}
