//! Five custodians at a distance: ceremonies over HTTP with their own keys, announced by mail, one rejection, a
//! roster change that replaces a lost custodian while another ceremony is open, and what custodians have approved for good
//! and for bad days, each in a file of its own.

use anyhow::anyhow;
use serde_json::{Value, json};
use testkit::custodian::Custodian;
use testkit::installation::text;

use super::far::{Far, Told};
use super::mail::Mail;
use super::passkeys;
use super::stage::Stage;
use super::{RING, drill, orders};
use verify::output::{Code, Failure, Output};

/// Who holds the ceremonies; three have to agree.
const FOUNDERS: [&str; 5] = ["ada", "berta", "carla", "dora", "emil"];

/// What goes on after the roster changed, each in a file of its own; ada, berta, carla and fanny are custodians then, three of
/// whom have to agree.
const PARTS: [(&str, Play); 2] = [("standing order", orders::play), ("drill", drill::play)];

/// Tells one part of the story.
type Play = fn(&Far<'_>) -> Result<Told, Failure>;

pub async fn play(stage: &mut Stage, output: &Output) -> Result<(), Failure> {
    let act = |text: &str| output.remark(format!("\n== {text}"));
    for custodian in FOUNDERS {
        stage.installation.add_custodian(custodian, "ed25519")?;
    }
    stage.installation.add_executor(orders::EXECUTOR)?;
    stage.installation.routine_rings = vec![RING.to_owned()];
    stage.installation.found_by("3")?;
    stage.installation.install()?;
    let mail = Mail::start(stage, &FOUNDERS, output)?;
    stage.chancery(&["ring", "create", RING, "--algorithm", "ES256", "--apply"])?;
    stage.serve()?;
    let far = Far {
        stage,
        output,
        url: stage.url(),
        genesis: stage.installation.genesis.clone(),
    };

    act(
        "A request that is rejected: the machine with the token drafts it, everything else is done over HTTP",
    );
    let draft = |out: &str, by: &str, reason: &str| {
        let words = ["ceremony", "new", "generate", "--ring", RING];
        let more = ["--proposer", by, "--reason", reason, "--out", out];
        stage.chancery(&[&words[..], &more].concat())
    };
    draft("first.request", "ada", "first key")?;
    let rejected = text(
        &far.by("ada", &["ceremony", "propose", "first.request"])?,
        "ceremony",
    )?;
    match &mail {
        Some(mail) => {
            let asked = mail.to("berta", "Your approval is asked", output)?;
            asked.show(output);
            // Nothing but what she was sent, and her key.
            for command in ["chancery ceremony review", "chancery ceremony approve"] {
                let words = asked.command(command, "berta")?;
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                stage.chancery(&words)?;
            }
        }
        None => {
            far.by("berta", &["ceremony", "review", &rejected])?;
            far.by("berta", &["ceremony", "approve", &rejected])?;
        }
    }
    let no = ["--reason", "the ticket is missing"];
    far.by(
        "emil",
        &[&["ceremony", "reject", &rejected], &no[..]].concat(),
    )?;
    let late = far.refused("carla", &["ceremony", "approve", &rejected])?;
    if let Some(mail) = &mail {
        mail.to("carla", "ejected", output)?;
    }

    act(
        "The same, with a ticket: three of five approve, the machine with the token executes, three accept",
    );
    let words = [
        "ceremony", "new", "generate", "--ring", RING, "--ticket", "KEY-1",
    ];
    let more = [
        "--proposer",
        "ada",
        "--reason",
        "first key",
        "--out",
        "second.request",
    ];
    stage.chancery(&[&words[..], &more].concat())?;
    let first = text(
        &far.by("ada", &["ceremony", "propose", "second.request"])?,
        "ceremony",
    )?;
    let first_kid = far.finish(&first, &["berta", "carla", "dora"])?;

    act("Emil has lost his key: Fanny replaces him while another ceremony is open");
    // It signs for a moment only: the standing order of later has a successor to make.
    let words = ["ceremony", "new", "generate", "--ring", RING];
    let more = ["--proposer", "berta", "--reason", "standby key"];
    let file = ["--lifetime", "10s", "--out", "third.request"];
    stage.chancery(&[&words[..], &more, &file].concat())?;
    let open = text(
        &far.by("berta", &["ceremony", "propose", "third.request"])?,
        "ceremony",
    )?;
    far.by("ada", &["ceremony", "approve", &open])?;
    output.remark("$ ssh-keygen -t ed25519 -C fanny -f fanny");
    Custodian::new(stage.directory(), "fanny", "ed25519")?;
    let change = [
        "trust",
        "new-roster",
        "--remove",
        "emil",
        "--add",
        "fanny=fanny.pub",
    ];
    let more = ["--out", "next-roster"];
    let filed = far.by("ada", &[&change[..], &more].concat())?;
    let roster = text(&filed, "statement")?;
    far.by("berta", &["trust", "review", &roster])?;
    far.by("berta", &["trust", "sign", &roster])?;
    far.by("carla", &["trust", "sign", &roster])?;
    // Not a member yet, she signs the file that Ada sent her: the proof that she has the key.
    let installed = far.by("fanny", &["trust", "sign", "next-roster"])?;
    let anybody = [
        "trust",
        "show",
        "--url",
        &far.url,
        "--genesis",
        &far.genesis,
    ];
    stage.chancery(&anybody)?;

    act("What was open is void, and proposed anew; the new custodian counts");
    let void = far.by("ada", &["ceremony", "show", &open])?;
    let renew = [
        "ceremony",
        "renew",
        &open,
        "--proposer",
        "berta",
        "--reason",
        "standby key",
    ];
    stage.chancery(&[&renew[..], &["--out", "renewed.request"]].concat())?;
    let renewed = text(
        &far.by("berta", &["ceremony", "propose", "renewed.request"])?,
        "ceremony",
    )?;
    let second_kid = far.finish(&renewed, &["ada", "carla", "fanny"])?;

    act(
        "Dora's laptop is stolen: she suspends herself at once, and the thief's signature does not count",
    );
    let suspend = ["trust", "suspend", "dora", "--reason", "laptop stolen"];
    let suspended = far.by("dora", &suspend)?;
    draft("fourth.request", "berta", "next key")?;
    let after = text(
        &far.by("berta", &["ceremony", "propose", "fourth.request"])?,
        "ceremony",
    )?;
    let thief = far.refused("dora", &["ceremony", "approve", &after])?;

    let mut parts = Vec::new();
    for (name, play) in PARTS {
        parts.push((name, play(&far)?));
    }

    act("Every transcript, verified offline by both verifiers from the pinned digest alone");
    let mut verified = Vec::new();
    for (id, file) in [
        (&first, "first.transcript"),
        (&renewed, "renewed.transcript"),
    ] {
        stage.chancery(&["ceremony", "transcript", id, "--out", file])?;
        let genesis = &far.genesis;
        stage.chancery(&["ceremony", "verify", file, "--genesis", genesis])?;
        verified.push(far.second_verifier(file)?);
    }
    let tampered = stage.tampered("renewed.transcript", &far.genesis)?;

    let second = |file: &str| far.second_verifier(file);
    let told = passkeys::play(stage, output, (&far.url, &far.genesis), &second).await?;
    parts.extend(["passkeys", "printed record"].into_iter().zip(told));

    let shown = parts.iter();
    let shown: serde_json::Map<String, Value> = shown
        .map(|(name, told)| (name.replace(' ', "_"), told.shown.clone()))
        .collect();
    let summary = json!({
        "rejected": rejected, "approved_after_rejection": late,
        "first_kid": first_kid, "second_kid": second_kid,
        "roster": installed["state"], "open_ceremony": void["state"],
        "suspension": suspended["state"], "approval_by_the_thief": thief,
        "second_verifier": verified, "tampered_transcript": tampered,
        "announced_by_mail": mail.is_some(), "parts": shown,
    });
    output.result(&summary, || {
        let lines = parts.iter();
        let lines = lines.map(|(name, told)| format!("\n  {name:<21} {}", told.words));
        describe(&summary) + &lines.collect::<String>()
    });
    let good = installed["state"] == "effective"
        && void["state"] == "cancelled"
        && suspended["state"] == "effective"
        && tampered == "refused"
        && parts.iter().all(|(_, told)| told.good)
        && verified
            .iter()
            .all(|verdict| verdict.as_deref() != Some("refused"));
    match good {
        true => Ok(()),
        false => Err(Failure::new(
            Code::Failed,
            anyhow!("the demonstration failed: {summary}"),
        )),
    }
}

fn describe(summary: &Value) -> String {
    let text = |name: &str| match &summary[name] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    format!(
        "\nSummary\n\
         \x20 announced by mail     {}\n\
         \x20 rejected              {}; another approval: {}\n\
         \x20 first key             {}\n\
         \x20 roster change         {}; the ceremony that was open is {}\n\
         \x20 second key            {} (approved and accepted by the new custodian too)\n\
         \x20 suspension            {}; the thief's approval: {}\n\
         \x20 transcripts           by the second verifier: {}; with one byte changed {}",
        text("announced_by_mail"),
        text("rejected"),
        text("approved_after_rejection"),
        text("first_kid"),
        text("roster"),
        text("open_ceremony"),
        text("second_kid"),
        text("suspension"),
        text("approval_by_the_thief"),
        text("second_verifier"),
        text("tampered_transcript"),
    )
}
