//! `chancery-witness`: cosigns the checkpoints of logs that only grow.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Parser;
use witness::{Command, CommandError};

/// A witness for transparency logs (c2sp.org/tlog-witness): cosigns checkpoints of append-only
/// logs.
#[derive(Debug, Parser)]
#[command(
    name = "chancery-witness",
    version,
    after_help = "Exit codes: 0 done; 1 failed; 2 usage; 4 the state or the listener is not available."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse().command).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("chancery-witness: {error:#}");
            ExitCode::from(match error.downcast_ref() {
                Some(CommandError::Usage(_)) => 2,
                Some(CommandError::State(_)) => 4,
                None if error.is::<witness::ServeError>() => 4,
                None => 1,
            })
        }
    }
}

async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::New(new) => {
            let made = new.make(&seed()?)?;
            println!("{}", made.vkey);
            eprintln!("Line for the witness policy of a log: {}", made.policy_line);
        }
        Command::Serve(options) => {
            tracing_subscriber::fmt()
                .with_target(false)
                .with_writer(std::io::stderr)
                .init();
            let witness = Arc::new(options.open()?);
            witness::serve(witness, Arc::new(now), options.listen, shutdown_signal()).await?;
        }
    }
    Ok(())
}

/// Ctrl-C, or what systemd and Kubernetes send.
async fn shutdown_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let interrupt = tokio::signal::ctrl_c();
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => tokio::select! {
            _ = interrupt => {}
            _ = terminate.recv() => {}
        },
        Err(_) => {
            let _ = interrupt.await;
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place of this program that reads the wall clock"
)]
fn now() -> trust::Time {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    trust::Time::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place of this program that draws randomness"
)]
fn seed() -> anyhow::Result<[u8; 32]> {
    let mut seed = [0; 32];
    aws_lc_rs::rand::fill(&mut seed)
        .ok()
        .context("the system random source failed")?;
    Ok(seed)
}
