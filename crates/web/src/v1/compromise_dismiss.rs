//! `POST /v1/emergency/reports/{report}/dismiss`: nothing was compromised.

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
pub struct DismissCompromise {
    /// For the record: 1 to 500 characters.
    reason: String,
}

/// Dismiss a report
///
/// A person decides that nothing was compromised: its alert ends. Once, and for good: who finds out more reports it anew.
#[utoipa::path(
    post,
    path = "/v1/emergency/reports/{report}/dismiss",
    operation_id = "dismiss_compromise",
    tag = "operation",
    params(("report" = String, Path, description = "`cr_…`")),
    request_body = DismissCompromise,
    responses(
        (status = 200, description = "The report", body = Object, content_type = "application/json"),
        (status = "4XX", description = "No permission, an unknown report, or one that is decided", body = problem::Document, content_type = "application/problem+json"),
        (status = "5XX", description = "See `code` and Retry-After", body = problem::Document, content_type = "application/problem+json"),
    ),
    security(("access_token" = []), ("mtls" = [])),
)]
pub async fn handle(
    State(state): State<SharedState>,
    context: RequestContext,
    Named(report): Named,
    request: Request,
) -> Result<Response, Problem> {
    no_query(request.uri())?;
    let asked: DismissCompromise = body::strict(&context, request).await?;
    let by = context.caller.known()?.name.to_string();
    let engine = state.services.rotation.engine();
    let why = (by.as_str(), asked.reason.as_str());
    json(&engine.dismiss_compromise(&report, why).await?)
}
