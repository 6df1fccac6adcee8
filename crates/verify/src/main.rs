//! `chancery-verify`: what `chancery` knows about verification, without the service.

use std::process::ExitCode;

use base::system::now;
use clap::{Parser, Subcommand};
use verify::output::{EXIT_CODES, Output, Style};
use verify::{
    Monitor, Record, Review, Transcript, Verify, monitor, record, review, signatures, transcript,
};

/// Verifies signatures, evidence files and transcripts of a Chancery service, offline or with its
/// public API, and monitors its log. It needs no account.
#[derive(Debug, Parser)]
#[command(name = "chancery-verify", version, after_help = EXIT_CODES)]
struct Arguments {
    /// Output format: tables (human) or JSON.
    #[arg(long, global = true, value_enum, default_value = "human")]
    output: Style,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Verify a signature or an evidence file: offline with a JWKS file or the genesis, or with a
    /// service.
    Signature(Verify),
    /// Verify the transcript of a ceremony against the pinned digest of the genesis.
    Transcript(Transcript),
    /// Verify the transcript of a ceremony, and write its record for paper: HTML that prints on two sheets.
    Record(Record),
    /// Render a file to be signed in a ceremony, with the digest to read aloud.
    Review(Review),
    /// Monitor a log from outside: that it is append-only and fresh, and that every published key
    /// has its ceremony in it. Exit code 5: alarm.
    Monitor(Monitor),
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // Reqwest looks for it; without it every request fails.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let output = Output::new("chancery-verify", arguments.output);
    let done = match arguments.command {
        Command::Signature(command) => signatures::run(command, &output).await,
        Command::Transcript(command) => transcript::run(&command, &output),
        Command::Record(command) => record::run(&command, &output),
        Command::Review(command) => review::run(&command, &output),
        Command::Monitor(command) => monitor::run(command, &now, &output).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => output.failure(&failure),
    }
}
