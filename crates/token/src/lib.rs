//! The HSM for an asynchronous service. [`Backend`] is what a device does; behind it stands PKCS#11, by the `hsm` crate,
//! whose types nobody above knows.
//!
//! [`Pool`] can use keys, to sign and to wrap; [`Executor`] can make and destroy them, and takes a quorum's proof by
//! value for each. A service that only serves never opens an [`Executor`].

mod backend;
mod executor;
mod handle;
mod pkcs11;
mod pool;
mod settings;
mod wrap;
mod wrapping;

pub use backend::{Backend, Found, Generated, Pending, Status, WrapAbility};
pub use executor::Executor;
pub use handle::Handle;
pub use pool::Pool;
pub use settings::{QUEUE_LIMIT, Settings};
pub use wrap::{Dek, GeneratedWrap, WRAP_BATCH, WrapHandle, WrappedDek};

/// What went wrong at the token, with what may be done about it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    #[error("invalid token settings: {0}")]
    Settings(String),
    #[error("the token failed")]
    Token(#[source] hsm::Error),
    /// Approved, and not built yet.
    #[error("{0}")]
    Unsupported(&'static str),
    /// The supervisor is gone: the service is stopping.
    #[error("the token pool has stopped")]
    Stopped,
}

/// What a caller can do about it; the HTTP status follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryHint {
    /// Worth trying again after so many milliseconds.
    RetryAfter(u64),
    /// The queue is full; the token itself is well.
    Overloaded,
    /// The deadline passed; it is unknown to the caller whether the token is slow or gone.
    TimedOut,
    /// A person has to look.
    Alert,
}

impl Error {
    pub fn retry_hint(&self) -> RetryHint {
        match self {
            Self::Token(hsm::Error::Overloaded { .. }) => RetryHint::Overloaded,
            Self::Token(hsm::Error::DeadlineExceeded) => RetryHint::TimedOut,
            Self::Token(hsm::Error::CircuitOpen { retry_after }) => {
                RetryHint::RetryAfter(u64::try_from(retry_after.as_millis()).unwrap_or(1_000))
            }
            Self::Token(error) => match error.class() {
                hsm::Class::Transient | hsm::Class::SessionLost | hsm::Class::LoginRequired => {
                    RetryHint::RetryAfter(1_000)
                }
                _ => RetryHint::Alert,
            },
            Self::Stopped => RetryHint::RetryAfter(1_000),
            Self::Settings(_) | Self::Unsupported(_) => RetryHint::Alert,
        }
    }

    /// The token is there and the object is not.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Token(hsm::Error::NotFound { .. }))
    }

    /// What a device answers for a blob that the wrapping key under this `CKA_ID` did not wrap, or that was changed.
    pub fn wrapped_key_invalid(cka_id: [u8; 16]) -> Self {
        let cka_id = hsm::CkaId(cka_id);
        Self::Token(hsm::Error::WrappedKeyInvalid { cka_id })
    }

    /// A wrapped data key was changed, or was wrapped by another key. The token is well, and repeating is useless.
    pub fn is_integrity(&self) -> bool {
        matches!(self, Self::Token(error) if error.class() == hsm::Class::Integrity)
    }

    /// After this nobody knows whether the act happened; look before acting again.
    pub fn is_outcome_unknown(&self) -> bool {
        matches!(self, Self::Stopped | Self::Settings(_))
            || matches!(self, Self::Token(error) if error.class() == hsm::Class::OutcomeUnknown
            || matches!(error, hsm::Error::WorkerLost | hsm::Error::DeadlineExceeded))
    }
}

/// The hidden sub-command that is a worker process.
pub const WORKER_COMMAND: &str = "hsm-worker";

/// The body of the hidden sub-command.
pub fn worker() -> std::process::ExitCode {
    hsm::worker_main()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn answered(class: hsm::Class) -> hsm::Error {
        hsm::Error::Token {
            call: "C_Sign".to_owned(),
            code: "CKR_SOMETHING".to_owned(),
            class,
        }
    }

    #[test]
    fn an_error_says_what_its_caller_can_do() {
        let retry_after = Duration::from_millis(700);
        let busy = RetryHint::RetryAfter(1_000);
        for (error, hint) in [
            (hsm::Error::Overloaded { limit: 8 }, RetryHint::Overloaded),
            (hsm::Error::DeadlineExceeded, RetryHint::TimedOut),
            (
                hsm::Error::CircuitOpen { retry_after },
                RetryHint::RetryAfter(700),
            ),
            (hsm::Error::WorkerLost, busy),
            (answered(hsm::Class::Transient), busy),
            (answered(hsm::Class::SessionLost), busy),
            (answered(hsm::Class::LoginRequired), busy),
            (answered(hsm::Class::Fatal), RetryHint::Alert),
            (hsm::Error::PinRejected, RetryHint::Alert),
            (hsm::Error::Powerless, RetryHint::Alert),
        ] {
            assert_eq!(Error::Token(error.clone()).retry_hint(), hint, "{error}");
        }
        assert_eq!(Error::Stopped.retry_hint(), busy);
        let settings = Error::Settings("no URI".to_owned());
        assert_eq!(settings.retry_hint(), RetryHint::Alert);
        assert_eq!(Error::Unsupported("wrap").retry_hint(), RetryHint::Alert);
    }

    /// An act on the token is repeated only if it is known not to have happened.
    #[test]
    fn an_outcome_is_unknown_unless_the_token_answered() {
        for error in [
            hsm::Error::WorkerLost,
            hsm::Error::DeadlineExceeded,
            answered(hsm::Class::OutcomeUnknown),
        ] {
            assert!(Error::Token(error.clone()).is_outcome_unknown(), "{error}");
        }
        assert!(Error::Stopped.is_outcome_unknown());
        for error in [
            hsm::Error::Overloaded { limit: 8 },
            hsm::Error::PinRejected,
            hsm::Error::Powerless,
            answered(hsm::Class::Fatal),
            answered(hsm::Class::Transient),
        ] {
            assert!(!Error::Token(error.clone()).is_outcome_unknown(), "{error}");
        }
        assert!(!Error::Unsupported("wrap").is_outcome_unknown());
    }

    #[test]
    fn settings_are_read_strictly() {
        let read = serde_json::from_str::<Settings>;
        let settings = read(r#"{"uri": "pkcs11:token=a"}"#).unwrap();
        assert_eq!(settings.queue_limit, 4_096);
        assert!(settings.profile.is_none() && settings.environment.is_empty());
        assert!(read(r#"{"uri": "pkcs11:token=a", "pin": "1234"}"#).is_err());
        assert!(read("{}").is_err());
    }

    #[test]
    fn a_handle_keeps_what_it_is_found_and_believed_by() {
        for algorithm in trust::Algorithm::ALL {
            let handle = Handle::new([7; 16], vec![1, 2, 3], algorithm);
            assert_eq!(handle.cka_id(), [7; 16]);
            assert_eq!(handle.spki(), [1, 2, 3]);
            assert_eq!(handle.algorithm(), algorithm);
            let spec = handle::key_spec(algorithm.default_key_spec());
            assert!(handle.reference.scheme.allows(spec), "{algorithm}");
        }
    }
}
