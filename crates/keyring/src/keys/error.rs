//! Why there is no read model, or no answer from it.

use super::archive::NoKey;
use super::believe;
use super::former::InstalledError;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the keys cannot be read from the database")]
    Store(#[from] store::Error),
    /// No member of the roster could be told from a stranger.
    #[error("the roster and policy in the database do not verify")]
    Chain(#[from] trust::ChainError),
    /// What was trusted before is not what the chain begins with.
    #[error(
        "the chain of rosters and policies in the database is shorter than it was, or another one"
    )]
    RolledBack,
    /// Somebody else put it there.
    #[error("roster and policy in the database are not those of the log")]
    Unlogged(#[source] InstalledError),
    /// Whom it suspends would count.
    #[error("the suspensions in the database cannot be read")]
    Suspensions(#[source] log::SuspensionsError),
    #[error(transparent)]
    Document(#[from] log::ChainRowError),
    #[error("the key set cannot be serialised")]
    Publication(#[from] trust::JsonError),
    #[error(transparent)]
    Archive(#[from] NoKey),
}

impl From<InstalledError> for Error {
    fn from(error: InstalledError) -> Self {
        match error {
            InstalledError::Store(error) => Self::Store(error),
            error => Self::Unlogged(error),
        }
    }
}

impl From<log::SuspensionsError> for Error {
    fn from(error: log::SuspensionsError) -> Self {
        match error {
            log::SuspensionsError::Store(error) => Self::Store(error),
            error => Self::Suspensions(error),
        }
    }
}

impl From<believe::Error> for Error {
    fn from(error: believe::Error) -> Self {
        match error {
            believe::Error::Store(error) => Self::Store(error),
            believe::Error::Unfinished(error) => Self::Archive(error.into()),
        }
    }
}
