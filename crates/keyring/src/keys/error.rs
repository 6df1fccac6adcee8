//! Why there is no read model, or no answer from it.

use super::archive::NoKey;
use super::believe;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the keys cannot be read from the database")]
    Store(#[from] store::Error),
    /// No member of the roster could be told from a stranger.
    #[error("the roster and policy in the database do not verify")]
    Chain(#[from] trust::ChainError),
    #[error(transparent)]
    Document(#[from] log::ChainRowError),
    #[error("the key set cannot be serialised")]
    Publication(#[from] trust::JsonError),
    #[error(transparent)]
    Archive(#[from] NoKey),
}

impl From<believe::Error> for Error {
    fn from(error: believe::Error) -> Self {
        match error {
            believe::Error::Store(error) => Self::Store(error),
            believe::Error::Unfinished(error) => Self::Archive(error.into()),
        }
    }
}
