//! `GET /v1/keys/{kid}/jwk`: the public key alone, for tools.
//!
//! A tool that fetches only the key sees nothing of its state, so a revoked key is not served
//! here (410); `/v1/keys/{kid}` has it, together with its revocation.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderValue, Uri};
use axum::response::Response;

use crate::problem::{self, Code, Problem};
use crate::v1::key::find;
use crate::v1::key_life;
use crate::v1::response::{Named, bytes_of, no_query, public};
use crate::v1::state::SharedState;
use keyring::keys::{Key, Snapshot};

/// One key as JWK
#[utoipa::path(
    get,
    path = "/v1/keys/{kid}/jwk",
    operation_id = "key_jwk",
    tag = "publication",
    params(("kid" = String, Path)),
    responses(
        (status = 200, body = Object, content_type = "application/jwk+json"),
        (status = 404, description = "Unknown key", body = problem::Document, content_type = "application/problem+json"),
        (status = 410, description = "The key was revoked", body = problem::Document, content_type = "application/problem+json"),
        (status = 503, description = "The database is unavailable", body = problem::Document, content_type = "application/problem+json"),
    ),
)]
pub async fn handle(
    State(state): State<SharedState>,
    Named(kid): Named,
    uri: Uri,
) -> Result<Response, Problem> {
    no_query(&uri)?;
    let key = usable(&state, &kid).await?;
    let snapshot = state.services.keys.current();
    let jwk = serde_json::to_vec(&key.public.to_jwk(key.algorithm, key.usage, &key.kid))
        .map_err(|e| Problem::caused_by(Code::Internal, &e))?;
    Ok(material(&snapshot, jwk, "application/jwk+json"))
}

/// The key, unless it was revoked.
pub async fn usable(state: &SharedState, kid: &str) -> Result<Arc<Key>, Problem> {
    let key = find(state, kid).await?;
    match key_life::life(&key).revocation {
        None => Ok(key),
        Some(revocation) => Err(Problem::new(
            Code::KeyRevoked,
            format!(
                "revoked at {} ({}); the key and its revocation are at /v1/keys/{}",
                revocation.revoked_at, revocation.reason, key.kid
            ),
        )),
    }
}

/// Kept as long as a JWKS: the bytes never change, but that they are served does.
pub fn material(snapshot: &Snapshot, bytes: Vec<u8>, content_type: &'static str) -> Response {
    bytes_of(
        bytes,
        HeaderValue::from_static(content_type),
        public(&format!("max-age={}", snapshot.jwks.max_age.as_secs())),
    )
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use trust::PublicKey;

    use crate::testing::Fixture;

    #[tokio::test]
    async fn a_key_is_served_with_its_state_and_alone() {
        let fixture = Fixture::new().await;
        let path = format!("/v1/keys/{}", fixture.kid());
        let view = fixture.get(&path).await.json();
        assert_eq!(view["state"], "active");
        assert_eq!(view["role"], "primary");
        assert_eq!(view["jwk"]["kid"], view["kid"]);

        let jwk = fixture.get(&format!("{path}/jwk")).await;
        assert_eq!(jwk.header("content-type"), "application/jwk+json");
        assert_eq!(jwk.json(), view["jwk"]);

        let pem = fixture.get(&format!("{path}/pem")).await;
        let text = String::from_utf8(pem.body).unwrap();
        assert!(text.lines().all(|line| line.len() <= 64), "{text}");
        let spki: String = text.lines().filter(|l| !l.starts_with('-')).collect();
        use base64ct::Encoding as _;
        let spki = base64ct::Base64::decode_vec(&spki).unwrap();
        let key = PublicKey::from_spki_der(&spki).unwrap();
        assert_eq!(key.kid().as_str(), fixture.kid());

        let certificate = fixture.get(&format!("{path}/certificate")).await;
        assert_eq!(certificate.code(), "no_certificate");

        let transcript = fixture.get(&format!("{path}/transcript")).await;
        assert!(transcript.json().to_string().contains(&fixture.kid()));
        assert!(transcript.header("cache-control").contains("max-age"));
    }

    #[tokio::test]
    async fn a_revoked_key_is_shown_only_with_its_revocation() {
        let fixture = Fixture::new().await;
        fixture.compromise(1).await;
        let path = format!("/v1/keys/{}", fixture.kid());
        let view = fixture.get(&path).await.json();
        assert_eq!(view["state"], "revoked");
        assert_eq!(view["revocation"]["reason"], "compromised");
        assert_eq!(
            view["revocation"]["compromised_since"],
            trust::Time::from_millis(fixture.now().millis() - 60_000).to_string()
        );
        for part in ["jwk", "pem"] {
            let answered = fixture.get(&format!("{path}/{part}")).await;
            assert_eq!(answered.status, StatusCode::GONE);
            assert_eq!(answered.code(), "key_revoked");
        }
    }

    #[tokio::test]
    async fn a_similar_kid_is_no_kid() {
        let fixture = Fixture::new().await;
        let other = "A".repeat(43);
        for kid in ["x", &other, "..", "%ff"] {
            let answered = fixture.get(&format!("/v1/keys/{kid}")).await;
            assert_eq!(answered.status, StatusCode::NOT_FOUND, "{kid}");
            answered.code();
        }
    }
}
