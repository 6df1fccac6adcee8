//! What can be typed.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use verify::output::{EXIT_CODES, Style};

use super::{access, audit, ceremony, config, demo, evidence, key, log, ring, sign};

/// Chancery: signs with keys that never leave their HSM, publishes them, and keeps them verifiable.
#[derive(Debug, Parser)]
#[command(name = "chancery", version, after_help = EXIT_CODES)]
pub struct Arguments {
    /// The configuration file.
    #[arg(
        long,
        global = true,
        env = "CHANCERY_CONFIG",
        default_value = "chancery.toml"
    )]
    pub config: PathBuf,
    /// Tables for people or JSON for programs.
    #[arg(long, global = true, value_enum, default_value = "human")]
    pub output: Style,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the service.
    Serve,
    /// Check configuration, database, trust and token, and say what to do.
    Doctor,
    /// Bring the database's schema up to date.
    Migrate,
    /// Show the configuration in force.
    #[command(subcommand)]
    Config(config::Command),
    /// Rings: create, rotate, roll back, retire. Each plan is shown; `--apply` carries it out.
    #[command(subcommand)]
    Ring(ring::Command),
    /// Keys and their life.
    #[command(subcommand)]
    Key(key::Command),
    /// Ceremonies: keys are born, destroyed and revoked only under a quorum of custodians.
    #[command(subcommand)]
    Ceremony(ceremony::Command),
    /// The audit trail: every act, refusal and signature.
    #[command(subcommand)]
    Audit(audit::Command),
    /// The transparency log: check it, its keys for policies, and a witness for other logs.
    #[command(subcommand)]
    Log(log::Command),
    /// Credentials of programs and people.
    #[command(subcommand)]
    Access(access::Command),
    /// Have a running service sign a file.
    Sign(sign::Sign),
    /// Verify signatures by a running service, with a JWKS file alone, or an evidence file offline.
    Verify(verify::Verify),
    /// Evidence files: what a signature is worth, checkable without the service.
    #[command(subcommand)]
    Evidence(evidence::Command),
    /// Hold a whole ceremony, sign, rotate and verify, on a token made for the purpose.
    Demo(demo::Demo),
    /// A worker process around the vendor's PKCS#11 library.
    #[command(hide = true)]
    HsmWorker,
}
