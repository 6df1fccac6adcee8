//! What the service writes into a leaf: the types of `trust` that read it, filled in.

use trust::format::V1;
use trust::leaf::{ActKind, ActLeaf, Sign};
use trust::{Algorithm, Kid, Name, Sha256Digest, Time};

use store::Leaf;

/// Longest text that a leaf repeats; a leaf has 1 KiB at most.
const LONGEST_TEXT: usize = 160;

/// Any act but a signature.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    /// What was done, such as `rotate` or `approve`.
    pub action: &'a str,
    pub actor: &'a str,
    /// What rotates, as `kind/name[/scope]`.
    pub asset: Option<&'a str>,
    /// Of a clock correction.
    pub bound: Option<Time>,
    /// Of an aggregate: how many, from and until when.
    pub counted: Option<(u64, Time, Time)>,
    /// Of a revocation: since when somebody else may have signed.
    pub compromised_since: Option<Time>,
    /// SHA-256 of the document that the act put into the database: a request, a signature, a
    /// transcript, a genesis. With it the row cannot be exchanged later.
    pub digest: Option<Sha256Digest>,
    /// Since when it is so: of a rotation that was reported, when its version came into use.
    pub from: Option<Time>,
    /// The first and last leaf concerned.
    pub leaves: Option<(u64, u64)>,
    pub kid: Option<&'a Kid>,
    pub kind: ActKind,
    pub origin: Option<&'a str>,
    pub previous_kid: Option<&'a Kid>,
    /// Of a rotation: the version that is replaced.
    pub previous_version: Option<u64>,
    pub reason: Option<&'a str>,
    /// The ceremony or document it rests on.
    pub reference: Option<&'a str>,
    pub ring: Option<&'a str>,
    pub time: Time,
    /// Of an emergency rotation: until when it has to be ratified; of a rotation: when its version ends by itself.
    pub until: Option<Time>,
    /// Which use of a standing order.
    pub use_number: Option<u64>,
    /// Of a stop: its place in its line; of a rotation: the new version.
    pub version: Option<u64>,
}

impl<'a> Event<'a> {
    /// An act about nothing yet.
    pub fn new(kind: ActKind, action: &'a str, actor: &'a str, time: Time) -> Self {
        Self {
            action,
            actor,
            asset: None,
            bound: None,
            counted: None,
            compromised_since: None,
            digest: None,
            from: None,
            leaves: None,
            kid: None,
            kind,
            origin: None,
            previous_kid: None,
            previous_version: None,
            reason: None,
            reference: None,
            ring: None,
            time,
            until: None,
            use_number: None,
            version: None,
        }
    }

    pub(super) fn leaf(&self) -> Leaf {
        let owned = |text: &str| shorten(text).to_owned();
        let act = ActLeaf {
            asset: self.asset.map(owned),
            bound: self.bound,
            compromised_since: self.compromised_since,
            count: self.counted.map(|(count, _, _)| count),
            digest: self.digest,
            first: self.leaves.map(|(first, _)| first),
            from: self.from.or(self.counted.map(|(_, from, _)| from)),
            kid: self.kid.cloned(),
            last: self.leaves.map(|(_, last)| last),
            origin: self.origin.map(str::to_owned),
            previous_kid: self.previous_kid.cloned(),
            previous_version: self.previous_version,
            reason: self.reason.map(owned),
            reference: self.reference.map(str::to_owned),
            ring: self.ring.map(owned),
            until: self.until.or(self.counted.map(|(_, _, until)| until)),
            use_number: self.use_number,
            version: self.version,
            ..ActLeaf::new(
                self.kind,
                shorten(self.action),
                shorten(self.actor),
                self.time,
            )
        };
        Leaf {
            time: self.time.millis(),
            kind: self.kind.name(),
            ring: act.ring.clone(),
            kid: act.kid.as_ref().map(|kid| kid.as_str().to_owned()),
            sig_hash: None,
            body: text(&act),
        }
    }
}

/// A signature. The log gives nothing guessable away: of the input it holds a salted commitment.
#[derive(Debug, Clone, Copy)]
pub struct SignatureLeaf<'a> {
    pub time: Time,
    pub actor: &'a str,
    pub ring: &'a Name,
    pub kid: &'a Kid,
    pub algorithm: Algorithm,
    /// Of the signature in its canonical form, which a twin `(r, n - s)` has too.
    pub sig_hash: Sha256Digest,
    /// `SHA-256(salt ‖ signing input)`.
    pub input_commit: Sha256Digest,
}

impl SignatureLeaf<'_> {
    pub fn leaf(&self) -> Leaf {
        let body = text(&trust::leaf::SignatureLeaf {
            actor: shorten(self.actor).to_owned(),
            alg: self.algorithm.to_string(),
            input_commit: self.input_commit,
            kid: self.kid.clone(),
            kind: Sign::Sign,
            ring: self.ring.clone(),
            sig_hash: self.sig_hash,
            time: self.time,
            v: V1,
        });
        Leaf {
            time: self.time.millis(),
            kind: "sign",
            ring: Some(self.ring.to_string()),
            kid: Some(self.kid.as_str().to_owned()),
            sig_hash: Some(self.sig_hash.to_string()),
            body,
        }
    }
}

/// Canonical as it is: the members of these types are declared in the order of their names and hold
/// nothing that JSON cannot write. An empty body would be refused by the database's constraint
/// rather than recorded.
fn text(body: &impl serde::Serialize) -> String {
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
        let kid: Kid = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
            .parse()
            .expect("a kid");
        let event = Event {
            asset: Some("external/an-asset"),
            bound: Some(Time::from_millis(1)),
            compromised_since: Some(Time::from_millis(1)),
            digest: Some(Sha256Digest::of(b"")),
            leaves: Some((1, 2)),
            kid: Some(&kid),
            previous_kid: Some(&kid),
            reason: Some(&long),
            reference: Some("r"),
            ring: Some("ring"),
            ..Event::new(ActKind::Key, "rotate", &long, Time::from_millis(1))
        };
        let body = event.leaf().body;
        assert!(body.len() <= 1_024, "{}", body.len());
        let value: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!(
            trust::json::canonical(&value).expect("canonical"),
            body.as_bytes()
        );
        let read = trust::leaf::Leaf::parse(body.as_bytes()).expect("a leaf");
        assert!(matches!(read, trust::leaf::Leaf::Act(act) if act.kid == Some(kid)));
    }
}
