//! `GET /v1/keys/{kid}/transcript`: the transcript of the ceremony that bore the key.

use axum::extract::State;
use axum::http::header::ETAG;
use axum::http::{HeaderValue, Uri};
use axum::response::Response;
use trust::Sha256Digest;

use crate::problem::{self, Problem};
use crate::v1::key::find;
use crate::v1::response::{Named, bytes_of, no_query, public};
use crate::v1::state::SharedState;

/// Transcript of a key
///
/// The transcript of the ceremony that generated it, with inclusion proofs of its acts once a
/// checkpoint covers them. `chancery ceremony verify FILE --genesis SHA256` checks it without this
/// service.
#[utoipa::path(
    get,
    path = "/v1/keys/{kid}/transcript",
    operation_id = "key_transcript",
    tag = "publication",
    params(("kid" = String, Path)),
    responses(
        (status = 200, description = "Canonical JSON (RFC 8785)", body = Object, content_type = "application/json"),
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
    let kid = find(&state, &kid).await?.kid.clone();
    let bytes = state.services.evidence.transcript_of(&kid).await?;
    // A closed transcript never changes; its proofs come a moment later, and may come by a later
    // checkpoint that more witnesses cosigned.
    Ok(answer(bytes, "max-age=300"))
}

pub fn answer(bytes: Vec<u8>, age: &'static str) -> Response {
    let etag = format!("\"{}\"", Sha256Digest::of(&bytes));
    let mut response = bytes_of(
        bytes,
        HeaderValue::from_static("application/json"),
        public(age),
    );
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        response.headers_mut().insert(ETAG, etag);
    }
    response
}
