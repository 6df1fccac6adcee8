//! `GET /v1/emergency/reports`: what was reported, and what was decided of it.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use rotation::compromise::REPORTS_MAX;
use serde::Deserialize;

use crate::problem::{self, Problem};
use crate::v1::response::{json, query};
use crate::v1::state::SharedState;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    after: Option<String>,
    limit: Option<usize>,
}

/// Reports of compromise
///
/// The latest first. Each has its evidence, its alert, and while it is open the draft of what could be declared: an emergency
/// rotation of a ring, or the revocation of a key that is not its primary, which members of the roster propose and approve, or a
/// declaration. A draft is not signed and permits nothing.
#[utoipa::path(
    get,
    path = "/v1/emergency/reports",
    operation_id = "compromise_reports",
    tag = "operation",
    params(
        ("after" = Option<String>, Query, description = "`next` of the page before"),
        ("limit" = Option<usize>, Query, description = "1 to 1000, by default 100"),
    ),
    responses(
        (status = 200, description = "`reports`, and `next` where there may be more", body = Object, content_type = "application/json"),
        (status = "4XX", description = "No permission, or an invalid parameter", body = problem::Document, content_type = "application/problem+json"),
        (status = "5XX", description = "See `code` and Retry-After", body = problem::Document, content_type = "application/problem+json"),
    ),
    security(("access_token" = []), ("mtls" = [])),
)]
pub async fn handle(State(state): State<SharedState>, uri: Uri) -> Result<Response, Problem> {
    let asked: Asked = query(&uri)?;
    let limit = asked.limit.unwrap_or(100).clamp(1, REPORTS_MAX);
    let engine = state.services.rotation.engine();
    json(
        &engine
            .compromise_reports(asked.after.as_deref(), limit)
            .await?,
    )
}
