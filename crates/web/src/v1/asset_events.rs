//! `GET /v1/assets/{asset}/events`: rotations of one asset, the newest first.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use serde::Deserialize;

use crate::problem::{self, Problem};
use crate::v1::asset::asset_name;
use crate::v1::response::{Named, query};
use crate::v1::rotation_events::{RotationsAnswer, page};
use crate::v1::state::SharedState;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    after: Option<String>,
    limit: Option<i64>,
}

/// Rotations of an asset
///
/// Without their steps, in pages.
#[utoipa::path(
    get,
    path = "/v1/assets/{asset}/events",
    operation_id = "asset_events",
    tag = "rotation",
    params(
        ("asset" = String, Path, description = "Name of the asset, such as `signing%2Frecords`"),
        ("after" = Option<String>, Query, description = "`next` of the page before"),
        ("limit" = Option<i64>, Query, description = "Page size: 1 to 1000; default 100"),
    ),
    responses(
        (status = 200, body = RotationsAnswer),
        (status = "4XX", description = "No permission, no such asset, or an invalid parameter", body = problem::Document, content_type = "application/problem+json"),
        (status = "5XX", description = "See `code` and Retry-After", body = problem::Document, content_type = "application/problem+json"),
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
    // An asset that is not there has no rotations, and is not one that never rotated.
    state.services.inventory.asset(&name).await?;
    let after = asked.after.as_deref();
    page(&state, Some(name.as_str()), after, asked.limit).await
}
