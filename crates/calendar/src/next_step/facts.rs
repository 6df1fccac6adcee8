//! What the engine has written about one event.

use serde::{Deserialize, Serialize};

use crate::time::Time;
use crate::words::{EventState, Reason, Step, Trigger, words};

/// How an attempt at a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Outcome {
    /// It is done.
    Done,
    /// It is not.
    Failed {
        /// Whether another attempt may succeed.
        transient: bool,
    },
}

/// A step and its last attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepRecord {
    /// Which.
    pub step: Step,
    /// When the last attempt began.
    pub started_at: Time,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ended_at: Option<Time>,
    /// How it ended.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub outcome: Option<Outcome>,
    /// How many attempts there were, this one included.
    pub attempts: u32,
}

words! {
    /// What probes and acknowledgements say about the new version.
    Propagation {
        /// None are configured.
        NotAsked = "not-asked",
        /// One of them has not seen it yet.
        Missing = "missing",
        /// One says something else than another, or than what is published.
        Contradicted = "contradicted",
        /// All have seen it.
        Proven = "proven",
    }
}

words! {
    /// Whether anything still needs the old version.
    OldUse {
        /// Nothing does.
        Free = "free",
        /// Callers use it, or data is encrypted under it.
        Needed = "needed",
    }
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventFacts {
    /// What made it.
    pub trigger: Trigger,
    /// How far it is.
    pub state: EventState,
    /// The hour that it was given.
    pub slot: Time,
    /// What the consent that it needs waits for: an approval, an order that ran out. `None` if it has it or needs none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub consent_missing: Option<Reason>,
    /// Its steps, as far as they were begun.
    pub steps: Vec<StepRecord>,
    /// When the new version was published or delivered; of a standby key, long ago.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub published_at: Option<Time>,
    /// When it became the primary.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub promoted_at: Option<Time>,
    /// Whether it is the primary already, although that was not written yet: by an attempt that was lost, or by people.
    #[serde(default)]
    pub in_use: bool,
    /// What probes say.
    pub propagation: Propagation,
    /// Whether a campaign moves records to the new version.
    #[serde(default)]
    pub campaign_running: bool,
    /// Whether anything still needs the old version.
    pub old_use: OldUse,
    /// Whether a person holds the asset.
    #[serde(default)]
    pub held: bool,
    /// Whether the scheduler is paused.
    #[serde(default)]
    pub paused: bool,
    /// Whether somebody wants the old version back.
    #[serde(default)]
    pub roll_back: bool,
    /// Whether somebody wants it ended before its promotion.
    #[serde(default)]
    pub cancel: bool,
}

impl EventFacts {
    /// One that was just given its hour.
    pub fn scheduled(trigger: Trigger, slot: Time) -> Self {
        Self {
            trigger,
            state: EventState::Scheduled,
            slot,
            consent_missing: None,
            steps: Vec::new(),
            published_at: None,
            promoted_at: None,
            in_use: false,
            propagation: Propagation::NotAsked,
            campaign_running: false,
            old_use: OldUse::Free,
            held: false,
            paused: false,
            roll_back: false,
            cancel: false,
        }
    }

    /// Whether it runs as an emergency: without dual-running, through pauses and outside windows.
    pub fn is_emergency(&self) -> bool {
        self.trigger == Trigger::Event
    }

    /// The record of a step.
    pub fn record(&self, step: Step) -> Option<&StepRecord> {
        self.steps.iter().rev().find(|record| record.step == step)
    }

    /// Whether a step is done.
    pub fn is_done(&self, step: Step) -> bool {
        self.record(step)
            .is_some_and(|record| record.outcome == Some(Outcome::Done))
    }

    /// Whether a step was begun and has no end.
    pub fn is_begun(&self, step: Step) -> bool {
        self.record(step)
            .is_some_and(|record| record.outcome.is_none())
    }

    /// Whether an attempt at a step was begun of which nobody knows what it did. One that came to a wait has done nothing yet.
    pub fn is_under_way(&self, step: Step) -> bool {
        self.is_begun(step) && self.state == EventState::Running
    }

    /// The last instant in its record.
    pub fn last_written(&self) -> Option<Time> {
        let steps = self
            .steps
            .iter()
            .flat_map(|record| [Some(record.started_at), record.ended_at]);
        steps
            .chain([self.published_at, self.promoted_at])
            .flatten()
            .max()
    }

    /// Writes that a step was begun.
    pub fn begin(&mut self, step: Step, at: Time) {
        match self.steps.iter_mut().find(|record| record.step == step) {
            Some(record) => {
                // The same attempt, gone on with, or another one.
                if record.outcome.is_some() {
                    record.attempts = record.attempts.saturating_add(1);
                }
                (record.started_at, record.ended_at, record.outcome) = (at, None, None);
            }
            None => self.steps.push(StepRecord {
                step,
                started_at: at,
                ended_at: None,
                outcome: None,
                attempts: 1,
            }),
        }
    }

    /// Writes how it ended.
    pub fn end(&mut self, step: Step, at: Time, outcome: Outcome) {
        if let Some(record) = self.steps.iter_mut().find(|record| record.step == step) {
            (record.ended_at, record.outcome) = (Some(at), Some(outcome));
        }
    }
}
