//! `GET /v1/jobs`: the jobs of the scheduler.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use rotation::jobs::JobReport;
use serde::Serialize;
use utoipa::ToSchema;

use crate::problem::{self, Problem};
use crate::v1::response::{json, no_query};
use crate::v1::state::SharedState;

#[derive(Debug, Serialize, ToSchema)]
pub struct JobsAnswer {
    #[schema(value_type = Vec<Object>)]
    jobs: Vec<JobReport>,
}

/// Jobs
///
/// Each with its pattern, its next slot, its last run and statistics.
#[utoipa::path(
    get,
    path = "/v1/jobs",
    operation_id = "jobs",
    tag = "rotation",
    responses(
        (status = 200, body = JobsAnswer),
        (status = "4XX", description = "No permission", body = problem::Document, content_type = "application/problem+json"),
        (status = "5XX", description = "See `code` and Retry-After", body = problem::Document, content_type = "application/problem+json"),
    ),
    security(("access_token" = []), ("mtls" = [])),
)]
pub async fn handle(State(state): State<SharedState>, uri: Uri) -> Result<Response, Problem> {
    no_query(&uri)?;
    let status = state.services.rotation.status().await?;
    json(&JobsAnswer { jobs: status.jobs })
}
