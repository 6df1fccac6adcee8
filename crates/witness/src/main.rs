//! `chancery-witness`: cosigns the checkpoints of logs that only grow.

use std::process::ExitCode;
use std::sync::Arc;

use base::signals::{Hangup, shutdown_signal};
use base::system::{fill, now};
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
            let mut seed = [0; 32];
            fill(&mut seed)?;
            let made = new.make(&seed)?;
            println!("{}", made.vkey);
            eprintln!("Line for the witness policy of a log: {}", made.policy_line);
        }
        Command::Serve(options) => {
            tracing_subscriber::fmt()
                .with_target(false)
                .with_writer(std::io::stderr)
                .init();
            let witness = Arc::new(options.open()?);
            // A witness has nothing to read again, and is not ended by a hang-up.
            let _hangup = Hangup::new();
            let shutdown = async {
                shutdown_signal().await;
            };
            witness::serve(witness, Arc::new(now), options.listen, shutdown).await?;
        }
    }
    Ok(())
}
