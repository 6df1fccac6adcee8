//! `GET /v1/emergency`: what keeps rings from signing, and emergency rotations that wait for their ratification.

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use keyring::ceremony::{EmergencyReport, StopReport, UnratifiedReport};
use serde::Serialize;
use trust::{MemberId, Name, Sha256Digest, Time};
use utoipa::ToSchema;

use crate::middleware::context::RequestContext;
use crate::problem::{self, Problem};
use crate::v1::reader::reader;
use crate::v1::response::{json, no_query};
use crate::v1::state::SharedState;

#[derive(Debug, Serialize, ToSchema)]
pub struct EmergencyAnswer {
    /// Stops that have not ended, the oldest first.
    stops: Vec<StopView>,
    /// Emergency rotations that wait for their ratification, or missed it.
    unratified: Vec<UnratifiedView>,
    /// What the database says and the log or the members do not, in words.
    faults: Vec<String>,
}

/// A stop that has not ended.
#[derive(Debug, Serialize, ToSchema)]
pub struct StopView {
    /// SHA-256 of its body: a resume names it.
    #[schema(value_type = String)]
    stop: Sha256Digest,
    /// Absent of a stop of all rings.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    ring: Option<Name>,
    #[schema(value_type = String, format = DateTime)]
    since: Time,
    /// The leaf that tells of it.
    index: i64,
    /// Its place in its line, by its leaf; 0 where that has none that could be.
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence: Option<u64>,
    /// Who signed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    by: Option<MemberId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// An emergency rotation that nobody has ratified.
#[derive(Debug, Serialize, ToSchema)]
pub struct UnratifiedView {
    ring: String,
    /// The ceremony.
    #[schema(value_type = String)]
    rotation: Sha256Digest,
    #[schema(value_type = String, format = DateTime)]
    since: Time,
    /// The ring does not sign later.
    #[schema(value_type = String, format = DateTime)]
    until: Time,
    /// Whether it does not sign now.
    missed: bool,
}

impl From<EmergencyReport> for EmergencyAnswer {
    fn from(report: EmergencyReport) -> Self {
        let stops = report.stops.into_iter().map(|stop: StopReport| StopView {
            stop: stop.stop,
            ring: stop.ring,
            since: stop.since,
            index: stop.index,
            sequence: Some(stop.sequence),
            by: stop.by,
            reason: stop.reason,
        });
        let unratified = report.unratified.into_iter();
        let unratified = unratified.map(|each: UnratifiedReport| UnratifiedView {
            ring: each.ring,
            rotation: each.rotation,
            since: each.since,
            until: each.until,
            missed: each.missed,
        });
        Self {
            stops: stops.collect(),
            unratified: unratified.collect(),
            faults: report.faults,
        }
    }
}

/// Emergencies
///
/// For principals with a role that reads, and for members who sign the request, as at `/v1/ceremonies`.
#[utoipa::path(
    get,
    path = "/v1/emergency",
    operation_id = "emergency",
    tag = "ceremonies",
    params(
        ("Chancery-Time" = Option<String>, Header, description = "When the request was signed, such as 2026-11-22T09:00:00.000Z"),
        ("Chancery-Signature" = Option<String>, Header, description = "A member's read signature"),
    ),
    responses(
        (status = 200, body = EmergencyAnswer),
        (status = "4XX", description = "No permission", body = problem::Document, content_type = "application/problem+json"),
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
    no_query(&uri)?;
    reader(&state, &context, &headers, &uri)?;
    let snapshot = state.services.keys.current();
    let report = state.services.ceremonies.emergency_report(&snapshot);
    json(&EmergencyAnswer::from(report))
}
