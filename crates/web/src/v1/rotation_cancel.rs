//! `POST /v1/key-rotation/events/{event}/cancel`: ends a rotation before its promotion.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;

use crate::middleware::context::RequestContext;
use crate::problem::{self, Problem};
use crate::v1::response::{Named, json, no_query};
use crate::v1::state::SharedState;

/// Cancel a rotation
///
/// Until its version is promoted; what was made is kept as a standby or taken back. While it is due, the next check makes the same version again: hold what shall not rotate for now instead. The answer is the rotation as it is then; it goes on within a minute.
#[utoipa::path(
    post,
    path = "/v1/key-rotation/events/{event}/cancel",
    operation_id = "cancel_rotation",
    tag = "rotation",
    params(
        ("event" = String, Path, description = "`kr_…`"),
    ),
    responses(
        (status = 200, description = "The rotation", body = Object, content_type = "application/json"),
        (status = "4XX", description = "No permission, an unknown rotation, or one that is too far for it", body = problem::Document, content_type = "application/problem+json"),
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
    engine.cancel(&event, &by, None).await?;
    json(&engine.report(&event).await?)
}
