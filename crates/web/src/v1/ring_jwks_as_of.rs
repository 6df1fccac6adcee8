//! `GET /v1/rings/{ring}/jwks?at=`: the set of one ring that was served at an instant.

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;

use crate::problem::{self, Problem};
use crate::v1::jwks_as_of::respond;
use crate::v1::response::Named;
use crate::v1::state::SharedState;

/// Keys of one ring at an instant
#[utoipa::path(
    get,
    path = "/v1/rings/{ring}/jwks",
    operation_id = "ring_jwks_as_of",
    tag = "publication",
    params(
        ("ring" = String, Path, description = "Name of the ring"),
        ("at" = String, Query, format = DateTime, description = "RFC 3339, not in the future"),
    ),
    responses(
        (status = 200, description = "The set", body = Object, content_type = "application/jwk-set+json"),
        (status = 400, description = "`at` is missing or in the future", body = problem::Document, content_type = "application/problem+json"),
        (status = 404, description = "Unknown ring, or none of its keys was published at that instant", body = problem::Document, content_type = "application/problem+json"),
        (status = 503, description = "The database is unavailable", body = problem::Document, content_type = "application/problem+json"),
    ),
)]
pub async fn handle(
    State(state): State<SharedState>,
    Named(ring): Named,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    respond(&state, Some(ring), &uri, &headers).await
}
