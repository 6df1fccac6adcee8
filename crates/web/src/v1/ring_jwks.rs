//! `GET /v1/rings/{ring}/jwks.json`: the keys of one ring, answered as those of all.

use axum::extract::{Request, State};
use axum::response::Response;

use crate::problem::{self, Problem};
use crate::v1::jwks::again;
use crate::v1::state::SharedState;

/// Keys of one ring
#[utoipa::path(
    get,
    path = "/v1/rings/{ring}/jwks.json",
    operation_id = "ring_jwks",
    tag = "publication",
    params(
        ("ring" = String, Path, description = "Name of the ring"),
        ("If-None-Match" = Option<String>, Header, description = "ETag of the cached set"),
    ),
    responses(
        (status = 200, description = "The set", body = Object, content_type = "application/jwk-set+json"),
        (status = 304, description = "The cached set is current"),
        (status = 404, description = "Unknown ring", body = problem::Document, content_type = "application/problem+json"),
    ),
)]
pub async fn handle(
    State(state): State<SharedState>,
    request: Request,
) -> Result<Response, Problem> {
    again(&state, &request)
}
