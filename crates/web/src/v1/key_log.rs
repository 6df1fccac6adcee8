//! `GET /v1/keys/{kid}/log`: every act on a key with its proof, so that its state is checked and not
//! believed.

use axum::extract::State;
use axum::http::Uri;
use axum::http::header::CACHE_CONTROL;
use axum::response::Response;
use serde::Serialize;
use trust::Kid;
use utoipa::ToSchema;

use crate::problem::{self, Problem};
use crate::v1::key::find;
use crate::v1::response::{Named, json, no_query, public};
use crate::v1::state::SharedState;

/// What the log records about one key.
#[derive(Debug, Serialize, ToSchema)]
pub struct KeyLogAnswer {
    #[schema(value_type = String)]
    kid: Kid,
    /// Oldest first; the state of the key follows from them alone (docs/LOG.md, "Evidence", step
    /// 6).
    life: Vec<LoggedAct>,
    /// Log indices of later acts that no checkpoint covers yet.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pending: Vec<i64>,
    /// The kids of the keys that signed the checkpoints; the transcript of each is at its
    /// `…/transcript`.
    log_keys: Vec<String>,
}

/// An act and the proof that it is in the log, as in an evidence file.
#[derive(Debug, Serialize, ToSchema)]
pub struct LoggedAct {
    /// The exact bytes of the leaf.
    leaf: String,
    /// A c2sp.org/tlog-proof.
    proof: String,
}

/// The log of one key
///
/// Its acceptance, role changes, retirement, destruction and revocation, as leaves with inclusion
/// proofs.
#[utoipa::path(
    get,
    path = "/v1/keys/{kid}/log",
    operation_id = "key_log",
    tag = "log",
    params(("kid" = String, Path, description = "RFC 7638 SHA-256 thumbprint of the key")),
    responses(
        (status = 200, body = KeyLogAnswer),
        (status = 404, description = "Unknown key", body = problem::Document, content_type = "application/problem+json"),
        (status = 503, description = "The database or the storage is unavailable", body = problem::Document, content_type = "application/problem+json"),
    ),
)]
pub async fn handle(
    State(state): State<SharedState>,
    Named(kid): Named,
    uri: Uri,
) -> Result<Response, Problem> {
    no_query(&uri)?;
    let kid = find(&state, &kid).await?.kid.clone();
    let told = state.services.evidence.life_of(&kid).await?;
    let whole = told.pending.is_empty();
    let life = told.life.into_iter().map(|act| LoggedAct {
        leaf: act.leaf,
        proof: act.proof,
    });
    let mut response = json(&KeyLogAnswer {
        kid,
        life: life.collect(),
        pending: told.pending,
        log_keys: told.log_keys,
    })?;
    if whole {
        // It grows with the life of the key.
        response
            .headers_mut()
            .insert(CACHE_CONTROL, public("max-age=60"));
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use serde_json::json;

    use crate::testing::Fixture;

    #[tokio::test]
    async fn the_acts_of_a_key_come_with_their_proofs() {
        let fixture = Fixture::new().await;
        let path = format!("/v1/keys/{}/log", fixture.kid());
        let kid = fixture.kid().parse().unwrap();
        let acts = fixture
            .state
            .services
            .keys
            .acts_of(&kid, keyring::keys::Share::Known)
            .await
            .unwrap();
        let answered = fixture.get(&path).await;
        assert_eq!(answered.status, StatusCode::OK);
        assert_eq!(answered.header("cache-control"), "no-store", "not whole");
        assert_eq!(
            answered.json(),
            json!({"kid": fixture.kid(), "life": [], "pending": acts, "log_keys": []})
        );
        fixture.publish_log().await;
        let answered = fixture.get(&path).await;
        assert_eq!(answered.header("cache-control"), "public, max-age=60");
        let answer = answered.json();
        assert_eq!(answer["life"].as_array().unwrap().len(), acts.len());
        for act in answer["life"].as_array().unwrap() {
            assert!(act["leaf"].as_str().unwrap().contains(&fixture.kid()));
            let proof = act["proof"].as_str().unwrap();
            assert!(proof.starts_with("c2sp.org/tlog-proof@v1\n"), "{proof}");
        }
        assert_eq!(answer["log_keys"].as_array().unwrap().len(), 1);
        assert!(answer.get("pending").is_none());
        let other = format!("/v1/keys/{}/log", "A".repeat(43));
        assert_eq!(fixture.get(&other).await.code(), "unknown_key");
        let asked = fixture.get(&format!("{path}?from=1")).await;
        assert_eq!(asked.code(), "bad_query");
    }
}
