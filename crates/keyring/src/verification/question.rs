//! What is asked about a signature, and what is answered.

use std::sync::Arc;

use trust::timestamp::Timestamp;
use trust::{Kid, Time};

/// What somebody asks.
#[derive(Debug, Clone)]
pub struct Question {
    pub claim: Claim,
    /// An RFC 3161 token (DER) over the raw bytes of the signature.
    pub timestamp: Option<Vec<u8>>,
    /// The verdict as of an earlier instant; see `trust::verdict::Known::verdict_as_of`.
    pub at: Option<Time>,
}

/// A signature somebody asks about. Everything in it is unverified.
#[derive(Debug, Clone)]
pub enum Claim {
    /// Compact JWS, attached; or detached with its payload.
    Jws {
        compact: String,
        detached_payload: Option<Vec<u8>>,
    },
    /// JWS JSON serialisation, flattened or general (RFC 7515 section 7.2). Of several signatures
    /// one by a key of ours counts.
    JwsJson {
        json: Vec<u8>,
        detached_payload: Option<Vec<u8>>,
    },
    /// A signature over a digest or a message by the key that the caller names.
    Raw {
        kid: String,
        covered: Covered,
        signature: Vec<u8>,
        der: bool,
    },
    /// Of several signatures one by a key of ours counts.
    Dsse {
        envelope: Vec<u8>,
        /// The key that every signature is held against, whatever its `keyid` says, which is a hint
        /// only and may be absent.
        kid: Option<String>,
    },
}

#[derive(Debug, Clone)]
pub enum Covered {
    Digest(Vec<u8>),
    Message(Vec<u8>),
}

/// The answer: a verdict with its reasons, never a bare boolean.
#[derive(Debug, Clone)]
pub struct Answer {
    pub verdict: trust::verdict::Verdict,
    pub kid: Option<Kid>,
    pub ring: Option<Arc<str>>,
    pub number: Option<u32>,
    /// Earliest proof that the signature existed, and its place in the log.
    pub existed_at: Option<Time>,
    pub index: Option<i64>,
    /// What the RFC 3161 token says, if it verified.
    pub timestamp: Option<Timestamp>,
    /// The instant that was asked about.
    pub as_of: Option<Time>,
    /// What a person would want to know: which check said no, what was expected.
    pub explanation: String,
}

impl From<trust::jws::Malformed> for Error {
    fn from(trust::jws::Malformed { member, problem }: trust::jws::Malformed) -> Self {
        Self::Malformed { member, problem }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The claim is not of the form it says (not a JWS, not base64url, …): a client's mistake,
    /// not a verdict.
    #[error("{member}: {problem}")]
    Malformed {
        member: &'static str,
        problem: String,
    },
    #[error(transparent)]
    Unfinished(#[from] crate::keys::Unfinished),
    /// Whether there is such a key, and what became of it, is not known now.
    #[error("a key could not be looked up")]
    Key(#[source] crate::keys::NoKey),
    #[error("the audit trail could not be queried")]
    Log(#[source] Arc<store::Error>),
    #[error("the log's tree could not be read")]
    Tree(#[source] Arc<log::ProofError>),
    /// A revocation might be among what is missing.
    #[error(
        "the database lacks leaves of the log; nothing is said about signatures until they are back"
    )]
    Incomplete,
}
