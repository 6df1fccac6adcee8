//! `GET /v1/keys/{kid}/jwk`, `…/pem`, `…/certificate`: the public key alone, for tools.
//!
//! A tool that fetches only the key sees nothing of its state, so a revoked key is not served
//! here (410); `/v1/keys/{kid}` has it, together with its revocation.

use axum::extract::State;
use axum::http::header::ACCESS_CONTROL_ALLOW_ORIGIN;
use axum::http::{HeaderValue, Uri};
use axum::response::Response;

use super::Shared;
use super::codes::Code;
use super::key::{find, public};
use super::problem::{self, Problem};
use super::respond::{Named, bytes_of, no_query};
use super::state;
use keyring::keys::{Key, Snapshot};

/// One key as JWK
#[utoipa::path(
    get,
    path = "/v1/keys/{kid}/jwk",
    tag = "publication",
    params(("kid" = String, Path)),
    responses(
        (status = 200, body = Object, content_type = "application/jwk+json"),
        (status = 404, description = "Unknown key", body = problem::Document, content_type = "application/problem+json"),
        (status = 410, description = "The key was revoked", body = problem::Document, content_type = "application/problem+json"),
    ),
)]
pub async fn jwk(
    State(edge): State<Shared>,
    Named(kid): Named,
    uri: Uri,
) -> Result<Response, Problem> {
    no_query(&uri)?;
    let snapshot = edge.app.keys.current();
    let key = usable(&snapshot, &kid)?;
    let jwk = serde_json::to_vec(&key.public.to_jwk(key.algorithm, key.usage, &key.kid))
        .map_err(|e| Problem::caused_by(Code::Internal, &e))?;
    Ok(material(&snapshot, jwk, "application/jwk+json"))
}

/// One key as PEM
///
/// SubjectPublicKeyInfo, for `openssl dgst -verify`.
#[utoipa::path(
    get,
    path = "/v1/keys/{kid}/pem",
    tag = "publication",
    params(("kid" = String, Path)),
    responses(
        (status = 200, body = String, content_type = "application/x-pem-file"),
        (status = 404, description = "Unknown key", body = problem::Document, content_type = "application/problem+json"),
        (status = 410, description = "The key was revoked", body = problem::Document, content_type = "application/problem+json"),
    ),
)]
pub async fn pem(
    State(edge): State<Shared>,
    Named(kid): Named,
    uri: Uri,
) -> Result<Response, Problem> {
    no_query(&uri)?;
    let snapshot = edge.app.keys.current();
    let key = usable(&snapshot, &kid)?;
    Ok(material(
        &snapshot,
        to_pem(&key.spki).into_bytes(),
        "application/x-pem-file",
    ))
}

/// The certificate of a key
///
/// Certificates are not supported yet: a kid is the key's own thumbprint and needs no certification
/// authority. The transcript at `…/transcript` shows who accepted the key.
#[utoipa::path(
    get,
    path = "/v1/keys/{kid}/certificate",
    tag = "publication",
    params(("kid" = String, Path)),
    responses(
        (status = 404, description = "Unknown key, or it has no certificate", body = problem::Document, content_type = "application/problem+json"),
    ),
)]
pub async fn certificate(
    State(edge): State<Shared>,
    Named(kid): Named,
) -> Result<Response, Problem> {
    let snapshot = edge.app.keys.current();
    find(&snapshot, &kid)?;
    Err(Problem::new(
        Code::NoCertificate,
        "no certificate was issued for this key; its transcript is at /v1/keys/{kid}/transcript",
    ))
}

fn usable<'a>(snapshot: &'a Snapshot, kid: &str) -> Result<&'a Key, Problem> {
    let key = find(snapshot, kid)?;
    match state::life(key).revocation {
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
fn material(snapshot: &Snapshot, bytes: Vec<u8>, content_type: &'static str) -> Response {
    let mut response = bytes_of(
        bytes,
        HeaderValue::from_static(content_type),
        public(&format!("max-age={}", snapshot.jwks.max_age.as_secs())),
    );
    response
        .headers_mut()
        .insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    response
}

/// RFC 7468 section 13.
fn to_pem(spki: &[u8]) -> String {
    use base64ct::Encoding as _;
    let text = base64ct::Base64::encode_string(spki);
    let mut pem = String::from("-----BEGIN PUBLIC KEY-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = more;
    }
    pem.push_str("-----END PUBLIC KEY-----\n");
    pem
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use trust::PublicKey;

    use crate::testing::{self, Fixture};

    #[tokio::test]
    async fn a_key_is_served_with_its_state_and_alone() {
        let fixture = Fixture::new();
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
        assert_eq!(transcript.json()["of"], fixture.kid());
        assert!(transcript.header("cache-control").contains("max-age"));
    }

    #[tokio::test]
    async fn a_revoked_key_is_shown_only_with_its_revocation() {
        let snapshot = testing::snapshot_with_revoked_key();
        let fixture = Fixture::over(testing::settings(), snapshot, Default::default());
        let path = format!("/v1/keys/{}", fixture.kid());
        let view = fixture.get(&path).await.json();
        assert_eq!(view["state"], "revoked");
        assert_eq!(view["revocation"]["reason"], "compromised");
        assert_eq!(
            view["revocation"]["compromised_since"],
            "2027-01-15T07:59:10.000Z"
        );
        for part in ["jwk", "pem"] {
            let answered = fixture.get(&format!("{path}/{part}")).await;
            assert_eq!(answered.status, StatusCode::GONE);
            assert_eq!(answered.code(), "key_revoked");
        }
    }

    #[tokio::test]
    async fn a_similar_kid_is_no_kid() {
        let fixture = Fixture::new();
        let other = "A".repeat(43);
        for kid in ["x", &other, "..", "%ff"] {
            let answered = fixture.get(&format!("/v1/keys/{kid}")).await;
            assert_eq!(answered.status, StatusCode::NOT_FOUND, "{kid}");
            answered.code();
        }
    }
}
