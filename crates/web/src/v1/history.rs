//! `GET /v1/keys/history`: every key there ever was, as signed JWTs in the form of OpenID Federation
//! 1.0 section 8.7 (historical keys), page by page.
//!
//! Keys stand in the order in which the log tells of their acceptance, which only ever grows, and
//! pages are cut at every so many keys. So a full page stays the same page for ever, each is signed
//! once for what it says, and strangers cannot make the token work by asking for other cuts.

use axum::extract::State;
use axum::http::header::LINK;
use axum::http::{HeaderValue, Uri};
use axum::response::Response;
use serde::Deserialize;

use crate::middleware::context::RequestContext;
use crate::problem::{self, Code, Problem};
use crate::v1::response::{bytes_of, query};
use crate::v1::state::SharedState;

/// Keys of a page; other numbers would be other cuts.
const LIMITS: [usize; 3] = [10, 100, 1_000];
const LIMIT: usize = 1_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    from: Option<i64>,
    limit: Option<usize>,
}

/// Signed history
///
/// Every key ever accepted, including those of the ring `log`, in order of acceptance: its JWK with
/// `iat` (published), `nbf`, `exp` (end of signing, actual or approved), `ring`, `key_number`,
/// `ceremony` (that generated it) and `log_index` (of its acceptance); for a revoked key also
/// `revoked` with `revoked_at` and `reason`, `revocation_log_index`, and `compromised_since` if
/// known. Each page is a JWT of type `jwk-set+jwt` with `iss`, `iat` (when this page was signed; it
/// is signed again only when its content changes) and, unless it is the last, `next`: the `from` of
/// the next page, also in `Link`. Following `next` from the first page to the page without one
/// yields every key.
#[utoipa::path(
    get,
    path = "/v1/keys/history",
    operation_id = "history",
    tag = "publication",
    params(
        ("from" = Option<i64>, Query, description = "Log index: the page starts with the first key accepted at or after it; default 0"),
        ("limit" = Option<i64>, Query, description = "Page size: 10, 100 or 1000; default 1000"),
    ),
    responses(
        (status = 200, description = "Compact JWT", body = String, content_type = "application/jwk-set+jwt"),
        (status = 400, description = "An invalid parameter", body = problem::Document, content_type = "application/problem+json"),
        (status = 404, description = "No key was accepted at or after this index, or no ring is configured to sign the history", body = problem::Document, content_type = "application/problem+json"),
        (status = 503, description = "The history cannot be signed at present", body = problem::Document, content_type = "application/problem+json"),
    ),
)]
pub async fn handle(
    State(state): State<SharedState>,
    context: RequestContext,
    uri: Uri,
) -> Result<Response, Problem> {
    let asked: Asked = query(&uri)?;
    let limit = asked.limit.unwrap_or(LIMIT);
    let from = asked.from.unwrap_or(0);
    let bad = |name: &str, what: &str| Err(Problem::new(Code::BadQuery, what).about(name));
    if !LIMITS.contains(&limit) {
        return bad("limit", "expected 10, 100 or 1000");
    }
    if from < 0 {
        return bad("from", "expected a log index");
    }
    let Some(ring) = &state.settings.history_ring else {
        return Err(Problem::new(
            Code::NotFound,
            "no ring is configured to sign the history",
        ));
    };
    let page = state
        .history
        .page(ring, from, limit, context.deadline)
        .await?;
    let mut response = bytes_of(
        page.jwt,
        HeaderValue::from_static("application/jwk-set+jwt"),
        HeaderValue::from_static("public, max-age=60"),
    );
    if let Some(next) = page.next {
        let link = format!("</v1/keys/history?from={next}&limit={limit}>; rel=\"next\"");
        if let Ok(link) = HeaderValue::from_str(&link) {
            response.headers_mut().insert(LINK, link);
        }
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::testing::{Fixture, LONG, unverified_claims};

    const PATH: &str = "/v1/keys/history";

    async fn claims(fixture: &Fixture) -> Value {
        unverified_claims(&fixture.get(PATH).await.body)
    }

    #[tokio::test]
    async fn the_history_holds_every_key_with_its_end_and_its_revocation() {
        let fixture = Fixture::new().await;
        fixture.standby("records").await;
        fixture.wait(LONG);
        // The standby takes over, and signs the history.
        fixture.compromise(1).await;
        let claims = claims(&fixture).await;
        let now = fixture.now().millis() / 1_000;
        assert_eq!(claims["iss"], "https://chancery.example");
        assert_eq!(claims["iat"], now);
        assert!(claims.get("next").is_none());
        let [revoked, standby, primary] = claims["keys"].as_array().unwrap().as_slice() else {
            panic!("three keys: {claims}")
        };
        assert_eq!(
            revoked["revoked"],
            json!({"revoked_at": now, "reason": "compromised"})
        );
        assert_eq!(revoked["compromised_since"], now - 60);
        assert_eq!(revoked["exp"], now);
        let snapshot = fixture.state.services.keys.current();
        let key = &snapshot.rings["records"].keys[0];
        let ours = ["ring", "key_number", "ceremony", "log_index"].map(|name| &revoked[name]);
        let ceremony = key.ceremony.to_string();
        let expected = [
            json!("records"),
            json!(1),
            json!(ceremony),
            json!(key.log_index),
        ];
        assert_eq!(ours, expected.each_ref());
        let approved = snapshot.rings["digests"].keys[0].retire_at;
        assert_eq!(standby["exp"], approved.millis() / 1_000);
        for member in ["revoked", "compromised_since", "revocation_log_index"] {
            assert!(standby.get(member).is_none(), "{standby}");
        }
        for key in [revoked, standby, primary] {
            assert!(key["kid"].is_string() && key["iat"].is_i64() && key["nbf"].is_i64());
        }
    }

    #[tokio::test]
    async fn it_is_signed_once_for_what_it_says() {
        let fixture = Fixture::new().await;
        let before = fixture.token.signatures();
        let signed = || fixture.token.signatures() - before;
        let first = fixture.get(PATH).await;
        for from in ["", "?from=1", "?from=2&limit=1000"] {
            let answered = fixture.get(&format!("{PATH}{from}")).await;
            assert_eq!(answered.header("content-type"), "application/jwk-set+jwt");
            assert_eq!(answered.body, first.body);
        }
        assert_eq!(signed(), 1);
        // Another snapshot that says the same of the keys; then one that does not.
        let algorithm = trust::Algorithm::Es256;
        let usage = trust::Usage::Structured;
        fixture.create_ring("another", algorithm, usage).await;
        fixture.get(PATH).await;
        assert_eq!(signed(), 1);
        fixture.standby("records").await;
        let before = fixture.token.signatures();
        assert_ne!(fixture.get(PATH).await.body, first.body);
        assert_eq!(fixture.token.signatures() - before, 1);
    }

    #[tokio::test]
    async fn case_s7_a_page_is_signed_once_though_its_reader_left() {
        let fixture = std::sync::Arc::new(Fixture::new().await);
        let signed = fixture.token.signatures();
        let written = fixture.leaves("sign").await.len();
        fixture.token.hold();
        let reader = std::sync::Arc::clone(&fixture);
        let reader = tokio::spawn(async move { reader.get(PATH).await });
        fixture.until_asked(1).await;
        reader.abort();
        assert!(reader.await.is_err());
        fixture.token.release();
        assert_eq!(fixture.get(PATH).await.status, 200);
        assert_eq!(fixture.token.signatures(), signed + 1);
        assert_eq!(fixture.leaves("sign").await.len(), written + 1);
    }

    #[tokio::test]
    async fn pages_follow_each_other_to_the_last_key() {
        const KEYS: usize = 12;
        let fixture = Fixture::new().await;
        for _ in 2..KEYS {
            fixture.standby("digests").await;
        }
        let before = fixture.token.signatures();
        let mut path = "/v1/keys/history?limit=10".to_owned();
        let mut seen = Vec::new();
        for page in 1.. {
            let answered = fixture.get(&path).await;
            let claims = unverified_claims(&answered.body);
            for key in claims["keys"].as_array().unwrap() {
                seen.push(key["log_index"].as_i64().unwrap());
            }
            let Some(next) = claims["next"].as_i64() else {
                assert_eq!(answered.header("link"), "");
                assert_eq!(page, 2);
                break;
            };
            path = format!("/v1/keys/history?from={next}&limit=10");
            assert_eq!(answered.header("link"), format!("<{path}>; rel=\"next\""));
        }
        let keys = &fixture.state.services.keys.current().keys;
        let mut expected: Vec<i64> = keys.values().filter_map(|key| key.log_index).collect();
        expected.sort_unstable();
        assert_eq!((seen.len(), &seen), (KEYS, &expected));
        // From the middle of a page comes that page; it was signed already.
        let last = expected[KEYS - 1];
        for from in 0..=last {
            let path = format!("/v1/keys/history?from={from}&limit=10");
            fixture.get(&path).await;
        }
        assert_eq!(fixture.token.signatures() - before, 2);
        let beyond = format!("/v1/keys/history?from={}", last + 1);
        assert_eq!(fixture.get(&beyond).await.code(), "not_found");
    }

    #[tokio::test]
    async fn a_wrong_parameter_is_refused() {
        let fixture = Fixture::new().await;
        let before = fixture.token.signatures();
        for query in [
            "limit=0",
            "limit=7",
            "limit=1001",
            "from=-1",
            "from=x",
            "page=2",
        ] {
            let answered = fixture.get(&format!("{PATH}?{query}")).await;
            assert_eq!(answered.code(), "bad_query", "{query}");
        }
        assert_eq!(fixture.token.signatures(), before);
    }
}
