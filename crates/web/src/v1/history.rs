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
    let Some(ring) = state.settings.history_ring.clone() else {
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
    use std::sync::Arc;

    use serde_json::{Value, json};

    use crate::middleware::peer::Peer;
    use crate::testing::{self, Fixture, NOW};

    fn signed(fixture: &Fixture) -> Vec<Value> {
        let all = fixture.world.histories.lock().unwrap();
        let read = |claims: &Vec<u8>| serde_json::from_slice(claims).unwrap();
        all.iter().map(read).collect()
    }

    #[tokio::test]
    async fn the_history_holds_every_key_with_its_end_and_its_revocation() {
        let snapshot = testing::snapshot_with_revoked_key();
        let fixture = Fixture::over(testing::settings(), snapshot, Peer::default());
        fixture.get("/v1/keys/history").await;
        let claims = &signed(&fixture)[0];
        assert_eq!(claims["iss"], "https://chancery.example");
        assert_eq!(claims["iat"], NOW / 1_000);
        assert!(claims.get("next").is_none());
        let [revoked, standby] = claims["keys"].as_array().unwrap().as_slice() else {
            panic!("two keys: {claims}")
        };
        let revoked_at = (NOW - 10_000) / 1_000;
        assert_eq!(
            revoked["revoked"],
            json!({"revoked_at": revoked_at, "reason": "compromised"})
        );
        assert_eq!(revoked["compromised_since"], (NOW - 50_000) / 1_000);
        assert_eq!(revoked["exp"], revoked_at);
        let ours = ["ring", "key_number", "ceremony", "log_index"].map(|name| &revoked[name]);
        let ceremony = "ab".repeat(32);
        let expected = [json!("records"), json!(1), json!(ceremony), json!(4)];
        assert_eq!(ours, expected.each_ref());
        assert_eq!(standby["exp"], (NOW + 7_776_000_000) / 1_000);
        for member in ["revoked", "compromised_since", "revocation_log_index"] {
            assert!(standby.get(member).is_none(), "{standby}");
        }
        for key in [revoked, standby] {
            assert!(key["kid"].is_string() && key["iat"].is_i64() && key["nbf"].is_i64());
        }
    }

    #[tokio::test]
    async fn it_is_signed_once_for_what_it_says() {
        let fixture = Fixture::new();
        for from in ["", "?from=3", "?from=4&limit=1000"] {
            let answered = fixture.get(&format!("/v1/keys/history{from}")).await;
            assert_eq!(answered.header("content-type"), "application/jwk-set+jwt");
            assert_eq!(answered.body, b"head.claims.signature");
        }
        assert_eq!(signed(&fixture).len(), 1);
        // Another snapshot that says the same of the keys; then one that does not.
        fixture.world.snapshot.store(Arc::new(testing::snapshot()));
        fixture.get("/v1/keys/history").await;
        assert_eq!(signed(&fixture).len(), 1);
        let next = testing::snapshot_with_revoked_key();
        fixture.world.snapshot.store(Arc::new(next));
        fixture.get("/v1/keys/history").await;
        assert_eq!(signed(&fixture).len(), 2);
    }

    #[tokio::test]
    async fn pages_follow_each_other_to_the_last_key() {
        const KEYS: i64 = 25;
        let snapshot = testing::snapshot_of_many(KEYS);
        let fixture = Fixture::over(testing::settings(), snapshot, Peer::default());
        let mut path = "/v1/keys/history?limit=10".to_owned();
        let mut seen = Vec::new();
        for page in 1.. {
            let answered = fixture.get(&path).await;
            let claims = signed(&fixture).pop().unwrap();
            for key in claims["keys"].as_array().unwrap() {
                seen.push(key["log_index"].as_i64().unwrap());
            }
            let Some(next) = claims["next"].as_i64() else {
                assert_eq!(answered.header("link"), "");
                assert_eq!(page, 3);
                break;
            };
            path = format!("/v1/keys/history?from={next}&limit=10");
            assert_eq!(answered.header("link"), format!("<{path}>; rel=\"next\""));
        }
        let expected: Vec<i64> = (0..KEYS).map(|number| 10 * number).collect();
        assert_eq!(seen, expected);
        // From the middle of a page comes that page; it was signed already.
        for from in 0..=240 {
            let path = format!("/v1/keys/history?from={from}&limit=10");
            fixture.get(&path).await;
        }
        assert_eq!(signed(&fixture).len(), 3);
        let beyond = fixture.get("/v1/keys/history?from=241").await;
        assert_eq!(beyond.code(), "not_found");
    }

    #[tokio::test]
    async fn a_wrong_parameter_is_refused() {
        let fixture = Fixture::new();
        for query in [
            "limit=0",
            "limit=7",
            "limit=1001",
            "from=-1",
            "from=x",
            "page=2",
        ] {
            let answered = fixture.get(&format!("/v1/keys/history?{query}")).await;
            assert_eq!(answered.code(), "bad_query", "{query}");
        }
        assert_eq!(signed(&fixture).len(), 0);
    }
}
