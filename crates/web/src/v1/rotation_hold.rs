//! `POST /v1/key-rotation/events/{event}/hold`: holds a rotation: no step of it begins until it is released.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;

use crate::middleware::context::RequestContext;
use crate::problem::{self, Problem};
use crate::v1::response::{Named, json, no_query};
use crate::v1::state::SharedState;

/// Hold a rotation
///
/// A step that has begun comes to its end, and no other begins. Emergencies are not held. The answer is the rotation as it is then.
#[utoipa::path(
    post,
    path = "/v1/key-rotation/events/{event}/hold",
    operation_id = "hold_rotation",
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
    engine.hold(&event, &by, None).await?;
    json(&engine.report(&event).await?)
}
