//! An answer as it is stored for `Idempotency-Key`, and the request it belongs to.

use base64ct::{Base64UrlUnpadded, Encoding as _};
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
            Serialised::Jws(text) => Shape::Jws(text.clone()),
            Serialised::Raw(bytes) => Shape::Raw(Base64UrlUnpadded::encode_string(bytes)),
            Serialised::Dsse(envelope) => Shape::Dsse(envelope.clone()),
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

pub(super) fn from_stored(answer: &IdempotentAnswer, request_hash: &str) -> Result<Signed, Error> {
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
            Shape::Jws(text) => Serialised::Jws(text),
            Shape::Raw(text) => Serialised::Raw(bytes(&text)?),
            Shape::Dsse(envelope) => Serialised::Dsse(envelope),
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
