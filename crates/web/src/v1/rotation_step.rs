//! `POST /v1/key-rotation/events/{event}/steps`: somebody says that a step that happens elsewhere is done.

use axum::extract::{Request, State};
use axum::response::Response;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::middleware::body;
use crate::middleware::context::RequestContext;
use crate::problem::{self, Code, Problem};
use crate::v1::response::{Named, json, no_query};
use crate::v1::state::SharedState;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReportStep {
    /// Such as `generate`, or `roll-back`.
    step: String,
    /// What was done, in words for the validation report: 1 to 1000 characters.
    evidence: String,
}

/// Report a step
///
/// Of an asset that is held elsewhere: its rotation waits for each step until somebody says that it is done. The first word
/// stands. For administrators, and for reporters of the asset.
#[utoipa::path(
    post,
    path = "/v1/key-rotation/events/{event}/steps",
    operation_id = "report_step",
    tag = "rotation",
    params(
        ("event" = String, Path, description = "`kr_…`"),
    ),
    request_body = ReportStep,
    responses(
        (status = 200, description = "The rotation", body = Object, content_type = "application/json"),
        (status = "4XX", description = "No permission, an unknown rotation or step, or one that was reported before", body = problem::Document, content_type = "application/problem+json"),
        (status = "5XX", description = "See `code` and Retry-After", body = problem::Document, content_type = "application/problem+json"),
    ),
    security(("access_token" = []), ("mtls" = [])),
)]
pub async fn handle(
    State(state): State<SharedState>,
    context: RequestContext,
    Named(event): Named,
    request: Request,
) -> Result<Response, Problem> {
    no_query(request.uri())?;
    let asked: ReportStep = body::strict(&context, request).await?;
    let principal = context.caller.known()?;
    let engine = state.services.rotation.engine();
    let row = engine.event(&event).await?;
    if !principal.may_report(&row.asset) {
        let detail = format!("{} may not report for {}", principal.name, row.asset);
        return Err(Problem::new(Code::Forbidden, detail));
    }
    let said = (principal.name.as_ref(), asked.evidence.as_str());
    engine.report_step(&event, &asked.step, said).await?;
    json(&engine.report(&event).await?)
}
