//! `/v1/evidence`: one file that shows what a signature is worth, without this service.

use axum::extract::{Request, State};
use axum::http::{HeaderValue, Uri};
use axum::response::Response;
use serde::Deserialize;
use utoipa::ToSchema;

use super::Shared;
use super::body::{self, base64url};
use super::edge::Present;
use super::key::public;
use super::problem::{self, Problem};
use super::receipt;
use super::respond::{NO_STORE, Named, bytes_of, no_query};
use super::verify::VerifyRequest;

const FILE: HeaderValue = HeaderValue::from_static("application/json");

/// Evidence of a leaf
///
/// An evidence file (docs/LOG.md) for the signature at this log index: leaf, inclusion proof, the
/// key's history and its transcripts. It identifies the signature by its hash, because the log does
/// not store signatures; POST the signature to include it in the file. `chancery verify FILE
/// --genesis SHA256` checks it offline.
#[utoipa::path(
    get,
    path = "/v1/evidence/{index}",
    tag = "log",
    params(("index" = i64, Path, description = "Place in the log")),
    responses(
        (status = 200, description = "Canonical JSON (RFC 8785)", body = Object, content_type = "application/json"),
        (status = 404, description = "No leaf with this index, no checkpoint covers it yet, or it does not record a signature", body = problem::Document, content_type = "application/problem+json"),
        (status = 410, description = "The leaf body was pruned after its retention period; receipts and evidence obtained earlier still verify", body = problem::Document, content_type = "application/problem+json"),
        (status = 503, description = "The database or the storage is unavailable", body = problem::Document, content_type = "application/problem+json"),
    ),
)]
pub async fn of_leaf(
    State(edge): State<Shared>,
    Named(index): Named,
    uri: Uri,
) -> Result<Response, Problem> {
    no_query(&uri)?;
    let file = edge.app.evidence.of_leaf(receipt::index(&index)?).await?;
    // It grows with the life of the key.
    Ok(bytes_of(file, FILE, public("max-age=60")))
}

/// A signature and its salt.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EvidenceRequest {
    /// As for `/v1/verify`, without `timestamp` and `at`.
    #[schema(value_type = Object)]
    signature: serde_json::Value,
    /// Base64url: the salt returned with the signature; with it the file also opens the leaf's
    /// commitment to the signed input.
    salt: Option<String>,
}

/// Evidence of a signature
///
/// As above; the file also contains the signature itself and the signed input.
#[utoipa::path(
    post,
    path = "/v1/evidence",
    tag = "log",
    request_body = EvidenceRequest,
    responses(
        (status = 200, description = "Canonical JSON (RFC 8785)", body = Object, content_type = "application/json"),
        (status = "4XX", description = "The request is malformed, or the signature is invalid or not in the log", body = problem::Document, content_type = "application/problem+json"),
        (status = 503, description = "The database or the storage is unavailable", body = problem::Document, content_type = "application/problem+json"),
    ),
)]
pub async fn of_signature(
    State(edge): State<Shared>,
    present: Present,
    request: Request,
) -> Result<Response, Problem> {
    no_query(request.uri())?;
    let asked: EvidenceRequest = body::strict(&edge, &present, request).await?;
    let claim: VerifyRequest = serde_json::from_value(asked.signature)
        .map_err(|error| Problem::member("signature", error.to_string()))?;
    let question = claim.into_question()?;
    let beyond = [
        ("timestamp", question.timestamp.is_some()),
        ("at", question.at.is_some()),
    ];
    if let Some((member, _)) = beyond.into_iter().find(|(_, given)| *given) {
        return Err(Problem::member(member, "not allowed in this request"));
    }
    let salt = asked
        .salt
        .map(|text| base64url("salt", &text))
        .transpose()?;
    let file = edge.app.evidence.of_claim(question.claim, salt).await?;
    Ok(bytes_of(file, FILE, NO_STORE))
}
