//! `POST /v1/key-rotation/cleanup`: ends graces that are over.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;

use crate::problem::{self, Problem};
use crate::v1::response::{json, no_query};
use crate::v1::state::SharedState;

/// Clean up
///
/// Runs `key_rotation_cleanup` now: versions whose grace is over are ended. The answer is the run of the job.
#[utoipa::path(
    post,
    path = "/v1/key-rotation/cleanup",
    operation_id = "rotation_cleanup",
    tag = "rotation",
    responses(
        (status = 200, description = "The run", body = Object, content_type = "application/json"),
        (status = "4XX", description = "No permission, or the job runs already", body = problem::Document, content_type = "application/problem+json"),
        (status = "5XX", description = "See `code` and Retry-After", body = problem::Document, content_type = "application/problem+json"),
    ),
    security(("access_token" = []), ("mtls" = [])),
)]
pub async fn handle(State(state): State<SharedState>, uri: Uri) -> Result<Response, Problem> {
    no_query(&uri)?;
    let scheduler = &state.services.rotation;
    json(&scheduler.run_now("key_rotation_cleanup").await?)
}
