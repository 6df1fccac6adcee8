//! The powers: what a caller may do with a token.

use std::sync::{Arc, OnceLock, mpsc};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::key::{CkaId, KeyRef, KeySpec, Scheme, Signature};
use crate::wrap::{DEK, WrapRef};

/// Called exactly once with the outcome, on a thread of the supervisor: it must not block.
pub type Reply = Box<dyn FnOnce(Result<Signature, Error>) + Send>;

/// When work left the queue.
pub type Given = Arc<OnceLock<Instant>>;

/// One signature to make.
pub struct SignRequest {
    pub key: Arc<KeyRef>,
    /// The digest, or for Ed25519 the message (at most 64 KiB).
    pub input: Vec<u8>,
    /// When the answer is worthless. Until then a lost worker, a lost session or a lost token is made good in silence.
    pub deadline: Instant,
    pub reply: Reply,
    /// Set when a worker is given it first, where somebody wants to know how long it waited.
    pub given: Option<Given>,
}

/// The power of a replica: signatures by keys that exist.
pub trait Sign {
    /// Takes the work or answers `Error::Overloaded` or `Error::CircuitOpen` at once; never blocks. The place in the
    /// queue belongs to the work: a caller that goes away does not free it and cannot leak it.
    fn submit(&self, key: &Arc<KeyRef>, input: &[u8], deadline: Instant, reply: Reply);

    /// The same for many, with one write to each worker; each request is answered on its own.
    fn submit_all(&self, requests: Vec<SignRequest>);

    /// Blocks until the answer or the deadline.
    fn sign(&self, key: &Arc<KeyRef>, input: &[u8], deadline: Instant) -> Result<Signature, Error> {
        let (sender, receiver) = mpsc::sync_channel(1);
        self.submit(
            key,
            input,
            deadline,
            Box::new(move |outcome| drop(sender.send(outcome))),
        );
        receiver.recv().unwrap_or(Err(Error::Stopping))
    }
}

/// Permission to do `T` once: the service's only implementation wraps what its tally made of a quorum.
///
/// Taken by value by every dangerous call, so one warrant is one act.
pub trait Warrant<T> {
    fn order(&self) -> &T;
}

/// The power of the executor: keys are born and destroyed. All calls block.
pub trait Administer {
    /// Generates one pair. Refuses when any object with this `CKA_ID` exists. Never repeated by itself: after
    /// `Error::OutcomeUnknown` ask [`Administer::find`], then adopt or destroy.
    fn generate(&self, warrant: impl Warrant<GenerateOrder>) -> Result<Generated, Error>;

    /// Destroys the private and public object of one key after comparing the public key. A key that is already gone is
    /// `Error::NotFound`.
    fn destroy(&self, warrant: impl Warrant<DestroyOrder>) -> Result<(), Error>;

    /// Generates one AES-256 wrapping key, and has it wrap the order's challenge. Refuses when any object with this `CKA_ID`
    /// exists, and when the token failed the trial of wrapping at its start. Never repeated by itself.
    fn generate_wrap(
        &self,
        warrant: impl Warrant<GenerateWrapOrder>,
    ) -> Result<GeneratedWrap, Error>;

    /// What the generation would have answered, of the one secret key with this `CKA_ID`.
    fn read_back_wrap(&self, cka_id: CkaId, challenge: [u8; 32]) -> Result<GeneratedWrap, Error>;

    /// Destroys one wrapping key after comparing its check value. A key that is already gone is `Error::NotFound`.
    fn destroy_wrap(&self, warrant: impl Warrant<DestroyWrapOrder>) -> Result<(), Error>;

    /// Removes the only object with this `CKA_ID`, a public key: what a generation leaves that died before the private
    /// half was there. It takes no warrant, because no key is destroyed: a private half under this id, or several objects,
    /// is `Error::Ambiguous`, and nothing is removed. Whether the id was meant for a generation is for the caller to know.
    fn remove_public_half(&self, token_serial: &str, cka_id: CkaId) -> Result<(), Error>;

    /// Every key object with this `CKA_ID`: none, a pair, or what a crash left.
    fn find(&self, cka_id: CkaId) -> Result<Vec<ObjectInfo>, Error>;

    /// Every key object of the token, for reconciliation with the inventory.
    fn list(&self) -> Result<Vec<ObjectInfo>, Error>;

    /// What the generation would have answered, read again from a complete pair: how an interrupted birth is adopted.
    fn read_back(&self, cka_id: CkaId) -> Result<Generated, Error>;

    /// Proof of possession: a signature by a new key over `input` (digest, or message for Ed25519).
    fn prove(&self, key: &KeyRef, input: &[u8]) -> Result<Signature, Error>;

    /// Which token this is.
    fn token(&self) -> Result<TokenIdentity, Error>;
}

/// The attributes a private key is created with, as the custodians signed them. [`PrivateTemplate::SIGNING`] is the only
/// one that is carried out; the fields exist so that the signed request and the act can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrivateTemplate {
    pub token: bool,
    pub private: bool,
    pub sensitive: bool,
    pub extractable: bool,
    pub modifiable: bool,
    pub sign: bool,
    pub decrypt: bool,
    pub unwrap: bool,
    pub derive: bool,
}

impl PrivateTemplate {
    pub const SIGNING: PrivateTemplate = PrivateTemplate {
        token: true,
        private: true,
        sensitive: true,
        extractable: false,
        modifiable: false,
        sign: true,
        decrypt: false,
        unwrap: false,
        derive: false,
    };
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenerateOrder {
    pub token_serial: String,
    pub token_label: String,
    pub cka_id: CkaId,
    /// `<service>/<environment>/<ring>/<number>`, at most 64 ASCII characters. For people; nothing is found by it.
    pub label: String,
    pub spec: KeySpec,
    pub scheme: Scheme,
    pub template: PrivateTemplate,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DestroyOrder {
    pub token_serial: String,
    pub token_label: String,
    pub cka_id: CkaId,
    /// The public key that must be found there, DER `SubjectPublicKeyInfo`.
    pub spki: Vec<u8>,
}

/// What the token says of itself (`C_GetTokenInfo`), trimmed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenIdentity {
    pub serial: String,
    pub label: String,
    pub manufacturer: String,
    pub model: String,
    pub firmware: String,
    /// The profile in force.
    pub profile: String,
}

/// Attributes of a private or secret key read back from the token: evidence for the acceptance. `None`: the token has no answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attributes {
    pub local: Option<bool>,
    pub always_sensitive: Option<bool>,
    pub never_extractable: Option<bool>,
    /// `CKA_KEY_GEN_MECHANISM` by its name, e.g. `CKM_EC_KEY_PAIR_GEN`.
    pub key_gen_mechanism: Option<String>,
    pub token: Option<bool>,
    pub private: Option<bool>,
    pub sensitive: Option<bool>,
    pub extractable: Option<bool>,
    pub modifiable: Option<bool>,
    pub sign: Option<bool>,
    pub decrypt: Option<bool>,
    pub unwrap: Option<bool>,
    pub derive: Option<bool>,
    /// For secret keys; of a private key they are not asked.
    pub encrypt: Option<bool>,
    pub wrap: Option<bool>,
}

/// A newborn key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generated {
    pub cka_id: CkaId,
    pub label: String,
    /// DER `SubjectPublicKeyInfo`.
    pub spki: Vec<u8>,
    pub attributes: Attributes,
    pub token: TokenIdentity,
    /// The vendor's attestation blob, where the profile knows how to get one through PKCS#11.
    pub attestation: Option<Vec<u8>>,
}

/// The attributes a wrapping key is created with, as the custodians signed them. [`WrapTemplate::WRAPPING`] is the only one
/// that is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrapTemplate {
    pub token: bool,
    pub private: bool,
    pub sensitive: bool,
    pub extractable: bool,
    pub modifiable: bool,
    pub sign: bool,
    pub encrypt: bool,
    pub decrypt: bool,
    pub wrap: bool,
    pub unwrap: bool,
    pub derive: bool,
}

impl WrapTemplate {
    pub const WRAPPING: WrapTemplate = WrapTemplate {
        token: true,
        private: true,
        sensitive: true,
        extractable: false,
        modifiable: false,
        sign: false,
        encrypt: false,
        decrypt: false,
        wrap: true,
        unwrap: true,
        derive: false,
    };
}

/// One AES-256 wrapping key to make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenerateWrapOrder {
    pub token_serial: String,
    pub token_label: String,
    pub cka_id: CkaId,
    /// `<service>/<environment>/<ring>/<number>`, at most 64 ASCII characters. For people; nothing is found by it.
    pub label: String,
    pub template: WrapTemplate,
    /// What the new key wraps at once, to show itself.
    pub challenge: [u8; DEK],
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DestroyWrapOrder {
    pub token_serial: String,
    pub token_label: String,
    /// The key that must be found there.
    pub key: WrapRef,
}

/// A newborn wrapping key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GeneratedWrap {
    pub cka_id: CkaId,
    pub label: String,
    /// SHA-256 of the order's challenge as the key wraps it.
    pub check_value: [u8; 32],
    pub attributes: Attributes,
    /// CKA_VALUE_LEN; `None`: the token has no answer.
    pub value_len: Option<u64>,
    pub token: TokenIdentity,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ObjectClass {
    PrivateKey,
    PublicKey,
    SecretKey,
}

/// One key object on the token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectInfo {
    pub class: ObjectClass,
    /// As it is on the token: sixteen bytes only for keys of ours.
    pub cka_id: Vec<u8>,
    pub label: String,
    /// DER `SubjectPublicKeyInfo`, where the object lets it be made.
    pub spki: Option<Vec<u8>>,
    /// For private and secret keys.
    pub attributes: Option<Attributes>,
}
