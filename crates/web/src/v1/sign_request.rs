//! What a caller asks to have signed, read strictly.

use serde::Deserialize;
use trust::{Algorithm, Hash};
use utoipa::ToSchema;

use crate::middleware::body::base64url;
use crate::problem::{Code, Problem};
use keyring::signing::{Encoding, Format};

/// The input to sign and the format.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignRequest {
    pub format: FormatName,
    /// Base64url. Required except for `raw` over a digest.
    payload: Option<String>,
    /// Base64url, with `raw`: the digest of the caller's message.
    digest: Option<String>,
    /// The digest's hash; it must be that of the ring's algorithm.
    #[schema(value_type = Option<HashName>)]
    hash: Option<String>,
    /// With `raw`: form of an ECDSA signature, default `p1363`.
    encoding: Option<EncodingName>,
    /// With `dsse`: type of the payload, usually a media type.
    payload_type: Option<String>,
    /// With `jws-detached`: `false` (RFC 7797, the payload is signed unencoded), the default;
    /// `true` encodes it first (RFC 7515 appendix F).
    b64: Option<bool>,
    /// The algorithm the caller expects; any other is refused.
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

/// For the OpenAPI description only; the parser accepts the standard hash names.
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
                        Problem::member("payload_type", "missing: the type of the payload")
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
            (None, Some(_)) => Err(Problem::member("hash", "only allowed together with digest")),
            (Some(_), Some(_)) => Err(Problem::member(
                "payload",
                "not allowed together with digest",
            )),
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
                return Err(Problem::member(member, "not allowed with this format"));
            }
        }
        Ok(())
    }

    /// What the caller expects the ring to sign with, if it said so.
    pub fn expected_algorithm(&self) -> Option<&str> {
        self.alg.as_deref()
    }
}

fn required(text: Option<&str>, member: &'static str) -> Result<Vec<u8>, Problem> {
    let text = text.ok_or_else(|| {
        Problem::member(
            member,
            "missing: the bytes to sign, in base64url without padding",
        )
    })?;
    base64url(member, text)
}

/// The digest's hash is said, is the ring's, and the digest has its length.
fn check_hash(
    name: Option<&str>,
    digest: &[u8],
    algorithm: Option<Algorithm>,
) -> Result<(), Problem> {
    let name = name.ok_or_else(|| Problem::member("hash", "missing: the hash of the digest"))?;
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn case_c4_a_payload_that_is_missing_is_called_missing() {
        let detail = |body: serde_json::Value| {
            let request: SignRequest = serde_json::from_value(body).unwrap();
            let problem = request.into_format(None).unwrap_err();
            problem.detail().to_owned()
        };
        for format in ["jws", "jws-detached", "dsse"] {
            let missing = detail(json!({"format": format}));
            assert!(
                missing.starts_with("missing: the bytes to sign"),
                "{missing}"
            );
            let wrong = detail(json!({"format": format, "payload": "AQ=="}));
            assert_eq!(wrong, "expected base64url without padding");
        }
    }
}
