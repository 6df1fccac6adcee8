//! What can be typed.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use verify::output::{EXIT_CODES, Style};

use super::{
    access, alert, asset, audit, ceremony, config, digest, emergency, evidence, executor, health,
    job, key, log, notice, notify, order, policy, ring, rotation, sign, trust,
};

/// Chancery: an HSM-backed signing and JWKS service with a transparency log.
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
    /// Output format: tables (human) or JSON.
    #[arg(long, global = true, value_enum, default_value = "human")]
    pub output: Style,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the service.
    Serve,
    /// Carry out approved ceremonies: as a service, once, or on a machine without a network.
    Executor(executor::Executor),
    /// Check configuration, database, trust, keys, log and token, and print what to fix.
    Doctor,
    /// Ask the running service whether it is alive, ready or able to sign; exit code 0 or 4.
    Health(health::Health),
    /// Apply pending database migrations.
    Migrate,
    /// Show the effective configuration.
    #[command(subcommand)]
    Config(config::Command),
    /// Rings: create, list and show; rotate, roll back and retire keys; propose destruction and
    /// revocation. Without `--apply` only the plan is shown.
    #[command(subcommand)]
    Ring(ring::Command),
    /// Keys and their states.
    #[command(subcommand)]
    Key(key::Command),
    /// Ceremonies: generation, destruction and revocation of keys under a quorum of custodians.
    #[command(subcommand)]
    Ceremony(ceremony::Command),
    /// The inventory: all that rotates, with owners and dates; register, import, export and report.
    #[command(subcommand)]
    Asset(asset::Command),
    /// Rotation policies: by which rules each key type rotates.
    #[command(subcommand)]
    Policy(policy::Command),
    /// Standing orders: keys of a ring that custodians approved in advance.
    #[command(subcommand)]
    Order(order::Command),
    /// Emergencies: stop signing, let it go on, rotate onto a standby key at once; reports of compromise.
    #[command(subcommand)]
    Emergency(emergency::Command),
    /// Rotations: the plan, what is under way, and what somebody wants of it.
    #[command(subcommand)]
    Rotation(rotation::Command),
    /// The jobs of the scheduler.
    #[command(subcommand)]
    Job(job::Command),
    /// Alerts: conditions that people are told of while they hold, and who looks after them.
    #[command(subcommand)]
    Alert(alert::Command),
    /// Notices to the outside: what an audience is told of an incident, and who decided so.
    #[command(subcommand)]
    Notice(notice::Command),
    /// Show what happened in a week and what comes in the next one, as the weekly digest says it.
    Digest(digest::Command),
    /// Whom the service trusts: roster, policy, and suspensions of members.
    #[command(subcommand)]
    Trust(trust::Command),
    /// The audit trail: every act, refusal and signature.
    #[command(subcommand)]
    Audit(audit::Command),
    /// The transparency log: check, monitor, prune, verifier keys, and a witness for other logs.
    #[command(subcommand)]
    Log(log::Command),
    /// Access tokens and client certificates of callers.
    #[command(subcommand)]
    Access(access::Command),
    /// Notifications: what waits, dead letters, and a test of a receiver.
    #[command(subcommand)]
    Notify(notify::Command),
    /// Sign a file with a running service.
    Sign(sign::Sign),
    /// Verify signatures with a running service or a JWKS file, or an evidence file offline.
    Verify(verify::Verify),
    /// Evidence files: proof of a signature's validity, verifiable offline.
    #[command(subcommand)]
    Evidence(evidence::Command),
    /// A worker process around the vendor's PKCS#11 library.
    #[command(hide = true)]
    HsmWorker,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn without_help(command: &clap::Command, path: &str, found: &mut Vec<String>) {
        let path = format!("{path} {}", command.get_name());
        if command.get_about().is_none() {
            found.push(path.clone());
        }
        let silent = command
            .get_arguments()
            .filter(|argument| argument.get_help().is_none());
        found.extend(silent.map(|argument| format!("{path} {}", argument.get_id())));
        for command in command.get_subcommands() {
            without_help(command, &path, found);
        }
    }

    fn in_base64url(command: &clap::Command, path: &str, refused: &mut Vec<String>) {
        let path = format!("{path} {}", command.get_name());
        let arguments = command.get_arguments();
        let texts =
            arguments.filter(|argument| ["kid", "salt"].contains(&argument.get_id().as_str()));
        let refuses = texts.filter(|argument| !argument.is_allow_hyphen_values_set());
        refused.extend(refuses.map(|argument| format!("{path} {}", argument.get_id())));
        for command in command.get_subcommands() {
            in_base64url(command, &path, refused);
        }
    }

    #[test]
    fn case_w5_a_value_in_base64url_may_begin_with_a_hyphen() {
        let mut refused = Vec::new();
        in_base64url(&Arguments::command(), "", &mut refused);
        assert!(refused.is_empty(), "{}", refused.join("\n"));
    }

    #[test]
    fn case_w4_a_duration_in_which_nothing_can_happen_is_refused() {
        let genesis = "0".repeat(64);
        let generate = "ceremony new generate --ring a --proposer b --reason c --out d";
        let monitor = format!("log monitor --url http://localhost --state s --genesis {genesis}");
        let grant = "access grant a --role auditor";
        for (words, option) in [
            (generate, "--lifetime"),
            (generate, "--approve-within"),
            (generate, "--execute-within"),
            (monitor.as_str(), "--interval"),
            (monitor.as_str(), "--max-age"),
            (grant, "--expires-in"),
        ] {
            let read = |value: &str| {
                let words = ["chancery"].into_iter().chain(words.split(' '));
                let refused = Arguments::try_parse_from(words.chain([option, value])).err();
                refused.map(|error| error.to_string())
            };
            assert_eq!(read("1s"), None, "{option}");
            let refused = read("0s").unwrap_or_default();
            assert!(
                refused.contains("expected more than 0s"),
                "{option}: {refused}"
            );
        }
    }

    #[test]
    fn every_command_and_every_argument_says_what_it_is() {
        let mut found = Vec::new();
        without_help(&Arguments::command(), "", &mut found);
        assert!(found.is_empty(), "{}", found.join("\n"));
    }
}
