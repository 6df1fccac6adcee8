//! What an operator sets.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// `[token]` and `[executor]`: a PKCS#11 token by RFC 7512 URI. The PIN comes from the URI's
/// `pin-source`, is read by the worker process alone, and never appears here.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// `pkcs11:token=NAME?module-path=/path/to/module.so&pin-source=file:/path/to/pin`
    pub uri: String,
    /// What kind of token it is; found out from the module when left out.
    pub profile: Option<String>,
    /// Worker processes; the profile's default when left out.
    pub processes: Option<usize>,
    /// Session threads in each.
    pub sessions: Option<usize>,
    /// Signatures that may wait before more are refused; enough for a few full batches.
    #[serde(default = "queue_limit")]
    pub queue_limit: usize,
    /// Variables for the vendor library, such as `SOFTHSM2_CONF`.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
}

/// The default of [`Settings::queue_limit`].
pub const QUEUE_LIMIT: usize = 4_096;

fn queue_limit() -> usize {
    QUEUE_LIMIT
}

impl Settings {
    /// The file of the PIN; none where the URI names none or cannot be read.
    pub fn pin_file(&self) -> Option<PathBuf> {
        let uri: hsm::Pkcs11Uri = self.uri.parse().ok()?;
        uri.pin_source.map(|hsm::PinSource::File(path)| path)
    }
}
