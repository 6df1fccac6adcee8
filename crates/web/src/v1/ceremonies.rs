//! `GET /v1/ceremonies`: ceremonies page by page, the newest first.

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use keyring::ceremony::{Cursor, Filter, PAGE_MAX, StateFilter, Summary};
use serde::{Deserialize, Serialize};
use store::CeremonyState;
use trust::{Line, MemberId, Name, Sha256Digest, Time};
use utoipa::ToSchema;

use crate::middleware::context::RequestContext;
use crate::problem::{self, Code, Problem};
use crate::v1::reader::reader;
use crate::v1::response::{json, query};
use crate::v1::state::SharedState;

const PAGE: usize = 50;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    state: Option<String>,
    operation: Option<String>,
    ring: Option<String>,
    proposer: Option<String>,
    subject: Option<String>,
    after: Option<String>,
    limit: Option<usize>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct CeremoniesAnswer {
    /// The newest first.
    ceremonies: Vec<CeremonySummary>,
    /// `after` of the next page. A page of several filters may be short, or empty, and have a next one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    /// Ids of ceremonies on this page whose row was changed or cannot be read; each is an alarm.
    unreadable: Vec<String>,
}

/// A ceremony as its row says it is. Whether a quorum was reached is counted where one is read.
#[derive(Debug, Serialize, ToSchema)]
pub struct CeremonySummary {
    /// SHA-256 of the request.
    #[schema(value_type = String)]
    ceremony: Sha256Digest,
    /// Its place in the line of each of its subjects.
    #[schema(value_type = Vec<Object>)]
    lines: Vec<Line>,
    operation: String,
    #[schema(value_type = Option<String>)]
    ring: Option<Name>,
    state: &'static str,
    #[schema(value_type = Option<String>)]
    proposer: Option<MemberId>,
    reason: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Time,
    /// Approvals after this instant do not count.
    #[schema(value_type = String, format = DateTime)]
    approve_by: Time,
    /// It is not executed after this instant.
    #[schema(value_type = String, format = DateTime)]
    execute_by: Time,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Time,
}

impl From<Summary> for CeremonySummary {
    fn from(summary: Summary) -> Self {
        Self {
            ceremony: summary.ceremony,
            lines: summary.lines,
            operation: summary.operation,
            ring: summary.ring,
            state: summary.state,
            proposer: summary.proposer,
            reason: summary.reason,
            created_at: summary.created_at,
            approve_by: summary.approve_by,
            execute_by: summary.execute_by,
            updated_at: summary.updated_at,
        }
    }
}

/// Ceremonies
///
/// For principals with a role that reads, and for members of the roster, who sign the request: `Chancery-Time` is an
/// instant, `Chancery-Signature` the armored SSH signature in base64url over method, path and instant
/// (docs/CEREMONY.md). It holds for five minutes, and once on each replica.
#[utoipa::path(
    get,
    path = "/v1/ceremonies",
    operation_id = "ceremonies",
    tag = "ceremonies",
    params(
        ("state" = Option<String>, Query, description = "`open`, `past`, or a state such as `proposed`"),
        ("operation" = Option<String>, Query, description = "Such as `generate`"),
        ("ring" = Option<String>, Query, description = "Name of the ring"),
        ("proposer" = Option<String>, Query, description = "A member's id"),
        ("subject" = Option<String>, Query, description = "Such as `ring/integrity` or `log`"),
        ("after" = Option<String>, Query, description = "`next` of the page before"),
        ("limit" = Option<usize>, Query, description = "Page size: 1 to 100; default 50"),
        ("Chancery-Time" = Option<String>, Header, description = "When the request was signed, such as 2026-11-22T09:00:00.000Z"),
        ("Chancery-Signature" = Option<String>, Header, description = "A member's read signature"),
    ),
    responses(
        (status = 200, body = CeremoniesAnswer),
        (status = "4XX", description = "No permission, or an invalid parameter", body = problem::Document, content_type = "application/problem+json"),
        (status = 503, description = "The database is unavailable", body = problem::Document, content_type = "application/problem+json"),
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
    let limit = asked.limit.unwrap_or(PAGE);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(bad("limit", "expected 1 to 100"));
    }
    let after = asked.after.as_deref().map(cursor).transpose()?;
    let filter = Filter {
        state: asked.state.as_deref().map(state_filter).transpose()?,
        operation: asked.operation,
        ring: name("ring", asked.ring)?,
        proposer: name("proposer", asked.proposer)?,
        subject: asked.subject,
    };
    let page = state.services.ceremonies.page(&filter, after, limit);
    let page = page.await?;
    json(&CeremoniesAnswer {
        ceremonies: page.ceremonies.into_iter().map(Into::into).collect(),
        next: page.next.map(|next| {
            let text = format!("{}.{}", next.created_at.millis(), next.id);
            trust::base64url::encode(text.as_bytes())
        }),
        unreadable: page.unreadable,
    })
}

fn bad(name: &str, what: &str) -> Problem {
    Problem::new(Code::BadQuery, what).about(name)
}

fn name(member: &str, text: Option<String>) -> Result<Option<Name>, Problem> {
    let named = text.map(|text| text.parse()).transpose();
    named.map_err(|_| bad(member, "expected a name"))
}

fn state_filter(text: &str) -> Result<StateFilter, Problem> {
    match text {
        "open" => Ok(StateFilter::Open),
        "past" => Ok(StateFilter::Past),
        word => CeremonyState::of(word)
            .map(StateFilter::Is)
            .ok_or_else(|| bad("state", "expected open, past or a state")),
    }
}

fn cursor(text: &str) -> Result<Cursor, Problem> {
    let wrong = || bad("after", "expected `next` of a page");
    let bytes = trust::base64url::decode(text).ok_or_else(wrong)?;
    let text = String::from_utf8(bytes).map_err(|_| wrong())?;
    let (millis, id) = text.split_once('.').ok_or_else(wrong)?;
    Ok(Cursor {
        created_at: Time::from_millis(millis.parse().map_err(|_| wrong())?),
        id: id.parse().map_err(|_| wrong())?,
    })
}
