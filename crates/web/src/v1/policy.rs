//! `GET /v1/policies/{key_type}`: by which rules the assets of a key type rotate.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use calendar::PolicyDocument;
use calendar::policy::Exception;
use rotation::policies::PolicyView;
use serde::Serialize;
use trust::Time;
use utoipa::ToSchema;

use crate::problem::{self, Code, Problem};
use crate::v1::response::{Named, json, no_query};
use crate::v1::state::SharedState;

/// A policy in force.
#[derive(Debug, Serialize, ToSchema)]
pub struct PolicyAnswer {
    /// Whether only the quorum changes it.
    critical: bool,
    /// None for the figures that the key type begins with.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    changed_at: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    changed_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Its version, spans such as `90d`, triggers, approval, windows, owner and deviations (docs/ROTATION.md).
    #[schema(value_type = Object)]
    document: PolicyDocument,
    /// Rules of frameworks that it is outside of and nevertheless in force.
    #[schema(value_type = Vec<Object>)]
    exceptions: Vec<Exception>,
    /// What is wrong with it today, although it was right when it was set: a deviation ended, a rule came into force.
    lapsed: Vec<String>,
}

impl From<PolicyView> for PolicyAnswer {
    fn from(view: PolicyView) -> Self {
        Self {
            critical: view.critical,
            changed_at: view.changed_at,
            changed_by: view.changed_by,
            reason: view.reason,
            document: view.document,
            exceptions: view.exceptions,
            lapsed: view.lapsed,
        }
    }
}

/// Policy of a key type
#[utoipa::path(
    get,
    path = "/v1/policies/{key_type}",
    operation_id = "policy",
    tag = "operation",
    params(("key_type" = String, Path, description = "Such as `jwt_signing`")),
    responses(
        (status = 200, body = PolicyAnswer),
        (status = "4XX", description = "No permission, or no such key type", body = problem::Document, content_type = "application/problem+json"),
        (status = 503, description = "The database is unavailable", body = problem::Document, content_type = "application/problem+json"),
    ),
    security(("access_token" = []), ("mtls" = [])),
)]
pub async fn handle(
    State(state): State<SharedState>,
    Named(key_type): Named,
    uri: Uri,
) -> Result<Response, Problem> {
    no_query(&uri)?;
    let now = state.services.env.now();
    let current = state.services.inventory.policies().current(now).await?;
    let view = current.view(&key_type).ok_or_else(|| {
        Problem::new(Code::UnknownKeyType, "no key type has this name").about("key_type")
    })?;
    json(&PolicyAnswer::from(view))
}
