//! `GET /v1/orders/{order}`: a standing order, what it permits and what is left of it.

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use keyring::ceremony::{OrderReport, UseReport, WithdrawalReport};
use serde::Serialize;
use trust::{Kid, MemberId, Sha256Digest, StandingOrder, Time};
use utoipa::ToSchema;

use crate::middleware::context::RequestContext;
use crate::problem::{self, Code, Problem};
use crate::v1::reader::reader;
use crate::v1::response::{Named, json, no_query};
use crate::v1::state::SharedState;

/// A standing order and what is left of it.
#[derive(Debug, Serialize, ToSchema)]
pub struct OrderAnswer {
    /// Its id: the nonce of the request that asked for it.
    order: String,
    /// The ceremony that asked for it.
    #[schema(value_type = String)]
    ceremony: Sha256Digest,
    ring: String,
    /// `waiting`, `active`, `paused`, `used-up`, `ended`, `withdrawn` or `invalid`.
    state: &'static str,
    /// In words.
    standing: String,
    uses: u32,
    left: u32,
    #[schema(value_type = String, format = DateTime)]
    not_before: Time,
    #[schema(value_type = String, format = DateTime)]
    not_after: Time,
    /// The next use is not made before.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    next_use_after: Option<Time>,
    /// What may be made, as custodians approved it; absent where its transcript does not verify.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    permits: Option<StandingOrder>,
    /// Whether the executor's signature accepts each key, by the policy of today.
    routine: bool,
    #[schema(value_type = Vec<String>)]
    approved_by: Vec<MemberId>,
    /// Who of these would count today.
    #[schema(value_type = Vec<String>)]
    still_active: Vec<MemberId>,
    /// How many of them have to be.
    needed: usize,
    used: Vec<OrderUseView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    withdrawn: Option<OrderWithdrawalView>,
}

/// A use that was taken.
#[derive(Debug, Serialize, ToSchema)]
pub struct OrderUseView {
    #[serde(rename = "use")]
    number: u32,
    #[schema(value_type = String)]
    ceremony: Sha256Digest,
    state: &'static str,
    #[schema(value_type = String, format = DateTime)]
    created_at: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    kid: Option<Kid>,
}

/// Who withdrew it.
#[derive(Debug, Serialize, ToSchema)]
pub struct OrderWithdrawalView {
    #[schema(value_type = String, format = DateTime)]
    at: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    by: Option<MemberId>,
    reason: String,
}

impl From<OrderReport> for OrderAnswer {
    fn from(report: OrderReport) -> Self {
        Self {
            order: report.order,
            ceremony: report.ceremony,
            ring: report.ring.to_string(),
            state: report.state,
            standing: report.standing,
            uses: report.uses,
            left: report.left,
            not_before: report.not_before,
            not_after: report.not_after,
            next_use_after: report.next_use_after,
            permits: report.permits,
            routine: report.routine,
            approved_by: report.approved_by,
            still_active: report.still_active,
            needed: report.needed,
            used: report.used.into_iter().map(Into::into).collect(),
            withdrawn: report.withdrawn.map(Into::into),
        }
    }
}

impl From<UseReport> for OrderUseView {
    fn from(used: UseReport) -> Self {
        Self {
            number: used.number,
            ceremony: used.ceremony,
            state: used.state,
            created_at: used.created_at,
            kid: used.kid,
        }
    }
}

impl From<WithdrawalReport> for OrderWithdrawalView {
    fn from(withdrawn: WithdrawalReport) -> Self {
        Self {
            at: withdrawn.at,
            by: withdrawn.by,
            reason: withdrawn.reason,
        }
    }
}

/// As it stands in a path.
pub fn order_id(order: &str) -> Result<trust::bytes16::Nonce, Problem> {
    order.parse().map_err(|_| {
        let expected = "expected the id of a standing order, in lower-case hex";
        Problem::new(Code::UnknownOrder, expected).about("order")
    })
}

/// One standing order
///
/// For principals with a role that reads, and for members who sign the request, as at `/v1/ceremonies`.
#[utoipa::path(
    get,
    path = "/v1/orders/{order}",
    operation_id = "order",
    tag = "ceremonies",
    params(
        ("order" = String, Path, description = "The id of the order, in lower-case hex"),
        ("Chancery-Time" = Option<String>, Header, description = "When the request was signed, such as 2026-11-22T09:00:00.000Z"),
        ("Chancery-Signature" = Option<String>, Header, description = "A member's read signature"),
    ),
    responses(
        (status = 200, body = OrderAnswer),
        (status = 404, description = "Unknown order", body = problem::Document, content_type = "application/problem+json"),
        (status = "4XX", description = "No permission", body = problem::Document, content_type = "application/problem+json"),
        (status = "5XX", description = "See `code` and Retry-After", body = problem::Document, content_type = "application/problem+json"),
    ),
    security(("access_token" = []), ("mtls" = []), ("read_signature" = [])),
)]
pub async fn handle(
    State(state): State<SharedState>,
    context: RequestContext,
    Named(order): Named,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    no_query(&uri)?;
    reader(&state, &context, &headers, &uri)?;
    let id = order_id(&order)?.to_string();
    let report = state.services.ceremonies.order_report(&id).await?;
    json(&OrderAnswer::from(report))
}
