//! `POST /v1/evidence`: one file that shows what a signature is worth, without this service.

use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::response::Response;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::middleware::body::{self, base64url};
use crate::middleware::context::RequestContext;
use crate::problem::{self, Problem};
use crate::v1::response::{NO_STORE, bytes_of, no_query};
use crate::v1::state::SharedState;
use crate::v1::verify::VerifyRequest;

pub const FILE: HeaderValue = HeaderValue::from_static("application/json");

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
    operation_id = "evidence",
    tag = "log",
    request_body = EvidenceRequest,
    responses(
        (status = 200, description = "Canonical JSON (RFC 8785)", body = Object, content_type = "application/json"),
        (status = "4XX", description = "The request is malformed, or the signature is invalid or not in the log", body = problem::Document, content_type = "application/problem+json"),
        (status = 503, description = "The database or the storage is unavailable", body = problem::Document, content_type = "application/problem+json"),
    ),
)]
pub async fn handle(
    State(state): State<SharedState>,
    context: RequestContext,
    request: Request,
) -> Result<Response, Problem> {
    no_query(request.uri())?;
    let asked: EvidenceRequest = body::strict(&context, request).await?;
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
    let file = state
        .services
        .evidence
        .of_claim(question.claim, salt)
        .await?;
    Ok(bytes_of(file, FILE, NO_STORE))
}
