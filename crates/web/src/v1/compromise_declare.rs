//! `POST /v1/emergency/reports/{report}/declare`: the emergency of a report is declared.

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
pub struct DeclareCompromise {
    /// For the record: 1 to 500 characters.
    reason: String,
}

/// Declare the emergency of a report
///
/// As `POST /v1/key-rotation/emergency-rotation` for the asset of the report, whose alert ends; an emergency that is open already is
/// that of the report. It replaces no signature: the emergency rotation of a ring is ordered by members of the roster. Of a key
/// that is not the primary of its ring it is refused until members of the roster have revoked it, and then it declares no rotation.
#[utoipa::path(
    post,
    path = "/v1/emergency/reports/{report}/declare",
    operation_id = "declare_compromise",
    tag = "operation",
    params(("report" = String, Path, description = "`cr_…`")),
    request_body = DeclareCompromise,
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
    let asked: DeclareCompromise = body::strict(&context, request).await?;
    let by = context.caller.known()?.name.to_string();
    let engine = state.services.rotation.engine();
    let why = (by.as_str(), asked.reason.as_str());
    json(&engine.declare_compromise(&report, why).await?)
}
