//! DSSE v1: the pre-authentication encoding that is signed, and the JSON envelope.
//!
//! Source: `secure-systems-lab/dsse`, protocol.md and envelope.md.

use base64ct::{Base64, Encoding};
use serde::{Deserialize, Serialize};

use crate::json::{self, JsonError};

const MAGIC: &str = "DSSEv1";

/// The pre-authentication encoding
/// `"DSSEv1" SP len(type) SP type SP len(body) SP body`; lengths in bytes, decimal.
pub fn pae(payload_type: &str, body: &[u8]) -> Vec<u8> {
    let mut out = format!(
        "{MAGIC} {} {payload_type} {} ",
        payload_type.len(),
        body.len()
    )
    .into_bytes();
    out.extend_from_slice(body);
    out
}

/// The bytes are not one pre-authentication encoding.
#[derive(Debug, thiserror::Error)]
#[error("not a DSSE pre-authentication encoding: {0}")]
pub struct PaeError(&'static str);

/// Takes a pre-authentication encoding apart into payload type and body. Only the one spelling
/// that [`pae`] writes is read: no leading zeros, no other separators, nothing after the body.
pub fn parse_pae(bytes: &[u8]) -> Result<(&str, &[u8]), PaeError> {
    let rest = bytes
        .strip_prefix(MAGIC.as_bytes())
        .ok_or(PaeError("wrong magic"))?;
    let rest = rest
        .strip_prefix(b" ")
        .ok_or(PaeError("no space after the magic"))?;
    let (payload_type, rest) = counted(rest)?;
    let rest = rest
        .strip_prefix(b" ")
        .ok_or(PaeError("no space after the type"))?;
    let (body, rest) = counted(rest)?;
    if !rest.is_empty() {
        return Err(PaeError("bytes after the body"));
    }
    let payload_type =
        std::str::from_utf8(payload_type).map_err(|_| PaeError("type is not UTF-8"))?;
    Ok((payload_type, body))
}

/// Reads `len SP bytes` and returns the bytes and what follows.
fn counted(bytes: &[u8]) -> Result<(&[u8], &[u8]), PaeError> {
    let space = bytes
        .iter()
        .position(|byte| *byte == b' ')
        .ok_or(PaeError("no length"))?;
    let (digits, rest) = (&bytes[..space], &bytes[space + 1..]);
    let text = std::str::from_utf8(digits).map_err(|_| PaeError("length is not a number"))?;
    let length: usize = text
        .parse()
        .map_err(|_| PaeError("length is not a number"))?;
    if length.to_string() != text {
        return Err(PaeError("length is not in its shortest form"));
    }
    if rest.len() < length {
        return Err(PaeError("shorter than its declared length"));
    }
    Ok(rest.split_at(length))
}

/// The JSON form of a DSSE envelope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    /// Standard base64, padded.
    payload: String,
    /// Says how to read the payload.
    #[serde(rename = "payloadType")]
    pub payload_type: String,
    /// At least one signature over [`pae`] of type and payload.
    pub signatures: Vec<EnvelopeSignature>,
}

/// One signature of an [`Envelope`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnvelopeSignature {
    /// A hint only; never authenticated.
    pub keyid: String,
    /// Standard base64, padded.
    pub sig: String,
}

/// An envelope that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeError {
    /// The JSON is not acceptable.
    #[error("the envelope is not valid JSON")]
    Json(#[from] JsonError),
    /// A member is not padded standard base64.
    #[error("{0} is not padded base64")]
    Base64(&'static str),
    /// DSSE wants at least one signature.
    #[error("the envelope has no signature")]
    Unsigned,
}

impl Envelope {
    /// An envelope with one signature.
    pub fn new(payload_type: &str, payload: &[u8], keyid: &str, signature: &[u8]) -> Self {
        Self {
            payload: Base64::encode_string(payload),
            payload_type: payload_type.to_owned(),
            signatures: vec![EnvelopeSignature {
                keyid: keyid.to_owned(),
                sig: Base64::encode_string(signature),
            }],
        }
    }

    /// The envelope as canonical JSON.
    pub fn encode(&self) -> Result<Vec<u8>, JsonError> {
        json::canonical(self)
    }

    /// Reads an envelope strictly; white space is allowed, everything in `unverified_` remains so.
    pub fn decode(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        let envelope: Self = json::parse_strict(bytes)?;
        if envelope.signatures.is_empty() {
            return Err(EnvelopeError::Unsigned);
        }
        Ok(envelope)
    }

    /// The payload, which nobody has verified yet.
    pub fn unverified_payload(&self) -> Result<Vec<u8>, EnvelopeError> {
        Base64::decode_vec(&self.payload).map_err(|_| EnvelopeError::Base64("payload"))
    }
}

impl EnvelopeSignature {
    /// The signature's bytes.
    pub fn bytes(&self) -> Result<Vec<u8>, EnvelopeError> {
        Base64::decode_vec(&self.sig).map_err(|_| EnvelopeError::Base64("sig"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of protocol.md.
    #[test]
    fn encodes_the_published_example() {
        let bytes = pae("http://example.com/HelloWorld", b"hello world");
        assert_eq!(
            bytes,
            b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
        );
        let (payload_type, body) = parse_pae(&bytes).unwrap();
        assert_eq!(
            (payload_type, body),
            ("http://example.com/HelloWorld", &b"hello world"[..])
        );
    }

    #[test]
    fn other_spellings_are_refused() {
        for bad in [
            &b"DSSEv1 01 a 1 b"[..],
            b"DSSEv1 1 a 1 bc",
            b"DSSEv1 1 a 2 b",
            b"DSSEv1 +1 a 1 b",
            b"DSSEv1  1 a 1 b",
            b"DSSEv2 1 a 1 b",
            b"DSSEv1 1 \xff 1 b",
            b"DSSEv1 99999999999999999999 a 1 b",
            b"",
        ] {
            assert!(parse_pae(bad).is_err(), "{}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn an_envelope_survives_and_an_unsigned_one_is_refused() {
        let envelope = Envelope::new("text/plain", b"hello", "kid", &[1, 2, 3]);
        let read = Envelope::decode(&envelope.encode().unwrap()).unwrap();
        assert_eq!(read.unverified_payload().unwrap(), b"hello");
        assert_eq!(read.signatures[0].bytes().unwrap(), [1, 2, 3]);
        let unsigned = br#"{"payload":"","payloadType":"t","signatures":[]}"#;
        assert!(matches!(
            Envelope::decode(unsigned),
            Err(EnvelopeError::Unsigned)
        ));
    }
}
