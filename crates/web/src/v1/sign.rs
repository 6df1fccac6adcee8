//! `POST /v1/rings/{ring}/sign`: one signature.

use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use trust::{Algorithm, Kid, Time};
use utoipa::ToSchema;

use crate::app::Order;
use crate::middleware::context::RequestContext;
use crate::middleware::{body, idempotency};
use crate::problem::{self, Code, Problem};
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
    let order = Order {
        caller,
        what: asked.into_format(algorithm)?,
        algorithm: alg,
        idempotency,
        deadline: context.deadline,
        ring,
    };
    let ring = order.ring.clone();
    let permit = context.permit.clone();
    let work = state.app.signing.sign(order);
    // The client may go away; what was begun is finished, recorded and gives its place back.
    let done = tokio::spawn(async move {
        let done = work.await;
        drop(permit);
        done
    })
    .await
    .map_err(|e| Problem::caused_by(Code::Internal, &e))??;
    state.layer.metrics.signed(&ring, &done.kid);
    let index = done.index;
    let mut answer = SignAnswer::from(done);
    if wanted.receipt.is_some() {
        answer.receipt = receipt_in_time(&state, index, context.deadline).await;
    }
    json(&answer)
}

/// The signature is out already, so a receipt that does not come in time takes nothing away.
async fn receipt_in_time(state: &ServerState, index: i64, deadline: Instant) -> Option<String> {
    let deadline = deadline.checked_sub(MARGIN).unwrap_or(deadline);
    if !state.app.transparency_log.covered(index, deadline).await {
        return None;
    }
    match state.app.transparency_log.receipt(index).await {
        Ok(receipt) => Some(receipt?.proof.to_string()),
        Err(error) => {
            tracing::warn!(index, error = trust::error_chain(&error), "no receipt");
            None
        }
    }
}

/// The ring's algorithm; a ring that does not exist is reported by the sign path.
pub fn ring_algorithm(state: &ServerState, ring: &str) -> Option<Algorithm> {
    state
        .app
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
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::body::Body;
    use axum::http::StatusCode;
    use serde_json::json;
    use tower::ServiceExt as _;

    use crate::middleware::peer::Peer;
    use crate::testing::{self, Fixture, OPERATOR, SIGNER};
    use keyring::signing::{Encoding, Format};

    const PATH: &str = "/v1/rings/records/sign";
    const GOOD: &str = r#"{"format":"jws","payload":"AQID"}"#;

    #[tokio::test]
    async fn a_signature_carries_kid_number_index_salt_and_time() {
        let fixture = Fixture::new();
        let answered = fixture.sign(PATH, GOOD).await;
        assert_eq!(answered.status, StatusCode::OK);
        assert_eq!(answered.header("cache-control"), "no-store");
        assert_eq!(
            answered.json(),
            json!({
                "signature": "AQID",
                "kid": fixture.kid(),
                "key_number": 1,
                "alg": "ES256",
                "log_index": 7,
                "salt": "CQkJCQkJCQkJCQkJCQkJCQ",
                "time": "2027-01-15T08:00:00.000Z",
            })
        );
    }

    #[tokio::test]
    async fn each_format_reaches_the_sign_path_as_it_was_meant() {
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
            let fixture = Fixture::new();
            let answered = fixture.sign(PATH, &body.to_string()).await;
            assert_eq!(answered.status, StatusCode::OK, "{body}");
            let orders = fixture.world.orders.lock().unwrap();
            assert_eq!(orders[0].what, expected, "{body}");
            assert_eq!(orders[0].ring, "records");
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
        for (body, code, member) in cases {
            let fixture = Fixture::new();
            let answered = fixture.sign(PATH, &body).await;
            assert_eq!(answered.status, StatusCode::BAD_REQUEST, "{body}");
            assert_eq!(answered.code(), code, "{body}");
            assert_eq!(answered.member(), member, "{body}");
            assert!(fixture.world.orders.lock().unwrap().is_empty(), "{body}");
        }
    }

    #[tokio::test]
    async fn a_digest_of_another_hash_than_the_rings_is_refused() {
        let fixture = Fixture::new();
        let digest = trust::base64url::encode(&[7; 48]);
        let body = format!(r#"{{"format":"raw","digest":"{digest}","hash":"sha-384"}}"#);
        assert_eq!(fixture.sign(PATH, &body).await.code(), "wrong_hash");
        let answered = fixture.sign("/v1/rings/digests/sign", &body).await;
        assert_eq!(answered.code(), "wrong_hash", "Ed25519 has no digest");
    }

    #[tokio::test]
    async fn only_a_signer_of_the_ring_gets_past_the_door() {
        let fixture = Fixture::new();
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
        assert!(fixture.world.orders.lock().unwrap().is_empty());

        let refusals = fixture.world.refusals.lock().unwrap();
        let seen: Vec<_> = refusals
            .iter()
            .map(|refusal| {
                let code = refusal.reason.split(':').next().unwrap();
                (refusal.principal.as_deref(), refusal.ring.as_deref(), code)
            })
            .collect();
        assert_eq!(
            seen,
            [
                (None, Some("records"), "unauthenticated"),
                (None, Some("records"), "invalid_credentials"),
                (Some("olga"), Some("records"), "forbidden"),
                (Some("integrity"), Some("others"), "forbidden"),
            ]
        );
        assert_eq!(refusals[0].action, "POST /v1/rings/{ring}/sign");
    }

    #[tokio::test]
    async fn a_client_certificate_is_as_good_as_a_token_until_a_bad_token_comes_with_it() {
        let peer = Peer {
            sans: vec!["signer.example".to_owned()],
            ..Peer::default()
        };
        let fixture = Fixture::over(testing::settings(), testing::snapshot(), peer);
        assert_eq!(fixture.post(PATH, GOOD).await.status, StatusCode::OK);
        let mut request = testing::post(PATH, GOOD);
        request
            .headers_mut()
            .insert("authorization", "Bearer wrong".parse().unwrap());
        assert_eq!(fixture.send(request).await.code(), "invalid_credentials");
    }

    #[tokio::test]
    async fn a_5xx_says_nothing_of_the_inside() {
        let fixture = Fixture::new();
        *fixture.world.sign.lock().unwrap() =
            Box::new(|| Err(signing_broken("row 17 of table leaves")));
        let answered = fixture.sign(PATH, GOOD).await;
        assert_eq!(answered.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(answered.code(), "internal");
        assert!(!String::from_utf8_lossy(&answered.body).contains("row 17"));
    }

    fn signing_broken(what: &str) -> keyring::signing::Error {
        keyring::signing::Error::Broken(what.to_owned())
    }

    #[tokio::test]
    async fn a_client_that_disconnects_leaves_the_signature_to_be_finished() {
        let fixture = Fixture::new();
        let capacity = fixture.state.layer.limits.in_flight();
        let world = Arc::clone(&fixture.world);
        // No signature is finished before a permit comes.
        world.gate.forget_permits(1_000);
        let mut request = testing::post(PATH, Body::from(GOOD));
        let bearer = format!("Bearer {SIGNER}").parse().unwrap();
        request.headers_mut().insert("authorization", bearer);
        let connection = fixture.connection();
        let answering = tokio::spawn(connection.oneshot(request));
        while world.orders.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        answering.abort();
        let _ = answering.await;
        tokio::task::yield_now().await;
        assert_eq!(
            fixture.state.layer.limits.in_flight(),
            capacity + 1,
            "the place is the work's"
        );
        world.gate.add_permits(1);
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(
            fixture.state.layer.limits.in_flight(),
            capacity,
            "and is given back"
        );
    }
}
