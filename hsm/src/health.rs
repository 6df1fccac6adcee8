//! What the supervisor knows, as one snapshot for readiness, metrics and alerts.

use std::time::Duration;

use crate::api::TokenIdentity;
use crate::error::Error;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// No worker has been ready yet.
    Starting,
    /// At least one worker is ready: its last signature or probe verified.
    Ready,
    /// No worker is ready; requests wait for their deadline.
    Recovering,
    /// Out of service long or often enough that requests are refused at once.
    CircuitOpen { retry_after: Duration },
    /// Waits for a person: wrong PIN, missing module, unusable settings.
    Stopped { error: Error },
}

impl State {
    /// Whether signing should be reported as ready.
    pub fn is_ready(&self) -> bool {
        matches!(self, State::Ready)
    }
}

/// Monotonic since the supervisor started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub signatures: u64,
    pub failures: u64,
    pub overloaded: u64,
    pub deadline_exceeded: u64,
    /// Requests given to another worker because theirs stalled or died.
    pub resubmitted: u64,
    /// Recoveries by rung of the ladder.
    pub sessions_reopened: u64,
    pub logins: u64,
    pub reinitialised: u64,
    pub processes_started: u64,
    pub processes_killed: u64,
    pub circuit_opened: u64,
    /// Signatures by the token that did not verify, and bindings that met another key. Each is an alert.
    pub mismatches: u64,
    /// Data keys wrapped, unwrapped, wrapped anew.
    pub wraps: u64,
    pub unwraps: u64,
    pub rewraps: u64,
    /// Blobs that their wrapping key did not wrap, or that were changed. Each is an alert, and says nothing of the token.
    pub integrity_failures: u64,
    pub probes: u64,
    pub probes_failed: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessHealth {
    pub pid: Option<u32>,
    pub ready: bool,
    /// The library generation: how often this process initialised the module.
    pub generation: u64,
    pub in_flight: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    pub state: State,
    pub token: Option<TokenIdentity>,
    /// Whether the trial of wrapping at the start succeeded, or why not; `None` before the token was there.
    pub wrap: Option<Result<(), String>>,
    pub processes: Vec<ProcessHealth>,
    pub queued: usize,
    pub queue_limit: usize,
    pub last_error: Option<Error>,
    pub counters: Counters,
}
