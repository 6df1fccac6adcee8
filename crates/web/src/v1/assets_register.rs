//! `POST /v1/assets`: assets whose values somebody else keeps are registered, one or many.

use axum::extract::{Request, State};
use axum::response::Response;
use rotation::inventory::{ImportReport, Verdict, read_csv, rows_of};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::middleware::body;
use crate::middleware::context::RequestContext;
use crate::problem::{self, Code, Problem};
use crate::v1::response::{json, no_query};
use crate::v1::state::SharedState;

/// Refused rows that a problem names.
const NAMED: usize = 5;

/// Either `assets` or `csv`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RegisterAssets {
    /// Documents with `asset`, `key_type`, `storage`, `rotated_at`, and perhaps `purpose`, `owner`, `version`, `expires_at`,
    /// `labels`, `state`.
    #[schema(value_type = Option<Vec<Object>>)]
    assets: Option<Vec<Value>>,
    /// The same as CSV, with these names in its first row.
    csv: Option<String>,
    /// Says what would be, and writes nothing; true by default.
    dry_run: Option<bool>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct RegisterAnswer {
    /// Whether anything was written.
    applied: bool,
    new: usize,
    unchanged: usize,
    skipped: usize,
    refused: usize,
    /// The leaves that tell of it, one for each part that was registered together.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    log_indexes: Vec<i64>,
    rows: Vec<RegisteredRow>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct RegisteredRow {
    /// The row of the CSV, of which the header is the first, or the place in `assets`, from 1.
    row: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    asset: Option<String>,
    /// `new`, `unchanged` (it is there and says the same), `skipped` (its driver has it) or `refused`.
    #[schema(value_type = String)]
    verdict: Verdict,
    /// All that is wrong with it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    why: Vec<String>,
}

impl From<ImportReport> for RegisterAnswer {
    fn from(report: ImportReport) -> Self {
        let rows = report.rows.into_iter().map(|row| RegisteredRow {
            row: row.row,
            asset: row.asset,
            verdict: row.verdict,
            why: row.why,
        });
        Self {
            applied: report.applied,
            new: report.new,
            unchanged: report.unchanged,
            skipped: report.skipped,
            refused: report.refused,
            log_indexes: report.log_indexes,
            rows: rows.collect(),
        }
    }
}

/// Register assets
///
/// Assets whose values somebody else keeps (`external/NAME[/SCOPE]`). Each has its verdict, and unless all are good none is
/// registered. What is registered already and says the same is left alone, so the same request may come again; one that broke
/// off between two parts of 2000 assets is completed by that. `dry_run` is true unless it is said otherwise.
#[utoipa::path(
    post,
    path = "/v1/assets",
    operation_id = "register_assets",
    tag = "operation",
    request_body = RegisterAssets,
    responses(
        (status = 200, body = RegisterAnswer),
        (status = "4XX", description = "Refused; nothing was changed", body = problem::Document, content_type = "application/problem+json"),
        (status = "5XX", description = "See `code` and Retry-After", body = problem::Document, content_type = "application/problem+json"),
    ),
    security(("access_token" = []), ("mtls" = [])),
)]
pub async fn handle(
    State(state): State<SharedState>,
    context: RequestContext,
    request: Request,
) -> Result<Response, Problem> {
    no_query(request.uri())?;
    let asked: RegisterAssets = body::strict(&context, request).await?;
    let rows = match (asked.assets, asked.csv) {
        (Some(assets), None) => rows_of(assets),
        (None, Some(csv)) => read_csv(csv.as_bytes()),
        _ => return Err(Problem::member("assets", "expected either assets or csv")),
    };
    let rows = rows.map_err(rotation::error::Error::from)?;
    let apply = !asked.dry_run.unwrap_or(true);
    let principal = context.caller.known()?;
    let now = state.services.env.now();
    let inventory = &state.services.inventory;
    let report = inventory
        .import(rows, apply, (&*principal.name, now))
        .await?;
    if apply && report.refused > 0 {
        return Err(Problem::new(Code::AssetsRefused, report.refusals(NAMED)));
    }
    json(&RegisterAnswer::from(report))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::OPERATOR;
    use crate::v1::asset::tests::{ADMINISTRATOR, registered};

    #[tokio::test]
    async fn nothing_is_registered_unless_it_is_said_and_all_is_right() {
        let fixture = registered().await;
        let good = json!({"asset": "external/new", "key_type": "api_key", "storage": "wrapped", "rotated_at": fixture.now()});
        let post = async |body: serde_json::Value| {
            fixture
                .post_as(ADMINISTRATOR, "/v1/assets", &body.to_string())
                .await
        };
        let dry = post(json!({"assets": [good]})).await.json();
        assert_eq!((&dry["new"], &dry["applied"]), (&json!(1), &json!(false)));
        let mut unknown = good.clone();
        unknown["asset"] = json!("external/other");
        unknown["key_type"] = json!("launch_code");
        let both = json!({"assets": [good, unknown, good], "dry_run": false});
        let refused = post(both).await;
        assert_eq!(refused.code(), "assets_refused");
        let detail = refused.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains("row 2: key_type: no key type"), "{detail}");
        assert!(
            detail.contains("row 3: asset: it is in row 1 already"),
            "{detail}"
        );
        let shown = fixture.get_as(OPERATOR, "/v1/assets/external%2Fnew").await;
        assert_eq!(shown.code(), "unknown_asset");
        for (body, code) in [
            (json!({}), "bad_member"),
            (json!({"assets": []}), "bad_member"),
            (json!({"assets": [good], "csv": "asset"}), "bad_member"),
            (json!({"csv": "asset,secret\n"}), "bad_member"),
            (json!({"assets": [good], "force": true}), "bad_member"),
        ] {
            assert_eq!(post(body.clone()).await.code(), code, "{body}");
        }
        let csv = format!(
            "asset,key_type,storage,rotated_at,purpose\nexternal/csv,api_key,wrapped,{},=1+1\n",
            fixture.now()
        );
        let refused = post(json!({"csv": csv})).await.json();
        let why = refused["rows"][0]["why"][0].as_str().unwrap();
        assert!(why.contains("formula"), "{why}");
    }
}
