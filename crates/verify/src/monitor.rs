//! `chancery log monitor`: from outside, against what was seen before.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use serde_json::{Value, json};
use trust::time::parse_positive_duration;
use trust::{Sha256Digest, Time};

use super::follow::{Follower, Round};
use crate::client::{Client, Connect};
use crate::evidence::read_policy;
use crate::output::{Code, Failure, Output, progress, table};
use crate::watch::State;
use trust::finding::Finding;

/// A replica, a witness or a checkpoint may be a moment behind: what is told of them has to be so
/// for as long as these looks take.
const LOOKS: usize = 6;
const BETWEEN: Duration = Duration::from_secs(2);

/// Findings that may be of a moment.
const PASSING: &[&str] = &["key_unlogged", "revoked_in_jwks", "witnesses"];

#[derive(Debug, Args)]
pub struct Monitor {
    /// Base URL of the service.
    #[arg(long)]
    url: String,
    /// SHA-256 of the genesis, as published by the custodians.
    #[arg(long)]
    genesis: Sha256Digest,
    /// State file: created by the first run, replaced after every successful one.
    #[arg(long)]
    state: PathBuf,
    /// The required witnesses (c2sp.org/tlog-policy).
    #[arg(long)]
    witness_policy: Option<PathBuf>,
    /// Interval between two rounds.
    #[arg(long, default_value = "60s", value_parser = parse_positive_duration)]
    interval: Duration,
    /// Run one round and exit.
    #[arg(long)]
    once: bool,
    /// Maximum age of the newest leaf and of the quorum of witnesses on the checkpoint.
    #[arg(long, default_value = "20m", value_parser = parse_positive_duration)]
    max_age: Duration,
    #[command(flatten)]
    connect: Connect,
}

/// What a look found, when what passes by itself has passed.
struct RoundOutcome {
    state: Option<State>,
    findings: Vec<Finding>,
    /// What happened that is no finding, as with standing orders.
    told: Vec<String>,
    size: Option<u64>,
    read: u64,
}

pub async fn run(
    command: Monitor,
    now: &(impl Fn() -> Time + Sync),
    output: &Output,
) -> Result<(), Failure> {
    let policy = command
        .witness_policy
        .as_deref()
        .map(read_policy)
        .transpose()?;
    let mut state = load(&command.state, command.genesis)?;
    let client = Client::new(&command.url, &command.connect, None)?;
    let mut follower = Follower::new(client, command.genesis, policy);
    if command.once {
        let outcome = look(&mut follower, state.as_ref(), &command, now, output).await?;
        keep(&command.state, outcome.state.as_ref())?;
        return report(&outcome, output);
    }
    let mut known = BTreeSet::new();
    loop {
        let mut alarms = Vec::new();
        match look(&mut follower, state.as_ref(), &command, now, output).await {
            Ok(outcome) => {
                keep(&command.state, outcome.state.as_ref())?;
                state = outcome.state.or(state);
                alarms = outcome.findings;
                let at = now();
                for told in &outcome.told {
                    let line = json!({"at": at, "told": told});
                    output.line(&line, || format!("{at} {told}"));
                }
            }
            Err(failure) => alarms.push(Finding {
                code: UNREACHABLE,
                what: format!("{:#}", failure.error),
                index: None,
            }),
        }
        // Each alarm once, as long as it lasts.
        let present: BTreeSet<(&str, String)> = alarms.iter().map(name).collect();
        for alarm in alarms.iter().filter(|alarm| !known.contains(&name(alarm))) {
            let at = now();
            let line =
                json!({"at": at, "code": alarm.code, "what": alarm.what, "index": alarm.index});
            output.line(&line, || {
                format!("{at} ALARM {}: {}", alarm.code, alarm.what)
            });
        }
        if present.is_empty() && !known.is_empty() {
            let at = now();
            let line = json!({"at": at, "code": "clear"});
            output.line(&line, || format!("{at} no findings any more"));
        }
        known = present;
        tokio::time::sleep(command.interval).await;
    }
}

/// The service does not answer as it should: one alarm, whatever it says while it ends and starts.
const UNREACHABLE: &str = "unreachable";

fn name(finding: &Finding) -> (&'static str, String) {
    match finding.code {
        UNREACHABLE => (UNREACHABLE, String::new()),
        code => (code, finding.what.clone()),
    }
}

/// Looks until nothing is left that may pass by itself, or it does not pass.
async fn look(
    follower: &mut Follower<Client>,
    before: Option<&State>,
    command: &Monitor,
    now: &(impl Fn() -> Time + Sync),
    output: &Output,
) -> Result<RoundOutcome, Failure> {
    let mut state = None;
    let mut read = 0;
    let mut all: Vec<Finding> = Vec::new();
    let mut told_of: Vec<String> = Vec::new();
    let mut lasting: Option<Vec<Finding>> = None;
    let mut size = None;
    for look in 1..=LOOKS {
        let bar = progress(0, output);
        let before = state.as_ref().or(before);
        let round = follower.round(before, |done, of| {
            bar.set_length(of);
            bar.set_position(done);
        });
        let round = round.await?;
        bar.finish_and_clear();
        size = round.checkpoint.as_ref().map(|now| now.size).or(size);
        read += match round.state {
            Some(_) => round.watch.read(),
            None => 0,
        };
        let (found, remarks, next) = judged(round, command, now);
        let is_read = next.is_some();
        state = next.or(state);
        let (passing, told): (Vec<_>, Vec<_>) = found
            .into_iter()
            .partition(|finding| PASSING.contains(&finding.code));
        // What was read once is not read again: what was found there is kept.
        all.extend(
            told.into_iter()
                .filter(|new| !all.contains(new))
                .collect::<Vec<_>>(),
        );
        // Of leaves, of which each is read once.
        if is_read {
            told_of.extend(remarks);
        }
        let still: Vec<Finding> = match lasting {
            None => passing,
            Some(earlier) => earlier
                .into_iter()
                .filter(|finding| passing.contains(finding))
                .collect(),
        };
        if still.is_empty() || look == LOOKS {
            all.extend(still);
            break;
        }
        lasting = Some(still);
        tokio::time::sleep(BETWEEN).await;
    }
    Ok(RoundOutcome {
        state,
        findings: all,
        told: told_of,
        size,
        read,
    })
}

fn judged(
    round: Round,
    command: &Monitor,
    now: &(impl Fn() -> Time + Sync),
) -> (Vec<Finding>, Vec<String>, Option<State>) {
    let mut findings = round.findings;
    if round.checkpoint.is_some() {
        let witnessed = round.witnessed.as_ref();
        let now = now();
        let watch = &round.watch;
        watch.fresh(witnessed, command.max_age, now, &mut findings);
    }
    let (findings, remarks) = findings.into_parts();
    (findings, remarks, round.state)
}

fn report(outcome: &RoundOutcome, output: &Output) -> Result<(), Failure> {
    let shown: Value = json!({
        "size": outcome.size,
        "read": outcome.read,
        "told": outcome.told,
        "findings": outcome.findings,
    });
    output.result(&shown, || {
        let size = outcome
            .size
            .map_or_else(|| "?".to_owned(), |size| size.to_string());
        let mut head = format!("{size} leaves, {} of them new\n", outcome.read);
        for told in &outcome.told {
            head = head + told + "\n";
        }
        match outcome.findings.is_empty() {
            true => head + "no findings",
            false => head + &findings(&outcome.findings),
        }
    });
    match outcome.findings.len() {
        0 => Ok(()),
        n => Err(Failure::told(Code::NotValid, format_args!("{n} alarm(s)"))),
    }
}

fn load(path: &Path, genesis: Sha256Digest) -> Result<Option<State>, Failure> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            let what = format!("cannot read {}", path.display());
            return Err(Failure::new(
                Code::Usage,
                anyhow::Error::new(error).context(what),
            ));
        }
    };
    // Never begun anew by itself: whoever can garble the file could hide a fork by it.
    let state = State::decode(&bytes, genesis)
        .with_context(|| format!("{} cannot be used", path.display()))
        .map_err(|error| Failure::new(Code::Usage, error))?;
    Ok(Some(state))
}

/// Whole or not at all: written beside it, then put in its place.
fn keep(path: &Path, state: Option<&State>) -> Result<(), Failure> {
    let Some(state) = state else { return Ok(()) };
    let bytes = state
        .encode()
        .map_err(|error| Failure::new(Code::Failed, error))?;
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let written = || -> std::io::Result<()> {
        let mut file = fs::File::create(&beside)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        let directory = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        fs::File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
    };
    written().with_context(|| format!("cannot write {}", path.display()))?;
    Ok(())
}

/// What an audit found, for people.
pub fn findings(all: &[Finding]) -> String {
    table(
        &["finding", "leaf", "what"],
        all.iter().map(|finding| {
            [
                finding.code.to_owned(),
                finding
                    .index
                    .map_or_else(String::new, |index| index.to_string()),
                finding.what.clone(),
            ]
        }),
    )
}
