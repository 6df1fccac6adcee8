//! What a leaf says. Canonical JSON (RFC 8785): the members are declared in the order of their
//! names, hold only strings and integers, and so come out canonical; a test holds them to it.

use serde::Serialize;
use trust::{Algorithm, Kid, Sha256Digest, Time};

use crate::store::Leaf;

/// Version of the leaf's form.
const V: u8 = 1;

/// Longest text that a leaf repeats; a leaf has 1 KiB at most.
const LONGEST_TEXT: usize = 160;

/// Any act but a signature.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Event<'a> {
    /// What was done, such as `rotate` or `approve`.
    pub action: &'a str,
    pub actor: &'a str,
    /// Of a revocation: since when somebody else may have signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compromised_since: Option<Time>,
    /// SHA-256 of the document that the act put into the database: a request, a signature, a
    /// transcript, a genesis. With it the row cannot be exchanged later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Sha256Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kid: Option<&'a str>,
    pub kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous_kid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'a str>,
    /// The ceremony or document it rests on.
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ring: Option<&'a str>,
    pub time: Time,
}

#[derive(Serialize)]
struct Versioned<'a> {
    #[serde(flatten)]
    event: Event<'a>,
    v: u8,
}

impl Event<'_> {
    pub(super) fn leaf(&self) -> Leaf {
        let event = Event {
            reason: self.reason.map(shorten),
            action: shorten(self.action),
            actor: shorten(self.actor),
            ring: self.ring.map(shorten),
            ..*self
        };
        Leaf {
            time: self.time.millis(),
            kind: self.kind,
            ring: event.ring.map(str::to_owned),
            kid: self.kid.map(str::to_owned),
            sig_hash: None,
            body: text(&Versioned { event, v: V }),
        }
    }
}

/// A signature. The log gives nothing guessable away: of the input it holds a salted commitment.
#[derive(Debug, Clone, Copy)]
pub struct SignatureLeaf<'a> {
    pub time: Time,
    pub actor: &'a str,
    pub ring: &'a str,
    pub kid: &'a Kid,
    pub algorithm: Algorithm,
    pub signature: &'a [u8],
    /// `SHA-256(salt ‖ signing input)`.
    pub input_commit: Sha256Digest,
}

#[derive(Serialize)]
struct SignatureBody<'a> {
    actor: &'a str,
    alg: Algorithm,
    input_commit: Sha256Digest,
    kid: &'a Kid,
    kind: &'static str,
    ring: &'a str,
    sig_hash: &'a str,
    time: Time,
    v: u8,
}

impl SignatureLeaf<'_> {
    pub fn leaf(&self) -> Leaf {
        let sig_hash = Sha256Digest::of(self.signature).to_string();
        let body = text(&SignatureBody {
            actor: shorten(self.actor),
            alg: self.algorithm,
            input_commit: self.input_commit,
            kid: self.kid,
            kind: "sign",
            ring: self.ring,
            sig_hash: &sig_hash,
            time: self.time,
            v: V,
        });
        Leaf {
            time: self.time.millis(),
            kind: "sign",
            ring: Some(self.ring.to_owned()),
            kid: Some(self.kid.as_str().to_owned()),
            sig_hash: Some(sig_hash),
            body,
        }
    }
}

/// These types hold nothing that JSON cannot write; an empty body would be refused by the
/// database's constraint rather than recorded.
fn text(body: &impl Serialize) -> String {
    serde_json::to_string(body).unwrap_or_default()
}

/// Cut by the length it has once escaped: a control character becomes six bytes in JSON, a quote
/// or backslash two.
fn shorten(text: &str) -> &str {
    let mut length = 0;
    for (place, character) in text.char_indices() {
        length += match character {
            '"' | '\\' => 2,
            control if control.is_control() => 6,
            other => other.len_utf8(),
        };
        if length > LONGEST_TEXT {
            return &text[..place];
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_are_canonical_and_small() {
        let long = "\u{20ac}\"\n\u{1}".repeat(400);
        let event = Event {
            action: "rotate",
            actor: &long,
            compromised_since: Some(Time::from_millis(1)),
            digest: Some(Sha256Digest::of(b"")),
            kid: Some("b"),
            kind: "key",
            previous_kid: Some("a"),
            reason: Some(&long),
            reference: Some("r"),
            ring: Some("ring"),
            time: Time::from_millis(1),
        };
        let body = event.leaf().body;
        assert!(body.len() <= 1_024, "{}", body.len());
        let value: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!(
            trust::json::canonical(&value).expect("canonical"),
            body.as_bytes()
        );
    }
}
