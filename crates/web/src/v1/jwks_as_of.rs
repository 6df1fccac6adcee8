//! `GET /v1/jwks?at=`: the set that was served at an instant,
//! told again by the lives of the keys. For whoever has to show what a verifier could have seen;
//! a set of the past holds keys that were revoked since, so nothing is to be verified with it.

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use serde::Deserialize;
use trust::Time;

use crate::problem::{self, Code, Problem};
use crate::v1::instant;
use crate::v1::jwks_cache::Answer;
use crate::v1::response::query;
use crate::v1::state::SharedState;
use keyring::keys::Share;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AsOf {
    at: Option<String>,
}

/// Keys of all rings at an instant
///
/// The set at `/.well-known/jwks.json` as it was at an instant in the past, derived from the key
/// states at that instant. A change at exactly that instant is included; a replica may have served
/// the previous set slightly longer, and a cache for its `max-age`. The byte budget and the
/// inclusion of Ed25519 keys follow today's configuration. It documents what was published and must
/// not be used for verification: it contains keys that have since been revoked.
#[utoipa::path(
    get,
    path = "/v1/jwks",
    operation_id = "jwks_as_of",
    tag = "publication",
    params(("at" = String, Query, format = DateTime, description = "RFC 3339, not in the future")),
    responses(
        (status = 200, description = "The set", body = Object, content_type = "application/jwk-set+json"),
        (status = 400, description = "`at` is missing or in the future", body = problem::Document, content_type = "application/problem+json"),
        (status = 404, description = "No key was published at that instant: an empty set is never served", body = problem::Document, content_type = "application/problem+json"),
        (status = 503, description = "The database is unavailable", body = problem::Document, content_type = "application/problem+json"),
    ),
)]
pub async fn handle(
    State(state): State<SharedState>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    respond(&state, None, &uri, &headers).await
}

pub async fn respond(
    state: &SharedState,
    ring: Option<String>,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let at = at(uri, state.services.env.now())?;
    let keys = &state.services.keys;
    let made = keys.jwks_as_of(ring.as_deref(), at, Share::Stranger).await;
    let document = made
        .map_err(Problem::from)?
        .ok_or_else(|| Problem::new(Code::UnknownRing, "no ring has this name").about("ring"))?;
    let answer = Answer::new(&document);
    let answer = answer.ok_or_else(|| {
        let what = format!("no key of this ring was published at {at}");
        Problem::new(Code::NotFound, what).about("at")
    })?;
    Ok(answer.respond(headers))
}

fn at(uri: &Uri, now: Time) -> Result<Time, Problem> {
    let AsOf { at } = query(uri)?;
    let bad = |what: &str| Problem::new(Code::BadQuery, what).about("at");
    let text = at.ok_or_else(|| bad(instant::EXPECTED))?;
    let at = instant::parse(&text).map_err(bad)?;
    match at <= now {
        true => Ok(at),
        false => Err(bad("expected an instant that is not in the future")),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;

    use super::*;
    use crate::testing::Fixture;

    /// So many milliseconds before `now`.
    fn before(now: Time, millis: i64) -> String {
        Time::from_millis(now.millis() - millis).to_string()
    }

    #[tokio::test]
    async fn a_key_that_was_revoked_since_is_in_the_set_of_before() {
        let fixture = Fixture::new().await;
        let published = fixture.state.services.keys.current().rings["records"].keys[0].published_at;
        fixture.wait(1);
        fixture.compromise(1).await;
        let key = fixture.state.services.keys.current().rings["records"].keys[0].clone();
        let revoked = key.state.life().revocation.unwrap().revoked_at;
        fixture.wait(1);
        for path in ["/v1/jwks", "/v1/rings/records/jwks"] {
            let of_before = format!("{path}?at={}", before(revoked, 1));
            let answered = fixture.get(&of_before).await;
            assert_eq!(answered.status, StatusCode::OK, "{path}");
            assert_eq!(answered.header("content-type"), "application/jwk-set+json");
            assert_eq!(answered.json()["keys"][0]["kid"], fixture.kid());
            // From its revocation on, and before it was published.
            for at in [before(revoked, 0), before(published, 1)] {
                let answered = fixture.get(&format!("{path}?at={at}")).await;
                assert_eq!(answered.status, StatusCode::NOT_FOUND);
                assert_eq!(
                    (answered.code(), answered.member()),
                    ("not_found".into(), "at".into())
                );
            }
        }
        let path = format!("/v1/rings/nothing/jwks?at={}", before(revoked, 1));
        assert_eq!(fixture.get(&path).await.code(), "unknown_ring");
    }

    #[tokio::test]
    async fn an_instant_that_was_not_is_refused() {
        let fixture = Fixture::new().await;
        let now = format!("at={}", before(fixture.now(), 0));
        let ok = fixture.get(&format!("/v1/jwks?{now}")).await;
        assert_eq!(ok.status, StatusCode::OK);
        let future = format!("at={}", before(fixture.now(), -1));
        for query in ["", "at=", "at=now", &future, &format!("{now}&{now}")] {
            for path in ["/v1/jwks", "/v1/rings/records/jwks"] {
                let answered = fixture.get(&format!("{path}?{query}")).await;
                assert_eq!(answered.code(), "bad_query", "{path} {query}");
            }
        }
        let unknown = fixture.get(&format!("/v1/jwks?{now}&ring=records")).await;
        assert_eq!(unknown.code(), "bad_query");
    }
}
