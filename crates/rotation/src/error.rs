//! Why something was not done. Nothing was written then, but where the error says what was, and where the store says that the
//! outcome is unknown.

use calendar::policy::PolicyError;
use calendar::{AssetName, Word};

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("no asset has this name")]
    UnknownAsset,
    #[error("no key type has the name {0}")]
    UnknownKeyType(String),
    /// All that is wrong with what was given.
    #[error("{}", .0.join("; "))]
    Refused(Vec<String>),
    /// The asset, or what is known of it, is not as it would have to be.
    #[error("{0}")]
    State(String),
    /// All that is wrong with a policy.
    #[error("{}", policy_reasons(.0).join("; "))]
    Policy(Vec<PolicyError>),
    #[error("version {given} of the policy, expected {next}: it follows the version in force")]
    PolicyVersion { given: u32, next: u32 },
    #[error(
        "ceremony required: {0} is a critical key type, whose policy only the quorum changes: `chancery ceremony new rotation-policy`"
    )]
    CeremonyRequired(Word),
    #[error(
        "ceremony required: {asset} rotates by the policy of the critical key type {key_type}, which only the quorum changes; only a ring that its signed policy calls routine gets another key type"
    )]
    StaysCritical { asset: AssetName, key_type: Word },
    #[error("import: {0}")]
    Import(#[from] ImportError),
    /// The parts before it are written.
    #[error(
        "{registered} of {of} assets are registered; import the same again, and it registers the others"
    )]
    BrokenOff {
        registered: usize,
        of: usize,
        #[source]
        source: store::Error,
    },
    #[error("a document that cannot be written as JSON")]
    Json(#[from] trust::JsonError),
    #[error("the standing orders cannot be read")]
    Orders(#[from] keyring::ceremony::Error),
    #[error("the policies cannot be read")]
    Policies(#[source] log::PolicyError),
    #[error(transparent)]
    Store(#[from] store::Error),
}

impl From<log::PolicyError> for Error {
    fn from(error: log::PolicyError) -> Self {
        match error {
            log::PolicyError::Store(error) => Self::Store(error),
            error => Self::Policies(error),
        }
    }
}

/// Why nothing of a file was read.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("the column {0} is missing")]
    ColumnMissing(&'static str),
    #[error(
        "unknown column {0:?}: expected asset, key_type, purpose, owner, storage, version, rotated_at, expires_at, labels and state"
    )]
    ColumnUnknown(String),
    #[error("the column {0} occurs twice")]
    ColumnTwice(&'static str),
    #[error("more than {0} assets: import them in several files")]
    TooMany(usize),
    #[error("more than {0} bytes: import them in several files")]
    TooLong(u64),
    #[error("there is no asset in it")]
    Empty,
    #[error("expected {{\"assets\": […]}} in strict JSON: {0}")]
    Json(trust::JsonError),
    #[error("it cannot be read: {0}")]
    Read(#[from] std::io::Error),
}

/// Each error of a policy in words.
pub fn policy_reasons(errors: &[PolicyError]) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}

impl Error {
    /// Whether a rule said no; all else is the machine's trouble.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Store(error) | Self::BrokenOff { source: error, .. } => error.is_conflict(),
            Self::Json(_) | Self::Orders(_) | Self::Policies(_) => false,
            _ => true,
        }
    }
}
