//! Wrapping keys: what names one, what is wrapped, and the power to use them.
//!
//! AES-KW (RFC 3394) of exactly 32 bytes. It binds no context and takes no randomness: the same key under the same wrapping
//! key is always the same 40 bytes, which is how a wrapping key is recognised and how a re-wrap is checked.

use std::sync::Arc;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::error::Error;
use crate::key::CkaId;

/// Bytes of a data key, and of one as AES-KW wraps it (RFC 3394, section 2.2.1: one block of eight more).
pub const DEK: usize = 32;
pub const WRAPPED: usize = 40;

/// Most items of one batch.
pub const BATCH: usize = 1_000;

/// A data key in the clear. Erased when it goes; it is neither printed nor copied, and moving it moves no bytes.
pub struct Dek(Box<Zeroizing<[u8; DEK]>>);

impl Dek {
    /// A copy; erasing `bytes` is the caller's.
    pub fn copy_of(bytes: &[u8; DEK]) -> Self {
        let mut dek = Box::new(Zeroizing::new([0; DEK]));
        dek.copy_from_slice(bytes);
        Self(dek)
    }

    pub fn as_bytes(&self) -> &[u8; DEK] {
        &self.0
    }
}

/// A data key as it is stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WrappedDek([u8; WRAPPED]);

impl WrappedDek {
    pub fn new(bytes: [u8; WRAPPED]) -> Self {
        Self(bytes)
    }

    /// What was read from elsewhere; `None` if it has another length. Nothing of another length reaches a token: SoftHSM
    /// pads it in silence to something that is not RFC 3394.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    pub fn as_bytes(&self) -> &[u8; WRAPPED] {
        &self.0
    }
}

/// What a worker is to do with the items of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WrapOp {
    /// The key shows itself, and that is all; there are no items.
    Check = 0,
    Wrap = 1,
    Unwrap = 2,
    Rewrap = 3,
}

impl WrapOp {
    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        [Self::Check, Self::Wrap, Self::Unwrap, Self::Rewrap]
            .into_iter()
            .find(|op| *op as u8 == byte)
    }

    /// Bytes of one item on its way in.
    pub(crate) fn input_len(self) -> usize {
        match self {
            Self::Check => 0,
            Self::Wrap => DEK,
            Self::Unwrap | Self::Rewrap => WRAPPED,
        }
    }
}

/// A wrapping key as the caller knows it. It has no public half: its identity is what it makes of a known value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrapRef {
    pub cka_id: CkaId,
    /// What the key wrapped when it was made.
    pub challenge: [u8; DEK],
    /// SHA-256 of the challenge as the key wraps it. Compared in front of every batch.
    pub check_value: [u8; 32],
}

/// What to do with a batch. All of it is by the keys that are named, or nothing is.
pub enum WrapWork {
    /// Each becomes 40 bytes.
    Wrap { key: Arc<WrapRef>, deks: Vec<Dek> },
    /// Each becomes 32 bytes.
    Unwrap {
        key: Arc<WrapRef>,
        blobs: Vec<WrappedDek>,
    },
    /// Each becomes 40 bytes under `to`; no data key leaves the token.
    Rewrap {
        from: Arc<WrapRef>,
        to: Arc<WrapRef>,
        blobs: Vec<WrappedDek>,
    },
}

impl WrapWork {
    pub fn len(&self) -> usize {
        match self {
            Self::Wrap { deks, .. } => deks.len(),
            Self::Unwrap { blobs, .. } | Self::Rewrap { blobs, .. } => blobs.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Results by item and in order; an item's bytes are 32 or 40, as the work says, and are erased when they go. Called once
/// for each part of the batch, in any order, with the index of the part's first item, on a thread of the supervisor: it
/// must not block.
pub type WrapReply = Arc<dyn Fn(usize, Vec<Result<Zeroizing<Vec<u8>>, Error>>) + Send + Sync>;

/// The power of envelope encryption: data keys are wrapped, unwrapped and wrapped anew, by keys that exist.
pub trait Wrap {
    /// Takes the work or answers `Error::Overloaded` or `Error::CircuitOpen` at once; never blocks. More than [`BATCH`] items
    /// are refused. Work goes to the token in small parts, re-wrapping behind everything else, so that signing keeps its
    /// share.
    fn submit_wrap(&self, work: WrapWork, deadline: Instant, reply: WrapReply);

    /// Blocks until a worker has found the key and has seen it wrap its challenge to its check value.
    fn check_wrap(&self, key: &Arc<WrapRef>, deadline: Instant) -> Result<(), Error>;
}
