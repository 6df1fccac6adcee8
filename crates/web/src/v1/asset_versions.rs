//! `GET /v1/assets/{asset}/versions`: what an asset was and is, without any value.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use rotation::inventory::VersionView;
use serde::{Deserialize, Serialize};
use trust::Time;
use utoipa::ToSchema;

use crate::problem::{self, Code, Problem};
use crate::v1::asset::asset_name;
use crate::v1::response::{Named, json, query};
use crate::v1::state::SharedState;

const PAGE: i64 = 50;
const LIMIT: i64 = 100;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    below: Option<u32>,
    limit: Option<i64>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct AssetVersionsAnswer {
    /// The newest first.
    versions: Vec<AssetVersion>,
    /// `below` of the next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<u32>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct AssetVersion {
    version: u32,
    /// `prepared`, `primary`, `secondary`, `retired`, `archived` or `revoked`.
    state: &'static str,
    #[schema(value_type = String, format = DateTime)]
    created_at: Time,
    /// When it came into use.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    rotated_at: Option<Time>,
    /// When it ends by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Time>,
    /// Who said so; of a ring's key nobody, because its transcript does.
    #[serde(skip_serializing_if = "Option::is_none")]
    reported_by: Option<String>,
    /// Of a ring's key.
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<String>,
}

impl From<VersionView> for AssetVersion {
    fn from(view: VersionView) -> Self {
        Self {
            version: view.version,
            state: view.state,
            created_at: view.created_at,
            rotated_at: view.rotated_at,
            expires_at: view.expires_at,
            reported_by: view.reported_by,
            kid: view.kid,
        }
    }
}

/// Versions of an asset
#[utoipa::path(
    get,
    path = "/v1/assets/{asset}/versions",
    operation_id = "asset_versions",
    tag = "operation",
    params(
        ("asset" = String, Path, description = "Name of the asset, such as `signing%2Frecords`"),
        ("below" = Option<u32>, Query, description = "`next` of the page before"),
        ("limit" = Option<i64>, Query, description = "Page size: 1 to 100; default 50"),
    ),
    responses(
        (status = 200, body = AssetVersionsAnswer),
        (status = "4XX", description = "No permission, or no such asset", body = problem::Document, content_type = "application/problem+json"),
        (status = 503, description = "The database is unavailable", body = problem::Document, content_type = "application/problem+json"),
    ),
    security(("access_token" = []), ("mtls" = [])),
)]
pub async fn handle(
    State(state): State<SharedState>,
    Named(name): Named,
    uri: Uri,
) -> Result<Response, Problem> {
    let asked: Asked = query(&uri)?;
    let name = asset_name(&name)?;
    let limit = asked.limit.unwrap_or(PAGE);
    if !(1..=LIMIT).contains(&limit) {
        return Err(Problem::new(Code::BadQuery, "expected 1 to 100").about("limit"));
    }
    let inventory = &state.services.inventory;
    let versions = inventory.versions(&name, asked.below, limit).await?;
    let full = i64::try_from(versions.len()).is_ok_and(|count| count == limit);
    let last = versions.last().map(|view| view.version);
    json(&AssetVersionsAnswer {
        next: last.filter(|last| full && *last > 1),
        versions: versions.into_iter().map(AssetVersion::from).collect(),
    })
}
