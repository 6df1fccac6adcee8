//! `POST /v1/key-rotation/emergency-rotation`: declares an emergency and drafts what it takes.

use axum::extract::{Request, State};
use axum::response::Response;
use rotation::engine::EventReport;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::middleware::body;
use crate::middleware::context::RequestContext;
use crate::problem::{self, Problem};
use crate::v1::response::{json, no_query};
use crate::v1::rotation_schedule::ScheduledRotations;
use crate::v1::rotation_words::{asset, key_type};
use crate::v1::state::SharedState;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeclareEmergency {
    /// Such as `signing`.
    key_type: String,
    /// For the record: 1 to 500 characters.
    reason: String,
    /// One asset of the key type, such as `signing/records`; all without it.
    asset: Option<String>,
}

/// Declare an emergency
///
/// Makes a rotation of each asset of the key type that does not wait for its hour, a window or a pause; one that is open and not
/// promoted becomes that, whether it is held or failed. An asset that gets none is an error that names it, and the others have
/// theirs. At most 10 000 at once, or none. It replaces no signature:
/// for signing keys members of the roster order the emergency rotation (`chancery emergency rotate`).
#[utoipa::path(
    post,
    path = "/v1/key-rotation/emergency-rotation",
    operation_id = "emergency_rotation",
    tag = "rotation",
    request_body = DeclareEmergency,
    responses(
        (status = 200, body = ScheduledRotations),
        (status = "4XX", description = "No permission, an unknown key type, an emergency that is declared already, or an asset that gets none", body = problem::Document, content_type = "application/problem+json"),
        (status = "5XX", description = "See `code` and Retry-After", body = problem::Document, content_type = "application/problem+json"),
    ),
    security(("access_token" = []), ("mtls" = [])),
)]
pub async fn handle(
    State(state): State<SharedState>,
    context: RequestContext,
    request: Request,
) -> Result<Response, Problem> {
    no_query(request.uri())?;
    let asked: DeclareEmergency = body::strict(&context, request).await?;
    let by = context.caller.known()?.name.to_string();
    let key_type = key_type(&asked.key_type)?;
    let asset = asked.asset.as_deref().map(asset).transpose()?;
    if !(1..=500).contains(&asked.reason.chars().count()) {
        return Err(Problem::member("reason", "expected 1 to 500 characters"));
    }
    let engine = state.services.rotation.engine();
    let why = (by.as_str(), asked.reason.as_str());
    let declared = engine.declare(&key_type, asset.as_ref(), why).await?;
    json(&ScheduledRotations {
        events: declared.into_iter().map(EventReport::of).collect(),
    })
}
