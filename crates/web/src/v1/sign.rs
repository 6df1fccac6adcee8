//! `POST /v1/rings/{ring}/sign`: one signature.

use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use trust::{Algorithm, Kid, Time};
use utoipa::ToSchema;

use crate::middleware::context::RequestContext;
use crate::middleware::{body, idempotency};
use crate::problem::{self, Problem};
use crate::v1::response::{Named, json, query};
use crate::v1::sign_request::SignRequest;
use crate::v1::state::{ServerState, SharedState};
use keyring::signing::{Serialised, Signed};

/// What is left of the request's time to read the receipt and to answer.
const MARGIN: Duration = Duration::from_millis(500);

/// A signature, released only after its leaf was committed to the log. One of `jws`, `signature`
/// and `envelope` is present, according to the requested format.
#[derive(Debug, Serialize, ToSchema)]
pub struct SignAnswer {
    /// Compact JWS; with an empty middle part if detached.
    #[serde(skip_serializing_if = "Option::is_none")]
    jws: Option<String>,
    /// Base64url.
    #[serde(skip_serializing_if = "Option::is_none")]
    signature: Option<String>,
    /// DSSE envelope.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    envelope: Option<serde_json::Value>,
    #[schema(value_type = String)]
    kid: Kid,
    key_number: u32,
    alg: &'static str,
    /// Log index.
    log_index: i64,
    /// Base64url; opens the leaf's `input_commit`, SHA-256 of the salt and the signing input.
    salt: String,
    #[schema(value_type = String, format = DateTime)]
    time: Time,
    /// With `receipt=wait`: the C2SP `tlog-proof` of the leaf. Absent if no checkpoint covered it
    /// in time; fetch `/v1/receipts/{log_index}` later.
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<String>,
    /// With `receipt=wait` and without a receipt: why there is none yet. The signature is in the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt_unavailable: Option<String>,
}

/// Parameters of a request to sign.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignQuery {
    pub receipt: Option<Wait>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wait {
    Wait,
}

/// Sign
#[utoipa::path(
    post,
    path = "/v1/rings/{ring}/sign",
    operation_id = "sign",
    tag = "signing",
    params(
        ("ring" = String, Path, description = "Name of the ring"),
        ("receipt" = Option<String>, Query, description = "`wait`: include the inclusion proof in the answer, which takes about a second"),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes a retry return the same signature"),
    ),
    request_body = SignRequest,
    responses(
        (status = 200, body = SignAnswer),
        (status = "4XX", description = "The request was refused; nothing was signed", body = problem::Document, content_type = "application/problem+json"),
        (status = "5XX", description = "Nothing was signed or the outcome is unknown; see `code` and Retry-After", body = problem::Document, content_type = "application/problem+json"),
    ),
    security(("access_token" = []), ("mtls" = [])),
)]
pub async fn handle(
    State(state): State<SharedState>,
    context: RequestContext,
    Named(ring): Named,
    request: Request,
) -> Result<Response, Problem> {
    let caller = context.caller.signer(&ring)?.clone();
    let wanted: SignQuery = query(request.uri())?;
    let idempotency = idempotency::of(request.headers())?;
    let asked: SignRequest = body::strict(&context, request).await?;
    let algorithm = ring_algorithm(&state, &ring);
    let alg = asked.expected_algorithm().map(str::to_owned);
    let format = asked.into_format(algorithm)?;
    let alg = alg.as_deref();
    let signing = &state.services.signing;
    let done = signing
        .sign(&caller, &ring, format, alg, idempotency, context.deadline)
        .await?;
    state.layer.metrics.signed(&ring, &done.kid);
    let index = done.index;
    let mut answer = SignAnswer::from(done);
    if wanted.receipt.is_some() {
        match receipt_in_time(&state, index, context.deadline).await {
            Ok(receipt) => answer.receipt = Some(receipt),
            Err(why) => answer.receipt_unavailable = Some(why),
        }
    }
    json(&answer)
}

/// The signature is out already, so a receipt that does not come in time takes nothing away.
async fn receipt_in_time(
    state: &ServerState,
    index: i64,
    deadline: Instant,
) -> Result<String, String> {
    let deadline = deadline.checked_sub(MARGIN).unwrap_or(deadline);
    let log = &state.services.transparency_log;
    let covered = log.covered(index, deadline).await;
    covered.map_err(|why| why.to_string())?;
    let later = "the receipt could not be read; fetch it later";
    match log.receipt(index).await {
        Ok(Some(receipt)) => Ok(receipt.proof.to_string()),
        Ok(None) => Err(later.to_owned()),
        Err(error) => {
            tracing::warn!(index, error = trust::error_chain(&error), "no receipt");
            Err(later.to_owned())
        }
    }
}

/// The ring's algorithm; a ring that does not exist is reported by the sign path.
pub fn ring_algorithm(state: &ServerState, ring: &str) -> Option<Algorithm> {
    state
        .services
        .keys
        .current()
        .rings
        .get(ring)
        .map(|ring| ring.algorithm)
}

impl From<Signed> for SignAnswer {
    fn from(signed: Signed) -> Self {
        let (jws, signature, envelope) = match signed.signature {
            Serialised::Jws(text) => (Some(text), None, None),
            Serialised::Raw(bytes) => (None, Some(trust::base64url::encode(&bytes)), None),
            Serialised::Dsse(envelope) => (None, None, Some(envelope)),
        };
        Self {
            jws,
            signature,
            envelope,
            kid: signed.kid,
            key_number: signed.number,
            alg: signed.algorithm.jws_alg(),
            log_index: signed.index,
            salt: trust::base64url::encode(&signed.salt),
            time: signed.time,
            receipt: None,
            receipt_unavailable: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::StatusCode;
    use serde_json::json;
    use tower::ServiceExt as _;

    use crate::middleware::peer::Peer;
    use crate::testing::{self, Fixture, OPERATOR, SIGNER};
    use crate::v1::sign_request::SignRequest;
    use keyring::keys::PublicationSettings;
    use keyring::signing::{Encoding, Format};
    use trust::Algorithm;

    const PATH: &str = "/v1/rings/records/sign";
    const GOOD: &str = r#"{"format":"jws","payload":"AQID"}"#;

    #[tokio::test]
    async fn a_signature_carries_kid_number_index_salt_and_time() {
        let fixture = Fixture::new().await;
        let answered = fixture.sign(PATH, GOOD).await;
        assert_eq!(answered.status, StatusCode::OK);
        assert_eq!(answered.header("cache-control"), "no-store");
        let answer = answered.json();
        let last = fixture.store.log_size().await.unwrap() - 1;
        let expected = [
            ("kid", json!(fixture.kid())),
            ("key_number", json!(1)),
            ("alg", json!("ES256")),
            ("log_index", json!(last)),
            ("time", json!(fixture.now())),
        ];
        for (member, expected) in expected {
            assert_eq!(answer[member], expected, "{member}");
        }
        assert_eq!(answer["salt"].as_str().unwrap().len(), 22);
        assert!(answer.get("signature").is_none() && answer.get("envelope").is_none());
        assert_eq!(fixture.leaves("sign").await.len(), 1);
        let body = json!({"jws": answer["jws"]}).to_string();
        let verdict = fixture.post("/v1/verify", body).await.json();
        assert_eq!(verdict["verdict"], "VALID", "{verdict}");
    }

    #[test]
    fn each_format_reaches_the_sign_path_as_it_was_meant() {
        let digest = trust::base64url::encode(&[7; 32]);
        let cases = [
            (
                json!({"format": "jws", "payload": "AQI"}),
                Format::Jws {
                    payload: vec![1, 2],
                },
            ),
            (
                json!({"format": "jws-detached", "payload": "AQI"}),
                Format::JwsDetached {
                    payload: vec![1, 2],
                    unencoded: true,
                },
            ),
            (
                json!({"format": "jws-detached", "payload": "AQI", "b64": true}),
                Format::JwsDetached {
                    payload: vec![1, 2],
                    unencoded: false,
                },
            ),
            (
                json!({"format": "raw", "digest": digest, "hash": "sha-256", "encoding": "der"}),
                Format::RawDigest {
                    digest: vec![7; 32],
                    encoding: Encoding::Der,
                },
            ),
            (
                json!({"format": "raw", "payload": "AQI"}),
                Format::RawMessage {
                    payload: vec![1, 2],
                    encoding: Encoding::P1363,
                },
            ),
            (
                json!({"format": "dsse", "payload": "AQI", "payload_type": "text/plain"}),
                Format::Dsse {
                    payload_type: "text/plain".to_owned(),
                    payload: vec![1, 2],
                },
            ),
        ];
        for (body, expected) in cases {
            let asked: SignRequest = serde_json::from_value(body.clone()).unwrap();
            let format = asked.into_format(Some(Algorithm::Es256)).unwrap();
            assert_eq!(format, expected, "{body}");
        }
    }

    #[tokio::test]
    async fn a_wrong_body_names_its_member_and_signs_nothing() {
        let digest = trust::base64url::encode(&[7; 32]);
        let short = trust::base64url::encode(&[7; 31]);
        let cases = [
            (r#"{"format":"jws"}"#.to_owned(), "bad_member", "payload"),
            (
                r#"{"format":"jws","payload":"AQI="}"#.to_owned(),
                "bad_member",
                "payload",
            ),
            (
                r#"{"format":"jws","payload":"AQI","x":1}"#.to_owned(),
                "bad_member",
                "x",
            ),
            (
                r#"{"format":"jws","payload":"AQI","payload":"AQI"}"#.to_owned(),
                "bad_json",
                "payload",
            ),
            (
                r#"{"format":"pgp","payload":"AQI"}"#.to_owned(),
                "bad_member",
                "format",
            ),
            (
                r#"{"format":"jws","payload":"AQI","digest":"AQI"}"#.to_owned(),
                "bad_member",
                "digest",
            ),
            (
                r#"{"format":"jws","payload":"AQI","b64":true}"#.to_owned(),
                "bad_member",
                "b64",
            ),
            (
                r#"{"format":"dsse","payload":"AQI"}"#.to_owned(),
                "bad_member",
                "payload_type",
            ),
            (
                format!(r#"{{"format":"raw","digest":"{digest}"}}"#),
                "bad_member",
                "hash",
            ),
            (
                format!(r#"{{"format":"raw","digest":"{digest}","hash":"md5"}}"#),
                "bad_member",
                "hash",
            ),
            (
                format!(r#"{{"format":"raw","digest":"{short}","hash":"sha-256"}}"#),
                "bad_member",
                "digest",
            ),
            (
                format!(
                    r#"{{"format":"raw","digest":"{digest}","payload":"AQI","hash":"sha-256"}}"#
                ),
                "bad_member",
                "payload",
            ),
        ];
        let fixture = Fixture::new().await;
        let before = fixture.token.signatures();
        for (body, code, member) in cases {
            let answered = fixture.sign(PATH, &body).await;
            assert_eq!(answered.status, StatusCode::BAD_REQUEST, "{body}");
            assert_eq!(answered.code(), code, "{body}");
            assert_eq!(answered.member(), member, "{body}");
            assert_eq!(fixture.token.signatures(), before, "{body}");
        }
    }

    #[tokio::test]
    async fn a_digest_of_another_hash_than_the_rings_is_refused() {
        let fixture = Fixture::new().await;
        let digest = trust::base64url::encode(&[7; 48]);
        let body = format!(r#"{{"format":"raw","digest":"{digest}","hash":"sha-384"}}"#);
        assert_eq!(fixture.sign(PATH, &body).await.code(), "wrong_hash");
        let answered = fixture.sign("/v1/rings/digests/sign", &body).await;
        assert_eq!(answered.code(), "wrong_hash", "Ed25519 has no digest");
    }

    #[tokio::test]
    async fn only_a_signer_of_the_ring_gets_past_the_door() {
        let fixture = Fixture::new().await;
        let answered = fixture.post(PATH, GOOD).await;
        assert_eq!(answered.status, StatusCode::UNAUTHORIZED);
        assert_eq!(answered.code(), "unauthenticated");
        assert_eq!(
            answered.header("www-authenticate"),
            "Bearer realm=\"chancery\""
        );

        let mut request = testing::post(PATH, GOOD);
        request
            .headers_mut()
            .insert("authorization", "Bearer wrong".parse().unwrap());
        assert_eq!(fixture.send(request).await.code(), "invalid_credentials");

        let mut request = testing::post(PATH, GOOD);
        let operator = format!("Bearer {OPERATOR}").parse().unwrap();
        request.headers_mut().insert("authorization", operator);
        assert_eq!(fixture.send(request).await.code(), "forbidden");

        // The body is not even looked at: who may not sign learns nothing.
        let answered = fixture.sign("/v1/rings/others/sign", "nonsense").await;
        assert_eq!(answered.status, StatusCode::FORBIDDEN);
        assert!(fixture.leaves("sign").await.is_empty());

        let refusals = fixture.leaves("refusal").await;
        let seen: Vec<_> = refusals
            .iter()
            .map(|leaf| {
                let text = |member: &str| leaf[member].as_str().unwrap();
                let code = text("reason").split(':').next().unwrap();
                (text("actor"), text("ring"), code)
            })
            .collect();
        assert_eq!(
            seen,
            [
                ("olga", "records", "forbidden"),
                ("integrity", "others", "forbidden"),
            ]
        );
        assert_eq!(refusals[0]["action"], "POST /v1/rings/{ring}/sign");
        let strangers = fixture.strangers_refused().await;
        assert_eq!(
            (strangers["count"].as_u64(), strangers["action"].as_str()),
            (Some(2), Some("count"))
        );
        assert_eq!(
            strangers["reason"],
            "1 invalid_credentials, 1 unauthenticated; 1 addresses: 2 from 0.0.0.0"
        );
    }

    #[tokio::test]
    async fn a_client_certificate_is_as_good_as_a_token_until_a_bad_token_comes_with_it() {
        let peer = Peer {
            sans: vec!["signer.example".to_owned()],
            ..Peer::default()
        };
        let fixture =
            Fixture::over(testing::settings(), PublicationSettings::default(), peer).await;
        assert_eq!(fixture.post(PATH, GOOD).await.status, StatusCode::OK);
        let mut request = testing::post(PATH, GOOD);
        request
            .headers_mut()
            .insert("authorization", "Bearer wrong".parse().unwrap());
        assert_eq!(fixture.send(request).await.code(), "invalid_credentials");
    }

    #[tokio::test]
    async fn a_5xx_says_nothing_of_the_inside() {
        let fixture = Fixture::new().await;
        let broken = "CREATE TRIGGER broken BEFORE INSERT ON log_leaf \
             BEGIN SELECT RAISE(ABORT, 'row 17 of table leaves'); END";
        fixture.place.raw(broken).await.unwrap();
        let answered = fixture.sign(PATH, GOOD).await;
        assert_eq!(answered.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(answered.code(), "internal");
        assert!(!String::from_utf8_lossy(&answered.body).contains("row 17"));
        fixture
            .token
            .fail_signing(token::Error::Settings("slot 17".to_owned()));
        let answered = fixture.sign(PATH, GOOD).await;
        assert_eq!(answered.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answered.code(), "token_unavailable");
        assert!(!String::from_utf8_lossy(&answered.body).contains("slot 17"));
    }

    #[tokio::test]
    async fn a_client_that_disconnects_leaves_the_signature_to_be_finished() {
        let fixture = Fixture::new().await;
        let capacity = fixture.state.layer.limits.in_flight();
        fixture.token.hold();
        let mut request = testing::post(PATH, Body::from(GOOD));
        let bearer = format!("Bearer {SIGNER}").parse().unwrap();
        request.headers_mut().insert("authorization", bearer);
        let connection = fixture.connection();
        let answering = tokio::spawn(connection.oneshot(request));
        fixture.until_asked(1).await;
        answering.abort();
        let _ = answering.await;
        tokio::task::yield_now().await;
        assert_eq!(
            fixture.state.layer.limits.in_flight(),
            capacity + 1,
            "the place is the work's"
        );
        fixture.token.release();
        while fixture.state.layer.limits.in_flight() > capacity {
            tokio::task::yield_now().await;
        }
        assert_eq!(fixture.leaves("sign").await.len(), 1);
    }
}
