//! `GET /v1/keys/{kid}`: one key and where it stands in its life.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderValue, Uri};
use axum::response::Response;
use serde::Serialize;
use serde_json::Value;
use trust::{Algorithm, KeySpec, Kid, Time};
use utoipa::ToSchema;

use crate::problem::{self, Code, Problem};
use crate::v1::key_life::{self, Life};
use crate::v1::response::{Named, bytes_of, no_query, public};
use crate::v1::state::SharedState;
use keyring::keys::{Key, Share};

/// One version in a ring.
#[derive(Debug, Serialize, ToSchema)]
pub struct KeyView {
    #[schema(value_type = String)]
    pub kid: Kid,
    pub ring: String,
    pub key_number: u32,
    #[schema(value_type = String)]
    pub algorithm: Algorithm,
    #[schema(value_type = String)]
    pub key_spec: KeySpec,
    #[serde(flatten)]
    pub life: Life,
    #[schema(value_type = String, format = DateTime)]
    pub published_at: Time,
    /// It may not sign before this instant, as approved in the request.
    #[schema(value_type = String, format = DateTime)]
    pub activate_at: Time,
    #[schema(value_type = String, format = DateTime)]
    pub retire_at: Time,
    /// The ceremony that generated it; its transcript is at `…/transcript`.
    pub ceremony: String,
    /// Log index of its acceptance; every act on it, with its proof, is at `…/log`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_index: Option<i64>,
    /// The public key. Its presence does not imply trust: check `state`.
    #[schema(value_type = Object)]
    pub jwk: Value,
}

/// One key
#[utoipa::path(
    get,
    path = "/v1/keys/{kid}",
    operation_id = "key",
    tag = "publication",
    params(("kid" = String, Path, description = "RFC 7638 SHA-256 thumbprint of the key")),
    responses(
        (status = 200, body = KeyView),
        (status = 404, description = "Unknown key", body = problem::Document, content_type = "application/problem+json"),
        (status = 503, description = "The database is unavailable", body = problem::Document, content_type = "application/problem+json"),
    ),
)]
pub async fn handle(
    State(state): State<SharedState>,
    Named(kid): Named,
    uri: Uri,
) -> Result<Response, Problem> {
    no_query(&uri)?;
    let key = find(&state, &kid).await?;
    let max_age = state.services.keys.current().jwks.max_age.as_secs();
    let body = serde_json::to_vec(&KeyView::of(&key)?)
        .map_err(|e| Problem::caused_by(Code::Internal, &e))?;
    let response = bytes_of(
        body,
        HeaderValue::from_static("application/json"),
        public(&format!("max-age={max_age}")),
    );
    Ok(response)
}

/// The key, in memory or not, and never a similar one. Anybody may ask.
pub async fn find(state: &SharedState, kid: &str) -> Result<Arc<Key>, Problem> {
    let kid: Kid = kid.parse().map_err(|_| {
        let why = "expected a kid: 43 characters of base64url";
        Problem::new(Code::UnknownKey, why).about("kid")
    })?;
    let found = state.services.keys.find(&kid, Share::Stranger).await;
    found.map_err(|error| Problem::from(error).about("kid"))
}

impl KeyView {
    pub fn of(key: &Key) -> Result<Self, Problem> {
        let jwk = serde_json::to_value(key.public.to_jwk(key.algorithm, key.usage, &key.kid))
            .map_err(|e| Problem::caused_by(Code::Internal, &e))?;
        Ok(Self {
            kid: key.kid.clone(),
            ring: key.ring.to_string(),
            key_number: key.number,
            algorithm: key.algorithm,
            key_spec: key.public.spec(),
            life: key_life::life(key),
            published_at: key.published_at,
            activate_at: key.activate_at,
            retire_at: key.retire_at,
            ceremony: key.ceremony.to_string(),
            log_index: key.log_index,
            jwk,
        })
    }
}
