//! The last act: somebody else has the token's PIN.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use base64ct::{Base64UrlUnpadded, Encoding as _};
use serde_json::{Value, json};

use super::isolation::isolated;
use super::stage::{Born, Stage};
use base::system::now;
use testkit::installation::text;
use verify::output::{Failure, Output};

/// The verifier that somebody else wrote, in another language; it is part of the sources.
const SECOND_VERIFIER: &str = "deploy/verifier/chancery_verify.py";

/// What the theft came to.
pub struct Report {
    pub genuine: Value,
    pub forged: Value,
    pub in_doubt: Value,
    pub evidence: Value,
    /// The second verifier's verdict, if it could be run here.
    pub second: Option<String>,
    pub network: &'static str,
}

pub async fn play(
    stage: &Stage,
    output: &Output,
    ring: &str,
    stolen: &Born,
    genesis: &str,
) -> Result<Report, Failure> {
    let genuine = sign(stage, ring, b"a genuine record").await?;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let since = now();
    tokio::time::sleep(Duration::from_millis(50)).await;

    let forged = steal(stage, output, stolen)?;
    stage.write("genuine.jws", &text(&genuine, "jws")?)?;
    stage.write("forged.jws", &forged)?;
    // The service knows nothing of it and goes on signing: these are in doubt, too.
    for record in 0..5 {
        sign(stage, ring, format!("record {record}").as_bytes()).await?;
    }

    stage.revocation(
        ring,
        stolen,
        &since.to_string(),
        "mary",
        "its PIN was disclosed",
    )?;
    let genuine_verdict = until_revoked(stage, "genuine.jws").await?;
    let forged_verdict = verdict(stage, "forged.jws")?;
    let path = format!("/v1/keys/{}/blast-radius", stolen.kid);
    output.remark(format!("$ curl {}{path}", stage.url()));
    let in_doubt: Value = serde_json::from_slice(&stage.client()?.get(&path).await?)
        .context("the blast radius is not JSON")?;

    let url = stage.url();
    let salt = text(&genuine, "salt")?;
    until(
        stage,
        &[
            "evidence",
            "export",
            "genuine.jws",
            "--salt",
            &salt,
            "--url",
            &url,
            "--out",
            "genuine.evidence",
        ],
    )
    .await?;
    let network = match isolated(Path::new("true")).status() {
        Ok(status) if status.success() => "off",
        _ => "on (this account may not take it away)",
    };
    let evidence = stage.offline(
        network == "off",
        &["verify", "genuine.evidence", "--genesis", genesis],
    )?;
    let second = second_verifier(stage, output, network == "off", genesis);
    Ok(Report {
        genuine: genuine_verdict,
        forged: forged_verdict,
        in_doubt,
        evidence,
        second,
        network,
    })
}

async fn sign(stage: &Stage, ring: &str, payload: &[u8]) -> Result<Value, Failure> {
    let body = json!({"format": "jws", "payload": Base64UrlUnpadded::encode_string(payload)});
    let path = format!("/v1/rings/{ring}/sign?receipt=wait");
    stage.client()?.post(&path, &body).await
}

/// A JWS with an `iat` of last year, signed by the token itself, past the service.
fn steal(stage: &Stage, output: &Output, stolen: &Born) -> Result<String, Failure> {
    let last_year = now().millis() / 1_000 - 365 * 86_400;
    let encode = |value: &Value| Base64UrlUnpadded::encode_string(value.to_string().as_bytes());
    let header = encode(&json!({"alg": "ES256", "kid": stolen.kid}));
    let payload = encode(&json!({"iat": last_year, "record": "pay the intruder"}));
    let input = format!("{header}.{payload}");
    let digest = trust::Sha256Digest::of(input.as_bytes());
    stage.write("loot", digest.as_bytes())?;
    output.remark(
        "$ pkcs11-tool --login --sign --mechanism ECDSA --input-file loot   # the intruder",
    );
    let signature = stage.pkcs11_sign(&stolen.kid, "loot")?;
    Ok(format!(
        "{input}.{}",
        Base64UrlUnpadded::encode_string(&signature)
    ))
}

/// The replica reads the revocation within a moment.
async fn until_revoked(stage: &Stage, file: &str) -> Result<Value, Failure> {
    for _ in 0..100 {
        let found = verdict(stage, file)?;
        if found["verdict"] != "VALID" {
            return Ok(found);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err(anyhow!("the service has not applied the revocation").into())
}

/// Verdicts that say no end the command with another code; here they are what is asked for.
fn verdict(stage: &Stage, file: &str) -> Result<Value, Failure> {
    let said = stage.said(&["verify", file, "--url", &stage.url()])?;
    Ok(said[0].clone())
}

/// The act of revoking is in the evidence as soon as a checkpoint covers it.
async fn until(stage: &Stage, arguments: &[&str]) -> Result<Value, Failure> {
    let mut last = None;
    for _ in 0..50 {
        match stage.chancery(arguments) {
            Ok(done) => return Ok(done),
            Err(failure) => last = Some(failure),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Err(last.unwrap_or_else(|| anyhow!("no evidence").into()))
}

fn second_verifier(
    stage: &Stage,
    output: &Output,
    without_network: bool,
    genesis: &str,
) -> Option<String> {
    let script = std::path::absolute(SECOND_VERIFIER).ok()?;
    if !script.is_file() {
        output.remark("  (the second verifier is not installed; it is part of the source tree)");
        return None;
    }
    output.remark(format!(
        "$ python3 {SECOND_VERIFIER} genuine.evidence --genesis {genesis}"
    ));
    let mut command = match without_network {
        true => isolated(Path::new("python3")),
        false => Command::new("python3"),
    };
    let said = command
        .arg(script)
        .args(["genuine.evidence", "--genesis", genesis, "--output", "json"])
        .current_dir(stage.directory())
        .output()
        .ok()?;
    let value: Value = serde_json::from_slice(&said.stdout).unwrap_or_default();
    match text(&value, "verdict") {
        Ok(verdict) => Some(verdict),
        Err(_) => {
            let why = String::from_utf8_lossy(&said.stderr);
            let why = why.lines().last().unwrap_or("no response").to_owned();
            Some(format!("did not run: {why}"))
        }
    }
}
