//! How to reach a token, and with which powers.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::key::KeyRef;
use crate::uri::Pkcs11Uri;

/// What a worker may do. A worker started to `Use` never opens a read/write session, whatever it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Power {
    Use,
    Administer,
}

/// One token. `None` leaves a value to the token's profile.
#[derive(Clone, Debug)]
pub struct TokenConfig {
    pub uri: Pkcs11Uri,
    /// By name; detected from the library's and token's own words when absent.
    pub profile: Option<String>,
    pub processes: Option<usize>,
    /// Session threads in each process.
    pub sessions: Option<usize>,
    /// Requests that may wait; one more is `Error::Overloaded`.
    pub queue_limit: usize,
    /// Environment of the worker for the vendor's library, e.g. `SOFTHSM2_CONF`. Never a secret.
    pub env: Vec<(String, String)>,
    /// The program and arguments that end in [`crate::worker_main`].
    pub worker_exe: PathBuf,
    pub worker_args: Vec<String>,
    /// A key kept only for probing. Without one the key used last is probed.
    pub probe: Option<Arc<KeyRef>>,
    /// Time after which a call into the library counts as hung and its process is killed.
    pub hard_timeout: Option<Duration>,
    pub probe_interval: Option<Duration>,
    /// Down this long, or killed too often, the circuit opens.
    pub circuit_after: Duration,
    /// Directory of the per-token lock files, shared by every process of this user that uses the token.
    pub lock_dir: Option<PathBuf>,
    /// Whether a PIN that was rejected before is tried once more, for the first worker. For a service that a person
    /// restarts; the next restart does not try again.
    pub retry_rejected: bool,
}

impl TokenConfig {
    /// Everything by profile.
    pub fn new(uri: Pkcs11Uri, worker_exe: PathBuf) -> Self {
        Self {
            uri,
            profile: None,
            processes: None,
            sessions: None,
            queue_limit: 1024,
            env: Vec::new(),
            worker_exe,
            worker_args: Vec::new(),
            probe: None,
            hard_timeout: None,
            probe_interval: None,
            circuit_after: Duration::from_secs(10),
            lock_dir: None,
            retry_rejected: false,
        }
    }
}
