//! `GET /v1/keys/{kid}/log`: every act on a key with its proof, so that its state is checked and not
//! believed.

use axum::extract::State;
use axum::http::header::ACCESS_CONTROL_ALLOW_ORIGIN;
use axum::http::{HeaderValue, Uri};
use axum::response::Response;
use serde::Serialize;
use trust::Kid;
use utoipa::ToSchema;

use super::Shared;
use super::key::{find, public};
use super::problem::{self, Problem};
use super::respond::{Named, json, no_query};

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
    tag = "log",
    params(("kid" = String, Path, description = "RFC 7638 SHA-256 thumbprint of the key")),
    responses(
        (status = 200, body = KeyLogAnswer),
        (status = 404, description = "Unknown key", body = problem::Document, content_type = "application/problem+json"),
        (status = 503, description = "The database or the storage is unavailable", body = problem::Document, content_type = "application/problem+json"),
    ),
)]
pub async fn handle(
    State(edge): State<Shared>,
    Named(kid): Named,
    uri: Uri,
) -> Result<Response, Problem> {
    no_query(&uri)?;
    let snapshot = edge.app.keys.current();
    let kid = find(&snapshot, &kid)?.kid.clone();
    let told = edge.app.evidence.life_of(kid.clone()).await?;
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
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    if whole {
        // It grows with the life of the key.
        headers.insert(axum::http::header::CACHE_CONTROL, public("max-age=60"));
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
        let fixture = Fixture::new();
        let path = format!("/v1/keys/{}/log", fixture.kid());
        let answered = fixture.get(&path).await;
        assert_eq!(answered.status, StatusCode::OK);
        assert_eq!(answered.header("cache-control"), "no-store", "not whole");
        assert_eq!(
            answered.json(),
            json!({
                "kid": fixture.kid(),
                "life": [{"leaf": "leaf", "proof": "proof"}],
                "pending": [9],
                "log_keys": ["log-kid"],
            })
        );
        let other = format!("/v1/keys/{}/log", "A".repeat(43));
        assert_eq!(fixture.get(&other).await.code(), "unknown_key");
        let asked = fixture.get(&format!("{path}?from=1")).await;
        assert_eq!(asked.code(), "bad_query");
    }
}
