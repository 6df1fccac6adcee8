//! `GET /v1/key-rotation/keys/{key_type}`: the assets of a key type with their versions.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use serde_json::json as value;

use crate::problem::{self, Problem};
use crate::v1::response::{Named, json, no_query};
use crate::v1::rotation_words::key_type;
use crate::v1::state::SharedState;

/// Keys of a type
///
/// Metadata only: versions with their states and instants, rotations that are open, the policy in force. No key material.
#[utoipa::path(
    get,
    path = "/v1/key-rotation/keys/{key_type}",
    operation_id = "rotation_keys",
    tag = "rotation",
    params(
        ("key_type" = String, Path, description = "Such as `signing`"),
    ),
    responses(
        (status = 200, description = "Assets and policy", body = Object, content_type = "application/json"),
        (status = "4XX", description = "No permission, or an unknown key type", body = problem::Document, content_type = "application/problem+json"),
        (status = "5XX", description = "See `code` and Retry-After", body = problem::Document, content_type = "application/problem+json"),
    ),
    security(("access_token" = []), ("mtls" = [])),
)]
pub async fn handle(
    State(state): State<SharedState>,
    Named(name): Named,
    uri: Uri,
) -> Result<Response, Problem> {
    no_query(&uri)?;
    let name = key_type(&name)?;
    let known = state.services.rotation.engine().known().await?;
    let policy = known.policies.get(&name);
    let policy = policy.ok_or_else(|| Problem::member("key_type", "unknown key type"))?;
    let assets = known.facts.assets.iter();
    let assets: Vec<_> = assets.filter(|asset| asset.key_type == name).collect();
    json(&value!({
        "key_type": name,
        "policy": policy.document(),
        "assets": assets,
    }))
}
