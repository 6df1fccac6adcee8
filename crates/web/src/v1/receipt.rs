//! `GET /v1/receipts/{index}`: the proof that a leaf is in the log.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;

use crate::problem::{self, Code, Problem};
use crate::v1::response::{Named, TEXT, bytes_of, no_query, public, readable_anywhere};
use crate::v1::state::{ServerState, SharedState};
use log::Receipt;

/// Receipt
///
/// A C2SP `tlog-proof` under the first checkpoint that covered the leaf. With the log's public key
/// (and those of the witnesses, if any) it can be verified offline, without a time limit. The leaf
/// itself is the `leaf` member of `/v1/evidence/{index}`.
#[utoipa::path(
    get,
    path = "/v1/receipts/{index}",
    operation_id = "receipt",
    tag = "log",
    params(("index" = i64, Path, description = "Log index: the `log_index` of a signature")),
    responses(
        (status = 200, description = "A c2sp.org/tlog-proof", body = String, content_type = "text/plain"),
        (status = 404, description = "No leaf with this index, or no checkpoint covers it yet", body = problem::Document, content_type = "application/problem+json"),
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
    let receipt = of(&state, self::index(&index)?).await?;
    // Witnesses may still add their lines; the log's own part never changes.
    let response = bytes_of(receipt.proof.to_string(), TEXT, public("max-age=60"));
    Ok(readable_anywhere(response))
}

pub fn index(text: &str) -> Result<i64, Problem> {
    let index = text.parse().ok().filter(|index| *index >= 0);
    index.ok_or_else(|| Problem::new(Code::NotFound, "expected an index: an integer, 0 or more"))
}

pub async fn of(state: &ServerState, index: i64) -> Result<Receipt, Problem> {
    let found = state.services.transparency_log.receipt(index).await?;
    found.ok_or_else(|| {
        Problem::new(
            Code::NotFound,
            "no leaf with this index, or no checkpoint covers it yet",
        )
        .about("index")
    })
}
