//! Evidence files: fetched from a service while it is there, checked without it.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use base64ct::{Base64UrlUnpadded, Encoding as _};
use clap::{ArgGroup, Args, Subcommand};
use serde_json::{Value, json};
use verify::client::Client;
use verify::output::{Failure, Output};
use verify::signatures::claim;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Fetch the evidence file of a signature, to be verified with `chancery verify FILE --genesis
    /// SHA256`.
    Export(Export),
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").required(true))]
pub struct Export {
    /// A file with one signature: a JWS (compact or JSON) or a DSSE envelope. It is included in
    /// the evidence.
    #[arg(group = "what")]
    file: Option<PathBuf>,
    /// The log index of the signature; the evidence then contains only its hash.
    #[arg(long, group = "what")]
    index: Option<u64>,
    /// Line of the file, counted from 1.
    #[arg(long, default_value_t = 1, conflicts_with = "index")]
    line: usize,
    /// The payload of a detached JWS.
    #[arg(long, conflicts_with = "index")]
    payload: Option<PathBuf>,
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
}

pub async fn run(command: Command, output: &Output) -> Result<(), Failure> {
    let Command::Export(export) = command;
    let client = Client::new(&export.url, None)?;
    let bytes = match (&export.file, export.index) {
        (_, Some(index)) => client.get(&format!("/v1/evidence/{index}")).await?,
        (file, None) => {
            let body = request(&export, file.as_deref().unwrap_or(Path::new("")))?;
            client.post_for_bytes("/v1/evidence", &body).await?
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

fn request(export: &Export, path: &Path) -> Result<Value, Failure> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut lines = text.lines().filter(|line| !line.is_empty());
    let line = lines.nth(export.line.saturating_sub(1));
    let line = line.ok_or_else(|| Failure::usage("the file has fewer lines"))?;
    let mut signature = claim(line);
    if let Some(path) = &export.payload {
        let payload =
            std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        signature["payload"] = json!(Base64UrlUnpadded::encode_string(&payload));
    }
    let mut body = json!({"signature": signature});
    if let Some(salt) = &export.salt {
        body["salt"] = json!(salt);
    }
    Ok(body)
}
