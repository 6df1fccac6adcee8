//! `POST /v1/ceremonies`: a request that its proposer signed.

use axum::extract::{Request, State};
use axum::response::Response;
use keyring::ceremony::admit_proposal;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::middleware::body;
use crate::middleware::context::RequestContext;
use crate::problem::{self, Problem};
use crate::v1::response::{json, no_query};
use crate::v1::state::SharedState;

/// Longest body of whatever is submitted to a ceremony.
pub const BODY_LIMIT: usize = 64 << 10;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProposeRequest {
    /// The request in canonical JSON (RFC 8785), the very text that was signed.
    request: String,
    /// The proposer's signature by `ssh-keygen -Y sign`, armored.
    signature: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct ProposeAnswer {
    /// SHA-256 of the request: the id.
    ceremony: String,
}

/// Propose
///
/// Needs no credentials: only the signature of the member whom the request names as its proposer is taken. A member has at
/// most 20 open proposals, and proposes at most 100 times a day.
#[utoipa::path(
    post,
    path = "/v1/ceremonies",
    operation_id = "propose",
    tag = "ceremonies",
    request_body = ProposeRequest,
    responses(
        (status = 200, body = ProposeAnswer),
        (status = "4XX", description = "Refused; nothing was changed", body = problem::Document, content_type = "application/problem+json"),
        (status = "5XX", description = "See `code` and Retry-After", body = problem::Document, content_type = "application/problem+json"),
    ),
)]
pub async fn handle(
    State(state): State<SharedState>,
    context: RequestContext,
    request: Request,
) -> Result<Response, Problem> {
    no_query(request.uri())?;
    let asked: ProposeRequest = body::strict_within(&context, request, BODY_LIMIT).await?;
    let bytes = asked.request.into_bytes();
    let request = trust::Request::decode(&bytes);
    let request = request.map_err(|error| Problem::from(error).inside("request"))?;
    // Before anything is looked up: who is no member costs one signature at most.
    let snapshot = state.services.keys.current();
    admit_proposal(snapshot.trusted(), &request, &bytes, &asked.signature)?;
    let ceremonies = &state.services.ceremonies;
    let ceremony = ceremonies.propose(bytes, &asked.signature).await?;
    json(&ProposeAnswer { ceremony })
}
