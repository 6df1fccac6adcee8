//! The whole of Chancery's main job, on a token made for the purpose and a log file of this very
//! machine. Every step is a command that a person could type, and is shown as such.

mod custodians;
mod drill;
mod far;
mod front;
mod isolation;
mod load;
mod mail;
mod orders;
mod passkeys;
mod rotation;
mod stage;
mod theft;
mod watched;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use serde_json::{Value, json};

use self::front::Front;
use self::load::Load;
use self::stage::{Scene, Stage};
use verify::output::{Code, EXIT_CODES, Failure, Output, Style};

/// How long a key is published before it signs, here only: long enough to be seen.
const PUBLISH_SAFETY: Duration = Duration::from_secs(4);

const RING: &str = "atp-integrity";

/// Log files that a Debian machine has; the first that holds something is signed.
const LOG_FILES: [&str; 6] = [
    "/var/log/syslog",
    "/var/log/dpkg.log",
    "/var/log/apt/history.log",
    "/var/log/alternatives.log",
    "/var/log/bootstrap.log",
    "/etc/services",
];

/// Lines of it that are signed.
const LINES: usize = 500;

/// Holds ceremonies, signs a real log file of this machine, rotates under load, replaces a
/// key that was stolen, and verifies; on a token that it makes for this.
#[derive(Debug, Parser)]
#[command(name = "chancery-demo", version, after_help = EXIT_CODES)]
struct Arguments {
    /// Where token, database and files go. Without it: a temporary directory, removed at the end.
    #[arg(long)]
    directory: Option<PathBuf>,
    /// Leave the service running until it is interrupted, and keep the directory.
    #[arg(long)]
    keep: bool,
    /// The `chancery` program; the one beside this one when left out.
    #[arg(long)]
    program: Option<PathBuf>,
    /// Instead of the whole story one part: `custodians` at a distance, or a `rotation` by the scheduler.
    #[arg(long, value_enum)]
    part: Option<Part>,
    /// Where pictures of the dashboards in deploy/grafana go, of what a Prometheus saw during `--part rotation`.
    #[arg(long)]
    pictures: Option<PathBuf>,
    /// Tables for people or JSON for programs.
    #[arg(long, value_enum, default_value = "human")]
    output: Style,
}

/// What can be shown by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    Custodians,
    Rotation,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // Reqwest looks for it; without it every request fails.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let output = Output::new("chancery-demo", arguments.output);
    match run(arguments, &output).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => output.failure(&failure),
    }
}

async fn run(arguments: Arguments, output: &Output) -> Result<(), Failure> {
    let program = match arguments.program {
        Some(program) => program,
        None => std::env::current_exe()?.with_file_name("chancery"),
    };
    if !program.is_file() {
        let program = program.display();
        return Err(Failure::usage(format!(
            "there is no program {program}: build it first (cargo build --bin chancery)"
        )));
    }
    output.remark("\n== A token, custodians, and a genesis signed by all of them");
    let front = match arguments.part {
        Some(Part::Rotation) => Some(Front::start()?),
        _ => None,
    };
    let scene = match &front {
        Some(front) => rotation::scene(front),
        None => Scene {
            environment: "demonstration",
            publish_safety: PUBLISH_SAFETY,
            settings: Vec::new(),
        },
    };
    let mut stage = Stage::new(arguments.directory, arguments.keep, program, scene, output)?;
    let outcome = match (arguments.part, &front) {
        (_, Some(front)) => {
            let pictures = arguments.pictures.as_deref();
            rotation::play(&mut stage, front, pictures, output).await
        }
        (Some(Part::Custodians), _) => custodians::play(&mut stage, output).await,
        _ => play(&mut stage, output).await,
    };
    if outcome.is_ok() && arguments.keep {
        output.remark(format!(
            "\nThe service is running at {0} (try {0}/docs and {0}/.well-known/jwks.json); \
             its files are in {1}. Ctrl-C ends it.",
            stage.url(),
            stage.directory().display()
        ));
        base::signals::shutdown_signal().await;
    }
    outcome
}

async fn play(stage: &mut Stage, output: &Output) -> Result<(), Failure> {
    let act = |text: &str| output.remark(format!("\n== {text}"));

    for custodian in ["ada", "grace", "mary"] {
        stage.installation.add_custodian(custodian, "ed25519")?;
    }
    stage.installation.found()?;
    let genesis = stage.installation.genesis.clone();

    act("A ring, and its first key under a quorum of two");
    stage.installation.install()?;
    stage.chancery(&["ring", "create", RING, "--algorithm", "ES256", "--apply"])?;
    let first = stage.ceremony(RING, "ada", "first key of the ring")?;

    act("The log's own key, generated in the same way: it signs the checkpoints of the log");
    let log = [
        "ring",
        "create",
        trust::LOG_RING,
        "--algorithm",
        "Ed25519",
        "--apply",
    ];
    stage.chancery(&log)?;
    let log_key = stage.ceremony(trust::LOG_RING, "mary", "the log's key")?;

    act("The service; the key is published first and signs later");
    stage.serve()?;
    stage.access_token("integrity-service", RING)?;
    stage.wait_for_activation(&first, output).await?;
    stage.chancery(&["ring", "rotate", RING, "--apply"])?;
    stage.wait_for_activation(&log_key, output).await?;
    stage.chancery(&["ring", "rotate", trust::LOG_RING, "--apply"])?;

    act("Every line of a real log file, signed and verified");
    let (log_file, lines) = stage.log_lines(&LOG_FILES, LINES)?;
    stage.sign_lines("lines.txt", "before.jws", RING).await?;
    let jwks_before = stage.verify("before.jws").await?;

    act("Rotation under load: a standby key by quorum, published, then the switch");
    let second = stage.ceremony(RING, "grace", "quarterly rotation")?;
    stage.wait_for_activation(&second, output).await?;
    let load = Load::start(stage.client()?, RING);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let switch = std::time::Instant::now();
    stage.chancery(&["ring", "rotate", RING, "--apply"])?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let report = load.stop(switch).await?;

    act("Old and new signatures, after the rotation");
    stage.sign_lines("lines.txt", "after.jws", RING).await?;
    let old = stage.verify("before.jws").await?;
    let new = stage.verify("after.jws").await?;

    act("The transcript, verified against the pinned digest alone");
    stage.chancery(&[
        "ceremony",
        "transcript",
        &second.ceremony,
        "--out",
        "second.transcript",
    ])?;
    stage.chancery(&[
        "ceremony",
        "verify",
        "second.transcript",
        "--genesis",
        &genesis,
    ])?;
    let tampered = stage.tampered("second.transcript", &genesis)?;

    act("A compromised PIN: an intruder signs directly on the token, with a backdated record");
    let theft = theft::play(stage, output, RING, &second, &genesis).await?;

    let summary = json!({
        "log_file": log_file, "lines": lines,
        "first_kid": first.kid, "second_kid": second.kid,
        "verdicts_before": jwks_before, "verdicts_old": old, "verdicts_new": new,
        "requests_during_rotation": report.requests, "failed_requests": report.failed,
        "switch_ms": report.switch.as_secs_f64() * 1e3,
        "gap_ms": report.gap.as_secs_f64() * 1e3,
        "tampered_transcript": tampered,
        "genuine": theft.genuine, "forged": theft.forged,
        "in_doubt": theft.in_doubt["summary"]["total"],
        "evidence": theft.evidence["verdict"], "evidence_network": theft.network,
        "second_verifier": theft.second,
    });
    output.result(&summary, || describe(&summary));
    let reasons = |found: &Value, reason: &str| {
        let reasons = found["reasons"].as_array();
        reasons.is_some_and(|all| all.iter().any(|one| one == reason))
    };
    let survived = theft.genuine["verdict"] == "VALID_RETIRED_KEY"
        && theft.forged["verdict"] != "VALID"
        && theft.forged["verdict"] != "VALID_RETIRED_KEY"
        && reasons(&theft.forged, "not_in_log")
        && theft.evidence["verdict"] == "VALID_RETIRED_KEY"
        && theft
            .second
            .is_none_or(|verdict| verdict == "VALID_RETIRED_KEY");
    let good = report.failed == 0 && report.by_new_key > 0 && tampered == "refused" && survived;
    if !good {
        return Err(Failure::new(
            Code::Failed,
            anyhow::anyhow!("the demonstration failed: {summary}"),
        ));
    }
    Ok(())
}

fn describe(summary: &Value) -> String {
    let text = |name: &str| match &summary[name] {
        Value::String(text) => text.clone(),
        Value::Object(counts) => counts
            .iter()
            .map(|(verdict, count)| format!("{count} × {verdict}"))
            .collect::<Vec<_>>()
            .join(", "),
        other => other.to_string(),
    };
    let verdict = |name: &str| {
        let found = &summary[name];
        let reasons = found["reasons"].as_array().into_iter().flatten();
        let reasons: Vec<_> = reasons.filter_map(Value::as_str).collect();
        let verdict = found["verdict"].as_str().unwrap_or("?");
        format!("{verdict} ({})", reasons.join(", "))
    };
    format!(
        "\nSummary\n\
         \x20 signed                {} lines of {}\n\
         \x20 first key             {}\n\
         \x20 second key            {}\n\
         \x20 old signatures        {} (before the rotation: {})\n\
         \x20 new signatures        {}\n\
         \x20 under load            {} requests during the rotation, {} failed\n\
         \x20 the switch            {:.0} ms from the command to the first signature by the new key; {:.1} ms without a response\n\
         \x20 transcript            verifies; with one byte changed it is {}\n\
         \x20 after the compromise  the genuine record before it: {}\n\
         \x20                       the forged record: {}\n\
         \x20                       {} signature(s) since then are in doubt, and listed\n\
         \x20 evidence              {} with the network {}; by the second verifier: {}",
        text("lines"),
        text("log_file"),
        text("first_kid"),
        text("second_kid"),
        text("verdicts_old"),
        text("verdicts_before"),
        text("verdicts_new"),
        text("requests_during_rotation"),
        text("failed_requests"),
        summary["switch_ms"].as_f64().unwrap_or_default(),
        summary["gap_ms"].as_f64().unwrap_or_default(),
        text("tampered_transcript"),
        verdict("genuine"),
        verdict("forged"),
        text("in_doubt"),
        text("evidence"),
        text("evidence_network"),
        summary["second_verifier"]
            .as_str()
            .unwrap_or("not installed"),
    )
}
