//! An emergency drill with its clock, on a ring that is there for it: stop, rotation onto the standby key, ratification,
//! resume. The figures are read back from the log, and every statement is verified offline.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use anyhow::anyhow;
use serde_json::{Value, json};
use testkit::http::send;
use testkit::installation::text;
use trust::Time;

use super::far::{Far, Told};
use base::system::now;
use verify::output::Failure;

const RING: &str = "drill";

/// Those who hold it; Fanny proposes.
const VOTERS: [&str; 3] = ["ada", "berta", "carla"];

/// After the other acts: Dora is suspended, and Emil is gone.
pub fn play(far: &Far<'_>) -> Result<Told, Failure> {
    let stage = far.stage;
    far.output.remark(
        "\n== A drill: Ada leads security, Berta manages who is on call; a ring for drills, with a standby key",
    );
    let change = [
        "trust",
        "new-roster",
        "--remove",
        "dora",
        "--roles",
        "ada=custodian,security-lead",
        "--roles",
        "berta=custodian,on-call-manager",
        "--out",
        "drill-roster",
    ];
    let roster = text(&far.by("ada", &change)?, "statement")?;
    for member in ["berta", "carla"] {
        far.by(member, &["trust", "sign", &roster])?;
    }
    let ring = ["ring", "create", RING, "--algorithm", "ES256", "--apply"];
    stage.chancery(&ring)?;
    let mut standby = String::new();
    for request in ["drill-1.request", "drill-2.request"] {
        let words = ["ceremony", "new", "generate", "--ring", RING];
        let more = ["--proposer", "fanny", "--reason", "a drill"];
        stage.chancery(&[&words[..], &more, &["--out", request]].concat())?;
        let proposed = far.by("fanny", &["ceremony", "propose", request])?;
        standby = far.finish(&text(&proposed, "ceremony")?, &VOTERS)?;
    }
    stage.installation.rotate_when_safe(RING)?;
    let key = stage.chancery(&["key", "show", &standby])?;
    let activate_at = text(&key, "activate_at")?;
    let activate_at: Time = (activate_at.parse()).map_err(|e| anyhow!("activate_at: {e}"))?;
    sleep(activate_at.since(now()) + Duration::from_millis(50));

    far.output.remark(
        "\n== The clock runs: one custodian stops the ring, three people rotate it, the threshold lets it go on",
    );
    let mut words = vec!["emergency", "drill", "--ring", RING, "--proposer", "fanny"];
    let keys = ["ada=ada", "berta=berta", "carla=carla", "fanny=fanny"];
    keys.iter().for_each(|key| words.extend(["--key", key]));
    words.extend(["--out", "drill.json"]);
    let report = stage.chancery(&words)?;
    let refused = stage.said(&["emergency", "drill", "--ring", super::RING, "--report"])?;
    if !refused["error"].is_object() {
        return Err(anyhow!("a ring that is not for drills was not refused").into());
    }
    verified(far, &report)?;
    let took = report["took_ms"].as_u64().unwrap_or_default();
    Ok(Told {
        shown: json!({"took_ms": took, "in_time": report["in_time"], "steps": report["steps"]}),
        words: format!("stop to resume in {took} ms, by the log; all of it verified offline"),
        good: report["in_time"] == true,
    })
}

/// The stop and the transcripts of its three ceremonies, by both verifiers.
fn verified(far: &Far<'_>, report: &Value) -> Result<(), Failure> {
    let genesis = &far.genesis;
    let steps = report["steps"].as_array().into_iter().flatten();
    let reference = |step: &Value| text(step, "ref").ok();
    for step in steps {
        let Some(reference) = reference(step) else {
            continue;
        };
        let file = match step["step"].as_str() {
            Some("stopped") => {
                let path = format!("/v1/emergency/stops/{reference}");
                let answer = send(&far.stage.installation.plan.api, "GET", &path, &[], b"")?;
                fs::write(far.stage.installation.file("drill.stop"), answer.body)?;
                let words = ["emergency", "verify", "drill.stop", "--genesis", genesis];
                far.stage.chancery(&words)?;
                "drill.stop".to_owned()
            }
            Some(name @ ("new key active" | "ratified" | "services forced over")) => {
                let file = format!("{}.transcript", name.replace(' ', "-"));
                let words = ["ceremony", "transcript", &reference, "--out", &file];
                far.stage.chancery(&words)?;
                far.stage
                    .chancery(&["ceremony", "verify", &file, "--genesis", genesis])?;
                file
            }
            _ => continue,
        };
        if far.second_verifier(&file)?.as_deref() == Some("refused") {
            return Err(anyhow!("the second verifier refuses {file}").into());
        }
    }
    Ok(())
}
