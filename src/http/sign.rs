//! `POST /v1/rings/{ring}/sign`: one signature.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use trust::{Algorithm, Hash, Kid, Time};
use utoipa::ToSchema;

use super::app::Order;
use super::body::{self, base64url};
use super::codes::Code;
use super::edge::Present;
use super::problem::{self, Problem};
use super::respond::{Named, json, no_query};
use super::{Edge, Shared};
use crate::signing::{Encoding, Format, IdempotencyKey, Serialised, Signed};

/// draft-ietf-httpapi-idempotency-key-header.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const IDEMPOTENCY_KEY_MAX: usize = 128;

/// What is to be signed, and in which form.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignRequest {
    pub format: FormatName,
    /// Base64url. With every format but `raw` over a digest.
    payload: Option<String>,
    /// Base64url, with `raw`: the digest that the caller made of its message.
    digest: Option<String>,
    /// The digest's hash; it has to be the one of the ring's algorithm.
    #[schema(value_type = Option<HashName>)]
    hash: Option<String>,
    /// With `raw`: form of an ECDSA signature, `p1363` if nothing is said.
    encoding: Option<EncodingName>,
    /// With `dsse`: type of the payload, usually a media type.
    payload_type: Option<String>,
    /// With `jws-detached`: `false` (RFC 7797, the payload enters the signature as it is) if
    /// nothing is said; `true` encodes it first (RFC 7515 appendix F).
    b64: Option<bool>,
    /// What the caller expects the ring to sign with; another algorithm is refused.
    alg: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FormatName {
    /// JWS compact serialisation.
    Jws,
    /// JWS compact serialisation without its payload.
    JwsDetached,
    /// The signature alone.
    Raw,
    /// A DSSE envelope.
    Dsse,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum EncodingName {
    /// r and s side by side, as in JOSE.
    P1363,
    /// ECDSA-Sig-Value in DER.
    Der,
}

/// For the description of the interface only; the parser takes the hash's own spelling.
#[derive(ToSchema)]
#[schema(rename_all = "kebab-case")]
#[expect(dead_code, reason = "names the values in the OpenAPI document")]
pub enum HashName {
    #[schema(rename = "sha-256")]
    Sha256,
    #[schema(rename = "sha-384")]
    Sha384,
    #[schema(rename = "sha-512")]
    Sha512,
}

/// A signature; its leaf stands in the log before it leaves. One of `jws`, `signature` and
/// `envelope` is present, by the format asked for.
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
    /// Place in the log.
    log_index: i64,
    /// Base64url; opens the leaf's `input_commit`, SHA-256 of the salt and the signing input.
    salt: String,
    #[schema(value_type = String, format = DateTime)]
    time: Time,
}

/// Sign
#[utoipa::path(
    post,
    path = "/v1/rings/{ring}/sign",
    tag = "signing",
    params(
        ("ring" = String, Path, description = "Name of the ring"),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes a retry return the same signature"),
    ),
    request_body = SignRequest,
    responses(
        (status = 200, body = SignAnswer),
        (status = "4XX", description = "The request was refused; nothing was signed", body = problem::Document, content_type = "application/problem+json"),
        (status = "5XX", description = "No signature; see Retry-After", body = problem::Document, content_type = "application/problem+json"),
    ),
    security(("access_token" = []), ("mtls" = [])),
)]
pub async fn handle(
    State(edge): State<Shared>,
    present: Present,
    Named(ring): Named,
    request: Request,
) -> Result<Response, Problem> {
    let caller = present.caller.signer(&ring)?.clone();
    no_query(request.uri())?;
    let idempotency = idempotency_key(request.headers())?;
    let asked: SignRequest = body::strict(&edge, &present, request).await?;
    let algorithm = ring_algorithm(&edge, &ring);
    let alg = asked.alg.clone();
    let order = Order {
        caller,
        what: asked.into_format(algorithm)?,
        algorithm: alg,
        idempotency,
        deadline: present.deadline,
        ring,
    };
    let ring = order.ring.clone();
    let place = present.place.clone();
    let work = edge.app.signing.sign(order);
    // The client may go away; what was begun is finished, recorded and gives its place back.
    let done = tokio::spawn(async move {
        let done = work.await;
        drop(place);
        done
    })
    .await
    .map_err(|e| Problem::caused_by(Code::Internal, &e))??;
    edge.figures.signed(&ring, &done.kid);
    json(&SignAnswer::from(done))
}

/// The ring's algorithm; a ring that does not exist is reported by the sign path.
pub fn ring_algorithm(edge: &Edge, ring: &str) -> Option<Algorithm> {
    edge.app
        .keys
        .current()
        .rings
        .get(ring)
        .map(|ring| ring.algorithm)
}

/// A structured-header string (RFC 8941 section 3.3.3), or the bare characters that many clients
/// send; both spellings are the same key.
pub fn idempotency_key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, Problem> {
    let wrong = || {
        Problem::new(
            Code::BadHeader,
            format!("expected one string of 1 to {IDEMPOTENCY_KEY_MAX} letters, digits, '-', '_', '.' or ':'"),
        )
        .about("Idempotency-Key")
    };
    let mut given = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = given.next() else {
        return Ok(None);
    };
    if given.next().is_some() {
        return Err(wrong());
    }
    let text = value.to_str().map_err(|_| wrong())?.trim();
    let text = match text.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"').ok_or_else(wrong)?,
        None => text,
    };
    let good = !text.is_empty()
        && text.len() <= IDEMPOTENCY_KEY_MAX
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte));
    if !good {
        return Err(wrong());
    }
    Ok(Some(IdempotencyKey(text.to_owned())))
}

impl SignRequest {
    /// Members that do not belong to the format are refused like unknown ones: the caller means
    /// something that would not happen.
    pub fn into_format(self, algorithm: Option<Algorithm>) -> Result<Format, Problem> {
        self.only_members_of_its_format()?;
        match self.format {
            FormatName::Jws => Ok(Format::Jws {
                payload: required(self.payload.as_deref(), "payload")?,
            }),
            FormatName::JwsDetached => Ok(Format::JwsDetached {
                payload: required(self.payload.as_deref(), "payload")?,
                unencoded: !self.b64.unwrap_or(false),
            }),
            FormatName::Dsse => Ok(Format::Dsse {
                payload: required(self.payload.as_deref(), "payload")?,
                payload_type: self
                    .payload_type
                    .filter(|kind| !kind.is_empty())
                    .ok_or_else(|| {
                        Problem::member("payload_type", "expected the payload's type")
                    })?,
            }),
            FormatName::Raw => self.into_raw(algorithm),
        }
    }

    fn into_raw(self, algorithm: Option<Algorithm>) -> Result<Format, Problem> {
        let encoding = match self.encoding {
            Some(EncodingName::Der) => Encoding::Der,
            Some(EncodingName::P1363) | None => Encoding::P1363,
        };
        match (&self.digest, &self.payload) {
            (Some(text), None) => {
                let digest = base64url("digest", text)?;
                check_hash(self.hash.as_deref(), &digest, algorithm)?;
                Ok(Format::RawDigest { digest, encoding })
            }
            (None, Some(text)) if self.hash.is_none() => Ok(Format::RawMessage {
                payload: base64url("payload", text)?,
                encoding,
            }),
            (None, Some(_)) => Err(Problem::member("hash", "only beside digest")),
            (Some(_), Some(_)) => Err(Problem::member("payload", "not beside digest")),
            (None, None) => Err(Problem::member("digest", "expected digest or payload")),
        }
    }

    fn only_members_of_its_format(&self) -> Result<(), Problem> {
        use FormatName as F;
        let given: [(&str, bool, &[F]); 5] = [
            ("digest", self.digest.is_some(), &[F::Raw]),
            ("hash", self.hash.is_some(), &[F::Raw]),
            ("encoding", self.encoding.is_some(), &[F::Raw]),
            ("payload_type", self.payload_type.is_some(), &[F::Dsse]),
            ("b64", self.b64.is_some(), &[F::JwsDetached]),
        ];
        for (member, present, formats) in given {
            if present && !formats.contains(&self.format) {
                return Err(Problem::member(member, "does not belong to this format"));
            }
        }
        Ok(())
    }

    /// For batches, where each item may say what it expects.
    pub fn expected_algorithm(&self) -> Option<&str> {
        self.alg.as_deref()
    }
}

fn required(text: Option<&str>, member: &'static str) -> Result<Vec<u8>, Problem> {
    let text = text.ok_or_else(|| Problem::member(member, "expected base64url without padding"))?;
    base64url(member, text)
}

/// The digest's hash is said, is the ring's, and the digest has its length.
fn check_hash(
    name: Option<&str>,
    digest: &[u8],
    algorithm: Option<Algorithm>,
) -> Result<(), Problem> {
    let name = name.ok_or_else(|| Problem::member("hash", "expected the digest's hash"))?;
    let hash: Hash = name
        .parse()
        .map_err(|_| Problem::member("hash", "expected sha-256, sha-384 or sha-512"))?;
    if digest.len() != hash.len() {
        return Err(Problem::member(
            "digest",
            format!("expected {} bytes, got {}", hash.len(), digest.len()),
        ));
    }
    match algorithm.map(|algorithm| (algorithm, algorithm.hash())) {
        Some((algorithm, Some(own))) if own != hash => Err(Problem::new(
            Code::WrongHash,
            format!("{algorithm} signs {own} digests, not {hash}"),
        )
        .about("hash")),
        Some((algorithm, None)) => Err(Problem::new(
            Code::WrongHash,
            format!("{algorithm} signs messages, not digests: send payload"),
        )
        .about("digest")),
        _ => Ok(()),
    }
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

    use super::*;
    use crate::http::front::Peer;
    use crate::http::testing::{self, Fixture, OPERATOR, SIGNER};

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
    async fn an_idempotency_key_is_one_string_in_either_spelling() {
        for (given, expected) in [
            ("\"8e03978e-40d5\"", Some("8e03978e-40d5")),
            ("8e03978e-40d5", Some("8e03978e-40d5")),
            ("\"unfinished", None),
            ("\"\"", None),
            ("a b", None),
            ("a\"b", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(IDEMPOTENCY_KEY, given.parse().unwrap());
            match (idempotency_key(&headers), expected) {
                (Ok(Some(IdempotencyKey(key))), Some(expected)) => assert_eq!(key, expected),
                (Err(problem), None) => assert_eq!(problem.code, Code::BadHeader),
                (other, _) => panic!("{given}: {other:?}"),
            }
        }
        let mut headers = HeaderMap::new();
        headers.append(IDEMPOTENCY_KEY, "a".parse().unwrap());
        headers.append(IDEMPOTENCY_KEY, "b".parse().unwrap());
        assert!(idempotency_key(&headers).is_err());
        headers.clear();
        headers.insert(IDEMPOTENCY_KEY, "a".repeat(129).parse().unwrap());
        assert!(idempotency_key(&headers).is_err());
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

    fn signing_broken(what: &str) -> crate::signing::Error {
        crate::signing::Error::Broken(what.to_owned())
    }

    #[tokio::test]
    async fn a_client_that_disconnects_leaves_the_signature_to_be_finished() {
        let fixture = Fixture::new();
        let capacity = fixture.edge.limits.in_flight();
        let world = Arc::clone(&fixture.world);
        // No signature is finished before a permit comes.
        world.gate.forget_permits(1_000);
        let mut request = testing::post(PATH, Body::from(GOOD));
        let bearer = format!("Bearer {SIGNER}").parse().unwrap();
        request.headers_mut().insert("authorization", bearer);
        let front = fixture.front();
        let answering = tokio::spawn(front.oneshot(request));
        while world.orders.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        answering.abort();
        let _ = answering.await;
        tokio::task::yield_now().await;
        assert_eq!(
            fixture.edge.limits.in_flight(),
            capacity + 1,
            "the place is the work's"
        );
        world.gate.add_permits(1);
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(
            fixture.edge.limits.in_flight(),
            capacity,
            "and is given back"
        );
    }
}
