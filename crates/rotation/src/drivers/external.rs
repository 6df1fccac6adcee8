//! Assets that are held elsewhere: a person or a reporter does each step and says so, or reports the rotation as a whole; the
//! rotation waits for it, and the inventory follows.

use std::future::Future;

use calendar::next_step::OldUse;
use calendar::words::{Reason, Step, Trigger};
use calendar::{AssetName, Time};
use serde_json::{Value, json};
use store::{AssetState, InventoryRow, RotationReport};
use trust::error_chain;

use super::{Answer, Doing, Done, Driver, Task, Usage};
use crate::error::Error;
use crate::inventory::{InventoryService, VersionChange};
use crate::times::{from_row, to_row};

/// The word for a roll-back among the steps that are reported.
const ROLL_BACK: &str = "roll-back";

/// What is held elsewhere.
pub struct External {
    inventory: InventoryService,
}

impl External {
    /// What the names of its assets begin with, unless they have a kind that no driver has.
    pub const KIND: &'static str = "external";

    /// Versions are kept there, and reports of steps in its database.
    pub fn new(inventory: InventoryService) -> Self {
        Self { inventory }
    }

    fn name(task: Task<'_>) -> Result<AssetName, Answer> {
        let name = task.event.asset.parse();
        name.map_err(|_| Answer::person("the name of the asset is no name"))
    }

    async fn asset(&self, task: Task<'_>) -> Result<InventoryRow, Answer> {
        let row = self.inventory.asset(&Self::name(task)?).await;
        let row = row.map_err(failed)?;
        match row.state {
            AssetState::Retired => Err(Answer::person("the asset is out of use")),
            _ => Ok(row),
        }
    }

    async fn checked(&self, task: Task<'_>) -> Result<Answer, Answer> {
        let row = self.asset(task).await?;
        Ok(Done::with(json!({
            "held": "elsewhere", "version": row.version, "storage": row.storage.as_str(),
            "requested_by": task.event.requested_by,
        })))
    }

    /// What was done, if the rotation was reported as a whole: the new version, or a later one, is in use.
    fn rotated(task: Task<'_>, row: &InventoryRow) -> Option<Done> {
        let since = row.rotated_at?;
        let is_new = row.state == AssetState::Active && row.version >= task.event.version;
        is_new.then(|| Done {
            at: Some(from_row(since).min(task.now)),
            evidence: json!({ "version_in_use": row.version, "rotated_at": since }),
            ..Done::default()
        })
    }

    /// The word of whoever did a step, and when it counts from: not before the step began.
    async fn report(&self, task: Task<'_>, step: &str) -> Result<(RotationReport, Time), Answer> {
        let id = &task.event.id;
        let store = self.inventory.store();
        let Some(report) = store.rotation_report(id, step).await.map_err(unread)? else {
            let done = format!("chancery rotation done {id} {step} --evidence TEXT");
            return Err(Answer::waits(
                Reason::Person,
                format!("somebody has to do the step {step} and say so: {done}"),
            ));
        };
        let steps = store.rotation_steps(id).await.map_err(unread)?;
        let attempts = steps.iter().filter(|one| one.step == step);
        let began = attempts.map(|one| one.started_at).min();
        let at = from_row(began.map_or(report.at, |began| report.at.max(began)));
        Ok((report, at.min(task.now)))
    }

    /// Whether the old version has ended by what the inventory says: the asset is out of use, or a later rotation that was
    /// reported as a whole has retired it. Where people report steps, one that they retired is also archived by their word.
    async fn is_over(&self, task: Task<'_>, step: Step) -> Result<Option<Done>, Answer> {
        let name = Self::name(task)?;
        let row = self.inventory.asset(&name).await.map_err(failed)?;
        if row.state == AssetState::Retired {
            return Ok(Some(Done {
                evidence: json!({ "asset": row.state.as_str() }),
                ..Done::default()
            }));
        }
        let Some(previous) = task.event.previous_version else {
            return Ok(None);
        };
        let below = previous.checked_add(1);
        let versions = self.inventory.versions(&name, below, 1).await;
        let versions = versions.map_err(failed)?;
        let Some(state) = versions.iter().find(|one| one.version == previous) else {
            return Ok(None);
        };
        let is_over = match (state.state, step) {
            ("archived", _) | ("retired" | "revoked", Step::Retire) => true,
            ("retired" | "revoked", Step::Archive) => {
                let retired = Step::Retire.as_str();
                let reported = self.inventory.store();
                let reported = reported.rotation_report(&task.event.id, retired).await;
                reported.map_err(unread)?.is_none()
            }
            _ => false,
        };
        Ok(is_over.then(|| Done {
            evidence: json!({ "old_version": previous, "state": state.state }),
            ..Done::default()
        }))
    }

    /// Done, as soon as somebody says so.
    async fn reported(&self, task: Task<'_>, step: Step) -> Result<Answer, Answer> {
        let row = self.asset(task).await?;
        if let Some(done) = Self::rotated(task, &row) {
            return Ok(Answer::Done(done));
        }
        let report = self.report(task, step.as_str()).await?;
        Ok(Answer::Done(said(&report)))
    }

    /// The new version is in use, by a report of the rotation or of this step, which then is one of the rotation.
    async fn promoted(&self, task: Task<'_>) -> Result<Answer, Answer> {
        let row = self.asset(task).await?;
        if let Some(done) = Self::rotated(task, &row) {
            return Ok(Answer::Done(Done {
                version: Some(row.version),
                ..done
            }));
        }
        let report = self.report(task, Step::Promote.as_str()).await?;
        let by = (report.0.by.as_str(), to_row(task.now));
        let rotated = (to_row(report.1), None);
        let rotated = self.inventory.report(&row.asset, rotated, by).await;
        let version = rotated.map_err(failed)?.version;
        Ok(Answer::Done(Done {
            version: Some(version),
            ..said(&report)
        }))
    }

    /// The old version ends, as soon as somebody says so or the inventory does. In an emergency it is revoked when it is retired:
    /// somebody else may have it.
    async fn ended(&self, task: Task<'_>, step: Step) -> Result<Answer, Answer> {
        let is_emergency = task.event.cause == Trigger::Event.as_str();
        let change = match step {
            Step::Archive => VersionChange::Archive,
            _ if is_emergency => VersionChange::Revoke,
            _ => VersionChange::Retire,
        };
        let (by, done) = match self.report(task, step.as_str()).await {
            Ok(report) => (report.0.by.clone(), said(&report)),
            Err(waits) => {
                let over = self.is_over(task, step).await?.ok_or(waits)?;
                if !is_emergency || step == Step::Archive {
                    return Ok(Answer::Done(over));
                }
                (task.event.requested_by.clone(), over)
            }
        };
        if let Some(previous) = task.event.previous_version {
            self.turn(task, change(previous), &by).await?;
        }
        Ok(Answer::Done(done))
    }

    async fn rolled_back(&self, task: Task<'_>) -> Result<Answer, Answer> {
        let report = self.report(task, ROLL_BACK).await?;
        let Some(to) = task.event.previous_version else {
            return Err(Answer::person("there is no old version to roll back to"));
        };
        let from = task.event.version;
        let change = VersionChange::RollBack { from, to };
        self.turn(task, change, &report.0.by).await?;
        Ok(Answer::Done(said(&report)))
    }

    async fn turn(&self, task: Task<'_>, change: VersionChange, by: &str) -> Result<(), Answer> {
        let by = (by, to_row(task.now));
        let name = Self::name(task)?;
        let turned = self.inventory.turn(&name, change, &task.event.id, by).await;
        turned.map_err(failed)
    }
}

/// What a report of a step says.
fn said((report, at): &(RotationReport, Time)) -> Done {
    let said: Value = serde_json::from_str(&report.evidence).unwrap_or_default();
    Done {
        at: Some(*at),
        evidence: json!({ "reported_by": report.by, "reported_at": report.at, "said": said }),
        ..Done::default()
    }
}

fn unread(error: store::Error) -> Answer {
    Answer::transient(error_chain(&error))
}

/// A rule said no, which a person has to look at, or the machine, which may say yes later. Of two who write at once the second
/// looks again.
fn failed(error: Error) -> Answer {
    let passes = match &error {
        Error::Store(_) => true,
        error => !error.is_refusal(),
    };
    match passes {
        true => Answer::transient(error_chain(&error)),
        false => Answer::person(error_chain(&error)),
    }
}

fn boxed<'a>(doing: impl Future<Output = Result<Answer, Answer>> + Send + 'a) -> Doing<'a> {
    Box::pin(async { doing.await.unwrap_or_else(|answer| answer) })
}

impl Driver for External {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn check<'a>(&'a self, task: Task<'a>) -> Doing<'a> {
        boxed(self.checked(task))
    }

    fn generate<'a>(&'a self, task: Task<'a>) -> Doing<'a> {
        boxed(self.reported(task, Step::Generate))
    }

    fn publish<'a>(&'a self, task: Task<'a>) -> Doing<'a> {
        boxed(self.reported(task, Step::Publish))
    }

    fn test<'a>(&'a self, task: Task<'a>) -> Doing<'a> {
        boxed(self.reported(task, Step::Test))
    }

    fn promote<'a>(&'a self, task: Task<'a>) -> Doing<'a> {
        boxed(self.promoted(task))
    }

    fn in_use<'a>(&'a self, task: Task<'a>) -> Doing<'a, bool> {
        Box::pin(async move {
            let row = self.asset(task).await;
            row.is_ok_and(|row| Self::rotated(task, &row).is_some())
        })
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
        boxed(self.ended(task, Step::Retire))
    }

    fn archive<'a>(&'a self, task: Task<'a>) -> Doing<'a> {
        boxed(self.ended(task, Step::Archive))
    }

    fn roll_back<'a>(&'a self, task: Task<'a>) -> Doing<'a> {
        boxed(self.rolled_back(task))
    }

    fn revoke<'a>(&'a self, _: Task<'a>) -> Doing<'a> {
        Box::pin(async { Done::with(json!({ "held": "elsewhere" })) })
    }
}
