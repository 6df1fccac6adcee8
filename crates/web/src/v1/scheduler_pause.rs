//! `POST /v1/key-rotation/scheduler/pause`: pauses the scheduler.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;

use crate::middleware::context::RequestContext;
use crate::problem::{self, Problem};
use crate::v1::response::{json, no_query};
use crate::v1::state::SharedState;

/// Pause the scheduler
///
/// Jobs that make or run rotations do not begin any more, and rotations begin no further step; what is under way ends at its
/// step. Watching goes on, and emergencies do not wait.
#[utoipa::path(
    post,
    path = "/v1/key-rotation/scheduler/pause",
    operation_id = "pause_scheduler",
    tag = "rotation",
    responses(
        (status = 200, description = "The scheduler", body = Object, content_type = "application/json"),
        (status = "4XX", description = "No permission", body = problem::Document, content_type = "application/problem+json"),
        (status = "5XX", description = "See `code` and Retry-After", body = problem::Document, content_type = "application/problem+json"),
    ),
    security(("access_token" = []), ("mtls" = [])),
)]
pub async fn handle(
    State(state): State<SharedState>,
    context: RequestContext,
    uri: Uri,
) -> Result<Response, Problem> {
    no_query(&uri)?;
    let by = context.caller.known()?.name.to_string();
    let scheduler = &state.services.rotation;
    scheduler.engine().pause(true, &by, None).await?;
    json(&scheduler.status().await?)
}
