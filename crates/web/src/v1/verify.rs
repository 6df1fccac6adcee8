//! `POST /v1/verify`: the verdict on one signature.

use axum::extract::{Request, State};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use trust::{Kid, Time};
use utoipa::ToSchema;

use crate::middleware::body::{self, base64url};
use crate::middleware::context::RequestContext;
use crate::problem::{self, Problem};
use crate::v1::instant;
use crate::v1::response::{json, no_query};
use crate::v1::sign_request::EncodingName;
use crate::v1::state::SharedState;
use keyring::verification::{Answer, Claim, Covered, Question, Verification};

/// A signature in one of three forms, distinguished by the member present: `jws`,
/// `envelope` (DSSE), or `signature` with `kid` and what it covers.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VerifyRequest {
    /// A string (compact) or an object (JSON serialisation, RFC 7515 section 7.2). Of several
    /// signatures, at most 16, one by a key of this service counts; the others are ignored.
    jws: Option<Value>,
    /// A DSSE envelope; base64 in either alphabet, unknown members are ignored. Of several
    /// signatures, at most 16, one by a key of this service counts; the others are ignored.
    #[schema(value_type = Option<Object>)]
    envelope: Option<Value>,
    /// Base64url: the bare signature.
    signature: Option<String>,
    /// With `signature`: the key that made it. Required; it is never guessed. With `envelope`,
    /// where its signatures name no key or name it otherwise: the key that made one of them.
    kid: Option<String>,
    /// Base64url, with `signature`: the digest it covers.
    digest: Option<String>,
    /// Base64url: the message that `signature` covers, or the payload of a detached `jws`.
    payload: Option<String>,
    /// With `signature`: form of an ECDSA signature, default `p1363`.
    encoding: Option<EncodingName>,
    /// Base64url of an RFC 3161 TimeStampToken (DER) over the raw bytes of the signature, as an
    /// external proof of existence: of a JWS the decoded third part, of a bare ECDSA signature r
    /// and s concatenated (P1363), whichever encoding is sent. Its authority must be configured.
    timestamp: Option<String>,
    /// RFC 3339, not in the future: the verdict as of that instant. Later proofs and later
    /// changes to the key are ignored, and without a proof of existence at or before that instant
    /// no signature is valid.
    #[schema(format = DateTime)]
    at: Option<String>,
}

/// A verdict with its reasons.
#[derive(Debug, Serialize, ToSchema)]
pub struct VerifyAnswer {
    /// `VALID`, `VALID_RETIRED_KEY`, `REVOKED`, `INDETERMINATE` or `INVALID`.
    #[schema(value_type = String, example = "VALID")]
    verdict: trust::verdict::Outcome,
    /// Stable codes, such as `bad_signature`, `unknown_key`, `not_in_log`; empty for a plain
    /// `VALID`.
    #[schema(value_type = Vec<String>)]
    reasons: Vec<trust::verdict::Reason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    kid: Option<Kid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ring: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_number: Option<u32>,
    /// The earliest proof that the signature existed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    existed_at: Option<Time>,
    /// Its log index.
    #[serde(skip_serializing_if = "Option::is_none")]
    log_index: Option<i64>,
    /// Content of the RFC 3161 timestamp token; absent if none was given or it was not counted
    /// (`bad_timestamp`).
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<TimestampView>,
    /// The instant for which the verdict was requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    as_of: Option<Time>,
    /// Human-readable.
    explanation: String,
}

/// A timestamp token that verified.
#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "Timestamp")]
pub struct TimestampView {
    /// The signature existed at or before this instant.
    #[schema(value_type = String, format = DateTime)]
    at: Time,
    /// Subject of the configured trust anchor of its certificate chain.
    authority: String,
    /// The authority's policy, an object identifier.
    policy: String,
    /// Hex.
    serial: String,
}

/// Verify
///
/// Answers 200 whatever the verdict: an invalid signature is a verdict, not an error. Only a
/// malformed request is an error.
#[utoipa::path(
    post,
    path = "/v1/verify",
    operation_id = "verify",
    tag = "verification",
    request_body = VerifyRequest,
    responses(
        (status = 200, body = VerifyAnswer),
        (status = "4XX", description = "The request is malformed", body = problem::Document, content_type = "application/problem+json"),
        (status = 503, description = "The log is unavailable", body = problem::Document, content_type = "application/problem+json"),
    ),
)]
pub async fn handle(
    State(state): State<SharedState>,
    context: RequestContext,
    request: Request,
) -> Result<Response, Problem> {
    no_query(request.uri())?;
    let asked: VerifyRequest = body::strict(&context, request).await?;
    let verification = verification_for(&state, &context);
    let answer = verification.verify(asked.into_question()?).await?;
    state.layer.metrics.judged(answer.verdict.outcome);
    json(&VerifyAnswer::from(answer))
}

/// Strangers share a part of the cores.
pub fn verification_for(state: &SharedState, context: &RequestContext) -> Verification {
    let verification = &state.services.verification;
    match context.caller.name() {
        Some(_) => verification.clone(),
        None => verification.for_stranger(),
    }
}

impl VerifyRequest {
    pub fn into_question(mut self) -> Result<Question, Problem> {
        let timestamp = self.timestamp.take();
        let timestamp = timestamp.map(|text| base64url("timestamp", &text));
        let at = self
            .at
            .take()
            .map(|text| instant::parse(&text).map_err(|expected| Problem::member("at", expected)));
        Ok(Question {
            timestamp: timestamp.transpose()?,
            at: at.transpose()?,
            claim: self.into_claim()?,
        })
    }

    fn into_claim(self) -> Result<Claim, Problem> {
        let given = [
            self.jws.is_some(),
            self.envelope.is_some(),
            self.signature.is_some(),
        ];
        if given.into_iter().filter(|given| *given).count() != 1 {
            return Err(Problem::member(
                "jws",
                "expected exactly one of jws, envelope and signature",
            ));
        }
        if self.signature.is_some() {
            return self.into_raw();
        }
        for (member, given) in [
            ("kid", self.jws.is_some() && self.kid.is_some()),
            ("digest", self.digest.is_some()),
            ("encoding", self.encoding.is_some()),
            ("payload", self.envelope.is_some() && self.payload.is_some()),
        ] {
            if given {
                return Err(Problem::member(member, "not allowed with this form"));
            }
        }
        let detached_payload = self
            .payload
            .map(|text| base64url("payload", &text))
            .transpose()?;
        match (self.jws, self.envelope) {
            (Some(Value::String(compact)), _) => Ok(Claim::Jws {
                compact,
                detached_payload,
            }),
            (Some(object @ Value::Object(_)), _) => Ok(Claim::JwsJson {
                json: object.to_string().into_bytes(),
                detached_payload,
            }),
            (None, Some(envelope @ Value::Object(_))) => Ok(Claim::Dsse {
                envelope: envelope.to_string().into_bytes(),
                kid: self.kid,
            }),
            (Some(_), _) => Err(Problem::member("jws", "expected a string or an object")),
            (None, _) => Err(Problem::member("envelope", "expected an object")),
        }
    }

    fn into_raw(self) -> Result<Claim, Problem> {
        let signature = base64url("signature", self.signature.as_deref().unwrap_or_default())?;
        let kid = self
            .kid
            .ok_or_else(|| Problem::member("kid", "missing: the kid of the signing key"))?;
        let covered = match (self.digest, self.payload) {
            (Some(digest), None) => Covered::Digest(base64url("digest", &digest)?),
            (None, Some(payload)) => Covered::Message(base64url("payload", &payload)?),
            _ => {
                return Err(Problem::member(
                    "digest",
                    "expected exactly one of digest and payload",
                ));
            }
        };
        Ok(Claim::Raw {
            kid,
            covered,
            signature,
            der: self.encoding == Some(EncodingName::Der),
        })
    }
}

impl From<Answer> for VerifyAnswer {
    fn from(answer: Answer) -> Self {
        Self {
            verdict: answer.verdict.outcome,
            reasons: answer.verdict.reasons,
            kid: answer.kid,
            ring: answer.ring.map(|ring| ring.to_string()),
            key_number: answer.number,
            existed_at: answer.existed_at,
            log_index: answer.index,
            timestamp: answer.timestamp.map(|timestamp| TimestampView {
                at: timestamp.at,
                authority: timestamp.authority,
                policy: timestamp.policy,
                serial: timestamp.serial,
            }),
            as_of: answer.as_of,
            explanation: answer.explanation,
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use serde_json::json;

    use super::*;
    use crate::testing::{Fixture, foreign_jws};

    #[tokio::test]
    async fn a_verdict_is_an_answer_and_needs_no_credentials() {
        let fixture = Fixture::new().await;
        let body = json!({ "jws": foreign_jws() });
        let answered = fixture.post("/v1/verify", body.to_string()).await;
        assert_eq!(answered.status, StatusCode::OK);
        let answer = answered.json();
        assert_eq!(answer["verdict"], "INVALID");
        assert_eq!(answer["reasons"], json!(["unknown_key"]));
        assert!(answer["explanation"].is_string() && answer.get("ring").is_none());
    }

    #[tokio::test]
    async fn each_form_becomes_its_claim() {
        let kid = "k".repeat(43);
        let cases = [
            (json!({"jws": "a..c", "payload": "AQI"}), "Jws"),
            (
                json!({"jws": {"protected": "x", "signature": "y"}}),
                "JwsJson",
            ),
            (json!({"envelope": {"payload": ""}}), "Dsse"),
            (json!({"envelope": {"payload": ""}, "kid": kid}), "Dsse"),
            (
                json!({"signature": "AQI", "kid": kid, "digest": "AQI"}),
                "Raw",
            ),
        ];
        for (body, form) in cases {
            let request: VerifyRequest = serde_json::from_value(body.clone()).unwrap();
            let claim = format!("{:?}", request.into_question().unwrap().claim);
            assert!(claim.starts_with(form), "{body}: {claim}");
        }
    }

    #[tokio::test]
    async fn a_claim_of_no_form_or_of_two_names_the_member() {
        let fixture = Fixture::new().await;
        for (body, member) in [
            (json!({}), "jws"),
            (json!({"jws": "a", "envelope": {}}), "jws"),
            (json!({"jws": 1}), "jws"),
            (json!({"envelope": "x"}), "envelope"),
            (json!({"envelope": {}, "payload": "AQI"}), "payload"),
            (json!({"jws": "a", "kid": "b"}), "kid"),
            (json!({"signature": "AQI", "digest": "AQI"}), "kid"),
            (json!({"signature": "AQI", "kid": "k"}), "digest"),
            (
                json!({"signature": "AQ==", "kid": "k", "digest": "AQI"}),
                "signature",
            ),
            (json!({"jws": "a", "timestamp": "AQ=="}), "timestamp"),
            (json!({"jws": "a", "at": "yesterday"}), "at"),
        ] {
            let answered = fixture.post("/v1/verify", body.to_string()).await;
            assert_eq!(answered.code(), "bad_member", "{body}");
            assert_eq!(answered.member(), member, "{body}");
        }
    }
}
