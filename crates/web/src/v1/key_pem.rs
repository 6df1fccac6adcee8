//! `GET /v1/keys/{kid}/pem`: the public key alone, for tools.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;

use crate::problem::{self, Problem};
use crate::v1::key_jwk::{material, usable};
use crate::v1::response::{Named, no_query};
use crate::v1::state::SharedState;

/// One key as PEM
///
/// SubjectPublicKeyInfo, for `openssl dgst -verify`.
#[utoipa::path(
    get,
    path = "/v1/keys/{kid}/pem",
    operation_id = "key_pem",
    tag = "publication",
    params(("kid" = String, Path)),
    responses(
        (status = 200, body = String, content_type = "application/x-pem-file"),
        (status = 404, description = "Unknown key", body = problem::Document, content_type = "application/problem+json"),
        (status = 410, description = "The key was revoked", body = problem::Document, content_type = "application/problem+json"),
        (status = 503, description = "The database is unavailable", body = problem::Document, content_type = "application/problem+json"),
    ),
)]
pub async fn handle(
    State(state): State<SharedState>,
    Named(kid): Named,
    uri: Uri,
) -> Result<Response, Problem> {
    no_query(&uri)?;
    let key = usable(&state, &kid).await?;
    let snapshot = state.services.keys.current();
    Ok(material(
        &snapshot,
        to_pem(&key.spki).into_bytes(),
        "application/x-pem-file",
    ))
}

/// RFC 7468 section 13.
fn to_pem(spki: &[u8]) -> String {
    use base64ct::Encoding as _;
    let text = base64ct::Base64::encode_string(spki);
    let mut pem = String::from("-----BEGIN PUBLIC KEY-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = more;
    }
    pem.push_str("-----END PUBLIC KEY-----\n");
    pem
}
