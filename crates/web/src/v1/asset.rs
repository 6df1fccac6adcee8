//! `GET /v1/assets/{asset}`: one asset.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use calendar::AssetName;
use rotation::inventory::AssetView;
use serde::Serialize;
use trust::Time;
use utoipa::ToSchema;

use crate::problem::{self, Code, Problem};
use crate::v1::response::{Named, json, no_query};
use crate::v1::state::SharedState;

/// What rotates, with its version in use.
#[derive(Debug, Serialize, ToSchema)]
pub struct AssetAnswer {
    /// `kind/name[/scope]`.
    #[schema(value_type = String, example = "signing/records")]
    asset: AssetName,
    /// `signing` for rings, `external` where somebody else keeps the values.
    kind: String,
    key_type: String,
    /// Its own owner, or the team of its key type's policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
    /// `prepared`, `active`, `revoked` or `retired`.
    #[schema(value_type = String)]
    state: rotation::inventory::StateWord,
    /// `hsm`, `wrapped`, `files`, `mesh` or `issued`.
    storage: &'static str,
    /// Of a ring.
    #[serde(skip_serializing_if = "Option::is_none")]
    algorithm: Option<String>,
    /// The version in use, or the newest where none is; 0 where there is none.
    version: u32,
    #[schema(value_type = String, format = DateTime)]
    created_at: Time,
    /// When the version in use came into use.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    rotated_at: Option<Time>,
    /// When it ends by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Time>,
    /// When the next version has to be in use, by the policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    due_at: Option<Time>,
    overdue: bool,
    purpose: String,
    labels: BTreeMap<String, String>,
}

impl From<AssetView> for AssetAnswer {
    fn from(view: AssetView) -> Self {
        Self {
            asset: view.asset,
            kind: view.kind,
            key_type: view.key_type.to_string(),
            owner: view.owner.map(|owner| owner.to_string()),
            state: view.state,
            storage: view.storage,
            algorithm: view.algorithm,
            version: view.version,
            created_at: view.created_at,
            rotated_at: view.rotated_at,
            expires_at: view.expires_at,
            due_at: view.due_at,
            overdue: view.overdue,
            purpose: view.purpose,
            labels: view.labels,
        }
    }
}

/// A name out of a path, in which `/` is written `%2F`.
pub fn asset_name(text: &str) -> Result<AssetName, Problem> {
    text.parse().map_err(|error: calendar::name::NotAnAsset| {
        Problem::new(Code::UnknownAsset, error.to_string()).about("asset")
    })
}

/// One asset
///
/// A name is `kind/name` or `kind/name/scope`; in the path each `/` of it is written `%2F`.
#[utoipa::path(
    get,
    path = "/v1/assets/{asset}",
    operation_id = "asset",
    tag = "operation",
    params(("asset" = String, Path, description = "Name of the asset, such as `signing%2Frecords`")),
    responses(
        (status = 200, body = AssetAnswer),
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
    no_query(&uri)?;
    let name = asset_name(&name)?;
    let inventory = &state.services.inventory;
    let row = inventory.asset(&name).await?;
    let now = state.services.env.now();
    let policies = inventory.policies().current(now).await?;
    json(&AssetAnswer::from(AssetView::of(&row, &policies, now)))
}

#[cfg(test)]
pub mod tests {
    use serde_json::json;

    use crate::testing::{Fixture, OPERATOR};

    pub const ADMINISTRATOR: &str = "administrator-token";
    pub const REPORTER: &str = "reporter-token";

    /// With two assets whose values somebody else keeps.
    pub async fn registered() -> Fixture {
        let fixture = Fixture::new().await;
        fixture.grant_token(ADMINISTRATOR, &["administrator"]).await;
        fixture
            .grant_token(REPORTER, &["reporter:external/part*"])
            .await;
        // Later than the keys of the fixture.
        fixture.wait(1);
        let rotated_at = fixture.now();
        let body = json!({"dry_run": false, "assets": [
            {"asset": "external/partner", "key_type": "api_key", "storage": "wrapped", "rotated_at": rotated_at},
            {"asset": "external/shop", "key_type": "tls_certificate", "storage": "files", "rotated_at": rotated_at},
        ]});
        let answered = fixture
            .post_as(ADMINISTRATOR, "/v1/assets", &body.to_string())
            .await;
        assert_eq!(answered.json()["new"], 2);
        assert_eq!(answered.json()["applied"], true);
        fixture
    }

    #[tokio::test]
    async fn an_asset_is_found_by_its_name_in_one_segment_of_the_path() {
        let fixture = registered().await;
        let asset = fixture
            .get_as(OPERATOR, "/v1/assets/external%2Fpartner")
            .await
            .json();
        assert_eq!(asset["key_type"], "api_key");
        assert_eq!(asset["owner"], "integration");
        for (path, code) in [
            ("/v1/assets/external%2Fnobody", "unknown_asset"),
            ("/v1/assets/External%2Fpartner", "unknown_asset"),
            ("/v1/assets/partner", "unknown_asset"),
            ("/v1/assets/external/partner", "not_found"),
        ] {
            let answered = fixture.get_as(OPERATOR, path).await;
            assert_eq!(answered.code(), code, "{path}");
        }
    }
}
