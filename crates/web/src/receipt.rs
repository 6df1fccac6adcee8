//! `GET /v1/receipts/{index}`: the proof that a leaf is in the log; and proofs that the log only
//! ever grew.

use axum::extract::State;
use axum::http::header::ACCESS_CONTROL_ALLOW_ORIGIN;
use axum::http::{HeaderValue, Uri};
use axum::response::Response;
use base64ct::{Base64, Encoding as _};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::codes::Code;
use super::key::public;
use super::problem::{self, Problem};
use super::respond::{Named, bytes_of, json, no_query, query};
use super::{Edge, Shared};
use log::Receipt;

/// Text of C2SP formats.
pub const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// Receipt
///
/// A C2SP `tlog-proof` under the first checkpoint that covered the leaf. With the log's public key
/// (and those of the witnesses, if any) it can be verified offline, without a time limit. The leaf
/// itself is the `leaf` member of `/v1/evidence/{index}`.
#[utoipa::path(
    get,
    path = "/v1/receipts/{index}",
    tag = "log",
    params(("index" = i64, Path, description = "Log index: the `log_index` of a signature")),
    responses(
        (status = 200, description = "A c2sp.org/tlog-proof", body = String, content_type = "text/plain"),
        (status = 404, description = "No leaf with this index, or no checkpoint covers it yet", body = problem::Document, content_type = "application/problem+json"),
        (status = 410, description = "The leaf body was pruned after its retention period; receipts and evidence obtained earlier still verify", body = problem::Document, content_type = "application/problem+json"),
        (status = 503, description = "The database or the storage is unavailable", body = problem::Document, content_type = "application/problem+json"),
    ),
)]
pub async fn handle(
    State(edge): State<Shared>,
    Named(index): Named,
    uri: Uri,
) -> Result<Response, Problem> {
    no_query(&uri)?;
    let receipt = of(&edge, self::index(&index)?).await?;
    // Witnesses may still add their lines; the log's own part never changes.
    let mut response = bytes_of(receipt.proof.to_string(), TEXT, public("max-age=60"));
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    Ok(response)
}

pub fn index(text: &str) -> Result<i64, Problem> {
    let index = text.parse().ok().filter(|index| *index >= 0);
    index.ok_or_else(|| Problem::new(Code::NotFound, "expected an index: an integer, 0 or more"))
}

pub async fn of(edge: &Edge, index: i64) -> Result<Receipt, Problem> {
    let found = edge.app.roll.receipt(index).await?;
    found.ok_or_else(|| {
        Problem::new(
            Code::NotFound,
            "no leaf with this index, or no checkpoint covers it yet",
        )
        .about("index")
    })
}

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
pub async fn consistency(State(edge): State<Shared>, uri: Uri) -> Result<Response, Problem> {
    let Sizes { old, new } = query(&uri)?;
    let hashes = edge.app.roll.consistency(old, new).await?;
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
