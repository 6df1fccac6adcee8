//! Assets that are held elsewhere: a person or a reporter does each step and says so; the rotation waits for it.

use calendar::next_step::OldUse;
use calendar::words::{Reason, Step};
use serde_json::{Value, json};
use store::Store;

use super::{Answer, Doing, Done, Driver, Task, Usage};
use crate::times::from_row;

/// What is held elsewhere.
pub struct External {
    store: Store,
}

impl External {
    /// What the names of its assets begin with, unless they have a kind that no driver has.
    pub const KIND: &'static str = "external";

    /// Reports are read from here.
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// Done, as soon as somebody says so.
    async fn reported(&self, task: Task<'_>, step: &str) -> Answer {
        let id = &task.event.id;
        match self.store.rotation_report(id, step).await {
            Ok(Some(report)) => {
                let said: Value = serde_json::from_str(&report.evidence).unwrap_or_default();
                Answer::Done(Done {
                    at: Some(from_row(report.at).min(task.now)),
                    evidence: json!({ "reported_by": report.by, "reported_at": report.at, "said": said }),
                    ..Done::default()
                })
            }
            Ok(None) => Answer::waits(
                Reason::Person,
                format!(
                    "somebody has to do the step {step} and say so: chancery rotation done {id} {step}"
                ),
            ),
            Err(error) => Answer::transient(trust::error_chain(&error)),
        }
    }
}

impl Driver for External {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn check<'a>(&'a self, task: Task<'a>) -> Doing<'a> {
        let facts = json!({ "held": "elsewhere", "requested_by": task.event.requested_by });
        Box::pin(async { Done::with(facts) })
    }

    fn generate<'a>(&'a self, task: Task<'a>) -> Doing<'a> {
        Box::pin(self.reported(task, Step::Generate.as_str()))
    }

    fn publish<'a>(&'a self, task: Task<'a>) -> Doing<'a> {
        Box::pin(self.reported(task, Step::Publish.as_str()))
    }

    fn test<'a>(&'a self, task: Task<'a>) -> Doing<'a> {
        Box::pin(self.reported(task, Step::Test.as_str()))
    }

    fn promote<'a>(&'a self, task: Task<'a>) -> Doing<'a> {
        Box::pin(self.reported(task, Step::Promote.as_str()))
    }

    fn usage<'a>(&'a self, _: Task<'a>) -> Doing<'a, Usage> {
        // Whoever reports the end of the old version knows that nothing uses it.
        Box::pin(async {
            Usage {
                old: OldUse::Free,
                evidence: json!({ "counted": false }),
            }
        })
    }

    fn retire<'a>(&'a self, task: Task<'a>) -> Doing<'a> {
        Box::pin(self.reported(task, Step::Retire.as_str()))
    }

    fn archive<'a>(&'a self, task: Task<'a>) -> Doing<'a> {
        Box::pin(self.reported(task, Step::Archive.as_str()))
    }

    fn roll_back<'a>(&'a self, task: Task<'a>) -> Doing<'a> {
        Box::pin(self.reported(task, "roll-back"))
    }

    fn revoke<'a>(&'a self, _: Task<'a>) -> Doing<'a> {
        Box::pin(async { Done::with(json!({ "held": "elsewhere" })) })
    }
}
