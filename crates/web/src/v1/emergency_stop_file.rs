//! `GET /v1/emergency/stops/{stop}`: a stop as a file that anybody can check.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use trust::Sha256Digest;

use crate::problem::{self, Code, Problem};
use crate::v1::key_transcript::answer;
use crate::v1::response::{Named, no_query};
use crate::v1::state::SharedState;

/// A stop of signing
///
/// By the SHA-256 of its body, as the leaf that tells of it names it in `ref`: what was signed, the chain of rosters under
/// which it was, and the proof that the log tells of it, once a checkpoint covers that. `chancery-verify stop FILE
/// --genesis SHA256` checks it without this service.
#[utoipa::path(
    get,
    path = "/v1/emergency/stops/{stop}",
    operation_id = "stop_file",
    tag = "publication",
    params(("stop" = String, Path, description = "SHA-256 of the stop, in lower-case hex")),
    responses(
        (status = 200, description = "Canonical JSON (RFC 8785)", body = Object, content_type = "application/json"),
        (status = 404, description = "No such stop", body = problem::Document, content_type = "application/problem+json"),
        (status = "5XX", description = "See `code` and Retry-After", body = problem::Document, content_type = "application/problem+json"),
    ),
)]
pub async fn handle(
    State(state): State<SharedState>,
    Named(stop): Named,
    uri: Uri,
) -> Result<Response, Problem> {
    no_query(&uri)?;
    let unknown = || Problem::new(Code::NotFound, "no stop has this digest").about("stop");
    let named: Sha256Digest = stop.parse().map_err(|_| unknown())?;
    let bytes = state.services.evidence.stop_file(&named).await?;
    // The proof may be of a later checkpoint the next time.
    Ok(answer(bytes.ok_or_else(unknown)?, "no-cache"))
}
