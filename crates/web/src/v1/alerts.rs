//! `GET /v1/alerts`: conditions that people are told of while they hold.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use calendar::alerts::{AlertName, Severity};
use rotation::alerts::{AlertFilter, AlertView, PAGE_MAX};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::problem::{self, Code, Problem};
use crate::v1::response::{json, query};
use crate::v1::state::SharedState;

const PAGE: usize = 100;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    state: Option<String>,
    severity: Option<String>,
    name: Option<String>,
    after: Option<String>,
    limit: Option<usize>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct AlertsAnswer {
    /// Of those that are open the critical first, then those that began last first.
    #[schema(value_type = Vec<Object>)]
    alerts: Vec<AlertView>,
    /// `after` of the next page. A page that takes resolved ones and has a filter may be short, or empty, and have a next one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Alerts
///
/// Each with its rule, its subject, its severity, where it stands, who looks after it, its runbook and what to type first. Those
/// that are over are kept for thirty days.
#[utoipa::path(
    get,
    path = "/v1/alerts",
    operation_id = "alerts",
    tag = "operation",
    params(
        ("state" = Option<String>, Query, description = "`open` (default: all but those that are resolved), `all`, `pending`, `firing`, `acknowledged` or `resolved`"),
        ("severity" = Option<String>, Query, description = "`warning` or `critical`"),
        ("name" = Option<String>, Query, description = "The rule, such as `rotation-overdue`"),
        ("after" = Option<String>, Query, description = "`next` of the page before"),
        ("limit" = Option<usize>, Query, description = "Page size: 1 to 1000; default 100"),
    ),
    responses(
        (status = 200, body = AlertsAnswer),
        (status = "4XX", description = "No permission, or an invalid parameter", body = problem::Document, content_type = "application/problem+json"),
        (status = "5XX", description = "See `code` and Retry-After", body = problem::Document, content_type = "application/problem+json"),
    ),
    security(("access_token" = []), ("mtls" = [])),
)]
pub async fn handle(State(state): State<SharedState>, uri: Uri) -> Result<Response, Problem> {
    let asked: Asked = query(&uri)?;
    let bad = |name: &str, what: &str| Problem::new(Code::BadQuery, what).about(name);
    let limit = asked.limit.unwrap_or(PAGE);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(bad("limit", "expected 1 to 1000"));
    }
    let severity = asked.severity.as_deref().map(|text| {
        let known = Severity::ALL.iter().copied();
        let mut known = known.filter(|severity| severity.as_str() == text);
        known
            .next()
            .ok_or_else(|| bad("severity", "expected warning or critical"))
    });
    let name = asked
        .name
        .as_deref()
        .map(|text| AlertName::of(text).ok_or_else(|| bad("name", "no rule has this name")));
    let (all, only) = match asked.state.as_deref() {
        None | Some("open") => (false, None),
        Some("all") => (true, None),
        Some(word @ ("pending" | "firing" | "acknowledged" | "resolved")) => {
            (false, Some(word.to_owned()))
        }
        Some(_) => {
            let what = "expected open, all, pending, firing, acknowledged or resolved";
            return Err(bad("state", what));
        }
    };
    let filter = AlertFilter {
        state: only,
        severity: severity.transpose()?,
        name: name.transpose()?,
        all,
    };
    let after = asked.after.as_deref().map(|text| {
        let bytes = trust::base64url::decode(text);
        let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
        text.ok_or_else(|| bad("after", "expected `next` of a page"))
    });
    let after = after.transpose()?;
    let engine = state.services.rotation.engine();
    let page = engine.alerts(&filter, after.as_deref(), limit).await?;
    json(&AlertsAnswer {
        alerts: page.alerts,
        next: page
            .next
            .map(|next| trust::base64url::encode(next.as_bytes())),
    })
}
