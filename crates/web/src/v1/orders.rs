//! `GET /v1/orders`: standing orders and what is left of each, the newest first.

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use keyring::ceremony::ORDERS_MAX;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::middleware::context::RequestContext;
use crate::problem::{self, Code, Problem};
use crate::v1::order::OrderAnswer;
use crate::v1::reader::reader;
use crate::v1::response::{json, query};
use crate::v1::state::SharedState;

const PAGE: i64 = 20;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    after: Option<String>,
    limit: Option<i64>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct OrdersAnswer {
    /// The newest first.
    orders: Vec<OrderAnswer>,
    /// `after` of the next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Standing orders
///
/// For principals with a role that reads, and for members who sign the request, as at `/v1/ceremonies`.
#[utoipa::path(
    get,
    path = "/v1/orders",
    operation_id = "orders",
    tag = "ceremonies",
    params(
        ("after" = Option<String>, Query, description = "`next` of the page before"),
        ("limit" = Option<i64>, Query, description = "Page size: 1 to 100; default 20"),
        ("Chancery-Time" = Option<String>, Header, description = "When the request was signed, such as 2026-11-22T09:00:00.000Z"),
        ("Chancery-Signature" = Option<String>, Header, description = "A member's read signature"),
    ),
    responses(
        (status = 200, body = OrdersAnswer),
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
    if !(1..=ORDERS_MAX).contains(&limit) {
        return Err(bad("limit", "expected 1 to 100"));
    }
    let after = asked.after.as_deref().map(place).transpose();
    let after = after.map_err(|()| bad("after", "expected `next` of a page"))?;
    let (at, id) = after.unwrap_or((i64::MAX, String::new()));
    let (reports, next) = state.services.ceremonies.orders((at, &id), limit).await?;
    let next = next.map(|(at, id)| trust::base64url::encode(format!("{at}.{id}").as_bytes()));
    json(&OrdersAnswer {
        orders: reports.into_iter().map(Into::into).collect(),
        next,
    })
}

fn place(text: &str) -> Result<(i64, String), ()> {
    let bytes = trust::base64url::decode(text).ok_or(())?;
    let text = String::from_utf8(bytes).map_err(|_| ())?;
    let (millis, id) = text.split_once('.').ok_or(())?;
    let id: trust::bytes16::Nonce = id.parse().map_err(|_| ())?;
    Ok((millis.parse().map_err(|_| ())?, id.to_string()))
}
