//! The HSM for an asynchronous service. [`Backend`] is what a device does; behind it stands PKCS#11, by the `hsm` crate,
//! whose types nobody above knows.
//!
//! [`Pool`] can use keys; [`Executor`] can make and destroy them, and takes a quorum's proof by
//! value for each. A service that only serves never opens an [`Executor`].

mod backend;
mod executor;
mod handle;
mod pkcs11;
mod pool;
mod settings;

pub use backend::{Backend, Found, Generated, Pending, Status};
pub use executor::Executor;
pub use handle::Handle;
pub use pool::Pool;
pub use settings::Settings;

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
