//! `POST /v1/assets/{asset}/rotations`: somebody says that an asset was rotated.

use axum::extract::{Request, State};
use axum::response::Response;
use rotation::inventory::Reported;
use serde::{Deserialize, Serialize};
use trust::Time;
use utoipa::ToSchema;

use crate::middleware::body;
use crate::middleware::context::RequestContext;
use crate::problem::{self, Code, Problem};
use crate::v1::asset::asset_name;
use crate::v1::response::{Named, json, no_query};
use crate::v1::state::SharedState;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReportRotation {
    /// When the version in use came into use; not in the future, and not before the last rotation.
    #[schema(value_type = String, format = DateTime)]
    rotated_at: Time,
    /// When it ends by itself.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Time>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct ReportedAnswer {
    asset: String,
    /// The version in use.
    version: u32,
    #[schema(value_type = String, format = DateTime)]
    rotated_at: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Time>,
    /// It had been reported before; nothing was written.
    repeated: bool,
    /// The leaf that tells of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    log_index: Option<i64>,
}

impl From<Reported> for ReportedAnswer {
    fn from(reported: Reported) -> Self {
        Self {
            asset: reported.asset.to_string(),
            version: reported.version,
            rotated_at: reported.rotated_at,
            expires_at: reported.expires_at,
            repeated: reported.repeated,
            log_index: reported.log_index,
        }
    }
}

/// Report a rotation
///
/// By a principal with the role `reporter:ASSET` or `reporter:PREFIX*`, or by an administrator: an asset whose values
/// somebody else keeps has a new version in use. The same report again changes nothing.
#[utoipa::path(
    post,
    path = "/v1/assets/{asset}/rotations",
    operation_id = "report_rotation",
    tag = "operation",
    params(("asset" = String, Path, description = "Name of the asset, such as `external%2Fpartner`")),
    request_body = ReportRotation,
    responses(
        (status = 200, body = ReportedAnswer),
        (status = "4XX", description = "Refused; nothing was changed", body = problem::Document, content_type = "application/problem+json"),
        (status = "5XX", description = "See `code` and Retry-After", body = problem::Document, content_type = "application/problem+json"),
    ),
    security(("access_token" = []), ("mtls" = [])),
)]
pub async fn handle(
    State(state): State<SharedState>,
    context: RequestContext,
    Named(name): Named,
    request: Request,
) -> Result<Response, Problem> {
    no_query(request.uri())?;
    let principal = context.caller.known()?;
    // Before anything is said of the asset.
    if !principal.may_report(&name) {
        let detail = format!("{} may not report on this asset", principal.name);
        return Err(Problem::new(Code::Forbidden, detail));
    }
    let asked: ReportRotation = body::strict(&context, request).await?;
    let name = asset_name(&name)?;
    let inventory = &state.services.inventory;
    let now = state.services.env.now();
    let rotated = (asked.rotated_at, asked.expires_at);
    let reported = inventory
        .report(&name, rotated, (&*principal.name, now))
        .await?;
    json(&ReportedAnswer::from(reported))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::OPERATOR;
    use crate::v1::asset::tests::{ADMINISTRATOR, REPORTER, registered};

    const PARTNER: &str = "/v1/assets/external%2Fpartner/rotations";

    #[tokio::test]
    async fn a_reporter_reports_of_its_assets_and_no_other() {
        let fixture = registered().await;
        fixture.wait(60);
        let body = json!({"rotated_at": fixture.now()}).to_string();
        let done = fixture.post_as(REPORTER, PARTNER, &body).await.json();
        assert_eq!(
            (&done["version"], &done["repeated"]),
            (&json!(2), &json!(false))
        );
        let again = fixture.post_as(REPORTER, PARTNER, &body).await.json();
        assert_eq!(
            (&again["version"], &again["repeated"]),
            (&json!(2), &json!(true))
        );
        for path in [
            "/v1/assets/external%2Fshop/rotations",
            "/v1/assets/external%2Fnobody/rotations",
            "/v1/assets/signing%2Frecords/rotations",
        ] {
            let refused = fixture.post_as(REPORTER, path, &body).await;
            assert_eq!(refused.code(), "forbidden", "{path}");
        }
        let refused = fixture.post_as(OPERATOR, PARTNER, &body).await;
        assert_eq!(refused.code(), "forbidden");
        let versions = "/v1/assets/external%2Fpartner/versions";
        let versions = fixture.get_as(OPERATOR, versions).await.json();
        assert_eq!(versions["versions"][0]["reported_by"], REPORTER);
        assert_eq!(versions["versions"][1]["state"], "secondary");
        let keys = "/v1/assets/signing%2Frecords/versions?limit=1";
        let keys = fixture.get_as(OPERATOR, keys).await.json();
        assert_eq!(keys["versions"][0]["kid"], fixture.kid());
    }

    #[tokio::test]
    async fn a_report_that_cannot_be_is_refused_with_its_reason() {
        let fixture = registered().await;
        let shop = "/v1/assets/external%2Fshop/rotations";
        let now = fixture.now();
        let later = trust::Time::from_millis(now.millis() + 1);
        let before = trust::Time::from_millis(now.millis() - 1);
        for (path, body, code) in [
            (shop, json!({"rotated_at": later}), "bad_member"),
            (shop, json!({"rotated_at": before}), "asset_state"),
            (
                shop,
                json!({"rotated_at": now, "expires_at": now}),
                "bad_member",
            ),
            (
                shop,
                json!({"rotated_at": now, "expires_at": later}),
                "asset_state",
            ),
            (shop, json!({}), "bad_member"),
            (
                shop,
                json!({"rotated_at": now, "value": "secret"}),
                "bad_member",
            ),
            (
                "/v1/assets/external%2Fnobody/rotations",
                json!({"rotated_at": now}),
                "unknown_asset",
            ),
            (
                "/v1/assets/signing%2Frecords/rotations",
                json!({"rotated_at": now}),
                "asset_state",
            ),
        ] {
            let refused = fixture
                .post_as(ADMINISTRATOR, path, &body.to_string())
                .await;
            assert_eq!(refused.code(), code, "{path} {body}");
        }
    }
}
