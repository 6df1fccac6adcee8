//! `GET /v1/keys`: every key with its place on the token, and what was not believed.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use trust::{Kid, Location};
use utoipa::ToSchema;

use crate::problem::{self, Code, Problem};
use crate::v1::key::KeyView;
use crate::v1::response::{json, query};
use crate::v1::state::SharedState;
use keyring::keys::Share;

#[derive(Debug, Serialize, ToSchema)]
pub struct KeysAnswer {
    /// Version of the read model.
    version: i64,
    /// By ring and number.
    keys: Vec<PlacedKey>,
    /// Keys in the database that the replica refuses; each is an alarm.
    refused: Vec<RefusedKey>,
    /// `after` of the next page, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    next: Option<Kid>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    after: Option<String>,
    limit: Option<usize>,
}

/// Keys of a page at most.
const LIMIT: usize = 1_000;

#[derive(Debug, Serialize, ToSchema)]
pub struct PlacedKey {
    #[serde(flatten)]
    key: KeyView,
    /// Seconds since it was published.
    age_seconds: u64,
    /// Where its private half was made: `pkcs11` or `key-vault`, as in its transcript.
    #[schema(value_type = Object)]
    location: Location,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct RefusedKey {
    kid: String,
    why: String,
}

/// Keys
///
/// Every key with its place on the token, by ring and number, in pages.
#[utoipa::path(
    get,
    path = "/v1/keys",
    operation_id = "keys",
    tag = "operation",
    params(
        ("after" = Option<String>, Query, description = "The page starts with the key behind the one with this kid; default the first key"),
        ("limit" = Option<usize>, Query, description = "Page size: 1 to 1000; default 1000"),
    ),
    responses(
        (status = 200, body = KeysAnswer),
        (status = 503, description = "The database is unavailable", body = problem::Document, content_type = "application/problem+json"),
        (status = "4XX", description = "Not an operator", body = problem::Document, content_type = "application/problem+json"),
    ),
    security(("access_token" = []), ("mtls" = [])),
)]
pub async fn handle(State(state): State<SharedState>, uri: Uri) -> Result<Response, Problem> {
    let asked: Asked = query(&uri)?;
    let bad = |name: &str, what: &str| Problem::new(Code::BadQuery, what).about(name);
    let limit = asked.limit.unwrap_or(LIMIT);
    if !(1..=LIMIT).contains(&limit) {
        return Err(bad("limit", "expected 1 to 1000"));
    }
    let after = asked.after.map(|kid| kid.parse::<Kid>()).transpose();
    let after = after.map_err(|_| bad("after", "expected a kid: 43 characters of base64url"))?;
    let keys = &state.services.keys;
    let version = keys.current().version;
    let page = keys.page(after.as_ref(), limit, Share::Known).await;
    let page = page.map_err(|error| Problem::from(error).about("after"))?;
    let now = state.services.env.now();
    let mut refused = page.refused;
    if after.is_none() {
        let others = keys.refused().into_iter();
        let new = others.filter(|other| refused.iter().all(|key| key.kid != other.kid));
        let new: Vec<_> = new.collect();
        refused.extend(new);
    }
    let keys = page.keys.iter().map(|key| {
        Ok(PlacedKey {
            key: KeyView::of(key)?,
            age_seconds: now.since(key.published_at).as_secs(),
            location: key.location.clone(),
        })
    });
    json(&KeysAnswer {
        version,
        keys: keys.collect::<Result<_, Problem>>()?,
        refused: refused
            .into_iter()
            .map(|refused| RefusedKey {
                kid: refused.kid,
                why: refused.why,
            })
            .collect(),
        next: page.next,
    })
}

#[cfg(test)]
mod tests {
    use crate::testing::{Fixture, LONG, OPERATOR};

    #[tokio::test]
    async fn an_operator_sees_where_every_key_is() {
        let fixture = Fixture::new().await;
        let all = fixture.get_as(OPERATOR, "/v1/keys").await.json();
        let keys = all["keys"].as_array().unwrap();
        assert_eq!(keys.len(), 2);
        assert_eq!(keys[1]["kid"], fixture.kid());
        assert_eq!(keys[1]["age_seconds"], LONG * 60);
        let id = &keys[1]["location"]["pkcs11"]["cka_id"];
        assert_eq!(id.as_str().map(str::len), Some(32), "{id}");

        // In pages.
        let first = fixture.get_as(OPERATOR, "/v1/keys?limit=1").await.json();
        assert_eq!(first["keys"], serde_json::json!([keys[0]]));
        let next = first["next"].as_str().unwrap();
        let path = format!("/v1/keys?limit=1&after={next}");
        let second = fixture.get_as(OPERATOR, &path).await.json();
        assert_eq!(second["keys"], serde_json::json!([keys[1]]));
        let path = format!("/v1/keys?after={}", fixture.kid());
        let last = fixture.get_as(OPERATOR, &path).await.json();
        assert_eq!(last["keys"], serde_json::json!([]));
        assert!(last.get("next").is_none());
        for query in ["limit=0", "limit=1001", "after=x", "page=2"] {
            let path = format!("/v1/keys?{query}");
            let answered = fixture.get_as(OPERATOR, &path).await;
            assert_eq!(answered.code(), "bad_query", "{query}");
        }

        let ring = fixture.get_as(OPERATOR, "/v1/rings/records").await.json();
        assert_eq!(ring["ring"]["primary"], fixture.kid());
        assert_eq!(ring["keys"][0]["state"], "active");
        let rings = fixture.get_as(OPERATOR, "/v1/rings").await.json();
        assert_eq!(rings["rings"][0]["name"], "digests");
        assert_eq!(rings["rings"][0]["usage"], "raw");
        let answered = fixture.get_as(OPERATOR, "/v1/rings/none").await;
        assert_eq!(answered.code(), "unknown_ring");
    }
}
