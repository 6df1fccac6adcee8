//! `GET /v1/key-rotation/events`: rotations, the newest first.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use rotation::engine::EventReport;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::problem::{self, Code, Problem};
use crate::v1::response::{json, query};
use crate::v1::rotation_words::asset;
use crate::v1::state::SharedState;

const PAGE: i64 = 100;
const MOST: i64 = 1_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    asset: Option<String>,
    after: Option<String>,
    limit: Option<i64>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct RotationsAnswer {
    /// The newest first.
    #[schema(value_type = Vec<Object>)]
    events: Vec<EventReport>,
    /// `after` of the next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Rotations
///
/// Without their steps, in pages.
#[utoipa::path(
    get,
    path = "/v1/key-rotation/events",
    operation_id = "rotation_events",
    tag = "rotation",
    params(
        ("asset" = Option<String>, Query, description = "Of this asset alone, such as `signing/records`"),
        ("after" = Option<String>, Query, description = "`next` of the page before"),
        ("limit" = Option<i64>, Query, description = "Page size: 1 to 1000; default 100"),
    ),
    responses(
        (status = 200, body = RotationsAnswer),
        (status = "4XX", description = "No permission, or an invalid parameter", body = problem::Document, content_type = "application/problem+json"),
        (status = "5XX", description = "See `code` and Retry-After", body = problem::Document, content_type = "application/problem+json"),
    ),
    security(("access_token" = []), ("mtls" = [])),
)]
pub async fn handle(State(state): State<SharedState>, uri: Uri) -> Result<Response, Problem> {
    let asked: Asked = query(&uri)?;
    let of = asked.asset.as_deref().map(asset).transpose()?;
    let of = of.as_ref().map(|name| name.as_str());
    page(&state, of, asked.after.as_deref(), asked.limit).await
}

/// A page of them, of one asset or of all.
pub async fn page(
    state: &SharedState,
    of: Option<&str>,
    after: Option<&str>,
    limit: Option<i64>,
) -> Result<Response, Problem> {
    let bad = |name: &str, what: &str| Problem::new(Code::BadQuery, what).about(name);
    let limit = limit.unwrap_or(PAGE);
    if !(1..=MOST).contains(&limit) {
        return Err(bad("limit", "expected 1 to 1000"));
    }
    let after = after.map(place).transpose();
    let after = after.map_err(|()| bad("after", "expected `next` of a page"))?;
    let (at, id) = after.unwrap_or((i64::MAX, String::new()));
    let store = &state.services.store;
    let rows = store.rotations_before(of, (at, &id), limit).await?;
    let last = rows.last().filter(|_| rows.len() as i64 == limit);
    let next = last.map(|row| {
        let text = format!("{}.{}", row.created_at.millis(), row.id);
        trust::base64url::encode(text.as_bytes())
    });
    json(&RotationsAnswer {
        events: rows.into_iter().map(EventReport::of).collect(),
        next,
    })
}

fn place(text: &str) -> Result<(i64, String), ()> {
    let bytes = trust::base64url::decode(text).ok_or(())?;
    let text = String::from_utf8(bytes).map_err(|_| ())?;
    let (millis, id) = text.split_once('.').ok_or(())?;
    Ok((millis.parse().map_err(|_| ())?, id.to_owned()))
}
