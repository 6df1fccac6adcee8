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
/// (and, where there are witnesses, theirs) it is checked offline, for ever. The leaf itself is
/// the `leaf` member of `/v1/evidence/{index}`.
#[utoipa::path(
    get,
    path = "/v1/receipts/{index}",
    operation_id = "receipt",
    tag = "log",
    params(("index" = i64, Path, description = "Permit in the log: `log_index` of a signature")),
    responses(
        (status = 200, description = "A c2sp.org/tlog-proof", body = String, content_type = "text/plain"),
        (status = 404, description = "There is no such leaf, or no checkpoint covers it yet", body = problem::Document, content_type = "application/problem+json"),
        (status = 410, description = "The body of the leaf was removed after retention; what was taken before still verifies", body = problem::Document, content_type = "application/problem+json"),
        (status = 503, description = "Database or storage do not answer", body = problem::Document, content_type = "application/problem+json"),
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
    index.ok_or_else(|| Problem::new(Code::NotFound, "an index is a number, 0 or more"))
}

pub async fn of(state: &ServerState, index: i64) -> Result<Receipt, Problem> {
    let found = state.app.transparency_log.receipt(index).await?;
    found.ok_or_else(|| {
        Problem::new(
            Code::NotFound,
            "there is no such leaf, or no checkpoint covers it yet",
        )
        .about("index")
    })
}
