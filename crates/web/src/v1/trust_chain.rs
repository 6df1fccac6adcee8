//! `GET /v1/trust`: genesis, rosters and policies, as custodians signed them.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;

use crate::problem::{self, Code, Problem};
use crate::v1::key_transcript::answer;
use crate::v1::response::no_query;
use crate::v1::state::SharedState;

/// Rosters and policies
///
/// The chain from the genesis on, as in every transcript. Nothing about it has to be believed: compare the SHA-256 of
/// `genesis.body` with the one that was read aloud, and walk on from there (docs/TRANSCRIPT.md).
#[utoipa::path(
    get,
    path = "/v1/trust",
    operation_id = "trust_chain",
    tag = "publication",
    responses(
        (status = 200, description = "Canonical JSON (RFC 8785)", body = Object, content_type = "application/json"),
        (status = 404, description = "No genesis is installed", body = problem::Document, content_type = "application/problem+json"),
        (status = 503, description = "The database is unavailable", body = problem::Document, content_type = "application/problem+json"),
    ),
)]
pub async fn handle(State(state): State<SharedState>, uri: Uri) -> Result<Response, Problem> {
    no_query(&uri)?;
    let chains = state.services.ceremonies.chains().await?;
    let chains = chains.ok_or_else(|| Problem::new(Code::NotFound, "no genesis is installed"))?;
    Ok(answer(chains, "max-age=60"))
}
