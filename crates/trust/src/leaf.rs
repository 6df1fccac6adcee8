//! What leaves of the log say (docs/LOG.md). Reading one proves nothing; its inclusion does.
//!
//! The service builds leaves from these very types. Their members are declared in the order of
//! their names and hold only strings and integers, so that they come out canonical.

use serde::{Deserialize, Serialize};

use crate::digest::Sha256Digest;
use crate::format::V1;
use crate::json::{self, JsonError};
use crate::jwk::Kid;
use crate::name::Name;
use crate::request::RevocationReason;
use crate::spelled::spelled;
use crate::time::Time;
use crate::word::Word;

/// Longest leaf in bytes.
pub const MAX_LEN: usize = 1024;

/// Longest name of an algorithm.
const MAX_ALG: usize = 40;

/// The action of the leaf of a stop of signing.
pub const STOP: &str = "stop";

/// The action of the leaf by which a resume takes effect.
pub const RESUME: &str = "resume";

/// The action of the leaf by which a ratification takes effect.
pub const RATIFY: &str = "ratify";

/// The action of the leaf with which a drill of an emergency begins.
pub const DRILL: &str = "drill";

/// The action of a refusal of a passkey's signature whose counter did not rise: there may be a copy of the passkey.
pub const CLONED: &str = "cloned-passkey";

/// A signature that was released.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignatureLeaf {
    /// Who asked for it.
    pub actor: String,
    /// The ring's algorithm. An open word: a reader that does not know it still reads the leaf.
    pub alg: String,
    /// `SHA-256(salt || signing input)`.
    pub input_commit: Sha256Digest,
    /// The key.
    pub kid: Kid,
    /// Says that it is a signature.
    pub kind: Sign,
    /// The ring.
    pub ring: Name,
    /// SHA-256 of the signature in its canonical form, see [`crate::signature::canonical`].
    pub sig_hash: Sha256Digest,
    /// When, by the service's clock.
    pub time: Time,
    /// Format version.
    pub v: V1,
}

/// The kind of a signature's leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sign {
    /// The only one.
    Sign,
}

/// Any other act. What a kind does not need is left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActLeaf {
    /// What was done.
    pub action: String,
    /// Who did it.
    pub actor: String,
    /// An algorithm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alg: Option<String>,
    /// What rotates, as `kind/name[/scope]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asset: Option<String>,
    /// Of a clock correction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound: Option<Time>,
    /// Of a revocation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compromised_since: Option<Time>,
    /// How many, of an aggregate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// Of the document that the act recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Sha256Digest>,
    /// The first leaf concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<u64>,
    /// The beginning of what is counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Time>,
    /// Of what a signature that stands here covers, as in [`SignatureLeaf`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_commit: Option<Sha256Digest>,
    /// The key concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kid: Option<Kid>,
    /// What kind of act.
    pub kind: ActKind,
    /// The last leaf concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<u64>,
    /// Of a log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// The key before it, or the one revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_kid: Option<Kid>,
    /// The version before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_version: Option<u64>,
    /// Words, or the reason of a revocation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The ceremony or document it rests on.
    #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The ring.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ring: Option<String>,
    /// Of a signature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sig_hash: Option<Sha256Digest>,
    /// When, by the service's clock.
    pub time: Time,
    /// The end of what is counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
    /// What a key is used for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<String>,
    /// Which use of a standing order.
    #[serde(default, rename = "use", skip_serializing_if = "Option::is_none")]
    pub use_number: Option<u64>,
    /// Format version.
    pub v: V1,
    /// The version concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
}

/// Kinds of acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ActKind {
    /// On a key.
    Key,
    /// On a ring.
    Ring,
    /// In a ceremony.
    Ceremony,
    /// On roster or policy.
    Roster,
    /// On a credential.
    Access,
    /// Somebody was refused.
    Refusal,
    /// How often somebody was refused.
    Refusals,
    /// On the service itself.
    Admin,
    /// On the log itself.
    Log,
    /// A signature over the root of a batch.
    SealedTree,
    /// On a certificate.
    Certificate,
    /// On a data key.
    DataKey,
    /// A secret was read.
    SecretRead,
    /// A standing order was used.
    Order,
    /// On a rotation.
    Rotation,
    /// In an emergency.
    Emergency,
    /// On a rotation policy.
    Policy,
    /// On an alert.
    Alert,
    /// A member was suspended.
    Suspension,
}

impl ActKind {
    /// All that this version knows, in a stable order.
    pub const ALL: [Self; 19] = [
        Self::Key,
        Self::Ring,
        Self::Ceremony,
        Self::Roster,
        Self::Access,
        Self::Refusal,
        Self::Refusals,
        Self::Admin,
        Self::Log,
        Self::SealedTree,
        Self::Certificate,
        Self::DataKey,
        Self::SecretRead,
        Self::Order,
        Self::Rotation,
        Self::Emergency,
        Self::Policy,
        Self::Alert,
        Self::Suspension,
    ];

    /// The word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Ring => "ring",
            Self::Ceremony => "ceremony",
            Self::Roster => "roster",
            Self::Access => "access",
            Self::Refusal => "refusal",
            Self::Refusals => "refusals",
            Self::Admin => "admin",
            Self::Log => "log",
            Self::SealedTree => "sealed-tree",
            Self::Certificate => "certificate",
            Self::DataKey => "data-key",
            Self::SecretRead => "secret-read",
            Self::Order => "order",
            Self::Rotation => "rotation",
            Self::Emergency => "emergency",
            Self::Policy => "policy",
            Self::Alert => "alert",
            Self::Suspension => "suspension",
        }
    }
}

spelled!(ActKind, "kind");

/// A leaf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leaf {
    /// A signature.
    Signature(Box<SignatureLeaf>),
    /// An act.
    Act(Box<ActLeaf>),
    /// An act of a kind that a later version knows. It is counted and shown, and is no error.
    Unknown(UnknownLeaf),
}

/// What can be read of a leaf of an unknown kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownLeaf {
    /// The kind.
    pub kind: Word,
    /// When, by the service's clock.
    pub time: Time,
}

/// The members that every leaf has.
#[derive(Deserialize)]
struct Common {
    kind: Word,
    time: Time,
    #[serde(rename = "v")]
    _v: V1,
}

impl Leaf {
    /// Reads a leaf, which must be in canonical form.
    pub fn parse(bytes: &[u8]) -> Result<Self, JsonError> {
        // The kind first, leniently; the whole then strictly.
        let common: Option<Common> = serde_json::from_slice(bytes).ok();
        match common {
            Some(common) if common.kind.as_str() == "sign" => {
                let leaf: SignatureLeaf = json::require_canonical(bytes)?;
                match (1..=MAX_ALG).contains(&leaf.alg.chars().count()) {
                    true => Ok(Self::Signature(Box::new(leaf))),
                    false => Err(JsonError::Content {
                        path: "alg".to_owned(),
                        what: format!("expected 1 to {MAX_ALG} characters"),
                    }),
                }
            }
            Some(Common { kind, time, .. }) if kind.as_str().parse::<ActKind>().is_err() => {
                json::require_canonical::<serde_json::Map<String, serde_json::Value>>(bytes)?;
                Ok(Self::Unknown(UnknownLeaf { kind, time }))
            }
            _ => json::require_canonical(bytes).map(|leaf| Self::Act(Box::new(leaf))),
        }
    }

    /// When, by the service's clock.
    pub fn time(&self) -> Time {
        match self {
            Self::Signature(leaf) => leaf.time,
            Self::Act(leaf) => leaf.time,
            Self::Unknown(leaf) => leaf.time,
        }
    }
}

impl ActLeaf {
    /// An act about nothing yet.
    pub fn new(kind: ActKind, action: &str, actor: &str, time: Time) -> Self {
        Self {
            action: action.to_owned(),
            actor: actor.to_owned(),
            alg: None,
            asset: None,
            bound: None,
            compromised_since: None,
            count: None,
            digest: None,
            first: None,
            from: None,
            input_commit: None,
            kid: None,
            kind,
            last: None,
            origin: None,
            previous_kid: None,
            previous_version: None,
            reason: None,
            reference: None,
            ring: None,
            sig_hash: None,
            time,
            until: None,
            usage: None,
            use_number: None,
            v: V1,
            version: None,
        }
    }

    /// The reason of a revocation.
    pub fn revocation_reason(&self) -> Option<RevocationReason> {
        self.reason.as_deref()?.parse().ok()
    }
}
