//! The one seam where the world is foreign: what a device that keeps keys does.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use trust::place::ReadBack;
use trust::{
    Algorithm, Approved, Destroy, DestroyKey, Generate, Location, PublicKey, Sha256Digest,
};

use super::{Dek, Error, GeneratedWrap, Handle, WrapHandle, WrappedDek};

/// Owns what it works on: a caller that goes away ends neither a signature nor a birth half way.
pub type Pending<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A device. [`crate::Pool`] shows its callers the first part, [`crate::Executor`] the second; the proof of a quorum is
/// taken by value, so that one approval is one act.
pub trait Backend: Send + Sync {
    /// Signatures by one key, each verified against its public key before it comes back and each with its own result, in
    /// order. `inputs` are digests, or messages for Ed25519.
    fn sign_all(
        &self,
        key: &Handle,
        inputs: Vec<Vec<u8>>,
        deadline: Instant,
    ) -> Pending<Vec<Result<Vec<u8>, Error>>>;

    /// Data keys as `key` wraps them, each with its own result, in order. At most [`crate::WRAP_BATCH`].
    fn wrap_all(
        &self,
        key: &WrapHandle,
        deks: Vec<Dek>,
        deadline: Instant,
    ) -> Pending<Vec<Result<WrappedDek, Error>>>;

    /// Data keys in the clear, each with its own result, in order. A blob that `key` did not wrap, or that was changed, is
    /// [`Error::is_integrity`] and says nothing against the token. At most [`crate::WRAP_BATCH`].
    fn unwrap_all(
        &self,
        key: &WrapHandle,
        blobs: Vec<WrappedDek>,
        deadline: Instant,
    ) -> Pending<Vec<Result<Dek, Error>>>;

    /// The same data keys under another wrapping key, each with its own result, in order; none of them leaves the device, and
    /// each new blob was unwrapped there and gave the old one again. At most [`crate::WRAP_BATCH`].
    fn rewrap_all(
        &self,
        from: &WrapHandle,
        to: &WrapHandle,
        blobs: Vec<WrappedDek>,
        deadline: Instant,
    ) -> Pending<Vec<Result<WrappedDek, Error>>>;

    /// Finds the key and has it wrap its challenge; the result must be its check value.
    fn check_wrap(&self, key: &WrapHandle, deadline: Instant) -> Pending<Result<(), Error>>;

    fn status(&self) -> Status;

    /// Which token this is: serial and label, as requests name them.
    fn identity(&self) -> Pending<Result<(String, String), Error>>;

    /// Generates the pair that was approved, exactly so. After an unknown outcome it is not repeated:
    /// [`Backend::list`] says what is there.
    fn generate(&self, approved: Approved<Generate>) -> Pending<Result<Generated, Error>>;

    /// What a complete pair says of itself: how an interrupted generation is adopted.
    fn read_back(&self, cka_id: [u8; 16]) -> Pending<Result<Generated, Error>>;

    /// Generates the wrapping key that was approved, exactly so, and has it wrap its challenge. After an unknown outcome it is
    /// not repeated: [`Backend::list`] says what is there.
    fn generate_wrap(&self, approved: Approved<Generate>) -> Pending<Result<GeneratedWrap, Error>>;

    /// The same of a wrapping key that is there: how an interrupted generation is adopted.
    fn read_back_wrap(
        &self,
        cka_id: [u8; 16],
        challenge: Sha256Digest,
    ) -> Pending<Result<GeneratedWrap, Error>>;

    /// Destroys one of the wrapping keys that were approved, after its check value was compared.
    fn destroy_wrap(
        &self,
        approved: Arc<Approved<Destroy>>,
        key: &DestroyKey,
        handle: &WrapHandle,
    ) -> Pending<Result<(), Error>>;

    /// Destroys one of the keys that were approved; `spki` is the public key that has to be found there.
    fn destroy(
        &self,
        approved: Arc<Approved<Destroy>>,
        key: &DestroyKey,
        spki: Vec<u8>,
    ) -> Pending<Result<(), Error>>;

    /// Removes a public key that is alone under its `CKA_ID`: what a generation leaves that died before the private half
    /// was there. No key is destroyed by it, so it takes no proof of a quorum. `false`, and nothing was removed: a private
    /// half is there after all, or the device does not destroy.
    fn remove_public_half(
        &self,
        token_serial: &str,
        cka_id: [u8; 16],
    ) -> Pending<Result<bool, Error>>;

    /// A signature by a new key, over `message`, to show that its private half is on the token.
    fn prove(
        &self,
        key: &Handle,
        algorithm: Algorithm,
        message: &[u8],
    ) -> Pending<Result<Vec<u8>, Error>>;

    /// Every key object on the token, by `CKA_ID`.
    fn list(&self) -> Pending<Result<Vec<Found>, Error>>;
}

/// How the token is, for readiness, metrics and `doctor`.
#[derive(Debug, Clone)]
pub struct Status {
    pub ready: bool,
    /// One word: `starting`, `ready`, `recovering`, `circuit-open`, `stopped`.
    pub state: &'static str,
    pub serial: Option<String>,
    pub label: Option<String>,
    pub profile: Option<String>,
    /// Whether the token wraps data keys: what the trial at its start found.
    pub wrap: WrapAbility,
    pub queued: usize,
    pub processes: usize,
    /// Library generations of the processes, highest.
    pub generation: u64,
    pub last_error: Option<String>,
    /// Monotonic counters by name.
    pub counters: Vec<(&'static str, u64)>,
}

/// Whether a token can carry wrapping keys. Mechanism lists are not believed; each worker tries it at its start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WrapAbility {
    /// Not tried yet: the token has not been there.
    Unknown,
    /// It wrapped, unwrapped and refused as it must, by AES-KW (RFC 3394).
    AesKw,
    /// It cannot, and why: the profile says so, or the step of the trial that failed.
    Unable(String),
}

/// A newborn key, as the token tells of it.
#[derive(Debug, Clone)]
pub struct Generated {
    pub public: PublicKey,
    pub spki: Vec<u8>,
    pub location: Location,
    pub read_back: ReadBack,
    pub attestation: Option<Vec<u8>>,
}

/// Key objects on the token under one `CKA_ID`, for reconciliation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub cka_id: Vec<u8>,
    pub label: String,
    pub private_keys: usize,
    pub public_keys: usize,
    pub secret_keys: usize,
}

impl Found {
    /// One secret key and nothing else: a wrapping key.
    pub fn is_secret(&self) -> bool {
        (self.private_keys, self.public_keys, self.secret_keys) == (0, 0, 1)
    }

    /// One private and one public key: a birth that was finished.
    pub fn is_complete(&self) -> bool {
        (self.private_keys, self.public_keys, self.secret_keys) == (1, 1, 0)
    }

    /// One public key and no private one: a birth that died in the middle. Nothing signs with it.
    pub fn is_public_half(&self) -> bool {
        (self.private_keys, self.public_keys, self.secret_keys) == (0, 1, 0)
    }
}
