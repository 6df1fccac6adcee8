//! `POST /v1/emergency/stops`: one member stops signing.

use axum::extract::{Request, State};
use axum::response::Response;
use keyring::ceremony::admit_stop;
use serde::{Deserialize, Serialize};
use trust::Sha256Digest;
use utoipa::ToSchema;

use crate::middleware::body;
use crate::middleware::context::RequestContext;
use crate::problem::{self, Problem};
use crate::v1::ceremony_propose::BODY_LIMIT;
use crate::v1::response::{json, no_query};
use crate::v1::state::SharedState;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StopRequest {
    /// The stop in canonical JSON (RFC 8785), the very text that was signed.
    stop: String,
    /// The signature of a custodian or of a member on call, by `ssh-keygen -Y sign`, armored.
    signature: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct StopAnswer {
    /// SHA-256 of the stop that holds: this one, or the one that had stopped the same before.
    #[schema(value_type = String)]
    stop: Sha256Digest,
}

/// Stop
///
/// Needs no credentials: the signature authenticates itself. Once this is answered, no replica releases a signature of the
/// ring, or of any, until the threshold resumes. What is stopped already stays stopped, and nothing is written.
#[utoipa::path(
    post,
    path = "/v1/emergency/stops",
    operation_id = "stop_signing",
    tag = "ceremonies",
    request_body = StopRequest,
    responses(
        (status = 200, body = StopAnswer),
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
    let asked: StopRequest = body::strict_within(&context, request, BODY_LIMIT).await?;
    let body = asked.stop.into_bytes();
    // Whoever is no member costs one signature, and no look-up.
    let (now, snapshot) = (state.services.env.now(), state.services.keys.current());
    admit_stop(snapshot.trusted(), &body, &asked.signature, now)?;
    // Where that fails, nothing counts as stopped already, and this stop is written.
    state.services.keys.refresh().await;
    let snapshot = state.services.keys.current();
    let ceremonies = &state.services.ceremonies;
    let stop = ceremonies.stop(body, &asked.signature, &snapshot).await?;
    // This replica need not wait to be told.
    state.services.keys.refresh().await;
    json(&StopAnswer { stop })
}
