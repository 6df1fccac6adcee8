use std::path::PathBuf;

use anyhow::Context as _;
use base64ct::{Base64UrlUnpadded, Encoding as _};
use clap::{ArgGroup, Args};
use serde_json::{Value, json};
use trust::verdict::Reason;
use trust::{Algorithm, PublicKey, Sha256Digest, Verifier};

use crate::client::Client;
use crate::evidence;
use crate::output::progress;
use crate::output::{Code, Failure, Output, table};

/// Claims of one batch.
const BATCH: usize = 256;

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("by").required(true))]
pub struct Verify {
    /// With `--url` or `--jwks`: JWS (compact or JSON) or DSSE envelopes, one per line. With `--genesis`: an evidence
    /// file.
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
    /// The payload of a detached JWS.
    #[arg(long, conflicts_with = "genesis")]
    payload: Option<PathBuf>,
}

pub async fn run(command: Verify, output: &Output) -> Result<(), Failure> {
    let unreadable = || format!("cannot read {}", command.file.display());
    if let Some(genesis) = command.genesis {
        let bytes = std::fs::read(&command.file).with_context(unreadable)?;
        let policy = command.witness_policy.as_deref();
        return evidence::check(&bytes, genesis, policy, output);
    }
    let text = std::fs::read_to_string(&command.file).with_context(unreadable)?;
    if evidence::is_evidence(text.as_bytes()) {
        return Err(Failure::usage(
            "this is an evidence file: check it with --genesis SHA256",
        ));
    }
    let payload = command
        .payload
        .as_ref()
        .map(|path| std::fs::read(path).with_context(|| format!("cannot read {}", path.display())))
        .transpose()?;
    let all: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
    if all.is_empty() {
        return Err(Failure::usage("the file contains no signature"));
    }
    let results = match (&command.url, &command.jwks) {
        (Some(url), _) => ask(url, &all, payload.as_deref(), output).await?,
        (None, jwks) => {
            let path = jwks.clone().unwrap_or_default();
            let jwks =
                std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            offline(&jwks, &all, payload.as_deref())?
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
    let good = |result: &Value| {
        matches!(
            result["verdict"].as_str(),
            Some("VALID" | "VALID_RETIRED_KEY")
        )
    };
    let bad = results.iter().filter(|result| !good(result)).count();
    output.result(&results, || summary(&results));
    if bad > 0 {
        return Err(Failure::told(
            Code::NotValid,
            format_args!("{bad} of {} signature(s) are not valid", results.len()),
        ));
    }
    Ok(())
}

async fn ask(
    url: &str,
    all: &[&str],
    payload: Option<&[u8]>,
    output: &Output,
) -> Result<Vec<Value>, Failure> {
    let client = Client::new(url, None)?;
    let bar = progress(all.len(), output);
    let mut results = Vec::with_capacity(all.len());
    for batch in all.chunks(BATCH) {
        let items: Vec<Value> = batch
            .iter()
            .map(|jws| {
                let mut item = claim(jws);
                if let Some(payload) = payload {
                    item["payload"] = json!(Base64UrlUnpadded::encode_string(payload));
                }
                item
            })
            .collect();
        let answer = client
            .post("/v1/verify-batch", &json!({"items": items}))
            .await?;
        results.extend(answer["items"].as_array().cloned().unwrap_or_default());
        bar.inc(batch.len() as u64);
    }
    bar.finish_and_clear();
    Ok(results)
}

/// A DSSE envelope, a JWS in JSON, or a compact JWS.
pub fn claim(text: &str) -> Value {
    match serde_json::from_str::<Value>(text) {
        Ok(value) if value.get("payloadType").is_some() => json!({"envelope": value}),
        Ok(value) if value.is_object() => json!({"jws": value}),
        _ => json!({"jws": text}),
    }
}

/// Kid and algorithm from the header, the key from the file; a key without `alg` takes the one
/// its type allows.
fn offline(jwks: &[u8], all: &[&str], payload: Option<&[u8]>) -> Result<Vec<Value>, Failure> {
    let set: Value = serde_json::from_slice(jwks).context("the JWKS file is not JSON")?;
    let keys = set["keys"]
        .as_array()
        .context("the JWKS file has no member \"keys\"")?;
    Ok(all
        .iter()
        .map(|jws| match check(keys, jws, payload) {
            Ok(kid) => json!({"verdict": "VALID", "kid": kid, "explanation": "signature only"}),
            Err(Invalid { reason, why }) => {
                json!({"verdict": "INVALID", "reasons": [reason], "explanation": why})
            }
        })
        .collect())
}

/// Why a signature is invalid, in a stable code and in words.
struct Invalid {
    reason: Reason,
    why: String,
}

impl<E: std::fmt::Display> From<E> for Invalid {
    fn from(error: E) -> Self {
        Self {
            reason: Reason::BadSignature,
            why: error.to_string(),
        }
    }
}

/// What somebody says was signed, and by which key.
struct Claim {
    kid: String,
    /// As its header names it; an envelope names none.
    alg: Option<String>,
    message: Vec<u8>,
    signature: Vec<u8>,
}

impl Claim {
    /// A compact JWS, one in JSON (RFC 7515 section 7), or a DSSE envelope.
    fn read(text: &str, payload: Option<&[u8]>) -> Result<Self, Invalid> {
        let jws = match text.trim_start().starts_with('{') {
            false => trust::jws::parse_jws(text, payload)?,
            true if is_envelope(text) => return Self::of_envelope(text),
            true => trust::jws::parse_jws_json(text.as_bytes(), payload)?,
        };
        // A good signature does not make good what its header asks for and is not done here.
        match jws.objection {
            Some(objection) => Err(objection.into()),
            None => Ok(Self {
                kid: jws.kid,
                alg: Some(jws.alg),
                message: jws.signing_input,
                signature: jws.signature,
            }),
        }
    }

    fn of_envelope(text: &str) -> Result<Self, Invalid> {
        let envelope = trust::dsse::Envelope::decode(text.as_bytes())?;
        let [signature] = envelope.signatures.as_slice() else {
            return Err("expected exactly one signature in the envelope".into());
        };
        let message = trust::dsse::pae(&envelope.payload_type, &envelope.unverified_payload()?);
        if trust::namespace::is_reserved(&message) {
            return Err(Invalid {
                reason: Reason::WrongUsage,
                why: "a proof of possession, or another message of the service's own".to_owned(),
            });
        }
        Ok(Self {
            kid: signature.keyid.clone(),
            alg: None,
            message,
            signature: signature.bytes()?,
        })
    }
}

fn is_envelope(text: &str) -> bool {
    let value: Option<Value> = serde_json::from_str(text).ok();
    value.is_some_and(|value| value.get("payloadType").is_some())
}

fn check(keys: &[Value], text: &str, payload: Option<&[u8]>) -> Result<String, Invalid> {
    let claim = Claim::read(text, payload)?;
    let key = keys.iter().find(|key| key["kid"] == json!(claim.kid));
    let key = key.ok_or_else(|| Invalid {
        reason: Reason::UnknownKey,
        why: format!("the file has no key {}", claim.kid),
    })?;
    let public = PublicKey::from_jwk_json(key.to_string().as_bytes())?;
    let of_key = key.get("alg").and_then(Value::as_str);
    let alg = claim.alg.as_deref().or(of_key);
    let alg = alg.ok_or("neither the envelope nor the key names an algorithm")?;
    let algorithm = Algorithm::ALL
        .into_iter()
        .find(|algorithm| algorithm.jws_alg() == alg)
        .ok_or_else(|| format!("algorithm {alg:?} is not accepted"))?;
    if of_key.is_some_and(|of_key| of_key != alg) {
        return Err("the key has a different algorithm".into());
    }
    let verifier = Verifier::new(&public, algorithm)?;
    let mut verified = verifier.verify_message(&claim.message, &claim.signature);
    // Envelopes carry ECDSA signatures in DER.
    if verified.is_err() && claim.alg.is_none() && algorithm.is_ecdsa() {
        let half = public.spec().signature_len() / 2;
        let fixed = trust::signature::der_to_p1363(&claim.signature, half)?;
        verified = verifier.verify_message(&claim.message, &fixed);
    }
    verified?;
    // A set of somebody else's says nothing of usages; a key of ours for another one signs no structure.
    let structured = json!(trust::Usage::Structured);
    match key.get("usage").filter(|usage| **usage != structured) {
        Some(usage) => Err(Invalid {
            reason: Reason::WrongUsage,
            why: format!("the key's usage is {usage}, which does not allow JWS or DSSE"),
        }),
        None => Ok(claim.kid),
    }
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
