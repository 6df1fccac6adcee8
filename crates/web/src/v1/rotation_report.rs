//! `GET /v1/key-rotation/report`: how well the policies are kept.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;

use crate::problem::{self, Problem};
use crate::v1::response::{json, no_query};
use crate::v1::state::SharedState;

/// Report
///
/// Of the last 92 days: rotations by key type, how many were on time and how many without a ceremony; what is overdue or waits
/// now; rules of frameworks that policies are outside of; recommendations.
#[utoipa::path(
    get,
    path = "/v1/key-rotation/report",
    operation_id = "rotation_report",
    tag = "rotation",
    responses(
        (status = 200, description = "The report", body = Object, content_type = "application/json"),
        (status = "4XX", description = "No permission", body = problem::Document, content_type = "application/problem+json"),
        (status = "5XX", description = "See `code` and Retry-After", body = problem::Document, content_type = "application/problem+json"),
    ),
    security(("access_token" = []), ("mtls" = [])),
)]
pub async fn handle(State(state): State<SharedState>, uri: Uri) -> Result<Response, Problem> {
    no_query(&uri)?;
    json(&state.services.rotation.engine().adherence().await?)
}
