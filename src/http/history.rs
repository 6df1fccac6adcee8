//! `GET /v1/keys/history`: every key there ever was, as a signed JWT in the form of OpenID
//! Federation 1.0 section 8.7 (historical keys).

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderValue, Uri};
use axum::response::Response;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use trust::Time;

use super::Shared;
use super::codes::Code;
use super::edge::Present;
use super::problem::{self, Problem};
use super::respond::{bytes_of, no_query};
use super::state;
use crate::keys::{Key, Snapshot};

/// The last history that was signed. It is signed once per snapshot and not once per request, so
/// strangers cannot make the token work.
#[derive(Default)]
pub struct Cache(Mutex<Option<(Arc<Snapshot>, String)>>);

/// Signed history
///
/// Every key that was ever accepted, with the end of its life and, where it was revoked, when and
/// why. A JWT of type `jwk-set+jwt`.
#[utoipa::path(
    get,
    path = "/v1/keys/history",
    tag = "publication",
    responses(
        (status = 200, description = "Compact JWT", body = String, content_type = "application/jwk-set+jwt"),
        (status = 503, description = "It cannot be signed at the moment", body = problem::Document, content_type = "application/problem+json"),
    ),
)]
pub async fn handle(
    State(edge): State<Shared>,
    present: Present,
    uri: Uri,
) -> Result<Response, Problem> {
    no_query(&uri)?;
    let Some(ring) = edge.settings.history_ring.clone() else {
        return Err(Problem::new(
            Code::NotFound,
            "no ring is set to sign the history",
        ));
    };
    let snapshot = edge.app.keys.current();
    // Whoever comes first signs; the others wait for that one signature.
    let mut kept = edge.history.0.lock().await;
    let token = match &*kept {
        Some((of, token)) if Arc::ptr_eq(of, &snapshot) => token.clone(),
        _ => {
            let claims = claims(&snapshot, &edge.settings.issuer, (edge.app.clock)());
            let token = edge
                .app
                .signing
                .sign_history(ring, claims.to_string().into_bytes(), present.deadline)
                .await?;
            *kept = Some((snapshot, token.clone()));
            token
        }
    };
    drop(kept);
    Ok(bytes_of(
        token,
        HeaderValue::from_static("application/jwk-set+jwt"),
        HeaderValue::from_static("public, max-age=60"),
    ))
}

/// The claims over one snapshot, by ring and number.
fn claims(snapshot: &Snapshot, issuer: &str, now: Time) -> Value {
    let keys: Vec<Value> = snapshot
        .rings
        .values()
        .flat_map(|ring| &ring.keys)
        .map(|key| entry(key))
        .collect();
    json!({
        "iss": issuer,
        "iat": seconds(now),
        "keys": keys,
    })
}

/// One key. `exp` is required by the form: the end of its life, or the one that was approved.
fn entry(key: &Key) -> Value {
    let mut entry = serde_json::to_value(key.public.to_jwk(key.algorithm, &key.kid))
        .unwrap_or_else(|_| json!({}));
    let life = state::life(key);
    let end = life.ended_at.unwrap_or(key.retire_at);
    entry["iat"] = seconds(key.published_at).into();
    entry["nbf"] = seconds(life.activated_at.unwrap_or(key.activate_at)).into();
    entry["exp"] = seconds(end).into();
    entry["ring"] = key.ring.as_ref().into();
    entry["key_number"] = key.number.into();
    if let Some(revocation) = &life.revocation {
        let mut revoked = json!({
            "revoked_at": seconds(revocation.revoked_at),
            "reason": revocation.reason,
        });
        if let Some(since) = revocation.compromised_since {
            revoked["compromised_since"] = seconds(since).into();
        }
        entry["revoked"] = revoked;
    }
    entry
}

/// NumericDate, RFC 7519 section 2, whole seconds.
fn seconds(time: Time) -> i64 {
    time.millis().div_euclid(1_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::{self, Fixture, NOW};

    #[test]
    fn the_history_holds_every_key_with_its_end_and_its_revocation() {
        let snapshot = testing::snapshot_with_revoked_key();
        let claims = claims(&snapshot, "https://x.example", Time::from_millis(NOW));
        assert_eq!(claims["iss"], "https://x.example");
        assert_eq!(claims["iat"], NOW / 1_000);
        let keys = claims["keys"].as_array().unwrap();
        assert_eq!(keys.len(), 2);
        let revoked = keys.iter().find(|key| key["ring"] == "records").unwrap();
        assert_eq!(
            revoked["revoked"],
            json!({
                "revoked_at": (NOW - 10_000) / 1_000,
                "reason": "compromised",
                "compromised_since": (NOW - 50_000) / 1_000,
            })
        );
        assert_eq!(revoked["exp"], (NOW - 10_000) / 1_000);
        let standby = keys.iter().find(|key| key["ring"] == "digests").unwrap();
        assert_eq!(standby["exp"], (NOW + 7_776_000_000) / 1_000);
        assert!(standby.get("revoked").is_none());
        for key in keys {
            assert!(key["kid"].is_string() && key["iat"].is_i64() && key["nbf"].is_i64());
        }
    }

    #[tokio::test]
    async fn it_is_signed_once_per_snapshot() {
        let fixture = Fixture::new();
        for _ in 0..3 {
            let answered = fixture.get("/v1/keys/history").await;
            assert_eq!(answered.header("content-type"), "application/jwk-set+jwt");
            assert_eq!(answered.body, b"head.claims.signature");
        }
        assert_eq!(fixture.world.histories.lock().unwrap().len(), 1);
        let next = testing::snapshot_with_revoked_key();
        fixture.world.snapshot.store(Arc::new(next));
        fixture.get("/v1/keys/history").await;
        assert_eq!(fixture.world.histories.lock().unwrap().len(), 2);
    }
}
