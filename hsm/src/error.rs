//! Errors that cross the process boundary, and what to do about each.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::key::CkaId;

/// What to do about an error. The recovery ladder and the service decide by this and by nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Class {
    /// May pass by itself; try again later.
    Transient,
    /// The session is dead; open another.
    SessionLost,
    /// Log in again and bind again.
    LoginRequired,
    /// The object is not there.
    NotFound,
    /// More than one object is there, or one that is not what it should be.
    Ambiguous,
    /// The token cannot do this.
    Unsupported,
    /// Somebody has to change a setting, a PIN or a request first; repeating is useless or harmful.
    Misconfigured,
    /// It may have happened. Look before acting again.
    OutcomeUnknown,
    /// What was handed in is not what this key wrapped. Nothing is wrong with the token.
    Integrity,
    /// A promise was broken (wrong key, wrong signature); alert.
    Fatal,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum Error {
    /// Said at once, before anything was done. The place in the queue belongs to the work, so this means real load.
    #[error("the signing queue is full ({limit} requests)")]
    Overloaded { limit: usize },
    /// The caller's own time is up. A signature may still be made; nobody will see it.
    #[error("the deadline passed before the token responded")]
    DeadlineExceeded,
    /// Said at once while the token is known to be away; a few seconds later may be different.
    #[error("the token is unavailable (circuit open); retry in {retry_after:?}")]
    CircuitOpen { retry_after: Duration },
    #[error("the supervisor has stopped")]
    Stopping,
    #[error("this worker was started without administrative rights (generate, destroy)")]
    Powerless,
    #[error("the input for key {cka_id} has {got} bytes, expected {expected}")]
    InputLength {
        cka_id: CkaId,
        expected: usize,
        got: usize,
    },
    /// The key reference itself is at fault: not a `SubjectPublicKeyInfo`, or of another algorithm than its scheme.
    #[error("the public key of {cka_id} is malformed or does not match its signature scheme")]
    BadKeyRef { cka_id: CkaId },
    #[error("the request specifies a private key template other than the signing template")]
    TemplateRefused,
    #[error("the request names token serial {wanted:?}, the connected token has {found:?}")]
    OtherToken { wanted: String, found: String },
    #[error("label {label:?} is not 1 to 64 printable ASCII characters")]
    BadLabel { label: String },
    /// Nothing was generated. Either an earlier attempt succeeded (read it back), or the id was not random.
    #[error("objects with CKA_ID {cka_id} already exist ({count})")]
    AlreadyExists { cka_id: CkaId, count: usize },
    #[error("no {what} with CKA_ID {cka_id}")]
    NotFound { cka_id: CkaId, what: ObjectWord },
    #[error("{count} objects of kind {what} with CKA_ID {cka_id}")]
    Ambiguous {
        cka_id: CkaId,
        what: ObjectWord,
        count: usize,
    },
    /// An alert: somebody or something has put another key where ours was.
    #[error("the object with CKA_ID {cka_id} has a different public key")]
    WrongKey { cka_id: CkaId },
    /// An alert: the token signed with another key, or signed wrongly, twice. The signature was thrown away.
    #[error("the token's signature for {cka_id} does not verify")]
    WrongSignature { cka_id: CkaId },
    /// The blob was changed, or another key wrapped it. The token showed right afterwards that the key wraps and unwraps.
    #[error("the wrapped data key is damaged, or was not wrapped by {cka_id}")]
    WrappedKeyInvalid { cka_id: CkaId },
    /// An alert: the key under this id wraps its challenge to something else. Nothing was done with it.
    #[error("the wrapping key with CKA_ID {cka_id} does not give its check value")]
    WrongCheckValue { cka_id: CkaId },
    /// An alert: what the new key wrapped does not give the old blob again. The new blob was thrown away.
    #[error("the data key re-wrapped under {cka_id} is not the one that was handed in")]
    WrongRewrap { cka_id: CkaId },
    /// The key was made with an unwrap template (strict mode): data keys stay in the token, and this format opens them.
    #[error(
        "the wrapping key {cka_id} lets no data key out of the token (strict mode); this ciphertext format is not available with it"
    )]
    StrictKey { cka_id: CkaId },
    #[error("this token cannot carry wrapping keys: {reason}")]
    CannotWrap { reason: String },
    #[error("a batch has {got} items, at most {limit} are allowed")]
    BatchTooLong { limit: usize, got: usize },
    /// Also for a PIN that is locked or has expired: one try, then a person.
    #[error(
        "the token rejected the PIN; it is not tried again until the PIN source changes: put the right PIN there, or touch \
         the file if the PIN at the token was set back to it (a restart of the service tries it once, and only once)"
    )]
    PinRejected,
    #[error("the PIN source {path} cannot be read: {reason}")]
    PinSource { path: PathBuf, reason: String },
    #[error("the PKCS#11 module {path} cannot be loaded: {reason}")]
    Module { path: PathBuf, reason: String },
    #[error("no token matches {uri}")]
    TokenAbsent { uri: String },
    #[error("{count} tokens match {uri}")]
    TokenAmbiguous { uri: String, count: usize },
    /// The library's own word, after the recovery ladder did what the profile allows for it.
    #[error("{call} returned {code}")]
    Token {
        call: String,
        code: String,
        class: Class,
    },
    #[error("profile {name}: {reason}")]
    Profile { name: String, reason: String },
    #[error("the profile {profile} does not support {what}")]
    NotOffered { profile: String, what: String },
    /// Search by CKA_ID before anything else; never repeat.
    #[error("the outcome of {act} of {cka_id} is unknown")]
    OutcomeUnknown { act: Act, cka_id: CkaId },
    /// Only for work that may not be repeated, or that outlived several workers.
    #[error("the worker process was lost")]
    WorkerLost,
    #[error("the worker cannot be started: {reason}")]
    WorkerStart { reason: String },
    #[error("the worker violated the frame protocol: {what}")]
    Protocol { what: String },
}

/// The kinds of object an error can be about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ObjectWord {
    PrivateKey,
    PublicKey,
    SecretKey,
}

impl std::fmt::Display for ObjectWord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            ObjectWord::PrivateKey => "private key",
            ObjectWord::PublicKey => "public key",
            ObjectWord::SecretKey => "secret key",
        })
    }
}

/// The acts whose outcome can be unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Act {
    Generate,
    Destroy,
}

impl std::fmt::Display for Act {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Act::Generate => "generation",
            Act::Destroy => "destruction",
        })
    }
}

impl Error {
    pub fn class(&self) -> Class {
        match self {
            Error::Overloaded { .. }
            | Error::DeadlineExceeded
            | Error::CircuitOpen { .. }
            | Error::Stopping
            | Error::TokenAbsent { .. }
            | Error::WorkerLost
            | Error::Protocol { .. } => Class::Transient,
            Error::Powerless
            | Error::InputLength { .. }
            | Error::BadKeyRef { .. }
            | Error::BatchTooLong { .. }
            | Error::TemplateRefused
            | Error::OtherToken { .. }
            | Error::BadLabel { .. }
            | Error::PinRejected
            | Error::PinSource { .. }
            | Error::Module { .. }
            | Error::WorkerStart { .. }
            | Error::Profile { .. } => Class::Misconfigured,
            Error::AlreadyExists { .. }
            | Error::Ambiguous { .. }
            | Error::TokenAmbiguous { .. } => Class::Ambiguous,
            Error::NotFound { .. } => Class::NotFound,
            Error::WrongKey { .. }
            | Error::WrongSignature { .. }
            | Error::WrongCheckValue { .. }
            | Error::WrongRewrap { .. } => Class::Fatal,
            Error::WrappedKeyInvalid { .. } => Class::Integrity,
            Error::NotOffered { .. } | Error::StrictKey { .. } | Error::CannotWrap { .. } => {
                Class::Unsupported
            }
            Error::OutcomeUnknown { .. } => Class::OutcomeUnknown,
            Error::Token { class, .. } => *class,
        }
    }
}
