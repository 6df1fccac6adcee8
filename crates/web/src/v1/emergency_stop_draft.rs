//! `GET /v1/emergency/stops/draft`: a stop as a member could sign it now.

use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use trust::Name;
use utoipa::ToSchema;

use crate::middleware::context::RequestContext;
use crate::problem::{self, Code, Problem};
use crate::v1::reader::reader;
use crate::v1::response::{json, query};
use crate::v1::state::SharedState;

/// A year.
const LONGEST_MILLIS: u64 = 366 * 24 * 60 * 60 * 1_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    ring: Option<String>,
    reason: String,
    expires_in_ms: u64,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct StopDraftAnswer {
    /// The canonical stop, not signed and not kept. Who signs it compares it first.
    stop: String,
}

/// Draft of a stop
///
/// A stop of one ring, or of all where none is named, with its place in its line. Nothing is kept: it is submitted at `POST
/// /v1/emergency/stops`, with the signature of a custodian or of a member on call over its bytes under
/// `chancery/stop.v1@SERVICE/ENVIRONMENT`.
#[utoipa::path(
    get,
    path = "/v1/emergency/stops/draft",
    operation_id = "stop_draft",
    tag = "ceremonies",
    params(
        ("ring" = Option<String>, Query, description = "Name of the ring; without it all rings are stopped"),
        ("reason" = String, Query, description = "For the record: 1 to 1000 characters"),
        ("expires_in_ms" = u64, Query, description = "It is not taken after this time from now; a year at most"),
        ("Chancery-Time" = Option<String>, Header, description = "When the request was signed, such as 2026-11-22T09:00:00.000Z"),
        ("Chancery-Signature" = Option<String>, Header, description = "A member's read signature"),
    ),
    responses(
        (status = 200, body = StopDraftAnswer),
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
    let ring = asked.ring.as_deref().map(str::parse::<Name>).transpose();
    let ring = ring.map_err(|_| bad("ring", "expected the name of a ring"))?;
    if !(1..=LONGEST_MILLIS).contains(&asked.expires_in_ms) {
        return Err(bad(
            "expires_in_ms",
            "expected milliseconds, of a year at most",
        ));
    }
    let expires_in = Duration::from_millis(asked.expires_in_ms);
    let ceremonies = &state.services.ceremonies;
    let stop = ceremonies.stop_draft(ring.as_ref(), &asked.reason, expires_in);
    let bytes = stop.await?.encode().map_err(Problem::from)?;
    let stop = String::from_utf8(bytes);
    let stop = stop.map_err(|error| Problem::caused_by(Code::Internal, &error))?;
    json(&StopDraftAnswer { stop })
}
