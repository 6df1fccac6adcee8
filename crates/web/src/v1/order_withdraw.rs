//! `POST /v1/orders/{order}/signatures`: a custodian withdraws a standing order.

use axum::extract::{Request, State};
use axum::response::Response;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::middleware::body;
use crate::middleware::context::RequestContext;
use crate::problem::{self, Problem};
use crate::v1::ceremony_propose::BODY_LIMIT;
use crate::v1::order::{OrderAnswer, order_id};
use crate::v1::response::{Named, json, no_query};
use crate::v1::state::SharedState;

/// What a signature says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum SaysOfOrder {
    /// Over the order, its ceremony and a reason, by any one custodian: nothing more is accepted under it.
    Withdraw,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignOrder {
    #[serde(rename = "purpose")]
    _purpose: SaysOfOrder,
    /// By `ssh-keygen -Y sign`, armored.
    signature: String,
    /// 1 to 1000 characters.
    reason: String,
}

/// Withdraw a standing order
///
/// Needs no credentials: a signature authenticates itself, and one that does not count is refused with the reason. Whoever
/// is no active member is answered `signature_not_counted`, whether there is such an order or not.
#[utoipa::path(
    post,
    path = "/v1/orders/{order}/signatures",
    operation_id = "sign_order",
    tag = "ceremonies",
    params(("order" = String, Path, description = "The id of the order, in lower-case hex")),
    request_body = SignOrder,
    responses(
        (status = 200, body = OrderAnswer),
        (status = "4XX", description = "Refused; nothing was changed", body = problem::Document, content_type = "application/problem+json"),
        (status = "5XX", description = "See `code` and Retry-After", body = problem::Document, content_type = "application/problem+json"),
    ),
)]
pub async fn handle(
    State(state): State<SharedState>,
    context: RequestContext,
    Named(order): Named,
    request: Request,
) -> Result<Response, Problem> {
    no_query(request.uri())?;
    let asked: SignOrder = body::strict_within(&context, request, BODY_LIMIT).await?;
    let id = order_id(&order)?;
    let (ceremonies, reason) = (&state.services.ceremonies, asked.reason.as_str());
    let snapshot = state.services.keys.current();
    ceremonies
        .admit_withdrawal(snapshot.trusted(), id, (reason, &asked.signature))
        .await?;
    let report = ceremonies
        .withdraw_order(&id.to_string(), reason, &asked.signature)
        .await?;
    json(&OrderAnswer::from(report))
}
