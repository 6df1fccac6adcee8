//! `GET /v1/policies/{key_type}/versions`: what a policy was, who changed it, when and why.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use calendar::PolicyDocument;
use rotation::policies::{PolicyVersion, VERSIONS_MAX};
use serde::{Deserialize, Serialize};
use trust::Time;
use utoipa::ToSchema;

use crate::problem::{self, Code, Problem};
use crate::v1::response::{Named, json, query};
use crate::v1::state::SharedState;

const PAGE: usize = 20;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    below: Option<u32>,
    limit: Option<usize>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct PolicyVersionsAnswer {
    /// The newest first.
    versions: Vec<PolicyVersionAnswer>,
    /// `below` of the next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<u32>,
}

/// One version of a policy.
#[derive(Debug, Serialize, ToSchema)]
pub struct PolicyVersionAnswer {
    version: u32,
    /// None for the figures that the key type begins with.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    changed_at: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    changed_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// The leaf that tells of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    log_index: Option<i64>,
    /// Of a critical key type: no quorum decided what the row says, or the log does not tell so, and it is not followed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    undecided: bool,
    #[schema(value_type = Object)]
    document: PolicyDocument,
}

impl From<PolicyVersion> for PolicyVersionAnswer {
    fn from(version: PolicyVersion) -> Self {
        Self {
            version: version.version,
            changed_at: version.changed_at,
            changed_by: version.changed_by,
            reason: version.reason,
            log_index: version.log_index,
            undecided: version.undecided,
            document: version.document,
        }
    }
}

/// Versions of a policy
#[utoipa::path(
    get,
    path = "/v1/policies/{key_type}/versions",
    operation_id = "policy_versions",
    tag = "operation",
    params(
        ("key_type" = String, Path, description = "Such as `jwt_signing`"),
        ("below" = Option<u32>, Query, description = "`next` of the page before"),
        ("limit" = Option<usize>, Query, description = "Page size: 1 to 100; default 20"),
    ),
    responses(
        (status = 200, body = PolicyVersionsAnswer),
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
    let asked: Asked = query(&uri)?;
    let limit = asked.limit.unwrap_or(PAGE);
    if !(1..=VERSIONS_MAX).contains(&limit) {
        return Err(Problem::new(Code::BadQuery, "expected 1 to 100").about("limit"));
    }
    let policies = state.services.inventory.policies();
    let versions = policies.versions(&key_type, asked.below, limit).await?;
    let last = versions.last().map(|version| version.version);
    json(&PolicyVersionsAnswer {
        next: last.filter(|last| versions.len() == limit && *last > 1),
        versions: versions
            .into_iter()
            .map(PolicyVersionAnswer::from)
            .collect(),
    })
}
