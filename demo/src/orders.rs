//! A rotation by a standing order: approved once, then an executor apart makes the next key when the ring needs it and makes
//! it primary when it is due. No person is asked.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use serde_json::json;
use testkit::installation::text;
use testkit::process::Running;

use super::far::{Far, Told};
use super::stage::Stage;
use super::{PUBLISH_SAFETY, RING};
use verify::output::Failure;

/// The member who makes keys under orders.
pub const EXECUTOR: &str = "robot";

const VOTERS: [&str; 3] = ["berta", "carla", "fanny"];

/// How long the executor may take, its wait for `publish_safety` included.
const PATIENCE: Duration = Duration::from_secs(60);

pub fn play(far: &Far<'_>) -> Result<Told, Failure> {
    let (stage, output) = (far.stage, far.output);
    output.remark("\n== Routine: the keys that wait become primary, and a standing order for the next ones is approved");
    // The first key, and then the standby: whoever orders keys in advance has a ring that signs.
    for _ in 0..2 {
        stage.installation.rotate_when_safe(RING)?;
    }
    let ahead = format!("{}s", PUBLISH_SAFETY.as_secs());
    let words = ["ceremony", "new", "order", "--ring", RING];
    let of = ["--executor", EXECUTOR, "--uses", "3", "--every", "1d"];
    let times = ["--lifetime", "30d", "--activate-after", &ahead];
    let by = ["--proposer", "ada", "--reason", "routine rotations"];
    let file = ["--out", "order.request"];
    stage.chancery(&[&words[..], &of, &times, &by, &file].concat())?;
    let asked = far.by("ada", &["ceremony", "propose", "order.request"])?;
    let asked = text(&asked, "ceremony")?;
    far.by("berta", &["ceremony", "review", &asked])?;
    for voter in VOTERS {
        far.by(voter, &["ceremony", "approve", &asked])?;
    }
    stage.chancery(&["executor", "--once"])?;
    for voter in VOTERS {
        far.by(voter, &["ceremony", "accept", &asked])?;
    }
    let orders = stage.chancery(&["order", "list"])?;
    let order = text(&orders[0], "order")?;

    output.remark("\n== Without a person: an executor apart, with its own PIN file and its own key for results");
    let executor = apart(stage)?;
    output.remark("$ chancery --config executor.toml executor &");
    let end = Instant::now() + PATIENCE;
    let (key, made) = loop {
        let told = stage.quietly(&["order", "show", &order])?;
        if let (Some(kid), Some(ceremony)) = (
            told["used"][0]["kid"].as_str(),
            told["used"][0]["ceremony"].as_str(),
        ) {
            let key = stage.quietly(&["key", "show", kid])?;
            if key["state"] == "primary" {
                break (key, ceremony.to_owned());
            }
        }
        if Instant::now() > end {
            let log = fs::read_to_string(stage.installation.file("executor.log"));
            let log = log.unwrap_or_default();
            return Err(anyhow!("the executor has rotated nothing: {told}\n{log}").into());
        }
        sleep(Duration::from_millis(200));
    };
    drop(executor);
    let kid = text(&key, "kid")?;
    let told = stage.chancery(&["order", "show", &order])?;
    stage.chancery(&["ring", "show", RING])?;

    output.remark(
        "\n== Its transcript has the order in it: both verifiers, from the pinned digest alone",
    );
    let (verified, good) = far.verified(&made, "ordered.transcript")?;

    output.remark("\n== Any one custodian withdraws the order, from anywhere");
    let withdraw = ["order", "withdraw", &order];
    let reason = ["--reason", "the demonstration ends"];
    let withdrawn = far.by("carla", &[&withdraw[..], &reason].concat())?;
    let (left, uses) = (&told["left"], &told["uses"]);
    Ok(Told {
        words: format!(
            "{kid} made and made primary by {EXECUTOR}, {left} of {uses} uses left; both verifiers: {}; then {}",
            if good { "as it has to be" } else { "WRONG" },
            withdrawn["state"].as_str().unwrap_or("?"),
        ),
        good: good && withdrawn["state"] == "withdrawn" && key["state"] == "primary",
        shown: json!({
            "order": order, "kid": kid, "left": left, "verified": verified,
            "withdrawn": withdrawn["state"],
        }),
    })
}

/// With files of its own that no replica has. On a token with roles its PIN would be another one, too.
pub fn apart(stage: &Stage) -> Result<Running, Failure> {
    let installation = &stage.installation;
    let (shared, own) = (
        installation.token_file("pin"),
        installation.file("executor-pin"),
    );
    fs::copy(&shared, &own)?;
    fs::set_permissions(&own, fs::Permissions::from_mode(0o600))?;
    let replica = fs::read_to_string(installation.file("chancery.toml"))?;
    let (before, after) = replica
        .split_once("\n[executor]\n")
        .context("no section for the executor")?;
    let after = after.replacen(&shared.display().to_string(), &own.display().to_string(), 1);
    let config = installation.file("executor.toml");
    let section = format!("[orders]\nresult_key = \"{EXECUTOR}\"\n");
    fs::write(
        &config,
        format!("{before}\n[executor]\npoll = \"500ms\"\n{after}\n{section}"),
    )?;
    let log = File::create(installation.file("executor.log"))?;
    let child = std::process::Command::new(&installation.plan.program)
        .current_dir(&installation.plan.directory)
        .arg("--config")
        .arg(&config)
        .arg("executor")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()?;
    Ok(Running::new(child))
}
