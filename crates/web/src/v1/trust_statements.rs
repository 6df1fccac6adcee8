//! `GET /v1/trust/statements`: the next roster or policy and suspensions, page by page, the newest first.

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use keyring::ceremony::StatementSummary;
use serde::{Deserialize, Serialize};
use trust::{Sha256Digest, Time};
use utoipa::ToSchema;

use crate::middleware::context::RequestContext;
use crate::problem::{self, Code, Problem};
use crate::v1::reader::reader;
use crate::v1::response::{json, query};
use crate::v1::state::SharedState;

const PAGE: usize = 50;

/// Most statements of a page.
const PAGE_MAX: usize = 100;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    after: Option<String>,
    limit: Option<usize>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct StatementsAnswer {
    /// The newest first.
    statements: Vec<StatementLine>,
    /// `after` of the next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    /// Ids of statements whose row cannot be read; each is an alarm.
    unreadable: Vec<String>,
}

/// A statement as its row says it is.
#[derive(Debug, Serialize, ToSchema)]
pub struct StatementLine {
    #[schema(value_type = String)]
    statement: Sha256Digest,
    kind: &'static str,
    state: &'static str,
    opened_by: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Time,
    #[schema(value_type = String, format = DateTime)]
    closes_at: Time,
}

impl From<StatementSummary> for StatementLine {
    fn from(summary: StatementSummary) -> Self {
        Self {
            statement: summary.statement,
            kind: summary.kind,
            state: summary.state,
            opened_by: summary.opened_by,
            created_at: summary.created_at,
            closes_at: summary.closes_at,
        }
    }
}

/// Statements about whom to trust
///
/// For principals with a role that reads, and for members who sign the request, as at `/v1/ceremonies`.
#[utoipa::path(
    get,
    path = "/v1/trust/statements",
    operation_id = "statements",
    tag = "ceremonies",
    params(
        ("after" = Option<String>, Query, description = "`next` of the page before"),
        ("limit" = Option<usize>, Query, description = "Page size: 1 to 100; default 50"),
        ("Chancery-Time" = Option<String>, Header, description = "When the request was signed, such as 2026-11-22T09:00:00.000Z"),
        ("Chancery-Signature" = Option<String>, Header, description = "A member's read signature"),
    ),
    responses(
        (status = 200, body = StatementsAnswer),
        (status = "4XX", description = "No permission, or an invalid parameter", body = problem::Document, content_type = "application/problem+json"),
        (status = "5XX", description = "See `code` and Retry-After", body = problem::Document, content_type = "application/problem+json"),
    ),
    security(("access_token" = []), ("mtls" = []), ("read_signature" = [])),
)]
pub async fn handle(
    State(state): State<SharedState>,
    context: RequestContext,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    reader(&state, &context, &headers, &uri)?;
    let asked: Asked = query(&uri)?;
    let bad = |name: &str, what: &str| Problem::new(Code::BadQuery, what).about(name.to_owned());
    let limit = asked.limit.unwrap_or(PAGE);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(bad("limit", "expected 1 to 100"));
    }
    let after = asked.after.as_deref().map(place).transpose();
    let after = after.map_err(|()| bad("after", "expected `next` of a page"))?;
    let ceremonies = &state.services.ceremonies;
    let (statements, unreadable) = ceremonies.statements(after, limit).await?;
    let full = statements.len() + unreadable.len() == limit;
    let next = statements.last().filter(|_| full).map(|last| {
        let text = format!("{}.{}", last.created_at.millis(), last.statement);
        trust::base64url::encode(text.as_bytes())
    });
    json(&StatementsAnswer {
        statements: statements.into_iter().map(Into::into).collect(),
        next,
        unreadable,
    })
}

fn place(text: &str) -> Result<(Time, Sha256Digest), ()> {
    let bytes = trust::base64url::decode(text).ok_or(())?;
    let text = String::from_utf8(bytes).map_err(|_| ())?;
    let (millis, id) = text.split_once('.').ok_or(())?;
    let millis = millis.parse().map_err(|_| ())?;
    Ok((Time::from_millis(millis), id.parse().map_err(|_| ())?))
}
