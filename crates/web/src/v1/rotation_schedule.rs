//! `POST /v1/key-rotation/schedule`: rotations of a key type that begin now.

use axum::extract::{Request, State};
use axum::response::Response;
use calendar::admission::Ask;
use rotation::engine::EventReport;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::middleware::body;
use crate::middleware::context::RequestContext;
use crate::problem::{self, Problem};
use crate::v1::response::{json, no_query};
use crate::v1::rotation_words::{asset, key_type};
use crate::v1::state::SharedState;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScheduleRotation {
    /// Such as `signing`.
    key_type: String,
    /// Also what is not due.
    #[serde(default)]
    force: bool,
    /// One asset of the key type, such as `signing/records`; all without it.
    asset: Option<String>,
    /// For the record.
    reason: Option<String>,
    /// A test of rotation itself, of one asset: refused unless the installation says that it is not production
    /// (`rotation.tests`).
    #[serde(default)]
    test: bool,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct ScheduledRotations {
    /// The new ones, as at `/v1/key-rotation/events`.
    #[schema(value_type = Vec<Object>)]
    pub events: Vec<EventReport>,
}

/// Schedule rotations
///
/// Makes a rotation of each asset of the key type that is due; with `force` also of those that are not. What rotates already is
/// left alone. The answer has the new rotations. With `test` it is one to test rotation itself, and production refuses it.
#[utoipa::path(
    post,
    path = "/v1/key-rotation/schedule",
    operation_id = "schedule_rotation",
    tag = "rotation",
    request_body = ScheduleRotation,
    responses(
        (status = 200, body = ScheduledRotations),
        (status = "4XX", description = "No permission, an unknown key type, or nothing that is due", body = problem::Document, content_type = "application/problem+json"),
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
    let asked: ScheduleRotation = body::strict(&context, request).await?;
    let by = context.caller.known()?.name.to_string();
    let key_type = key_type(&asked.key_type)?;
    let asset = asked.asset.as_deref().map(asset).transpose()?;
    let reason = match asked.test {
        false => asked.reason,
        true => {
            state.services.rotation.permits_tests()?;
            if asset.is_none() {
                return Err(Problem::member("asset", "a test is of one asset"));
            }
            let why = asked.reason.unwrap_or_else(|| "no reason given".to_owned());
            Some(format!("a test: {why}"))
        }
    };
    let ask = Ask {
        key_type: &key_type,
        asset: asset.as_ref(),
        force: asked.force,
        // The route is an administrator's.
        may_force: true,
    };
    let engine = state.services.rotation.engine();
    let made = engine.schedule(ask, &by, reason.as_deref()).await?;
    json(&ScheduledRotations {
        events: made.into_iter().map(EventReport::of).collect(),
    })
}
