//! `GET /v1/inventory`: every key with its place on the token, and what was not believed.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use serde::Serialize;
use trust::Location;
use utoipa::ToSchema;

use crate::middleware::context::RequestContext;
use crate::problem::{self, Problem};
use crate::v1::key::KeyView;
use crate::v1::response::{json, no_query};
use crate::v1::state::SharedState;

#[derive(Debug, Serialize, ToSchema)]
pub struct InventoryAnswer {
    /// Version of the read model.
    version: i64,
    /// By ring and number.
    keys: Vec<InventoryKey>,
    /// Keys in the database that the replica refuses; each is an alarm.
    refused: Vec<RefusedKey>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct InventoryKey {
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

/// Inventory
#[utoipa::path(
    get,
    path = "/v1/inventory",
    operation_id = "inventory",
    tag = "operation",
    responses(
        (status = 200, body = InventoryAnswer),
        (status = "4XX", description = "Not an operator", body = problem::Document, content_type = "application/problem+json"),
    ),
    security(("access_token" = []), ("mtls" = [])),
)]
pub async fn handle(
    State(state): State<SharedState>,
    context: RequestContext,
    uri: Uri,
) -> Result<Response, Problem> {
    context.caller.operator()?;
    no_query(&uri)?;
    let snapshot = state.services.keys.current();
    let now = state.services.env.now();
    let keys = snapshot
        .keys_by_ring()
        .map(|key| {
            Ok(InventoryKey {
                key: KeyView::of(key)?,
                age_seconds: now.since(key.published_at).as_secs(),
                location: key.location.clone(),
            })
        })
        .collect::<Result<_, Problem>>()?;
    json(&InventoryAnswer {
        version: snapshot.version,
        keys,
        refused: snapshot
            .refused
            .iter()
            .map(|refused| RefusedKey {
                kid: refused.kid.clone(),
                why: refused.why.clone(),
            })
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use crate::testing::{Fixture, LONG, OPERATOR};

    #[tokio::test]
    async fn an_operator_sees_where_every_key_is() {
        let fixture = Fixture::new().await;
        let inventory = fixture.get_as(OPERATOR, "/v1/inventory").await.json();
        let keys = inventory["keys"].as_array().unwrap();
        assert_eq!(keys.len(), 2);
        assert_eq!(keys[1]["kid"], fixture.kid());
        assert_eq!(keys[1]["age_seconds"], LONG * 60);
        let id = &keys[1]["location"]["pkcs11"]["cka_id"];
        assert_eq!(id.as_str().map(str::len), Some(32), "{id}");

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
