//! For which answers signing waits, by the quorum of the policy and `log.witnesses_missing`.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use trust::tlog::policy::WitnessPolicy;

use super::alarm::Findings;
use crate::settings::{Missing, Settings};

/// Whether enough witnesses agreed with the database.
pub struct Waits {
    policy: Option<Arc<WitnessPolicy>>,
    missing: Missing,
    /// Without a word of the quorum for so long, nothing is signed.
    limit: Duration,
    started: Instant,
    /// Whether the quorum has agreed since the start; it need not again.
    greeted: bool,
}

impl Waits {
    pub fn new(policy: Option<Arc<WitnessPolicy>>, settings: &Settings) -> Self {
        Self {
            policy,
            missing: settings.witnesses_missing,
            // They are asked once in a heartbeat even if there is nothing new.
            limit: settings.heartbeat.saturating_mul(2) + settings.witness_timeout,
            started: Instant::now(),
            greeted: false,
        }
    }

    /// What is said before any of them could answer.
    pub fn at_start(&self) -> Option<Arc<str>> {
        let witnesses = self.policy.as_deref()?.witnesses();
        let asked = witnesses.iter().any(|witness| witness.url.is_some());
        asked.then(|| Arc::from("waiting for the answers of the witnesses (log.witnesses)"))
    }

    /// Why neither signatures nor checkpoints may be made: only after a start.
    pub fn before(&mut self, findings: &Findings) -> Option<Arc<str>> {
        let policy = self.policy.as_deref()?;
        let enough = self.missing == Missing::GoOn || findings.agreed(policy, None);
        // Who does not answer counts as asked. Who does may know more than the quorum.
        self.greeted |= enough && findings.all_asked();
        if self.greeted {
            return None;
        }
        let missing = findings.missing(None);
        Some(Arc::from(format!(
            "waiting for the answers of the witnesses that the quorum of log.witnesses needs; no \
             agreement so far from: {missing}"
        )))
    }

    /// Why no signature may be made, while checkpoints go on, so that they can be cosigned.
    pub fn meanwhile(&self, findings: &Findings) -> Option<Arc<str>> {
        let policy = self.policy.as_deref()?;
        let within = Some(self.limit);
        let applies = self.missing == Missing::Stop && self.started.elapsed() > self.limit;
        if !applies || findings.agreed(policy, within) {
            return None;
        }
        let (seconds, missing) = (self.limit.as_secs(), findings.missing(within));
        Some(Arc::from(format!(
            "the witnesses that the quorum of log.witnesses needs have not answered for {seconds} s \
             (log.witnesses_missing = \"stop\"); missing: {missing}"
        )))
    }
}
