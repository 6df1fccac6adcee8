//! `GET /v1/keys/{kid}/transcript`: the transcript of the ceremony that bore the key.

use axum::extract::State;
use axum::http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, ETAG};
use axum::http::{HeaderValue, Uri};
use axum::response::Response;
use trust::Sha256Digest;

use super::Shared;
use super::key::{find, public};
use super::problem::{self, Problem};
use super::respond::{Named, bytes_of, no_query};

/// Transcript of a key
///
/// Of the ceremony that bore it, with proofs that its acts are in the log as soon as a checkpoint
/// covers them. `chancery ceremony verify FILE --genesis SHA256` checks it without this service.
#[utoipa::path(
    get,
    path = "/v1/keys/{kid}/transcript",
    tag = "publication",
    params(("kid" = String, Path)),
    responses(
        (status = 200, description = "Canonical JSON (RFC 8785)", body = Object, content_type = "application/json"),
        (status = 404, description = "There is no such key", body = problem::Document, content_type = "application/problem+json"),
        (status = 503, description = "The database does not answer", body = problem::Document, content_type = "application/problem+json"),
    ),
)]
pub async fn handle(
    State(edge): State<Shared>,
    Named(kid): Named,
    uri: Uri,
) -> Result<Response, Problem> {
    no_query(&uri)?;
    let kid = find(&edge.app.keys.current(), &kid)?.kid.clone();
    let bytes = edge.app.evidence.transcript_of(kid).await?;
    let etag = format!("\"{}\"", Sha256Digest::of(&bytes));
    // A closed transcript never changes; its proofs come a moment later, and may come by a later
    // checkpoint that more witnesses cosigned.
    let mut response = bytes_of(
        bytes,
        HeaderValue::from_static("application/json"),
        public("max-age=300"),
    );
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        headers.insert(ETAG, etag);
    }
    Ok(response)
}
