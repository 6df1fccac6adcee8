//! Evidence files: what a signature is worth, without the service (docs/LOG.md, "Evidence").
//!
//! Everything in a file is unverified until [`verify`] returns: transcripts are walked from the
//! pinned genesis, proofs end in checkpoints by the log's own accepted keys, and the life of the
//! key is told by leaves of the log, never by a statement of the service.

mod check;

use serde::{Deserialize, Serialize};

use crate::base64url::Base64Url;
use crate::digest::Sha256Digest;
use crate::format::V1;
use crate::json::{self, JsonError};
use crate::jwk::Kid;
pub use crate::logged::Logged;
use crate::name::Name;
use crate::order_log::UseProof;
use crate::request::Usage;
use crate::time::Time;
use crate::tlog::policy::WitnessPolicy;
use crate::verdict::Verdict;

/// Longest file that is read. A transcript has some 10 KiB, a proof about one.
pub const MAX_LEN: usize = 16 << 20;

/// Most acts in the life of one key.
pub const MAX_LIFE: usize = 1_000;

/// The file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// Clock corrections of the log, oldest first.
    pub corrections: Vec<Certified>,
    /// Of the installation, as in its genesis.
    pub environment: Name,
    /// The signature's leaf.
    pub leaf: String,
    /// The acts that made the key what it is, oldest first.
    pub life: Vec<Logged>,
    /// Transcripts of the keys that signed the checkpoints in the file.
    pub log_keys: Vec<String>,
    /// Of a key under a standing order, acts about the order and the making of the key, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub order: Vec<Logged>,
    /// New origins of the log, oldest first.
    pub origins: Vec<Certified>,
    /// The tlog-proof of `leaf`.
    pub proof: String,
    /// Transcript of the ceremony that revoked the key, the last one if there were several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revocation: Option<String>,
    /// Of the installation, as in its genesis.
    pub service: Name,
    /// The signature itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Subject>,
    /// The key's transcript.
    pub transcript: String,
    /// Says what the file is.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// Format version.
    pub v: V1,
}

/// The kind of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The only one.
    ChanceryEvidence,
}

/// An act on the log, with the ceremony that it rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certified {
    /// The very bytes.
    pub leaf: String,
    /// A tlog-proof.
    pub proof: String,
    /// The transcript.
    pub transcript: String,
}

/// A signature and what it covers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    /// How `input` is covered.
    pub covers: Covers,
    /// Message or digest.
    pub input: Base64Url,
    /// With it `input` opens the leaf's commitment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub salt: Option<Base64Url>,
    /// ECDSA in the fixed form of IEEE P1363, with either s.
    pub signature: Base64Url,
}

/// What was signed, and how the signature covers the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Covers {
    /// A JWS: the input is its signing input, and is hashed.
    Jws,
    /// A DSSE envelope: the input is its pre-authentication encoding, and is hashed.
    Dsse,
    /// Bytes of the caller, which are hashed.
    Message,
    /// A hash by the caller.
    Digest,
}

impl Covers {
    /// Whether keys of this usage sign it.
    pub fn fits(self, usage: Usage) -> bool {
        match self {
            Self::Jws | Self::Dsse => usage == Usage::Structured,
            Self::Message | Self::Digest => usage == Usage::Raw,
        }
    }
}

/// A file that was refused. The word is stable; the source says more.
#[derive(Debug, thiserror::Error)]
#[error("{word}: {why}")]
pub struct EvidenceError {
    /// As docs/LOG.md has it: `malformed`, `log_key`, `transcript`, `proof`, `origin`, `correction`,
    /// `leaf`, `life`, `order`, `revocation`, `subject`.
    pub word: &'static str,
    /// What was wrong.
    pub why: String,
}

/// What a file shows.
#[derive(Clone, Debug)]
pub struct EvidenceReport {
    /// What the signature is worth, by the key's life as far as the file tells it.
    pub verdict: Verdict,
    /// The key.
    pub kid: Kid,
    /// Its ring.
    pub ring: Name,
    /// What the ring's keys are used for.
    pub usage: Usage,
    /// The leaf's place in the log.
    pub index: u64,
    /// First line of its checkpoint.
    pub origin: String,
    /// Witnesses that cosigned the checkpoint, with their times; the policy decides who counts.
    pub cosigners: Vec<(String, Time)>,
    /// Whether T is that of a complete quorum of witnesses, and not the log's own clock.
    pub witnessed: bool,
    /// Whether the signature itself is in the file and was checked.
    pub subject: bool,
    /// Of a key under a standing order, whether the file brings the leaves that bear out its use.
    pub order_use: Option<UseProof>,
    /// SHA-256 of the signature in its canonical form.
    pub sig_hash: Sha256Digest,
}

impl Evidence {
    /// The file's bytes: canonical JSON.
    pub fn encode(&self) -> Result<Vec<u8>, JsonError> {
        json::canonical(self)
    }

    /// Reads the file; nothing in it is verified by that.
    pub fn decode(bytes: &[u8]) -> Result<Self, EvidenceError> {
        if bytes.len() > MAX_LEN {
            return Err(EvidenceError {
                word: "malformed",
                why: format!("longer than {MAX_LEN} bytes"),
            });
        }
        let file: Self = json::require_canonical(bytes).map_err(|error| EvidenceError {
            word: "malformed",
            why: error.to_string(),
        })?;
        let longest = [
            file.life.len(),
            file.log_keys.len(),
            file.corrections.len(),
            file.order.len(),
            file.origins.len(),
        ];
        if longest.into_iter().any(|length| length > MAX_LIFE) {
            return Err(EvidenceError {
                word: "malformed",
                why: format!("more than {MAX_LIFE} acts or keys"),
            });
        }
        Ok(file)
    }
}

/// Verifies a file with nothing but the genesis's digest and, where there are witnesses, a policy
/// that says which of them are enough.
pub fn verify(
    bytes: &[u8],
    genesis: Sha256Digest,
    witnesses: Option<&WitnessPolicy>,
) -> Result<EvidenceReport, EvidenceError> {
    check::check(&Evidence::decode(bytes)?, genesis, witnesses)
}
