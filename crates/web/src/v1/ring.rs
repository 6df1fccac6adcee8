//! `GET /v1/rings/{ring}`: one ring with its keys.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use crate::problem::{self, Code, Problem};
use crate::v1::key::KeyView;
use crate::v1::response::{Named, json, no_query};
use crate::v1::rings::RingView;
use crate::v1::state::SharedState;

#[derive(Debug, Serialize, ToSchema)]
pub struct RingAnswer {
    ring: RingView,
    /// Oldest first.
    keys: Vec<KeyView>,
}

/// One ring
///
/// With its keys that sign or are about to and the newest of the others; the inventory has all of them.
#[utoipa::path(
    get,
    path = "/v1/rings/{ring}",
    operation_id = "ring",
    tag = "operation",
    params(("ring" = String, Path, description = "Name of the ring")),
    responses(
        (status = 200, body = RingAnswer),
        (status = "4XX", description = "Not an operator, or no such ring", body = problem::Document, content_type = "application/problem+json"),
    ),
    security(("access_token" = []), ("mtls" = [])),
)]
pub async fn handle(
    State(state): State<SharedState>,
    Named(name): Named,
    uri: Uri,
) -> Result<Response, Problem> {
    no_query(&uri)?;
    let snapshot = state.services.keys.current();
    let ring = snapshot
        .rings
        .get(name.as_str())
        .ok_or_else(|| Problem::new(Code::UnknownRing, "no ring has this name").about("ring"))?;
    json(&RingAnswer {
        ring: RingView::of(ring),
        keys: ring
            .keys
            .iter()
            .map(|key| KeyView::of(key))
            .collect::<Result<_, _>>()?,
    })
}
