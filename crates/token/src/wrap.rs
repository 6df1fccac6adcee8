//! Wrapping keys and data keys, as a caller has them.

use std::sync::Arc;

pub use hsm::{BATCH as WRAP_BATCH, Dek, WrappedDek};
use trust::Location;
use trust::Sha256Digest;
use trust::place::ReadBack;

/// A wrapping key as a device finds it: by `CKA_ID`, believed only while it wraps the challenge to the check value.
#[derive(Debug, Clone)]
pub struct WrapHandle {
    pub(super) reference: Arc<hsm::WrapRef>,
}

impl WrapHandle {
    /// `challenge` and `check_value` as the key's acceptance states them, see [`trust::approval::NewKey::Check`].
    pub fn new(cka_id: [u8; 16], challenge: Sha256Digest, check_value: Sha256Digest) -> Self {
        let reference = Arc::new(hsm::WrapRef {
            cka_id: hsm::CkaId(cka_id),
            challenge: *challenge.as_bytes(),
            check_value: *check_value.as_bytes(),
        });
        Self { reference }
    }

    pub fn cka_id(&self) -> [u8; 16] {
        self.reference.cka_id.0
    }

    pub fn challenge(&self) -> Sha256Digest {
        Sha256Digest::from_bytes(self.reference.challenge)
    }

    pub fn check_value(&self) -> Sha256Digest {
        Sha256Digest::from_bytes(self.reference.check_value)
    }
}

/// A newborn wrapping key, as the token tells of it.
#[derive(Debug, Clone)]
pub struct GeneratedWrap {
    /// What the key wrapped, see [`trust::approval::wrap_challenge`].
    pub challenge: Sha256Digest,
    /// SHA-256 of the challenge as the key wraps it.
    pub check_value: Sha256Digest,
    pub location: Location,
    pub read_back: ReadBack,
}
