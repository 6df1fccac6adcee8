use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use hsm::Sign as _;
use tokio::sync::oneshot;

use super::{Error, Handle, Settings, token_config};

/// Signatures by keys that exist; cheap to clone.
#[derive(Clone)]
pub struct Pool {
    supervisor: Arc<hsm::Supervisor>,
}

/// How the token is, for readiness, metrics and `doctor`.
#[derive(Debug, Clone)]
pub struct Status {
    pub ready: bool,
    /// One word: `starting`, `ready`, `recovering`, `circuit-open`, `stopped`.
    pub state: &'static str,
    pub serial: Option<String>,
    pub label: Option<String>,
    pub profile: Option<String>,
    pub queued: usize,
    pub processes: usize,
    /// Library generations of the processes, highest.
    pub generation: u64,
    pub last_error: Option<String>,
    /// Monotonic counters by name.
    pub counters: Vec<(&'static str, u64)>,
}

impl Pool {
    /// Starts the worker processes. A token that is absent is not an error here: the service
    /// comes up without it, publishes and verifies, and signs when it appears.
    pub fn start(section: &Settings, program: &Path) -> Result<Self, Error> {
        let supervisor = hsm::Supervisor::start(token_config(section, program)?, hsm::Power::Use)
            .map_err(Error::Token)?;
        Ok(Self {
            supervisor: Arc::new(supervisor),
        })
    }

    /// Signatures by one key, each verified in software before it comes back and each with its own
    /// result, in order. If the caller goes away the work goes on, and its place in the queue is
    /// freed when it is done.
    pub async fn sign_all(
        &self,
        key: &Handle,
        inputs: Vec<Vec<u8>>,
        deadline: Instant,
    ) -> Vec<Result<Vec<u8>, Error>> {
        let mut outcomes = Vec::with_capacity(inputs.len());
        let requests = inputs
            .into_iter()
            .map(|input| {
                let (done, outcome) = oneshot::channel();
                outcomes.push(outcome);
                hsm::SignRequest {
                    key: key.0.clone(),
                    input,
                    deadline,
                    reply: reply(done),
                }
            })
            .collect();
        self.supervisor.submit_all(requests);
        let mut results = Vec::with_capacity(outcomes.len());
        for outcome in outcomes {
            results.push(outcome.await.unwrap_or(Err(Error::Stopped)));
        }
        results
    }

    pub fn status(&self) -> Status {
        let health = self.supervisor.health();
        let c = health.counters;
        Status {
            ready: health.state.is_ready(),
            state: match health.state {
                hsm::State::Starting => "starting",
                hsm::State::Ready => "ready",
                hsm::State::Recovering => "recovering",
                hsm::State::CircuitOpen { .. } => "circuit-open",
                hsm::State::Stopped { .. } => "stopped",
            },
            serial: health.token.as_ref().map(|t| t.serial.clone()),
            label: health.token.as_ref().map(|t| t.label.clone()),
            profile: health.token.as_ref().map(|t| t.profile.clone()),
            queued: health.queued,
            processes: health.processes.len(),
            generation: health
                .processes
                .iter()
                .map(|p| p.generation)
                .max()
                .unwrap_or(0),
            last_error: health.last_error.map(|e| e.to_string()),
            counters: vec![
                ("signatures", c.signatures),
                ("failures", c.failures),
                ("overloaded", c.overloaded),
                ("deadline_exceeded", c.deadline_exceeded),
                ("resubmitted", c.resubmitted),
                ("sessions_reopened", c.sessions_reopened),
                ("logins", c.logins),
                ("reinitialised", c.reinitialised),
                ("processes_started", c.processes_started),
                ("processes_killed", c.processes_killed),
                ("circuit_opened", c.circuit_opened),
                ("mismatches", c.mismatches),
                ("probes", c.probes),
                ("probes_failed", c.probes_failed),
            ],
        }
    }
}

type Outcome = Result<Vec<u8>, Error>;

fn reply(done: oneshot::Sender<Outcome>) -> hsm::Reply {
    Box::new(move |outcome| {
        let outcome = outcome
            .map(hsm::Signature::into_bytes)
            .map_err(Error::Token);
        // A caller that is gone does not mind.
        let _ = done.send(outcome);
    })
}
