//! One signature from request to release.

use std::sync::Arc;
use std::time::Instant;

use trust::{Algorithm, Kid, Time};

use super::{Format, Serialised};
use crate::access::Principal;

/// A signature that may leave: its leaf is committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    pub signature: Serialised,
    pub kid: Kid,
    pub number: u64,
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
    #[error("there is no ring {0:?}")]
    UnknownRing(String),
    #[error("{principal:?} may not sign on ring {ring:?}")]
    NotAllowed { principal: String, ring: String },
    /// The ring was never opened, or was stopped.
    #[error("ring {0:?} has no active key")]
    NoActiveKey(String),
    #[error("ring {ring:?} signs {usage} only")]
    WrongUsage { ring: String, usage: &'static str },
    #[error("the request asks for {asked}, ring {ring:?} signs with {algorithm}")]
    WrongAlgorithm {
        ring: String,
        algorithm: Algorithm,
        asked: String,
    },
    #[error("the input does not fit: {0}")]
    BadInput(String),
    #[error("idempotency key was used before for another request")]
    IdempotencyMismatch,
    /// The key was revoked or retired while its signature was on the way; it was not released.
    #[error("key {0} may not sign any more")]
    KeyMayNotSign(Kid),
    #[error("the token did not sign")]
    Token(#[source] crate::token::Error),
    #[error("the signature could not be recorded, so it was not released")]
    Log(#[source] crate::log::Error),
}

/// The sign path; cheap to clone.
#[derive(Clone)]
pub struct Signing(Arc<()>);

/// What a repeated request is recognised by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey(pub String);

impl Signing {
    /// `algorithm` is what the caller expects the ring to use, if it said so.
    pub async fn sign(
        &self,
        caller: &Principal,
        ring: &str,
        format: Format,
        algorithm: Option<&str>,
        idempotency: Option<IdempotencyKey>,
        deadline: Instant,
    ) -> Result<Signed, Error> {
        unimplemented!()
    }

    /// Each item has a result of its own; one bad item does not stop the others. Items share the
    /// ring, the caller and the deadline, and `idempotency` covers the whole batch item by item.
    pub async fn sign_batch(
        &self,
        caller: &Principal,
        ring: &str,
        formats: Vec<Result<Format, String>>,
        algorithm: Option<&str>,
        idempotency: Option<IdempotencyKey>,
        deadline: Instant,
    ) -> Result<Vec<Result<Signed, Error>>, Error> {
        unimplemented!()
    }
}
