use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use base64ct::{Base64UrlUnpadded, Encoding as _};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use verify::client::{Client, Connect};
use verify::output::{Code, Failure, Output, progress};

/// Items of one sign-batch request.
const BATCH: usize = 256;

#[derive(Debug, Args)]
pub struct Sign {
    /// File to sign.
    file: PathBuf,
    /// The ring to sign with.
    #[arg(long)]
    ring: String,
    /// Base URL of the service.
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    url: String,
    /// File containing the access token. It may be absent with a client certificate that is mapped.
    #[arg(long, required_unless_present = "client_certificate")]
    access_token_file: Option<PathBuf>,
    /// The form of the signature.
    #[arg(long, value_enum, default_value = "jws-detached")]
    format: Format,
    /// DSSE payload type.
    #[arg(long, default_value = "application/octet-stream")]
    payload_type: String,
    /// Sign each line of the file separately (attached JWS, one per line).
    #[arg(long)]
    lines: bool,
    /// Output file, never overwritten; default: standard output.
    #[arg(long)]
    out: Option<PathBuf>,
    #[command(flatten)]
    connect: Connect,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Jws,
    JwsDetached,
    Raw,
    Dsse,
}

pub async fn run(command: Sign, output: &Output) -> Result<(), Failure> {
    let (url, connect) = (&command.url, &command.connect);
    let client = match &command.access_token_file {
        Some(file) => Client::with_token_file(url, connect, file)?,
        None => Client::new(url, connect, None)?,
    };
    let payload = std::fs::read(&command.file)
        .with_context(|| format!("cannot read {}", command.file.display()))?;
    let signed = if command.lines {
        lines(&client, &command, &payload, output).await?
    } else {
        one(&client, &command, &payload).await?
    };
    match &command.out {
        None => output.result(&signed, || text(&signed)),
        Some(out) => {
            let mut file = std::fs::File::create_new(out)
                .with_context(|| format!("cannot create {}", out.display()))?;
            writeln!(file, "{}", text(&signed))?;
            file.sync_all()?;
            output.remark(format!("Written to {}.", out.display()));
        }
    }
    if command.format == Format::JwsDetached {
        output.remark(
            "The signature is detached, without the payload. `chancery verify X.jws` finds the \
             payload in X, or give it with --payload FILE.",
        );
    }
    Ok(())
}

async fn one(client: &Client, command: &Sign, payload: &[u8]) -> Result<Value, Failure> {
    let mut body = json!({
        "format": match command.format {
            Format::Jws => "jws",
            Format::JwsDetached => "jws-detached",
            Format::Raw => "raw",
            Format::Dsse => "dsse",
        },
        "payload": Base64UrlUnpadded::encode_string(payload),
    });
    if command.format == Format::Dsse {
        body["payload_type"] = json!(command.payload_type);
    }
    client
        .post(&format!("/v1/rings/{}/sign", command.ring), &body)
        .await
}

async fn lines(
    client: &Client,
    command: &Sign,
    payload: &[u8],
    output: &Output,
) -> Result<Value, Failure> {
    if command.format != Format::Jws {
        return Err(Failure::usage("--lines requires --format jws"));
    }
    let all: Vec<&[u8]> = payload
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .collect();
    let bar = progress(all.len(), output);
    let mut signed = Vec::with_capacity(all.len());
    for batch in all.chunks(BATCH) {
        let items: Vec<Value> = batch
            .iter()
            .map(|line| json!({"format": "jws", "payload": Base64UrlUnpadded::encode_string(line)}))
            .collect();
        let path = format!("/v1/rings/{}/sign-batch", command.ring);
        let answer = client.post(&path, &json!({"items": items})).await?;
        let results = answer["items"].as_array().cloned().unwrap_or_default();
        if results.len() != batch.len() || results.iter().any(|r| r["jws"].as_str().is_none()) {
            return Err(Failure::new(
                Code::Failed,
                anyhow::anyhow!(
                    "not all lines were signed; first failure: {}",
                    results
                        .iter()
                        .find(|r| r["jws"].as_str().is_none())
                        .unwrap_or(&answer)
                ),
            ));
        }
        signed.extend(results);
        bar.inc(batch.len() as u64);
    }
    bar.finish_and_clear();
    Ok(Value::Array(signed))
}

/// What goes to a file: the JWS, the raw signature in base64url, or the envelope.
fn text(signed: &Value) -> String {
    match signed {
        Value::Array(all) => all.iter().map(text).collect::<Vec<_>>().join("\n"),
        one => ["jws", "signature"]
            .iter()
            .find_map(|member| one[*member].as_str().map(str::to_owned))
            .unwrap_or_else(|| one["envelope"].to_string()),
    }
}
