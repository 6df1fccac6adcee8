//! `POST /v1/alerts/{alert}/acknowledge`: somebody looks after an alert.

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
pub struct AcknowledgeAlert {
    /// In words for the audit trail.
    reason: Option<String>,
}

/// Acknowledge an alert
///
/// It fires until its condition is over; who looks after it is told and in the audit trail. One that becomes graver has to be
/// acknowledged again. The answer is the alert as it is then.
#[utoipa::path(
    post,
    path = "/v1/alerts/{alert}/acknowledge",
    operation_id = "acknowledge_alert",
    tag = "operation",
    params(
        ("alert" = String, Path, description = "`al_…`"),
    ),
    request_body = AcknowledgeAlert,
    responses(
        (status = 200, description = "The alert", body = Object, content_type = "application/json"),
        (status = "4XX", description = "No permission, an unknown alert, or one that does not fire or is acknowledged", body = problem::Document, content_type = "application/problem+json"),
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
    let asked: AcknowledgeAlert = body::strict(&context, request).await?;
    let by = context.caller.known()?.name.to_string();
    let engine = state.services.rotation.engine();
    let reason = asked.reason.as_deref();
    json(&engine.acknowledge_alert(&alert, &by, reason).await?)
}
