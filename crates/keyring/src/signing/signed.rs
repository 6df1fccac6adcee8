//! What comes of a request for a signature.

use trust::{Algorithm, Kid, Time};

use super::formats::Serialised;
use base::NoRandomness;

/// A signature that may leave: its leaf is committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    pub signature: Serialised,
    pub kid: Kid,
    pub number: u32,
    pub algorithm: Algorithm,
    /// Place in the audit log.
    pub index: i64,
    /// Opens the leaf's `input_commit = SHA-256(salt ‖ signing input)`.
    pub salt: [u8; 16],
    pub time: Time,
}

/// Why there is no signature. Each variant has a stable code over HTTP.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("unknown ring {0:?}")]
    UnknownRing(String),
    #[error("the row of ring {0:?} in the database is unreadable")]
    UnreadableRing(String),
    #[error("{principal:?} is not permitted to sign with ring {ring:?}")]
    NotAllowed { principal: String, ring: String },
    #[error("ring {0:?} is reserved for the log and signs only checkpoints")]
    Reserved(String),
    /// The ring was never opened, or was stopped.
    #[error("ring {0:?} has no active key")]
    NoActiveKey(String),
    #[error("ring {ring:?} signs only {usage}")]
    WrongUsage { ring: String, usage: &'static str },
    #[error("the request asks for {asked}, ring {ring:?} signs with {algorithm}")]
    WrongAlgorithm {
        ring: String,
        algorithm: Algorithm,
        asked: String,
    },
    #[error("invalid input: {0}")]
    BadInput(String),
    #[error("the idempotency key was already used for a different request")]
    IdempotencyMismatch,
    /// The key was revoked or retired while its signature was on the way; it was not released.
    #[error("key {0} is no longer permitted to sign")]
    KeyMayNotSign(Kid),
    /// By a person's signature, or because an emergency rotation was not ratified: only the threshold lets it go on.
    #[error("signing with ring {ring:?} is stopped: {why}")]
    Stopped { ring: String, why: String },
    #[error("the HSM did not sign")]
    Token(#[source] token::Error),
    #[error("the signature could not be recorded, so it was not released")]
    Log(#[source] log::Error),
    #[error("the signature could not be made")]
    Randomness(#[from] NoRandomness),
    /// A stored answer or a finished signature that cannot be read: a defect, never a verdict.
    #[error("{0}")]
    Broken(String),
}
