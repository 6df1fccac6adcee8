//! `GET /v1/policies`: by which rules assets rotate.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use crate::problem::{self, Problem};
use crate::v1::policy::PolicyAnswer;
use crate::v1::response::{json, no_query};
use crate::v1::state::SharedState;

#[derive(Debug, Serialize, ToSchema)]
pub struct PoliciesAnswer {
    /// By key type.
    policies: Vec<PolicyAnswer>,
}

/// Policies
///
/// Of every key type, those included that nobody changed yet.
#[utoipa::path(
    get,
    path = "/v1/policies",
    operation_id = "policies",
    tag = "operation",
    responses(
        (status = 200, body = PoliciesAnswer),
        (status = "4XX", description = "No permission", body = problem::Document, content_type = "application/problem+json"),
        (status = 503, description = "The database is unavailable", body = problem::Document, content_type = "application/problem+json"),
    ),
    security(("access_token" = []), ("mtls" = [])),
)]
pub async fn handle(State(state): State<SharedState>, uri: Uri) -> Result<Response, Problem> {
    no_query(&uri)?;
    let now = state.services.env.now();
    let current = state.services.inventory.policies().current(now).await?;
    let views = current.views().into_iter();
    json(&PoliciesAnswer {
        policies: views.map(PolicyAnswer::from).collect(),
    })
}
