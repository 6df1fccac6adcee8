//! `GET /v1/key-rotation/report`: how well the policies are kept.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use rotation::engine::Adherence;
use rotation::jobs::Audited;
use serde::Serialize;

use crate::problem::{self, Problem};
use crate::v1::response::{json, no_query};
use crate::v1::state::SharedState;

/// Adherence, and what the log tells of it.
#[derive(Debug, Serialize)]
struct ReportAnswer {
    #[serde(flatten)]
    adherence: Adherence,
    /// None until this replica has read the log.
    audited: Option<Audited>,
}

/// Report
///
/// Of the last 92 days: rotations by key type, how many were on time and how many without a ceremony; what is overdue or waits
/// now; rules of frameworks that policies are outside of; recommendations; and of whose end no leaf of the log tells (`audited`, null
/// until the replica has read the log).
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
    let scheduler = &state.services.rotation;
    json(&ReportAnswer {
        adherence: scheduler.engine().adherence().await?,
        audited: scheduler.audited(),
    })
}
