//! `GET /v1/rings` and `GET /v1/rings/{ring}`: what an operator sees of the rings.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use serde::Serialize;
use trust::{Algorithm, KeySpec, Kid, Time};
use utoipa::ToSchema;

use super::Shared;
use super::codes::Code;
use super::edge::Present;
use super::key::KeyView;
use super::problem::{self, Problem};
use super::respond::{Named, json, no_query};
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
    keys: usize,
    /// Keys left out of its JWKS because of the byte budget.
    jwks_left_out: usize,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct RingsAnswer {
    rings: Vec<RingView>,
    /// Version of the read model.
    version: i64,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct RingAnswer {
    ring: RingView,
    /// Oldest first.
    keys: Vec<KeyView>,
}

impl RingView {
    fn of(ring: &Ring) -> Self {
        Self {
            name: ring.name.to_string(),
            algorithm: ring.algorithm,
            key_spec: ring.key_spec,
            usage: ring.usage.name(),
            created_at: ring.created_at,
            version: ring.version,
            primary: ring.primary.as_ref().map(|key| key.kid.clone()),
            keys: ring.keys.len(),
            jwks_left_out: ring.jwks.left_out,
        }
    }
}

/// All rings
#[utoipa::path(
    get,
    path = "/v1/rings",
    tag = "operation",
    responses(
        (status = 200, body = RingsAnswer),
        (status = "4XX", description = "Not an operator", body = problem::Document, content_type = "application/problem+json"),
    ),
    security(("access_token" = []), ("mtls" = [])),
)]
pub async fn list(
    State(edge): State<Shared>,
    present: Present,
    uri: Uri,
) -> Result<Response, Problem> {
    present.caller.operator()?;
    no_query(&uri)?;
    let snapshot = edge.app.keys.current();
    json(&RingsAnswer {
        rings: snapshot
            .rings
            .values()
            .map(|ring| RingView::of(ring))
            .collect(),
        version: snapshot.version,
    })
}

/// One ring
#[utoipa::path(
    get,
    path = "/v1/rings/{ring}",
    tag = "operation",
    params(("ring" = String, Path, description = "Name of the ring")),
    responses(
        (status = 200, body = RingAnswer),
        (status = "4XX", description = "Not an operator, or no such ring", body = problem::Document, content_type = "application/problem+json"),
    ),
    security(("access_token" = []), ("mtls" = [])),
)]
pub async fn one(
    State(edge): State<Shared>,
    present: Present,
    Named(name): Named,
    uri: Uri,
) -> Result<Response, Problem> {
    present.caller.operator()?;
    no_query(&uri)?;
    let snapshot = edge.app.keys.current();
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
