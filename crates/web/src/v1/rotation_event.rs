//! `GET /v1/key-rotation/events/{event}`: one rotation with its validation report.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;

use crate::problem::{self, Problem};
use crate::v1::response::{Named, json, no_query};
use crate::v1::state::SharedState;

/// Rotation
///
/// With the attempts at its steps: before, during and after it, each with what was found.
#[utoipa::path(
    get,
    path = "/v1/key-rotation/events/{event}",
    operation_id = "rotation_event",
    tag = "rotation",
    params(
        ("event" = String, Path, description = "`kr_…`"),
    ),
    responses(
        (status = 200, description = "The rotation", body = Object, content_type = "application/json"),
        (status = "4XX", description = "No permission, or an unknown rotation", body = problem::Document, content_type = "application/problem+json"),
        (status = "5XX", description = "See `code` and Retry-After", body = problem::Document, content_type = "application/problem+json"),
    ),
    security(("access_token" = []), ("mtls" = [])),
)]
pub async fn handle(
    State(state): State<SharedState>,
    Named(event): Named,
    uri: Uri,
) -> Result<Response, Problem> {
    no_query(&uri)?;
    json(&state.services.rotation.engine().report(&event).await?)
}
