//! `GET /v1/keys/{kid}/transcript`: the transcript of the ceremony that bore the key; and
//! `GET /v1/ceremonies/{ceremony}/transcript`: that of any ceremony that was closed.

use axum::extract::State;
use axum::http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, ETAG};
use axum::http::{HeaderValue, Uri};
use axum::response::Response;
use trust::Sha256Digest;

use super::Shared;
use super::codes::Code;
use super::key::{find, public};
use super::problem::{self, Problem};
use super::respond::{Named, bytes_of, no_query};

/// Transcript of a key
///
/// The transcript of the ceremony that generated it, with inclusion proofs of its acts once a
/// checkpoint covers them. `chancery ceremony verify FILE --genesis SHA256` checks it without this
/// service.
#[utoipa::path(
    get,
    path = "/v1/keys/{kid}/transcript",
    tag = "publication",
    params(("kid" = String, Path)),
    responses(
        (status = 200, description = "Canonical JSON (RFC 8785)", body = Object, content_type = "application/json"),
        (status = 404, description = "Unknown key", body = problem::Document, content_type = "application/problem+json"),
        (status = 503, description = "The database is unavailable", body = problem::Document, content_type = "application/problem+json"),
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
    // A closed transcript never changes; its proofs come a moment later, and may come by a later
    // checkpoint that more witnesses cosigned.
    Ok(answer(bytes, "max-age=300"))
}

/// Transcript of a closed ceremony
///
/// By the SHA-256 of its request, as leaves of the log name it in `ref`; its own SHA-256 is the
/// `digest` of the leaf that closed it. `chancery ceremony verify FILE --genesis SHA256` checks it
/// without this service. A ceremony that is not closed has none.
#[utoipa::path(
    get,
    path = "/v1/ceremonies/{ceremony}/transcript",
    tag = "publication",
    params(("ceremony" = String, Path, description = "SHA-256 of the request, in lower-case hex")),
    responses(
        (status = 200, description = "Canonical JSON (RFC 8785), without the log's proofs", body = Object, content_type = "application/json"),
        (status = 404, description = "No closed ceremony with this id", body = problem::Document, content_type = "application/problem+json"),
        (status = 503, description = "The database is unavailable", body = problem::Document, content_type = "application/problem+json"),
    ),
)]
pub async fn of_ceremony(
    State(edge): State<Shared>,
    Named(ceremony): Named,
    uri: Uri,
) -> Result<Response, Problem> {
    no_query(&uri)?;
    let unknown = |why: &str| Problem::new(Code::UnknownCeremony, why).about("ceremony");
    let named: Sha256Digest = ceremony
        .parse()
        .map_err(|_| unknown("expected a SHA-256 digest in lower-case hex"))?;
    let bytes = edge.app.archive.transcript(named.to_string()).await?;
    let bytes = bytes.ok_or_else(|| unknown("no closed ceremony with this request"))?;
    Ok(answer(bytes, "max-age=31536000, immutable"))
}

fn answer(bytes: Vec<u8>, age: &'static str) -> Response {
    let etag = format!("\"{}\"", Sha256Digest::of(&bytes));
    let mut response = bytes_of(
        bytes,
        HeaderValue::from_static("application/json"),
        public(age),
    );
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        headers.insert(ETAG, etag);
    }
    response
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use trust::Sha256Digest;

    use crate::testing::{CEREMONY, Fixture};

    #[tokio::test]
    async fn a_closed_ceremony_shows_its_transcript_for_ever_and_an_open_one_has_none() {
        let fixture = Fixture::new();
        let path = |of: &str| format!("/v1/ceremonies/{of}/transcript");
        let closed = Sha256Digest::of(CEREMONY.as_bytes()).to_string();
        let answered = fixture.get(&path(&closed)).await;
        assert_eq!(answered.status, StatusCode::OK);
        assert_eq!(answered.json()["of"], CEREMONY);
        let age = answered.header("cache-control").to_owned();
        assert!(age.contains("immutable"), "{age}");
        assert_eq!(answered.header("access-control-allow-origin"), "*");
        let other = Sha256Digest::of(b"another").to_string();
        for none in [other.as_str(), &closed.to_uppercase(), &closed[1..], "a"] {
            let answered = fixture.get(&path(none)).await;
            assert_eq!(answered.status, StatusCode::NOT_FOUND);
            assert_eq!(answered.code(), "unknown_ceremony", "{none}");
        }
        let asked = fixture.get(&format!("{}?a=1", path(&closed))).await;
        assert_eq!(asked.code(), "bad_query");
    }
}
