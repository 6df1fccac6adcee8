//! Evidence files: fetched from a service while it is there, checked without it.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{ArgGroup, Args, Subcommand};
use serde_json::{Value, json};
use verify::client::{Client, Connect};
use verify::input::{Beside, claim, lacks_payload, payload_of, signatures_in};
use verify::output::{Code, Failure, Output};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Fetch the evidence file of a signature, to be verified with `chancery verify FILE --genesis
    /// SHA256`.
    Export(Export),
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").required(true))]
pub struct Export {
    /// A file with signatures: JWS (compact or JSON) or DSSE envelopes, one per line, or one JSON
    /// document over several lines. The signature is included in the evidence.
    #[arg(group = "what")]
    file: Option<PathBuf>,
    /// The log index of the signature; the evidence then contains only its hash.
    #[arg(long, group = "what")]
    index: Option<u64>,
    /// Which signature of the file, counted from 1.
    #[arg(long, default_value_t = 1, conflicts_with = "index")]
    line: usize,
    /// The payload of a detached JWS. Without it, that of `X.jws` is read from `X` if that file
    /// exists.
    #[arg(long, conflicts_with = "index")]
    payload: Option<PathBuf>,
    /// The key of an envelope whose signatures do not name it.
    #[arg(long, conflicts_with = "index", allow_hyphen_values = true)]
    kid: Option<String>,
    /// The salt returned with the signature: the file then opens the log's commitment to the
    /// signed input.
    #[arg(long, conflicts_with = "index", allow_hyphen_values = true)]
    salt: Option<String>,
    /// Base URL of the service.
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    url: String,
    /// Output file; never overwritten.
    #[arg(long)]
    out: PathBuf,
    #[command(flatten)]
    connect: Connect,
}

pub async fn run(command: Command, output: &Output) -> Result<(), Failure> {
    let Command::Export(export) = command;
    let client = Client::new(&export.url, &export.connect, None)?;
    let bytes = match (&export.file, export.index) {
        (_, Some(index)) => client.get(&format!("/v1/evidence/{index}")).await?,
        (file, None) => {
            let file = file.as_deref().unwrap_or(Path::new(""));
            let Asked { body, incomplete } = request(&export, file, output)?;
            let answer = client.post_for_bytes("/v1/evidence", &body).await;
            answer.map_err(|failure| match failure.code {
                Code::Refused if incomplete => Failure::new(
                    Code::Incomplete,
                    failure
                        .error
                        .context("the signature has no payload: give it with --payload FILE"),
                ),
                _ => failure,
            })?
        }
    };
    let mut file = std::fs::File::create_new(&export.out)
        .with_context(|| format!("cannot create {}", export.out.display()))?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    let shown = json!({"file": export.out, "bytes": bytes.len()});
    output.result(&shown, || {
        format!(
            "{}: {} bytes of evidence",
            export.out.display(),
            bytes.len()
        )
    });
    output.remark("Verify it offline: chancery verify FILE --genesis SHA256");
    Ok(())
}

/// What the service is asked.
struct Asked {
    body: Value,
    /// There is no payload, in the signature or beside it.
    incomplete: bool,
}

fn request(export: &Export, path: &Path, output: &Output) -> Result<Asked, Failure> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let all = signatures_in(&text)?;
    let one = all.get(export.line.saturating_sub(1));
    let one = one.ok_or_else(|| Failure::usage("the file has fewer signatures"))?;
    let payload = payload_of(path, export.payload.as_deref(), &[one], output)?;
    let beside = Beside {
        payload: payload.as_deref(),
        kid: export.kid.as_deref(),
    };
    let mut body = json!({"signature": claim(one, beside)});
    if let Some(salt) = &export.salt {
        body["salt"] = json!(salt);
    }
    let incomplete = payload.is_none() && lacks_payload(one);
    Ok(Asked { body, incomplete })
}
