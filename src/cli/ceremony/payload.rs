//! Exact bytes for a custodian: written to a file, signed, and compared with what the custodian heard.

use std::path::Path;

use serde_json::json;
use trust::{Kid, Sha256Digest};

use super::super::genesis::{read, write};
use super::super::ssh;
use keyring::ceremony::{self, SigningPayload};
use verify::output::{Failure, Output};

pub fn exported(payload: &SigningPayload, out: &Path, output: &Output) -> Result<(), Failure> {
    write(out, &payload.bytes)?;
    let file = out.display().to_string();
    output.result(
        &json!({"file": file, "namespace": payload.namespace}),
        || format!("ssh-keygen -Y sign -n {} -f KEY {file}", payload.namespace),
    );
    Ok(())
}

pub fn signature(
    key: Option<&Path>,
    signature: Option<&Path>,
    payload: &SigningPayload,
) -> Result<String, Failure> {
    match (key, signature) {
        (Some(key), _) => ssh::sign(key, &payload.namespace, &payload.bytes),
        (None, Some(file)) => String::from_utf8(read(file)?)
            .map_err(|_| Failure::usage(format!("{} is not UTF-8", file.display()))),
        (None, None) => Err(Failure::usage("--key or --signature is required")),
    }
}

/// What is about to be signed came from the database; the ceremony's digest and the kid came from
/// the custodian, who heard them. Compared on the very bytes that are signed. An outcome without a
/// key repeats its request, so the digest says all.
pub fn same_statement(
    payload: &SigningPayload,
    ceremony: &str,
    kids: &[Kid],
) -> Result<(), Failure> {
    let (_, body) = trust::dsse::parse_pae(&payload.bytes).map_err(Failure::refused)?;
    let statement: trust::approval::Statement =
        trust::json::require_canonical(body).map_err(Failure::refused)?;
    let found = ceremony::kids(&statement.outcome);
    if kids.is_empty() && !found.is_empty() {
        return Err(Failure::usage(
            "--key requires --kid: the kid as read aloud",
        ));
    }
    let same = match kids {
        [] => found.is_empty(),
        kids => found.iter().any(|kid| kids.contains(kid)),
    };
    if same && statement.request_digest.to_string() == ceremony {
        return Ok(());
    }
    Err(Failure::refused(format!(
        "the statement to be signed names the keys [{}] and the request {}, not those given",
        joined(found),
        statement.request_digest
    )))
}

/// The same for a request: the id is its digest.
pub fn same_request(payload: &SigningPayload, ceremony: &str) -> Result<(), Failure> {
    let (_, body) = trust::dsse::parse_pae(&payload.bytes).map_err(Failure::refused)?;
    let digest = Sha256Digest::of(body).to_string();
    if digest == ceremony {
        return Ok(());
    }
    Err(Failure::refused(format!(
        "the request to be signed is {digest}, not {ceremony}"
    )))
}

pub fn joined(all: impl IntoIterator<Item = impl std::fmt::Display>) -> String {
    let all = all.into_iter().map(|each| each.to_string());
    all.collect::<Vec<_>>().join(", ")
}
