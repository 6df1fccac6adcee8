//! `GET /v1/ceremonies/{ceremony}/transcript`: the transcript of any ceremony that was closed.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use trust::Sha256Digest;

use crate::problem::{self, Code, Problem};
use crate::v1::key_transcript::answer;
use crate::v1::response::{Named, no_query};
use crate::v1::state::SharedState;

/// Transcript of a closed ceremony
///
/// By the SHA-256 of its request, as leaves of the log name it in `ref`; its own SHA-256 is the
/// `digest` of the leaf that closed it. `chancery ceremony verify FILE --genesis SHA256` checks it
/// without this service. A ceremony that is not closed has none.
#[utoipa::path(
    get,
    path = "/v1/ceremonies/{ceremony}/transcript",
    operation_id = "ceremony_transcript",
    tag = "publication",
    params(("ceremony" = String, Path, description = "SHA-256 of the request, in lower-case hex")),
    responses(
        (status = 200, description = "Canonical JSON (RFC 8785), without the log's proofs", body = Object, content_type = "application/json"),
        (status = 404, description = "No closed ceremony with this id", body = problem::Document, content_type = "application/problem+json"),
        (status = 503, description = "The database is unavailable", body = problem::Document, content_type = "application/problem+json"),
    ),
)]
pub async fn handle(
    State(state): State<SharedState>,
    Named(ceremony): Named,
    uri: Uri,
) -> Result<Response, Problem> {
    no_query(&uri)?;
    let unknown = |why: &str| Problem::new(Code::UnknownCeremony, why).about("ceremony");
    let named: Sha256Digest = ceremony
        .parse()
        .map_err(|_| unknown("expected a SHA-256 digest in lower-case hex"))?;
    let store = state.services.store.for_visitors();
    let bytes = store.transcript(&named.to_string()).await?;
    let bytes = bytes.ok_or_else(|| unknown("no closed ceremony with this request"))?;
    Ok(answer(bytes, "max-age=31536000, immutable"))
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use trust::Sha256Digest;

    use crate::testing::Fixture;

    #[tokio::test]
    async fn a_closed_ceremony_shows_its_transcript_for_ever_and_an_open_one_has_none() {
        let fixture = Fixture::new().await;
        let path = |of: &str| format!("/v1/ceremonies/{of}/transcript");
        let keys = fixture.state.services.keys.current();
        let closed = keys.rings["records"].keys[0].ceremony.to_string();
        let answered = fixture.get(&path(&closed)).await;
        assert_eq!(answered.status, StatusCode::OK);
        let etag = format!("\"{}\"", Sha256Digest::of(&answered.body));
        assert_eq!(answered.header("etag"), etag);
        assert!(answered.json().to_string().contains(&fixture.kid()));
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
