//! `GET /log/checkpoint`: the newest checkpoint.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;

use crate::problem::{self, Code, Problem};
use crate::v1::response::{TEXT, bytes_of, no_query, public};
use crate::v1::state::SharedState;

/// Checkpoint
///
/// The newest checkpoint: a signed note with the origin, the tree size and the root hash, signed
/// by the log's key and cosigned by its witnesses.
#[utoipa::path(
    get,
    path = "/log/checkpoint",
    operation_id = "log_checkpoint",
    tag = "log",
    responses(
        (status = 200, description = "A c2sp.org/tlog-checkpoint", body = String, content_type = "text/plain"),
        (status = 404, description = "Nothing is published yet", body = problem::Document, content_type = "application/problem+json"),
    ),
)]
pub async fn handle(State(state): State<SharedState>, uri: Uri) -> Result<Response, Problem> {
    no_query(&uri)?;
    let published = state.services.transparency_log.published();
    let row = published
        .checkpoint
        .ok_or_else(|| Problem::new(Code::NotFound, "no checkpoint is published yet"))?;
    Ok(bytes_of(row.signed(), TEXT, public("max-age=1")))
}
