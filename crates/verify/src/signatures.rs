use std::path::PathBuf;

use anyhow::Context as _;
use clap::{ArgGroup, Args};
use serde_json::{Value, json};
use trust::Sha256Digest;
use trust::jws::NO_PAYLOAD;

use crate::client::{Client, Connect};
use crate::evidence;
use crate::input::{Beside, claim, payload_of, signatures_in};
use crate::offline::{offline, read_set};
use crate::output::{Code, Failure, Output, progress, table};

/// Claims of one batch.
const BATCH: usize = 256;

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("by").required(true))]
pub struct Verify {
    /// With `--url` or `--jwks`: JWS (compact or JSON) or DSSE envelopes, one per line, or one JSON document over
    /// several lines. With `--genesis`: an evidence file.
    file: PathBuf,
    /// Get the verdict from this service, including key history and proof of existence.
    #[arg(long, group = "by")]
    url: Option<String>,
    /// Check only the signature, offline, with the keys in this JWKS file; revocation and time
    /// are not considered.
    #[arg(long, group = "by")]
    jwks: Option<PathBuf>,
    /// Verify an evidence file offline against this digest of the pinned genesis.
    #[arg(long, group = "by")]
    genesis: Option<Sha256Digest>,
    /// With `--genesis`: the required witnesses (c2sp.org/tlog-policy).
    #[arg(long, requires = "genesis")]
    witness_policy: Option<PathBuf>,
    /// With `--genesis`: refuse a signature by a key under a standing order if the file does not show what the log says of
    /// the use of the order.
    #[arg(long, requires = "genesis")]
    require_order_use: bool,
    /// The payload of a detached JWS. Without it, that of `X.jws` is read from `X` if that file exists.
    #[arg(long, conflicts_with = "genesis")]
    payload: Option<PathBuf>,
    /// The key of envelopes whose signatures do not name it.
    #[arg(long, conflicts_with = "genesis", allow_hyphen_values = true)]
    kid: Option<String>,
    #[command(flatten)]
    connect: Connect,
}

pub async fn run(command: Verify, output: &Output) -> Result<(), Failure> {
    let unreadable = || format!("cannot read {}", command.file.display());
    if command.url.is_none() {
        command.connect.not_used("with --url only")?;
    }
    if let Some(genesis) = command.genesis {
        let bytes = std::fs::read(&command.file).with_context(unreadable)?;
        let policy = command.witness_policy.as_deref();
        return evidence::check(&bytes, genesis, policy, command.require_order_use, output);
    }
    let text = std::fs::read_to_string(&command.file).with_context(unreadable)?;
    if evidence::is_evidence(text.as_bytes()) {
        return Err(Failure::usage(
            "this is an evidence file: check it with --genesis SHA256",
        ));
    }
    let all = signatures_in(&text)?;
    let payload = payload_of(&command.file, command.payload.as_deref(), &all, output)?;
    let beside = Beside {
        payload: payload.as_deref(),
        kid: command.kid.as_deref(),
    };
    let results = match (&command.url, &command.jwks) {
        (Some(url), _) => {
            let client = Client::new(url, &command.connect, None)?;
            ask(&client, &all, beside, output).await?
        }
        (None, jwks) => {
            let path = jwks.clone().unwrap_or_default();
            let jwks =
                std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            offline(&read_set(&jwks, output)?, &all, beside)?
        }
    };
    if let Some(problem) = results
        .iter()
        .map(|result| &result["problem"])
        .find(|p| !p.is_null())
    {
        return Err(Failure::new(
            Code::Failed,
            anyhow::anyhow!(
                "the service could not parse a signature: {}",
                problem["detail"]
            ),
        ));
    }
    output.result(&results, || summary(&results));
    judged(&results)
}

/// What the results come to. A detached signature without its payload cannot be judged, which is
/// something else than a bad one.
fn judged(results: &[Value]) -> Result<(), Failure> {
    let good = |result: &Value| {
        matches!(
            result["verdict"].as_str(),
            Some("VALID" | "VALID_RETIRED_KEY")
        )
    };
    let unjudged = |result: &&Value| {
        let explanation = result["explanation"].as_str();
        explanation.is_some_and(|why| why.starts_with(NO_PAYLOAD))
    };
    let bad = results.iter().filter(|result| !good(result)).count();
    let open = results.iter().filter(unjudged).count();
    if bad == 0 {
        return Ok(());
    }
    if bad == open {
        return Err(Failure::told(
            Code::Incomplete,
            format_args!(
                "{open} of {} signature(s) have no payload: give it with --payload FILE",
                results.len()
            ),
        ));
    }
    Err(Failure::told(
        Code::NotValid,
        format_args!("{bad} of {} signature(s) are not valid", results.len()),
    ))
}

async fn ask(
    client: &Client,
    all: &[&str],
    beside: Beside<'_>,
    output: &Output,
) -> Result<Vec<Value>, Failure> {
    let bar = progress(all.len(), output);
    let mut results = Vec::with_capacity(all.len());
    for batch in all.chunks(BATCH) {
        let items: Vec<Value> = batch.iter().map(|text| claim(text, beside)).collect();
        let answer = client
            .post("/v1/verify-batch", &json!({"items": items}))
            .await?;
        results.extend(answer["items"].as_array().cloned().unwrap_or_default());
        bar.inc(batch.len() as u64);
    }
    bar.finish_and_clear();
    Ok(results)
}

fn summary(results: &[Value]) -> String {
    let mut groups: Vec<(String, String, usize)> = Vec::new();
    for result in results {
        let verdict = result["verdict"].as_str().unwrap_or("?").to_owned();
        let reasons = result["reasons"].as_array().into_iter().flatten();
        let reasons: Vec<&str> = reasons.filter_map(Value::as_str).collect();
        let kid = result["kid"].as_str().unwrap_or("-");
        let explanation = result["explanation"].as_str().unwrap_or_default();
        let shown = format!("{kid} {} {explanation}", reasons.join(" "));
        match groups
            .iter_mut()
            .find(|(v, s, _)| *v == verdict && *s == shown)
        {
            Some((_, _, count)) => *count += 1,
            None => groups.push((verdict, shown, 1)),
        }
    }
    table(
        &["verdict", "kid and reason", "signatures"],
        groups
            .into_iter()
            .map(|(verdict, shown, count)| [verdict, shown, count.to_string()]),
    )
}
