//! `POST /v1/alerts/{alert}/silence`: nothing is told of an alert until an instant.

use axum::extract::{Request, State};
use axum::response::Response;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::middleware::body;
use crate::middleware::context::RequestContext;
use crate::problem::{self, Problem};
use crate::v1::response::{Named, json, no_query};
use crate::v1::state::SharedState;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SilenceAlert {
    /// In the future, at most thirty days ahead.
    #[schema(format = DateTime)]
    until: String,
    /// In words for the audit trail.
    reason: String,
}

/// Silence an alert
///
/// Nothing is told of it until that instant; if it fires then and nobody looks after it, it is told again. A later silence
/// replaces an earlier one. The answer is the alert as it is then.
#[utoipa::path(
    post,
    path = "/v1/alerts/{alert}/silence",
    operation_id = "silence_alert",
    tag = "operation",
    params(
        ("alert" = String, Path, description = "`al_…`"),
    ),
    request_body = SilenceAlert,
    responses(
        (status = 200, description = "The alert", body = Object, content_type = "application/json"),
        (status = "4XX", description = "No permission, an unknown alert, one that is over, or an instant that is not possible", body = problem::Document, content_type = "application/problem+json"),
        (status = "5XX", description = "See `code` and Retry-After", body = problem::Document, content_type = "application/problem+json"),
    ),
    security(("access_token" = []), ("mtls" = [])),
)]
pub async fn handle(
    State(state): State<SharedState>,
    context: RequestContext,
    Named(alert): Named,
    request: Request,
) -> Result<Response, Problem> {
    no_query(request.uri())?;
    let asked: SilenceAlert = body::strict(&context, request).await?;
    let until: calendar::Time = (asked.until.parse())
        .map_err(|error: calendar::time::NotATime| Problem::member("until", error.to_string()))?;
    let by = context.caller.known()?.name.to_string();
    let engine = state.services.rotation.engine();
    let why = (by.as_str(), asked.reason.as_str());
    json(&engine.silence_alert(&alert, until, why).await?)
}
