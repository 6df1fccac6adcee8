//! Assets that are held elsewhere: a person or a reporter does each step and says so, or reports the rotation as a whole; the
//! rotation waits for it, and the inventory follows.

use std::future::Future;

use calendar::AssetName;
use calendar::next_step::OldUse;
use calendar::words::{Reason, Step};
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

    /// The word of whoever did a step.
    async fn report(&self, task: Task<'_>, step: &str) -> Result<RotationReport, Answer> {
        let id = &task.event.id;
        let report = self.inventory.store().rotation_report(id, step).await;
        let report = report.map_err(|error| Answer::transient(error_chain(&error)))?;
        report.ok_or_else(|| {
            let done = format!("chancery rotation done {id} {step} --evidence TEXT");
            Answer::waits(
                Reason::Person,
                format!("somebody has to do the step {step} and say so: {done}"),
            )
        })
    }

    /// Done, as soon as somebody says so.
    async fn reported(&self, task: Task<'_>, step: Step) -> Result<Answer, Answer> {
        let row = self.asset(task).await?;
        if let Some(done) = Self::rotated(task, &row) {
            return Ok(Answer::Done(done));
        }
        let report = self.report(task, step.as_str()).await?;
        Ok(Answer::Done(said(task, &report)))
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
        let (at, now) = (report.at.min(to_row(task.now)), to_row(task.now));
        let by = (report.by.as_str(), now);
        let rotated = self.inventory.report(&row.asset, (at, None), by).await;
        let version = rotated.map_err(failed)?.version;
        Ok(Answer::Done(Done {
            version: Some(version),
            ..said(task, &report)
        }))
    }

    /// The old version ends, as soon as somebody says so.
    async fn ended(
        &self,
        task: Task<'_>,
        (step, change): (Step, fn(u32) -> VersionChange),
    ) -> Result<Answer, Answer> {
        let report = self.report(task, step.as_str()).await?;
        if let Some(previous) = task.event.previous_version {
            self.turn(task, change(previous), &report).await?;
        }
        Ok(Answer::Done(said(task, &report)))
    }

    async fn rolled_back(&self, task: Task<'_>) -> Result<Answer, Answer> {
        let report = self.report(task, ROLL_BACK).await?;
        let Some(to) = task.event.previous_version else {
            return Err(Answer::person("there is no old version to roll back to"));
        };
        let from = task.event.version;
        let change = VersionChange::RollBack { from, to };
        self.turn(task, change, &report).await?;
        Ok(Answer::Done(said(task, &report)))
    }

    async fn turn(
        &self,
        task: Task<'_>,
        change: VersionChange,
        report: &RotationReport,
    ) -> Result<(), Answer> {
        let by = (report.by.as_str(), to_row(task.now));
        let name = Self::name(task)?;
        let turned = self.inventory.turn(&name, change, &task.event.id, by).await;
        turned.map_err(failed)
    }
}

/// What a report of a step says.
fn said(task: Task<'_>, report: &RotationReport) -> Done {
    let said: Value = serde_json::from_str(&report.evidence).unwrap_or_default();
    Done {
        at: Some(from_row(report.at).min(task.now)),
        evidence: json!({ "reported_by": report.by, "reported_at": report.at, "said": said }),
        ..Done::default()
    }
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
        boxed(self.ended(task, (Step::Retire, VersionChange::Retire)))
    }

    fn archive<'a>(&'a self, task: Task<'a>) -> Doing<'a> {
        boxed(self.ended(task, (Step::Archive, VersionChange::Archive)))
    }

    fn roll_back<'a>(&'a self, task: Task<'a>) -> Doing<'a> {
        boxed(self.rolled_back(task))
    }

    fn revoke<'a>(&'a self, _: Task<'a>) -> Doing<'a> {
        Box::pin(async { Done::with(json!({ "held": "elsewhere" })) })
    }
}
