//! `GET /v1/key-rotation/schedule`: what rotates when.

use axum::extract::State;
use axum::http::{HeaderValue, Uri};
use axum::response::Response;
use calendar::Span;
use serde::Deserialize;

use crate::problem::{self, Code, Problem};
use crate::v1::response::{NO_STORE, bytes_of, json, query};
use crate::v1::state::SharedState;

const DAYS: u32 = 90;
const MOST_DAYS: u32 = 3_660;

/// Rotations of an answer at most; what is left out is counted.
const MOST_ROTATIONS: usize = 10_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    days: Option<u32>,
    format: Option<String>,
    limit: Option<usize>,
}

/// Plan
///
/// What rotates in the next days, with each step, whose consent it needs and what it waits for; as JSON, or as a picture.
#[utoipa::path(
    get,
    path = "/v1/key-rotation/schedule",
    operation_id = "rotation_plan",
    tag = "rotation",
    params(
        ("days" = Option<u32>, Query, description = "1 to 3660; default 90"),
        ("format" = Option<String>, Query, description = "`json`, the default, or `svg`"),
        ("limit" = Option<usize>, Query, description = "The most rotations in JSON: 1 to 10000, the default; `left_out` says how many more there are"),
    ),
    responses(
        (status = 200, description = "The plan", body = Object, content_type = "application/json"),
        (status = "4XX", description = "No permission, or an invalid parameter", body = problem::Document, content_type = "application/problem+json"),
        (status = "5XX", description = "See `code` and Retry-After", body = problem::Document, content_type = "application/problem+json"),
    ),
    security(("access_token" = []), ("mtls" = [])),
)]
pub async fn handle(State(state): State<SharedState>, uri: Uri) -> Result<Response, Problem> {
    let asked: Asked = query(&uri)?;
    let bad = |name: &str, what: &str| Problem::new(Code::BadQuery, what).about(name);
    let days = asked.days.unwrap_or(DAYS);
    if !(1..=MOST_DAYS).contains(&days) {
        return Err(bad("days", "expected 1 to 3660"));
    }
    let limit = asked.limit.unwrap_or(MOST_ROTATIONS);
    if !(1..=MOST_ROTATIONS).contains(&limit) {
        return Err(bad("limit", "expected 1 to 10000"));
    }
    let engine = state.services.rotation.engine();
    let plan = engine.plan(Span::days(days.into())).await?;
    match asked.format.as_deref() {
        None | Some("json") => json(&plan.first(limit)),
        Some("svg") => {
            let picture = HeaderValue::from_static("image/svg+xml");
            Ok(bytes_of(plan.svg(), picture, NO_STORE))
        }
        Some(_) => Err(bad("format", "expected json or svg")),
    }
}
