//! The read model: every ring and key in memory, replaced as a whole when the database says that
//! something changed. Signing and JWKS never ask the database for a key.
//!
//! A key gets in here only with its birth certificate: the transcript is tallied again from the
//! pinned genesis, and a row that does not agree with its transcript is refused and reported.

mod load;
mod publish;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arc_swap::ArcSwap;
use trust::{Algorithm, KeySpec, KeyState, Kid, PublicKey, Verifier};

use crate::access::Credentials;
use crate::token::Handle;

pub use load::{Error, Keys, Refused, Settings, unverified_chains};
pub use publish::Document;

/// One version in a ring.
#[derive(Debug)]
pub struct Key {
    pub kid: Kid,
    pub ring: Arc<str>,
    pub number: u32,
    pub algorithm: Algorithm,
    pub state: KeyState,
    pub public: PublicKey,
    pub verifier: Verifier,
    pub published_at: trust::Time,
    /// Not before this instant may it become primary (from the approved request).
    pub activate_at: trust::Time,
    pub retire_at: trust::Time,
    pub cka_id: [u8; 16],
    pub token_serial: String,
    pub token_label: String,
    /// The ceremony that bore it.
    pub ceremony: String,
    /// SPKI, DER.
    pub spki: Vec<u8>,
    /// How the token layer finds it.
    pub handle: Handle,
}

/// A named purpose with one algorithm.
#[derive(Debug)]
pub struct Ring {
    pub name: Arc<str>,
    pub algorithm: Algorithm,
    pub key_spec: KeySpec,
    pub usage: Usage,
    pub critical: bool,
    pub created_at: trust::Time,
    /// Rises with each change; a plan is applied only to the version it was made on.
    pub version: i64,
    pub primary: Option<Arc<Key>>,
    /// By number, oldest first.
    pub keys: Vec<Arc<Key>>,
    pub jwks: Document,
}

/// What a ring signs: structured formats or bare digests, never both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    Structured,
    Raw,
}

/// Everything at one version of the database.
#[derive(Debug)]
pub struct Snapshot {
    /// The database's version that this was read at.
    pub version: i64,
    pub rings: BTreeMap<Arc<str>, Arc<Ring>>,
    pub keys: HashMap<Kid, Arc<Key>>,
    /// The combined set of `/.well-known/jwks.json`.
    pub jwks: Document,
    pub credentials: Credentials,
    /// Keys in the database that were not believed, with the reason.
    pub refused: Vec<Refused>,
}

/// Where readers find the present [`Snapshot`]; one atomic load per request.
pub type Current = ArcSwap<Snapshot>;
