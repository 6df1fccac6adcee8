//! `GET /v1/alerts/{alert}`: one alert.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;

use crate::problem::{self, Problem};
use crate::v1::response::{Named, json, no_query};
use crate::v1::state::SharedState;

/// An alert
///
/// Its id is made of its rule and its subject, so it is the same each time that it comes back.
#[utoipa::path(
    get,
    path = "/v1/alerts/{alert}",
    operation_id = "alert",
    tag = "operation",
    params(
        ("alert" = String, Path, description = "`al_…`"),
    ),
    responses(
        (status = 200, description = "The alert", body = Object, content_type = "application/json"),
        (status = "4XX", description = "No permission, or an unknown alert", body = problem::Document, content_type = "application/problem+json"),
        (status = "5XX", description = "See `code` and Retry-After", body = problem::Document, content_type = "application/problem+json"),
    ),
    security(("access_token" = []), ("mtls" = [])),
)]
pub async fn handle(
    State(state): State<SharedState>,
    Named(alert): Named,
    uri: Uri,
) -> Result<Response, Problem> {
    no_query(&uri)?;
    json(&state.services.rotation.engine().alert(&alert).await?)
}
