//! What can be signed and how the result looks. The bytes are assembled here and nowhere else:
//! JWS (RFC 7515), its unencoded payload (RFC 7797), DSSE, and bare digests.

use base64ct::{Base64UrlUnpadded, Encoding as _};
use serde_json::json;

use trust::namespace::{RESERVED, is_reserved};
use trust::{Algorithm, Hash, Kid};

/// Largest message for Ed25519, which a token takes whole.
const LONGEST_MESSAGE: usize = 64 * 1_024;

/// A payload and the form its signature is asked for in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    /// JWS compact serialisation, RFC 7515 section 7.1.
    Jws { payload: Vec<u8> },
    /// JWS with a detached payload: RFC 7797 (`b64: false`) when `unencoded`, otherwise the
    /// ordinary encoding with the payload left out, RFC 7515 appendix F.
    JwsDetached { payload: Vec<u8>, unencoded: bool },
    /// A signature over a digest that the caller made, with the algorithm's own hash.
    RawDigest { digest: Vec<u8>, encoding: Encoding },
    /// A signature over bytes; for Ed25519 the only raw form.
    RawMessage {
        payload: Vec<u8>,
        encoding: Encoding,
    },
    /// A DSSE envelope.
    Dsse {
        payload_type: String,
        payload: Vec<u8>,
    },
    /// The signed key history, OpenID Federation 1.0 section 8.7; only the service asks for it.
    KeyHistory { claims: Vec<u8> },
}

/// Form of a raw ECDSA signature; without meaning for the other algorithms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encoding {
    /// `r ‖ s`, IEEE P1363, the JOSE form.
    #[default]
    P1363,
    /// `ECDSA-Sig-Value`, RFC 3279 section 2.2.3.
    Der,
}

/// A finished signature in the form asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Serialised {
    /// A compact JWS; detached ones have an empty middle part.
    Jws(String),
    /// Signature bytes in the encoding asked for.
    Raw(Vec<u8>),
    /// A DSSE envelope as JSON.
    Dsse(serde_json::Value),
}

/// What goes to the token: the bytes that the signature covers, or their digest.
pub(super) struct Prepared {
    /// The signing input, for `input_commit`; the digest itself where only a digest is known.
    pub(super) committed: Vec<u8>,
    /// The digest for the token, or the message for Ed25519.
    pub(super) token_input: Vec<u8>,
    shape: Shape,
}

enum Shape {
    Compact {
        signing_input: Vec<u8>,
    },
    Detached {
        header: String,
    },
    Raw {
        encoding: Encoding,
    },
    Dsse {
        payload_type: String,
        payload: Vec<u8>,
    },
}

impl Format {
    /// Whether it belongs on a ring of bare digests. The two never mix: a raw oracle would sign
    /// a structured format's input for anybody.
    pub(super) fn is_raw(&self) -> bool {
        matches!(self, Self::RawDigest { .. } | Self::RawMessage { .. })
    }

    /// The digest has to have the length of the algorithm's hash; Ed25519 has none.
    pub(super) fn prepare(&self, algorithm: Algorithm, kid: &Kid) -> Result<Prepared, String> {
        let prepared = self.assemble(algorithm, kid)?;
        if prepared.token_input.len() > LONGEST_MESSAGE {
            return Err(format!(
                "{algorithm} signs the message itself; the limit is {LONGEST_MESSAGE} bytes"
            ));
        }
        Ok(prepared)
    }

    fn assemble(&self, algorithm: Algorithm, kid: &Kid) -> Result<Prepared, String> {
        Ok(match self {
            Self::Jws { payload } => {
                let header = json!({"alg": algorithm.jws_alg(), "kid": kid.as_str()});
                compact(algorithm, &header, payload)
            }
            Self::KeyHistory { claims } => {
                let header = json!({
                    "alg": algorithm.jws_alg(), "kid": kid.as_str(), "typ": "jwk-set+jwt",
                });
                compact(algorithm, &header, claims)
            }
            Self::JwsDetached { payload, unencoded } => {
                let header = if *unencoded {
                    json!({"alg": algorithm.jws_alg(), "b64": false, "crit": ["b64"], "kid": kid.as_str()})
                } else {
                    json!({"alg": algorithm.jws_alg(), "kid": kid.as_str()})
                };
                let header = encode(header.to_string().as_bytes());
                let mut signing_input = header.clone().into_bytes();
                signing_input.push(b'.');
                if *unencoded {
                    signing_input.extend_from_slice(payload);
                } else {
                    signing_input.extend_from_slice(encode(payload).as_bytes());
                }
                Prepared {
                    token_input: token_input(algorithm, &signing_input),
                    committed: signing_input,
                    shape: Shape::Detached { header },
                }
            }
            Self::RawDigest { digest, encoding } => {
                let hash = algorithm
                    .hash()
                    .ok_or("Ed25519 signs messages, not digests: send payload")?;
                if digest.len() != hash.len() {
                    return Err(format!(
                        "the digest has {} bytes, {} has {}",
                        digest.len(),
                        hash,
                        hash.len()
                    ));
                }
                Prepared {
                    committed: digest.clone(),
                    token_input: digest.clone(),
                    shape: Shape::Raw {
                        encoding: *encoding,
                    },
                }
            }
            Self::RawMessage { payload, .. } if is_reserved(payload) => {
                return Err(format!(
                    "messages under a DSSE payload type beginning with {RESERVED} are reserved for this service"
                ));
            }
            Self::RawMessage { payload, encoding } => Prepared {
                token_input: token_input(algorithm, payload),
                committed: payload.clone(),
                shape: Shape::Raw {
                    encoding: *encoding,
                },
            },
            Self::Dsse { payload_type, .. } if payload_type.starts_with(RESERVED) => {
                return Err(format!(
                    "payload types beginning with {RESERVED} are reserved for this service"
                ));
            }
            Self::Dsse {
                payload_type,
                payload,
            } => {
                let pae = trust::dsse::pae(payload_type, payload);
                Prepared {
                    token_input: token_input(algorithm, &pae),
                    committed: pae,
                    shape: Shape::Dsse {
                        payload_type: payload_type.clone(),
                        payload: payload.clone(),
                    },
                }
            }
        })
    }
}

impl Prepared {
    /// Puts the signature (`r ‖ s` for ECDSA) into the form asked for.
    pub(super) fn finish(
        self,
        algorithm: Algorithm,
        kid: &Kid,
        signature: &[u8],
    ) -> Result<Serialised, trust::signature::BadSignature> {
        Ok(match self.shape {
            Shape::Compact { signing_input } => {
                let mut text = String::from_utf8_lossy(&signing_input).into_owned();
                text.push('.');
                text.push_str(&encode(signature));
                Serialised::Jws(text)
            }
            Shape::Detached { header } => {
                Serialised::Jws(format!("{header}..{}", encode(signature)))
            }
            Shape::Raw { encoding } => Serialised::Raw(match encoding {
                Encoding::Der if algorithm.is_ecdsa() => trust::signature::p1363_to_der(signature)?,
                _ => signature.to_vec(),
            }),
            Shape::Dsse {
                payload_type,
                payload,
            } => {
                // What reads envelopes elsewhere (securesystemslib, sigstore) wants ASN.1.
                let envelope_signature = match algorithm.is_ecdsa() {
                    true => trust::signature::p1363_to_der(signature)?,
                    false => signature.to_vec(),
                };
                Serialised::Dsse(json!({
                    "payload": base64ct::Base64::encode_string(&payload),
                    "payloadType": payload_type,
                    "signatures": [{
                        "keyid": kid.as_str(),
                        "sig": base64ct::Base64::encode_string(&envelope_signature),
                    }],
                }))
            }
        })
    }
}

fn compact(algorithm: Algorithm, header: &serde_json::Value, payload: &[u8]) -> Prepared {
    let mut signing_input = encode(header.to_string().as_bytes());
    signing_input.push('.');
    signing_input.push_str(&encode(payload));
    let signing_input = signing_input.into_bytes();
    Prepared {
        token_input: token_input(algorithm, &signing_input),
        committed: signing_input.clone(),
        shape: Shape::Compact { signing_input },
    }
}

pub(super) fn token_input(algorithm: Algorithm, message: &[u8]) -> Vec<u8> {
    algorithm
        .hash()
        .map_or_else(|| message.to_vec(), |hash: Hash| hash.digest(message))
}

fn encode(bytes: &[u8]) -> String {
    Base64UrlUnpadded::encode_string(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KID: &str = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs";

    fn prepare(format: &Format, algorithm: Algorithm) -> Result<Prepared, String> {
        format.prepare(algorithm, &KID.parse().expect("a kid"))
    }

    #[test]
    fn what_custodians_and_newborn_keys_sign_is_not_to_be_had() {
        let dsse = |payload_type: &str| Format::Dsse {
            payload_type: payload_type.to_owned(),
            payload: b"{}".to_vec(),
        };
        let ours = dsse("chancery/possession.v1@chancery/production");
        assert!(prepare(&ours, Algorithm::Es256).is_err());
        assert!(prepare(&dsse("application/json"), Algorithm::Es256).is_ok());
    }

    #[test]
    fn a_digest_has_the_length_of_the_algorithm() {
        let digest = |length| Format::RawDigest {
            digest: vec![0; length],
            encoding: Encoding::P1363,
        };
        assert!(prepare(&digest(32), Algorithm::Es256).is_ok());
        assert!(prepare(&digest(32), Algorithm::Es384).is_err());
        assert!(prepare(&digest(33), Algorithm::Es256).is_err());
        assert!(prepare(&digest(32), Algorithm::Ed25519).is_err());
    }

    #[test]
    fn a_message_that_a_token_does_not_take_is_the_callers_mistake() {
        let message = |length| Format::RawMessage {
            payload: vec![0; length],
            encoding: Encoding::P1363,
        };
        assert!(prepare(&message(LONGEST_MESSAGE), Algorithm::Ed25519).is_ok());
        assert!(prepare(&message(LONGEST_MESSAGE + 1), Algorithm::Ed25519).is_err());
        assert!(prepare(&message(LONGEST_MESSAGE + 1), Algorithm::Es256).is_ok());
    }
}
