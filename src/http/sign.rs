//! `POST /v1/rings/{ring}/sign`: one signature.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName};
use axum::response::Response;
use metrics::counter;
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
use crate::telemetry::SIGNATURES;

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
    key_number: u64,
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
    let work = edge.app.signing.sign(order);
    // The client may go away; what was begun is finished, recorded and gives its place back.
    let done = tokio::spawn(async move {
        let done = work.await;
        drop(present);
        done
    })
    .await
    .map_err(|e| Problem::caused_by(Code::Internal, &e))??;
    count(&ring, &done);
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

pub fn count(ring: &str, signed: &Signed) {
    counter!(
        SIGNATURES,
        "ring" => ring.to_owned(),
        "kid" => signed.kid.as_str().to_owned()
    )
    .increment(1);
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
                    .ok_or_else(|| Problem::member("payload_type", "expected the payload's type"))?,
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
