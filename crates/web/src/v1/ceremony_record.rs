//! `GET /v1/ceremonies/{ceremony}/record`: the record of a closed ceremony for paper.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::CONTENT_SECURITY_POLICY;
use axum::http::{HeaderValue, Uri};
use axum::response::Response;
use keyring::ceremony::Printed;
use trust::{Sha256Digest, error_chain};

use crate::problem::{self, Code, Problem};
use crate::v1::ceremony_attestations::closed;
use crate::v1::response::{NO_STORE, Named, bytes_of, no_query};
use crate::v1::state::SharedState;

const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");

/// Record of a closed ceremony, for paper
///
/// One page without script, made of the verified transcript, its place in the log once a checkpoint covers it, and what
/// witnesses attested; it prints on two sheets. It proves nothing: `chancery ceremony record FILE --genesis SHA256` makes the
/// same page of a transcript that you verified.
#[utoipa::path(
    get,
    path = "/v1/ceremonies/{ceremony}/record",
    operation_id = "ceremony_record",
    tag = "publication",
    params(("ceremony" = String, Path, description = "SHA-256 of the request, in lower-case hex")),
    responses(
        (status = 200, description = "HTML", body = String, content_type = "text/html"),
        (status = 404, description = "No closed ceremony with this id", body = problem::Document, content_type = "application/problem+json"),
        (status = 503, description = "The database is unavailable", body = problem::Document, content_type = "application/problem+json"),
    ),
)]
pub async fn handle(
    State(state): State<SharedState>,
    Named(ceremony): Named,
    uri: Uri,
) -> Result<Response, Problem> {
    no_query(&uri)?;
    let id = closed(&state, &ceremony).await?;
    let printed = state.services.ceremonies.printed(&id).await?;
    let page = page(&state, &printed).await?;
    let mut response = bytes_of(page, HTML, NO_STORE);
    let policy = format!(
        "{}; frame-ancestors 'none'",
        trust::printed::content_security_policy()
    );
    let policy = HeaderValue::from_str(&policy);
    let policy = policy.map_err(|error| Problem::caused_by(Code::Internal, &error))?;
    response
        .headers_mut()
        .insert(CONTENT_SECURITY_POLICY, policy);
    Ok(response)
}

/// To make it a transcript is verified, so it is kept: with the place in the log for good, and as long as no checkpoint
/// covers the ceremony until the next checkpoint.
async fn page(state: &SharedState, printed: &Printed) -> Result<Bytes, Problem> {
    let evidence = &state.services.evidence;
    let waiting = Sha256Digest::of(format!("{} {}", printed.of, evidence.covered()).as_bytes());
    let known = [printed.of, waiting]
        .iter()
        .find_map(|of| state.printed.of(of));
    if let Some(known) = known {
        return Ok(known);
    }
    let core = printed.transcript();
    let id = printed.ceremony;
    // The page does not rest on it: without the place it says so.
    let proven = evidence.transcript_of_ceremony(&id, core.to_vec()).await;
    let proven = proven.unwrap_or_else(|error| {
        tracing::warn!(ceremony = %id, error = error_chain(&error), "a record without its place in the log");
        core.to_vec()
    });
    let page = Bytes::from(printed.page(&proven)?);
    let of = match proven == core {
        true => waiting,
        false => printed.of,
    };
    state.printed.keep(of, page.clone());
    Ok(page)
}
