//! `GET /v1/key-rotation/scheduler/status`: the scheduler and its jobs.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;

use crate::problem::{self, Problem};
use crate::v1::response::{json, no_query};
use crate::v1::state::SharedState;

/// Status of the scheduler
///
/// Whether it is paused, since when and by whom; each job with its pattern in words, its next slot, its last run and statistics.
#[utoipa::path(
    get,
    path = "/v1/key-rotation/scheduler/status",
    operation_id = "scheduler_status",
    tag = "rotation",
    responses(
        (status = 200, description = "The scheduler", body = Object, content_type = "application/json"),
        (status = "4XX", description = "No permission", body = problem::Document, content_type = "application/problem+json"),
        (status = "5XX", description = "See `code` and Retry-After", body = problem::Document, content_type = "application/problem+json"),
    ),
    security(("access_token" = []), ("mtls" = [])),
)]
pub async fn handle(State(state): State<SharedState>, uri: Uri) -> Result<Response, Problem> {
    no_query(&uri)?;
    json(&state.services.rotation.status().await?)
}
