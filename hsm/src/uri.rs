//! PKCS#11 URIs (RFC 7512), as much as names a token.

use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Where the PIN is read, by the worker and by nobody else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PinSource {
    File(PathBuf),
}

/// A token, its module and its PIN source. A slot number is refused: SoftHSM's are random, others' depend on order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pkcs11Uri {
    pub token: Option<String>,
    pub serial: Option<String>,
    pub manufacturer: Option<String>,
    pub model: Option<String>,
    pub module_path: PathBuf,
    pub pin_source: Option<PinSource>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UriError {
    #[error("a PKCS#11 URI begins with \"pkcs11:\"")]
    Scheme,
    #[error("attribute {name:?} appears twice")]
    Repeated { name: String },
    #[error("attribute {name:?} is not used here")]
    Unknown { name: String },
    #[error("attribute {name:?} is refused: {reason}")]
    Refused { name: String, reason: &'static str },
    #[error("attribute {name:?} has a bad value")]
    Value { name: String },
    #[error("attribute {name:?} is missing")]
    Missing { name: &'static str },
}

impl FromStr for Pkcs11Uri {
    type Err = UriError;

    fn from_str(_: &str) -> Result<Self, UriError> {
        Err(UriError::Scheme)
    }
}
