//! DSSE v1: the pre-authentication encoding that is signed, and the JSON envelope.
//!
//! Source: `secure-systems-lab/dsse`, protocol.md and envelope.md.

use base64ct::{Base64, Base64Unpadded, Base64UrlUnpadded, Encoding};
use serde::{Deserialize, Serialize};

use crate::json::{self, JsonError};

const MAGIC: &str = "DSSEv1";

/// An envelope may carry signatures of other people; more than these are only work.
pub const MOST_SIGNATURES: usize = 16;

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

/// The JSON form of a DSSE envelope. Members that are not known here are ignored, as DSSE says; they
/// are covered by no signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// Base64: we write the standard alphabet with padding, and read the URL-safe one too.
    payload: String,
    /// Says how to read the payload.
    #[serde(rename = "payloadType")]
    pub payload_type: String,
    /// At least one signature over [`pae`] of type and payload.
    pub signatures: Vec<EnvelopeSignature>,
}

/// One signature of an [`Envelope`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvelopeSignature {
    /// A hint only; never authenticated. Envelopes of others may lack it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    keyid: Option<String>,
    /// Base64, as the payload.
    pub sig: String,
}

/// An envelope that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeError {
    /// The JSON is not acceptable.
    #[error("the envelope is not valid JSON")]
    Json(#[from] JsonError),
    /// A member is not base64.
    #[error("{0} is not base64 (standard or URL-safe alphabet, not mixed)")]
    Base64(&'static str),
    /// DSSE wants at least one signature.
    #[error("the envelope has no signature")]
    Unsigned,
    /// More than [`MOST_SIGNATURES`].
    #[error("the envelope has more than {MOST_SIGNATURES} signatures")]
    TooMany,
}

/// Either alphabet, with or without padding (DSSE, protocol.md: "either standard or URL-safe encoding is allowed").
fn base64(text: &str) -> Option<Vec<u8>> {
    let bare = text.trim_end_matches('=');
    let padding = text.len() - bare.len();
    if padding > 2 || (padding > 0 && !text.len().is_multiple_of(4)) {
        return None;
    }
    let decoded = match bare.contains(['-', '_']) {
        true => Base64UrlUnpadded::decode_vec(bare),
        false => Base64Unpadded::decode_vec(bare),
    };
    decoded.ok()
}

impl Envelope {
    /// An envelope with one signature.
    pub fn new(payload_type: &str, payload: &[u8], keyid: &str, signature: &[u8]) -> Self {
        Self {
            payload: Base64::encode_string(payload),
            payload_type: payload_type.to_owned(),
            signatures: vec![EnvelopeSignature {
                keyid: Some(keyid.to_owned()),
                sig: Base64::encode_string(signature),
            }],
        }
    }

    /// The envelope as canonical JSON.
    pub fn encode(&self) -> Result<Vec<u8>, JsonError> {
        json::canonical(self)
    }

    /// Reads an envelope without duplicate members, floats or large integers, in members that are not
    /// known here too; white space is allowed, everything in `unverified_` remains so.
    pub fn decode(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        let envelope: Self = json::parse_strict(bytes)?;
        if envelope.signatures.is_empty() {
            return Err(EnvelopeError::Unsigned);
        }
        if envelope.signatures.len() > MOST_SIGNATURES {
            return Err(EnvelopeError::TooMany);
        }
        Ok(envelope)
    }

    /// The payload, which nobody has verified yet.
    pub fn unverified_payload(&self) -> Result<Vec<u8>, EnvelopeError> {
        base64(&self.payload).ok_or(EnvelopeError::Base64("payload"))
    }
}

impl EnvelopeSignature {
    /// The key's name, if one is given; an empty one names nothing.
    pub fn keyid(&self) -> Option<&str> {
        self.keyid.as_deref().filter(|keyid| !keyid.is_empty())
    }

    /// The signature's bytes.
    pub fn bytes(&self) -> Result<Vec<u8>, EnvelopeError> {
        base64(&self.sig).ok_or(EnvelopeError::Base64("sig"))
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

    #[test]
    fn case_v5_envelopes_of_others_are_read() {
        let read = |text: &str| Envelope::decode(text.as_bytes());
        for payload in ["-_8=", "-_8", "+/8=", "+/8"] {
            let envelope = read(&format!(
                r#"{{"payload":"{payload}","payloadType":"t","x":{{"y":1}},"signatures":[
                {{"sig":"{payload}","cert":"c"}},{{"keyid":"","sig":"!"}},{{"keyid":"k","sig":""}}]}}"#
            ));
            let envelope = envelope.unwrap();
            assert_eq!(envelope.unverified_payload().unwrap(), [0xfb, 0xff]);
            assert_eq!(envelope.signatures[0].bytes().unwrap(), [0xfb, 0xff]);
            let keyids: Vec<_> = envelope.signatures.iter().map(|s| s.keyid()).collect();
            assert_eq!(keyids, [None, None, Some("k")]);
            assert!(envelope.signatures[1].bytes().is_err());
        }
        for bad in ["+_8=", "-/8", "-_8==", "-_8===", "-_9=", "=", "-_8=\n", "a"] {
            assert_eq!(base64(bad), None, "{bad}");
        }
        let many = vec![r#"{"sig":""}"#; MOST_SIGNATURES + 1].join(",");
        let many = format!(r#"{{"payload":"","payloadType":"t","signatures":[{many}]}}"#);
        assert!(matches!(read(&many), Err(EnvelopeError::TooMany)));
        // What two readers would read differently is refused wherever it stands.
        for twice in [r#""x":1,"x":2"#, r#""x":1.5"#] {
            let text = format!(
                r#"{{"payload":"","payloadType":"t","signatures":[{{"sig":"",{twice}}}]}}"#
            );
            assert!(
                matches!(read(&text), Err(EnvelopeError::Json(_))),
                "{twice}"
            );
        }
    }
}
