//! `GET /v1/rings`: what an operator sees of the rings.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use serde::Serialize;
use trust::{Algorithm, KeySpec, Kid, Time};
use utoipa::ToSchema;

use crate::problem::{self, Problem};
use crate::v1::response::{json, no_query};
use crate::v1::state::SharedState;
use keyring::keys::Ring;

#[derive(Debug, Serialize, ToSchema)]
pub struct RingView {
    name: String,
    #[schema(value_type = String)]
    algorithm: Algorithm,
    #[schema(value_type = String)]
    key_spec: KeySpec,
    /// `structured`, `raw` or `log`.
    usage: &'static str,
    #[schema(value_type = String, format = DateTime)]
    created_at: Time,
    version: i64,
    /// The key that signs; absent until the first key is active.
    #[schema(value_type = Option<String>)]
    primary: Option<Kid>,
    /// Number of keys it has ever had.
    keys: u64,
    /// Keys left out of its JWKS because of the byte budget.
    jwks_left_out: usize,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct RingsAnswer {
    rings: Vec<RingView>,
    /// Version of the read model.
    version: i64,
}

impl RingView {
    pub fn of(ring: &Ring) -> Self {
        Self {
            name: ring.name.to_string(),
            algorithm: ring.algorithm,
            key_spec: ring.key_spec,
            usage: ring.usage.name(),
            created_at: ring.created_at,
            version: ring.version,
            primary: ring.primary.as_ref().map(|key| key.kid.clone()),
            keys: ring.count(),
            jwks_left_out: ring.jwks.left_out,
        }
    }
}

/// All rings
#[utoipa::path(
    get,
    path = "/v1/rings",
    operation_id = "rings",
    tag = "operation",
    responses(
        (status = 200, body = RingsAnswer),
        (status = "4XX", description = "Not an operator", body = problem::Document, content_type = "application/problem+json"),
    ),
    security(("access_token" = []), ("mtls" = [])),
)]
pub async fn handle(State(state): State<SharedState>, uri: Uri) -> Result<Response, Problem> {
    no_query(&uri)?;
    let snapshot = state.services.keys.current();
    json(&RingsAnswer {
        rings: snapshot
            .rings
            .values()
            .map(|ring| RingView::of(ring))
            .collect(),
        version: snapshot.version,
    })
}
