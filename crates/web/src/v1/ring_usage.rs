//! `GET /v1/rings/{ring}/usage`: how often the keys of a ring signed in each hour.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use crate::problem::{self, Code, Problem};
use crate::v1::key_usage::{KeyUsageAnswer, hours, usage_of};
use crate::v1::response::{Named, json};
use crate::v1::state::SharedState;

/// Keys of an answer, the newest that were ever used.
const MOST: usize = 8;

#[derive(Debug, Serialize, ToSchema)]
pub struct RingUsageAnswer {
    ring: String,
    /// The newest first, without those that were never used.
    keys: Vec<KeyUsageAnswer>,
}

/// Usage of a ring
///
/// The signatures of its newest keys by hour: after a promotion those of the old key end and those of the new one begin.
#[utoipa::path(
    get,
    path = "/v1/rings/{ring}/usage",
    operation_id = "ring_usage",
    tag = "operation",
    params(
        ("ring" = String, Path, description = "Name of the ring"),
        ("hours" = Option<u32>, Query, description = "The hour that is under way and those before it: 1 to 2160; default 24"),
    ),
    responses(
        (status = 200, body = RingUsageAnswer),
        (status = "4XX", description = "An invalid parameter, no permission, or no such ring", body = problem::Document, content_type = "application/problem+json"),
        (status = 503, description = "The database is unavailable, or signatures are not counted yet", body = problem::Document, content_type = "application/problem+json"),
    ),
    security(("access_token" = []), ("mtls" = [])),
)]
pub async fn handle(
    State(state): State<SharedState>,
    Named(name): Named,
    uri: Uri,
) -> Result<Response, Problem> {
    let hours = hours(&uri)?;
    let snapshot = state.services.keys.current();
    let ring = snapshot.rings.get(name.as_str());
    let ring =
        ring.ok_or_else(|| Problem::new(Code::UnknownRing, "no ring has this name").about("ring"))?;
    let used = ring.keys.iter().rev();
    let used = used.filter(|key| key.state.life().activated_at.is_some());
    let mut keys = Vec::new();
    for key in used.take(MOST) {
        keys.push(usage_of(&state, key, hours).await?);
    }
    json(&RingUsageAnswer {
        ring: ring.name.to_string(),
        keys,
    })
}
