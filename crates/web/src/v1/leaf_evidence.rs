//! `GET /v1/evidence/{index}`: the evidence file of a signature by its place in the log.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;

use crate::problem::{self, Problem};
use crate::v1::evidence::FILE;
use crate::v1::receipt;
use crate::v1::response::{Named, bytes_of, no_query, public};
use crate::v1::state::SharedState;

/// Evidence of a leaf
///
/// An evidence file (docs/LOG.md) for the signature at this log index: leaf, inclusion proof, the
/// key's history and its transcripts. It identifies the signature by its hash, because the log does
/// not store signatures; POST the signature to include it in the file. `chancery verify FILE
/// --genesis SHA256` checks it offline.
#[utoipa::path(
    get,
    path = "/v1/evidence/{index}",
    operation_id = "leaf_evidence",
    tag = "log",
    params(("index" = i64, Path, description = "Place in the log")),
    responses(
        (status = 200, description = "Canonical JSON (RFC 8785)", body = Object, content_type = "application/json"),
        (status = 404, description = "No leaf with this index, no checkpoint covers it yet, or it does not record a signature", body = problem::Document, content_type = "application/problem+json"),
        (status = 410, description = "The leaf body was pruned after its retention period; receipts and evidence obtained earlier still verify", body = problem::Document, content_type = "application/problem+json"),
        (status = 503, description = "The database or the storage is unavailable", body = problem::Document, content_type = "application/problem+json"),
    ),
)]
pub async fn handle(
    State(state): State<SharedState>,
    Named(index): Named,
    uri: Uri,
) -> Result<Response, Problem> {
    no_query(&uri)?;
    let file = state
        .services
        .evidence
        .of_leaf(receipt::index(&index)?)
        .await?;
    // It grows with the life of the key.
    Ok(bytes_of(file, FILE, public("max-age=60")))
}
