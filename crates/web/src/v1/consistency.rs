//! `GET /v1/log/consistency`: proofs that the log only ever grew.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use base64ct::{Base64, Encoding as _};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::problem::{self, Code, Problem};
use crate::v1::response::{json, query};
use crate::v1::state::SharedState;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sizes {
    old: u64,
    new: u64,
}

/// Consistency proof between two trees, RFC 6962 section 2.1.2.
#[derive(Debug, Serialize, ToSchema)]
pub struct ConsistencyAnswer {
    old: u64,
    new: u64,
    /// Base64, in the order of RFC 6962.
    hashes: Vec<String>,
}

/// Consistency proof
#[utoipa::path(
    get,
    path = "/v1/log/consistency",
    operation_id = "consistency",
    tag = "log",
    params(
        ("old" = u64, Query, description = "Leaves of the earlier tree"),
        ("new" = u64, Query, description = "Leaves of the later tree, at most those of the newest checkpoint"),
    ),
    responses(
        (status = 200, body = ConsistencyAnswer),
        (status = "4XX", description = "No trees of these sizes", body = problem::Document, content_type = "application/problem+json"),
        (status = 503, description = "The database or the storage is unavailable", body = problem::Document, content_type = "application/problem+json"),
    ),
)]
pub async fn handle(State(state): State<SharedState>, uri: Uri) -> Result<Response, Problem> {
    let Sizes { old, new } = query(&uri)?;
    let hashes = state
        .services
        .transparency_log
        .consistency(old, new)
        .await?;
    let hashes = hashes.ok_or_else(|| {
        Problem::new(
            Code::BadQuery,
            "expected old <= new <= the size of the newest checkpoint",
        )
    })?;
    json(&ConsistencyAnswer {
        old,
        new,
        hashes: hashes
            .iter()
            .map(|hash| Base64::encode_string(hash.as_bytes()))
            .collect(),
    })
}
