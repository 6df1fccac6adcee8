//! `POST /v1/key-rotation/events/{event}/release`: lets a rotation that was held go on.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;

use crate::middleware::context::RequestContext;
use crate::problem::{self, Problem};
use crate::v1::response::{Named, json, no_query};
use crate::v1::state::SharedState;

/// Release a rotation
///
/// Of a rotation that was held. The answer is the rotation as it is then; it goes on within a minute.
#[utoipa::path(
    post,
    path = "/v1/key-rotation/events/{event}/release",
    operation_id = "release_rotation",
    tag = "rotation",
    params(
        ("event" = String, Path, description = "`kr_…`"),
    ),
    responses(
        (status = 200, description = "The rotation", body = Object, content_type = "application/json"),
        (status = "4XX", description = "No permission, an unknown rotation, one that is over, or one that is so already", body = problem::Document, content_type = "application/problem+json"),
        (status = "5XX", description = "See `code` and Retry-After", body = problem::Document, content_type = "application/problem+json"),
    ),
    security(("access_token" = []), ("mtls" = [])),
)]
pub async fn handle(
    State(state): State<SharedState>,
    context: RequestContext,
    Named(event): Named,
    uri: Uri,
) -> Result<Response, Problem> {
    no_query(&uri)?;
    let by = context.caller.known()?.name.to_string();
    let engine = state.services.rotation.engine();
    engine.release(&event, &by, None).await?;
    json(&engine.report(&event).await?)
}
