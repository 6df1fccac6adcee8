//! `POST /v1/alerts/{alert}/unsilence`: an alert is told again.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;

use crate::middleware::context::RequestContext;
use crate::problem::{self, Problem};
use crate::v1::response::{Named, json, no_query};
use crate::v1::state::SharedState;

/// End the silence of an alert
///
/// If it fires and nobody looks after it, it is told at once. The answer is the alert as it is then.
#[utoipa::path(
    post,
    path = "/v1/alerts/{alert}/unsilence",
    operation_id = "unsilence_alert",
    tag = "operation",
    params(
        ("alert" = String, Path, description = "`al_…`"),
    ),
    responses(
        (status = 200, description = "The alert", body = Object, content_type = "application/json"),
        (status = "4XX", description = "No permission, an unknown alert, or one that is not silenced", body = problem::Document, content_type = "application/problem+json"),
        (status = "5XX", description = "See `code` and Retry-After", body = problem::Document, content_type = "application/problem+json"),
    ),
    security(("access_token" = []), ("mtls" = [])),
)]
pub async fn handle(
    State(state): State<SharedState>,
    context: RequestContext,
    Named(alert): Named,
    uri: Uri,
) -> Result<Response, Problem> {
    no_query(&uri)?;
    let by = context.caller.known()?.name.to_string();
    let engine = state.services.rotation.engine();
    json(&engine.unsilence_alert(&alert, &by).await?)
}
