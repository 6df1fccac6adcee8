//! What people ask for: a rotation now, an end, another attempt, a pause, a look ahead.

use std::collections::HashSet;

use calendar::admission::{Ask, admit};
use calendar::facts::Request;
use calendar::name::AssetName;
use calendar::plan::{Rotation, Unplanned};
use calendar::simulate::{Fault, Report, Verifier, World, simulate};
use calendar::words::Trigger;
use calendar::{Span, Time};
use log::Event;
use serde::{Deserialize, Serialize};
use store::{
    Change, InventoryChange, RotationEventRow, RotationMark, RotationPause,
    RotationReport as StepReported,
};
use trust::Sha256Digest;
use trust::leaf::ActKind;

use super::error::Error;
use super::facts::step;
use super::planning::Known;
use super::{Engine, facts};
use crate::times::to_row;

/// How far ahead a rotation is looked for that begins now.
const NOW: Span = Span::days(2);

/// Longest simulation.
const LONGEST: Span = Span::days(3_660);

/// Most assets of a simulation that a caller asks for.
const MOST_ASSETS: usize = 10_000;

/// What is reported of a roll-back.
const ROLL_BACK_STEP: &str = "roll-back";

/// Longest evidence of a report, in characters.
const LONGEST_EVIDENCE: usize = 1_000;

/// A look ahead.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Simulation {
    /// For how many days: 1 to 3660; by default 365.
    pub days: Option<u32>,
    /// Two simulations of one seed are equal.
    pub seed: u64,
    /// What is out of order, and when.
    pub faults: Vec<Fault>,
    /// Who checks signatures; by default one that does as it is told.
    pub verifiers: Vec<Verifier>,
    /// By how many seconds each replica's clock is ahead of the database's.
    pub replicas: Vec<i64>,
}

impl Engine {
    /// Makes events of a key type, or of one asset of it: what is due, and with `force` what is not.
    pub async fn schedule(
        &self,
        ask: Ask<'_>,
        by: &str,
        reason: Option<&str>,
    ) -> Result<Vec<RotationEventRow>, Error> {
        let mut known = self.known().await?;
        let admitted = admit(ask, &known.facts, &known.policies, known.now)?;
        let names: Vec<AssetName> = admitted.iter().map(|asset| asset.name.clone()).collect();
        let asked = (by, reason);
        let made = self.request(&mut known, &names, Trigger::Manual, asked);
        Ok(made.await?.0)
    }

    /// Plans these as if they were due now, and makes their events; with why those have none that the plan has no hour for.
    pub(super) async fn request(
        &self,
        known: &mut Known,
        names: &[AssetName],
        trigger: Trigger,
        (by, reason): (&str, Option<&str>),
    ) -> Result<(Vec<RotationEventRow>, Vec<Unplanned>), Error> {
        let at = known.now;
        let names: HashSet<&AssetName> = names.iter().collect();
        for asset in &mut known.facts.assets {
            if names.contains(&asset.name) {
                asset.request = Some(Request { trigger, at });
            }
        }
        let mut plan = known.plan(NOW);
        let asked = |one: &&Rotation| !one.has_event && names.contains(&one.asset);
        let mut wanted: Vec<Rotation> = plan.rotations.iter().filter(asked).cloned().collect();
        wanted.sort_by_key(|one| one.version);
        for rotation in &mut wanted {
            rotation.begins_at = Some(at.hour_start());
        }
        let wanted: Vec<&Rotation> = wanted.iter().collect();
        let given = |rotation: &Rotation| match reason {
            Some(reason) => reason.to_owned(),
            None => rotation.sentence(),
        };
        let made = self.make(known, &wanted, by, given).await?;
        plan.unplanned.retain(|one| names.contains(&one.asset));
        Ok((made, plan.unplanned))
    }

    /// Ends one before its promotion.
    pub async fn cancel(&self, id: &str, by: &str, reason: Option<&str>) -> Result<(), Error> {
        self.mark(
            id,
            RotationMark::Cancel,
            ("cancelled", "cancel"),
            (by, reason),
        )
        .await
    }

    /// Makes the old version the primary again.
    pub async fn roll_back(&self, id: &str, by: &str, reason: Option<&str>) -> Result<(), Error> {
        let words = ("rolled back", "roll-back");
        self.mark(id, RotationMark::RollBack, words, (by, reason))
            .await
    }

    /// Holds it: a step that has begun comes to its end, and no other begins. Emergencies are not held.
    pub async fn hold(&self, id: &str, by: &str, reason: Option<&str>) -> Result<(), Error> {
        let row = self.event(id).await?;
        if row.cause == Trigger::Event.as_str() {
            return Err(not_now(&row, "held"));
        }
        self.mark(id, RotationMark::Hold, ("held", "hold"), (by, reason))
            .await
    }

    /// Lets it go on.
    pub async fn release(&self, id: &str, by: &str, reason: Option<&str>) -> Result<(), Error> {
        let words = ("released", "release");
        self.mark(id, RotationMark::Release, words, (by, reason))
            .await
    }

    /// Lets a step that failed for good be tried again.
    pub async fn retry(&self, id: &str, by: &str, reason: Option<&str>) -> Result<(), Error> {
        let row = self.event(id).await?;
        if row.state != "failed" && row.waits.as_deref() != Some("retry") {
            return Err(not_now(&row, "tried again"));
        }
        self.mark(
            id,
            RotationMark::Retry,
            ("tried again", "retry"),
            (by, reason),
        )
        .await
    }

    pub(super) async fn mark(
        &self,
        id: &str,
        mark: RotationMark,
        (what, action): (&'static str, &'static str),
        (by, reason): (&str, Option<&str>),
    ) -> Result<(), Error> {
        let row = self.event(id).await?;
        let now = to_row(self.now().await?);
        let change = Change::MarkRotation {
            event: id.to_owned(),
            mark,
            at: now.millis(),
        };
        let event = Event {
            asset: Some(&row.asset),
            version: Some(row.version.into()),
            previous_version: row.previous_version.map(Into::into),
            reason,
            reference: Some(id),
            ..Event::new(ActKind::Rotation, action, by, now)
        };
        match self.log().commit(&change, &event).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_conflict() => Err(not_now(&self.event(id).await?, what)),
            Err(error) => Err(error.into()),
        }
    }

    /// The row of one.
    pub async fn event(&self, id: &str) -> Result<RotationEventRow, Error> {
        let row = self.store().rotation_event(id).await?;
        row.ok_or_else(|| Error::UnknownEvent(id.to_owned()))
    }

    /// Somebody says that a step that happens elsewhere is done: one that is waited for. The first word stands.
    pub async fn report_step(
        &self,
        id: &str,
        which: &str,
        (by, evidence): (&str, &str),
    ) -> Result<(), Error> {
        let row = self.event(id).await?;
        if step(which).is_none() && which != ROLL_BACK_STEP {
            return Err(Error::UnknownStep(which.chars().take(40).collect()));
        }
        if !(1..=LONGEST_EVIDENCE).contains(&evidence.chars().count()) {
            return Err(Error::Evidence);
        }
        if row.ended_at.is_some() {
            return Err(not_now(&row, "reported"));
        }
        self.expect_waited_for(&row, which).await?;
        let now = to_row(self.now().await?);
        let report = StepReported {
            at: now,
            by: by.to_owned(),
            evidence: serde_json::json!({ "text": evidence }).to_string(),
        };
        let event = Event {
            asset: Some(&row.asset),
            version: Some(row.version.into()),
            previous_version: row.previous_version.map(Into::into),
            digest: Some(Sha256Digest::of(report.evidence.as_bytes())),
            reason: Some(which),
            reference: Some(id),
            ..Event::new(ActKind::Rotation, "report-step", by, now)
        };
        let change = Change::Inventory(Box::new(InventoryChange::ReportStep {
            event: id.to_owned(),
            step: which.to_owned(),
            report,
        }));
        match self.log().commit(&change, &event).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_conflict() => {
                let row = self.event(id).await?;
                self.expect_waited_for(&row, which).await?;
                Err(not_now(&row, "reported twice"))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// A step that has begun and has not ended; the roll-back as soon as somebody wants it.
    async fn expect_waited_for(&self, row: &RotationEventRow, which: &str) -> Result<(), Error> {
        let steps = self.store().rotation_steps(&row.id).await?;
        let open = steps.iter().rfind(|step| step.outcome.is_none());
        let open = open.map(|step| step.step.as_str());
        let is_waited_for = match which {
            ROLL_BACK_STEP => row.roll_back,
            which => open == Some(which),
        };
        match is_waited_for {
            true => Ok(()),
            false => Err(Error::NotWaitedFor {
                event: row.id.clone(),
                step: which.to_owned(),
                open: open.unwrap_or("none").to_owned(),
            }),
        }
    }

    /// Pauses the scheduler, or lets it go on. Emergencies do not wait for it.
    pub async fn pause(&self, paused: bool, by: &str, reason: Option<&str>) -> Result<(), Error> {
        let now = to_row(self.now().await?);
        let pause = match paused {
            true => RotationPause {
                since: Some(now),
                by: Some(by.to_owned()),
                reason: reason.map(|reason| reason.chars().take(500).collect()),
            },
            false => RotationPause::default(),
        };
        let action = if paused { "pause" } else { "resume" };
        let event = Event {
            reason,
            ..Event::new(ActKind::Rotation, action, by, now)
        };
        self.log()
            .commit(&Change::PauseRotations(pause), &event)
            .await?;
        Ok(())
    }

    /// Pauses one job, or lets it go on.
    pub async fn pause_job(&self, job: &str, paused: bool, by: &str) -> Result<(), Error> {
        let jobs = self.store().jobs().await?;
        if !jobs.iter().any(|row| row.name == job) {
            return Err(Error::UnknownJob(job.chars().take(80).collect()));
        }
        let action = if paused { "pause-job" } else { "resume-job" };
        let event = Event {
            reference: Some(job),
            ..Event::new(ActKind::Rotation, action, by, to_row(self.now().await?))
        };
        let change = Change::PauseJob {
            job: job.to_owned(),
            paused,
        };
        match self.log().commit(&change, &event).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_conflict() => Err(Error::JobUnchanged(job.to_owned())),
            Err(error) => Err(error.into()),
        }
    }

    /// What would come of what there is, with what may go wrong.
    pub async fn simulate(&self, asked: &Simulation) -> Result<Report, Error> {
        let known = self.known().await?;
        let days = asked.days.unwrap_or(365);
        let horizon = Span::days(days.into());
        let bad = |what: &str| Error::Simulation(what.to_owned());
        if days == 0 || horizon > LONGEST {
            return Err(bad("days: expected 1 to 3660"));
        }
        if known.facts.assets.len() > MOST_ASSETS {
            return Err(bad(
                "there are more than 10000 assets: simulate from a file",
            ));
        }
        let bounded = asked.faults.len() <= 100 && asked.verifiers.len() <= 100;
        if !bounded || asked.replicas.len() > 16 {
            return Err(bad(
                "expected at most 100 faults, 100 verifiers and 16 replicas",
            ));
        }
        let world = world(&known, asked);
        // It takes seconds of a processor.
        let seed = asked.seed;
        let ran = tokio::task::spawn_blocking(move || simulate(world, horizon, seed)).await;
        let ran = ran.map_err(|_| bad("the simulation did not end"))?;
        ran.map_err(|refused| {
            let names = refused.iter().map(|each| each.key_type.to_string());
            Error::Policies(names.collect::<Vec<_>>().join(", "))
        })
    }
}

fn world(known: &Known, asked: &Simulation) -> World {
    let start: Time = known.now;
    let mut world = World::standard(start, known.facts.clone(), known.orders.clone());
    world.policies = known
        .policies
        .iter()
        .map(|policy| policy.document().clone())
        .collect();
    world.faults.clone_from(&asked.faults);
    if !asked.verifiers.is_empty() {
        world.verifiers.clone_from(&asked.verifiers);
    }
    if !asked.replicas.is_empty() {
        world.replicas.clone_from(&asked.replicas);
    }
    world
}

fn not_now(row: &RotationEventRow, what: &'static str) -> Error {
    Error::NotNow {
        event: row.id.clone(),
        what,
        state: match facts::reason(row.waits.as_deref().unwrap_or_default()) {
            Ok(reason) => format!("{} ({reason})", row.state),
            Err(_) => row.state.clone(),
        },
    }
}
