//! `GET /v1/key-rotation/keys/{key_type}`: the assets of a key type with their versions.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use serde::Deserialize;
use serde_json::json as value;

use crate::problem::{self, Code, Problem};
use crate::v1::response::{Named, json, query};
use crate::v1::rotation_words::key_type;
use crate::v1::state::SharedState;

/// Assets of a page at most.
const LIMIT: usize = 1_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    after: Option<String>,
    limit: Option<usize>,
}

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
        ("after" = Option<String>, Query, description = "The page starts behind the asset of this name"),
        ("limit" = Option<usize>, Query, description = "Assets of a page: 1 to 1000; default 1000"),
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
    let asked: Asked = query(&uri)?;
    let limit = asked.limit.unwrap_or(LIMIT);
    if !(1..=LIMIT).contains(&limit) {
        return Err(Problem::new(Code::BadQuery, "expected 1 to 1000").about("limit"));
    }
    let name = key_type(&name)?;
    let known = state.services.rotation.engine().known().await?;
    let policy = known.policies.get(&name);
    let policy = policy.ok_or_else(|| Problem::member("key_type", "unknown key type"))?;
    let after = asked.after.unwrap_or_default();
    let assets = known.facts.assets.iter();
    let mut assets: Vec<_> = assets
        .filter(|asset| asset.key_type == name && asset.name.as_str() > after.as_str())
        .collect();
    assets.sort_by_key(|asset| &asset.name);
    let more = assets.len() > limit;
    assets.truncate(limit);
    let next = assets.last().filter(|_| more).map(|asset| &asset.name);
    json(&value!({
        "key_type": name,
        "policy": policy.document(),
        "assets": assets,
        "next": next,
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::v1::asset::tests::{ADMINISTRATOR, registered};

    #[tokio::test]
    async fn assets_and_plans_are_answered_in_bounded_parts() {
        let fixture = registered().await;
        let body = json!({"dry_run": false, "assets": [{
            "asset": "external/another", "key_type": "api_key", "storage": "files", "rotated_at": fixture.now(),
        }]});
        fixture
            .post_as(ADMINISTRATOR, "/v1/assets", &body.to_string())
            .await;
        let get = async |path: &str| {
            let path = format!("/v1/key-rotation/{path}");
            fixture.get_as(ADMINISTRATOR, &path).await
        };
        let first = get("keys/api_key?limit=1").await.json();
        assert_eq!(first["assets"][0]["name"], "external/another");
        assert_eq!(first["next"], "external/another");
        let second = get("keys/api_key?limit=1&after=external/another").await;
        let second = second.json();
        assert_eq!(second["assets"][0]["name"], "external/partner");
        assert_eq!(second["next"], Value::Null);
        let whole = get("schedule").await.json();
        let rotations = whole["rotations"].as_array().unwrap();
        assert!(rotations.len() > 2 && whole.get("left_out").is_none());
        let part = get("schedule?limit=1").await.json();
        assert_eq!(part["rotations"], json!([rotations[0]]));
        assert_eq!(part["left_out"], rotations.len() - 1);
        assert_eq!(part["counts"], whole["counts"]);
        for path in [
            "keys/api_key?limit=0",
            "keys/api_key?limit=1001",
            "schedule?limit=10001",
        ] {
            assert_eq!(get(path).await.code(), "bad_query", "{path}");
        }
    }
}
