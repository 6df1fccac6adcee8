//! An answer as it is stored for `Idempotency-Key`, and the request it belongs to. The payload is not stored: whoever
//! repeats a request brings it again, and the hash of the request says that it is the same (case S8).

use base64ct::{Base64, Base64UrlUnpadded, Encoding as _};
use serde::{Deserialize, Serialize};
use trust::{Algorithm, Kid, Sha256Digest, Time};

use super::formats::{Format, Serialised};
use super::signed::{Error, Signed};
use store::IdempotentAnswer;

/// Everything but the index, which is the leaf's.
#[derive(Serialize, Deserialize)]
struct Stored {
    signature: Shape,
    kid: Kid,
    number: u32,
    algorithm: Algorithm,
    salt: String,
    time: Time,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Shape {
    Jws(String),
    Raw(String),
    Dsse(serde_json::Value),
}

pub(super) fn to_stored(signed: &Signed) -> String {
    let stored = Stored {
        signature: match &signed.signature {
            Serialised::Jws(text) => Shape::Jws(without_payload(text)),
            Serialised::Raw(bytes) => Shape::Raw(Base64UrlUnpadded::encode_string(bytes)),
            Serialised::Dsse(envelope) => {
                let mut envelope = envelope.clone();
                if let Some(payload) = envelope.get_mut("payload") {
                    *payload = serde_json::Value::Null;
                }
                Shape::Dsse(envelope)
            }
        },
        kid: signed.kid.clone(),
        number: signed.number,
        algorithm: signed.algorithm,
        salt: Base64UrlUnpadded::encode_string(&signed.salt),
        time: signed.time,
    };
    // Strings and numbers only; JSON can write them all.
    serde_json::to_string(&stored).unwrap_or_default()
}

/// A compact JWS in the detached form, RFC 7515 appendix F.
fn without_payload(text: &str) -> String {
    let mut parts = text.split('.');
    match (parts.next(), parts.next(), parts.next_back()) {
        (Some(header), Some(_), Some(signature)) => format!("{header}..{signature}"),
        _ => text.to_owned(),
    }
}

fn with_payload(stored: &str, format: &Format) -> String {
    let payload = match format {
        Format::Jws { payload } => payload,
        Format::KeyHistory { claims } => claims,
        _ => return stored.to_owned(),
    };
    match stored.split_once("..") {
        Some((header, signature)) => {
            let payload = Base64UrlUnpadded::encode_string(payload);
            format!("{header}.{payload}.{signature}")
        }
        None => stored.to_owned(),
    }
}

pub(super) fn from_stored(
    answer: &IdempotentAnswer,
    request_hash: &str,
    format: &Format,
) -> Result<Signed, Error> {
    if answer.request_hash != request_hash {
        return Err(Error::IdempotencyMismatch);
    }
    let broken = |what: &str| {
        Error::Broken(format!(
            "a stored idempotent answer cannot be decoded: {what}"
        ))
    };
    let stored: Stored =
        serde_json::from_str(&answer.response).map_err(|e| broken(&e.to_string()))?;
    let bytes = |text: &str| Base64UrlUnpadded::decode_vec(text).map_err(|_| broken("base64url"));
    Ok(Signed {
        signature: match stored.signature {
            Shape::Jws(text) => Serialised::Jws(with_payload(&text, format)),
            Shape::Raw(text) => Serialised::Raw(bytes(&text)?),
            Shape::Dsse(mut envelope) => {
                if let (Some(stored), Format::Dsse { payload, .. }) =
                    (envelope.get_mut("payload"), format)
                {
                    *stored = Base64::encode_string(payload).into();
                }
                Serialised::Dsse(envelope)
            }
        },
        kid: stored.kid,
        number: stored.number,
        algorithm: stored.algorithm,
        index: answer.index,
        salt: bytes(&stored.salt)?
            .try_into()
            .map_err(|_| broken("salt"))?,
        time: stored.time,
    })
}

/// What makes two requests the same: ring, format and every byte of the input.
pub(super) fn request_hash(ring: &str, format: &Format) -> Sha256Digest {
    let mut bytes = Vec::new();
    let mut field = |part: &[u8]| {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part);
    };
    field(ring.as_bytes());
    match format {
        Format::KeyHistory { claims } => {
            [b"history".as_slice(), claims].into_iter().for_each(field)
        }
        Format::Jws { payload } => [b"jws".as_slice(), payload].into_iter().for_each(field),
        Format::JwsDetached { payload, unencoded } => {
            let name: &[u8] = if *unencoded {
                b"rfc7797"
            } else {
                b"appendix-f"
            };
            [name, payload].into_iter().for_each(field);
        }
        Format::RawDigest { digest, encoding } => {
            [
                b"digest",
                digest.as_slice(),
                format!("{encoding:?}").as_bytes(),
            ]
            .into_iter()
            .for_each(field);
        }
        Format::RawMessage { payload, encoding } => {
            [
                b"message",
                payload.as_slice(),
                format!("{encoding:?}").as_bytes(),
            ]
            .into_iter()
            .for_each(field);
        }
        Format::Dsse {
            payload_type,
            payload,
        } => [b"dsse", payload_type.as_bytes(), payload]
            .into_iter()
            .for_each(field),
    }
    Sha256Digest::of(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signing::formats::Encoding;

    fn signed(signature: Serialised) -> Signed {
        Signed {
            signature,
            kid: "A".repeat(43).parse().unwrap(),
            number: 1,
            algorithm: Algorithm::Es256,
            index: 7,
            salt: [1; 16],
            time: Time::from_millis(0),
        }
    }

    #[test]
    fn case_s8_an_answer_is_stored_without_the_payload_and_given_again_with_it() {
        let payload = b"a record that is not to rest in the database".to_vec();
        let text = Base64UrlUnpadded::encode_string(&payload);
        let envelope = trust::dsse::Envelope::new("text/plain", &payload, "kid", b"signature");
        let envelope = serde_json::to_value(envelope).unwrap();
        for (format, signature) in [
            (
                Format::Jws {
                    payload: payload.clone(),
                },
                Serialised::Jws(format!("aGVhZGVy.{text}.c2ln")),
            ),
            (
                Format::JwsDetached {
                    payload: payload.clone(),
                    unencoded: true,
                },
                Serialised::Jws("aGVhZGVy..c2ln".to_owned()),
            ),
            (
                Format::RawMessage {
                    payload: payload.clone(),
                    encoding: Encoding::P1363,
                },
                Serialised::Raw(vec![7; 64]),
            ),
            (
                Format::Dsse {
                    payload_type: "text/plain".to_owned(),
                    payload: payload.clone(),
                },
                Serialised::Dsse(envelope),
            ),
        ] {
            let first = signed(signature);
            let hash = request_hash("records", &format).to_string();
            let answer = IdempotentAnswer {
                request_hash: hash.clone(),
                response: to_stored(&first),
                index: 7,
                time: 0,
            };
            let stored = &answer.response;
            let standard = Base64::encode_string(&payload);
            assert!(
                !stored.contains(&text) && !stored.contains(&standard),
                "{stored}"
            );
            let again = from_stored(&answer, &hash, &format).unwrap();
            assert_eq!(again.signature, first.signature);
            assert!(matches!(
                from_stored(&answer, "another", &format),
                Err(Error::IdempotencyMismatch)
            ));
        }
    }
}
