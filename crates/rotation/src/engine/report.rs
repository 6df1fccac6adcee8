//! What is told of rotations: each with its validation report, and how well the policies are kept.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use store::{MAX_PAGE, RotationEventRow, RotationStepRow};

use super::Engine;
use super::error::Error;
use crate::times::{from_row, to_row};
use calendar::policy::Exception;
use calendar::{Span, Time};

/// How far back adherence looks.
const LOOKS_BACK: Span = Span::days(92);

/// Most ended rotations that a report counts.
const MOST: usize = 100_000;

/// A rotation as people and programs see it.
#[derive(Clone, Debug, Serialize)]
pub struct EventReport {
    /// `kr_…`.
    pub id: String,
    /// What rotates.
    pub asset: String,
    /// Its key type.
    pub key_type: String,
    /// The new version.
    pub version: u32,
    /// The one that it replaces.
    pub previous_version: Option<u32>,
    /// What made it.
    pub trigger: String,
    /// How far it is.
    pub state: String,
    /// The hour that it was given.
    pub slot: trust::Time,
    /// When the new version has to be the primary.
    pub due: trust::Time,
    /// Whose consent it has or needs.
    pub consent: String,
    /// The standing order that it is under.
    pub order: Option<String>,
    /// The ceremony by which its version is made.
    pub ceremony: Option<String>,
    /// What names the new version among verifiers.
    pub made: Option<String>,
    /// When the new version was published.
    pub published_at: Option<trust::Time>,
    /// When it became the primary.
    pub promoted_at: Option<trust::Time>,
    /// When the old one could do nothing new any more.
    pub retired_at: Option<trust::Time>,
    /// When it ended.
    pub ended_at: Option<trust::Time>,
    /// Who asked for it.
    pub requested_by: String,
    /// Why.
    pub reason: Option<String>,
    /// Whether somebody holds it.
    pub held: bool,
    /// What it waits for.
    pub waits: Option<String>,
    /// The same in words.
    pub detail: Option<String>,
    /// When it is looked at next.
    pub look_at: Option<trust::Time>,
    /// Whether the promotion came after it was due.
    pub late: bool,
    /// The attempts at its steps, in the order in which they began: its validation report.
    pub steps: Vec<StepReport>,
}

/// An attempt at a step.
#[derive(Clone, Debug, Serialize)]
pub struct StepReport {
    /// Which.
    pub step: String,
    /// Before, during or after the rotation.
    pub phase: &'static str,
    /// 1, 2, 3…
    pub attempt: u32,
    /// When it began.
    pub started_at: trust::Time,
    /// When it ended.
    pub ended_at: Option<trust::Time>,
    /// How.
    pub outcome: Option<String>,
    /// Who.
    pub actor: String,
    /// Why it failed.
    pub why: Option<String>,
    /// What was found.
    pub evidence: Value,
}

/// How well the policies are kept.
#[derive(Clone, Debug, Serialize)]
pub struct Adherence {
    /// From when.
    pub from: Time,
    /// Until when.
    pub until: Time,
    /// Rotations that ended in that time.
    pub ended: usize,
    /// Of them promoted a new version.
    pub promoted: usize,
    /// Of a thousand of these so many by the time that they were due.
    pub on_time_per_mille: Option<usize>,
    /// Of a thousand of these so many without a ceremony.
    pub automatic_per_mille: Option<usize>,
    /// Rolled back.
    pub rolled_back: usize,
    /// Cancelled.
    pub cancelled: usize,
    /// By key type: ended, late.
    pub by_type: BTreeMap<String, (usize, usize)>,
    /// Open ones that wait for a person, by their reason.
    pub waiting: BTreeMap<String, usize>,
    /// Assets whose rotation is overdue.
    pub overdue: usize,
    /// Assets without a date.
    pub unplanned: usize,
    /// Rules of frameworks that policies are outside of.
    pub exceptions: Vec<Exception>,
    /// What somebody should do.
    pub recommendations: Vec<String>,
}

impl EventReport {
    /// Of a row, without its steps.
    pub fn of(row: RotationEventRow) -> Self {
        let late = row.promoted_at.is_some_and(|at| at > row.due);
        Self {
            id: row.id,
            asset: row.asset,
            key_type: row.key_type,
            version: row.version,
            previous_version: row.previous_version,
            trigger: row.cause,
            state: row.state,
            slot: row.slot,
            due: row.due,
            consent: row.consent,
            order: row.order,
            ceremony: row.ceremony,
            made: row.made,
            published_at: row.published_at,
            promoted_at: row.promoted_at,
            retired_at: row.retired_at,
            look_at: row.ended_at.is_none().then_some(row.look_at),
            ended_at: row.ended_at,
            requested_by: row.requested_by,
            reason: row.reason,
            held: row.held,
            waits: row.waits,
            detail: row.detail,
            late,
            steps: Vec::new(),
        }
    }
}

impl From<RotationStepRow> for StepReport {
    fn from(row: RotationStepRow) -> Self {
        let phase = match row.step.as_str() {
            "pre-check" => "pre",
            "generate" | "publish" | "test" | "promote" => "during",
            _ => "post",
        };
        let evidence = row.evidence.as_deref().map(serde_json::from_str);
        Self {
            step: row.step,
            phase,
            attempt: row.attempt,
            started_at: row.started_at,
            ended_at: row.ended_at,
            outcome: row.outcome,
            actor: row.actor,
            why: row.why,
            evidence: evidence.and_then(Result::ok).unwrap_or_default(),
        }
    }
}

impl Engine {
    /// One rotation with its validation report.
    pub async fn report(&self, id: &str) -> Result<EventReport, Error> {
        let row = self.event(id).await?;
        let steps = self.store().rotation_steps(id).await?;
        let mut report = EventReport::of(row);
        report.steps = steps.into_iter().map(Into::into).collect();
        Ok(report)
    }

    /// How well the policies were kept lately, and what stands out now.
    pub async fn adherence(&self) -> Result<Adherence, Error> {
        let known = self.known().await?;
        let until = known.now;
        let from = until - LOOKS_BACK;
        let ended = self.ended_since(from).await?;
        let promoted: Vec<&RotationEventRow> = ended
            .iter()
            .filter(|row| row.promoted_at.is_some() && row.state == "done")
            .collect();
        let late = |row: &RotationEventRow| row.promoted_at.is_some_and(|at| at > row.due);
        let per_mille = |count: usize| (count * 1_000).checked_div(promoted.len());
        let on_time = promoted.iter().filter(|row| !late(row)).count();
        let automatic = promoted
            .iter()
            .filter(|row| row.consent != "ceremony")
            .count();
        let mut by_type: BTreeMap<String, (usize, usize)> = BTreeMap::new();
        for row in &ended {
            let counts = by_type.entry(row.key_type.clone()).or_default();
            counts.0 += 1;
            counts.1 += usize::from(late(row));
        }
        let mut waiting: BTreeMap<String, usize> = BTreeMap::new();
        for row in self.open_events().await? {
            if let Some(reason) = row.waits {
                *waiting.entry(reason).or_default() += 1;
            }
        }
        let plan = known.plan(Span::days(90));
        let of = |state: &str| ended.iter().filter(|row| row.state == state).count();
        let overdue = plan.counts().overdue;
        Ok(Adherence {
            from,
            until,
            ended: ended.len(),
            promoted: promoted.len(),
            on_time_per_mille: per_mille(on_time),
            automatic_per_mille: per_mille(automatic),
            rolled_back: of("rolled-back"),
            cancelled: of("cancelled"),
            recommendations: recommendations(&plan, overdue, &waiting),
            by_type,
            waiting,
            overdue,
            unplanned: plan.unplanned.len(),
            exceptions: plan.exceptions,
        })
    }

    pub(crate) async fn ended_since(&self, from: Time) -> Result<Vec<RotationEventRow>, Error> {
        let mut all: Vec<RotationEventRow> = Vec::new();
        let mut place = (to_row(from).millis(), String::new());
        while all.len() < MOST {
            let page = self
                .store()
                .rotations_ended((place.0, &place.1), MAX_PAGE)
                .await?;
            let full = page.len() as i64 == MAX_PAGE;
            if let Some(last) = page.last() {
                let at = last.ended_at.unwrap_or(last.updated_at);
                place = (from_row(at).millis(), last.id.clone());
            }
            all.extend(page);
            if !full {
                break;
            }
        }
        Ok(all)
    }
}

/// Rules that a recommendation names.
const NAMED: usize = 5;

fn recommendations(
    plan: &calendar::Plan,
    overdue: usize,
    waiting: &BTreeMap<String, usize>,
) -> Vec<String> {
    let mut texts = Vec::new();
    if overdue > 0 {
        texts.push(format!(
            "{overdue} rotations are overdue: see what they wait for"
        ));
    }
    let ceremonies = plan.counts().ceremonies;
    if ceremonies > 0 {
        texts.push(format!(
            "{ceremonies} rotations of the next 90 days need a ceremony each: a standing order covers routine ones"
        ));
    }
    if let Some(count) = waiting.get("person") {
        texts.push(format!(
            "{count} rotations wait for a person: a keeper who reports a step, or somebody who tries again what failed"
        ));
    }
    if !plan.unplanned.is_empty() {
        let count = plan.unplanned.len();
        texts.push(format!("{count} assets have no date: give each a policy"));
    }
    if !plan.exceptions.is_empty() {
        let mut named: Vec<String> = plan
            .exceptions
            .iter()
            .map(|one| format!("{} {} of {}", one.framework, one.paragraph, one.key_type))
            .collect();
        let count = named.len();
        if count > NAMED {
            named.truncate(NAMED);
            named.push(format!("{} more", count - NAMED));
        }
        let named = named.join(", ");
        texts.push(format!("{count} rules of frameworks are not kept: {named}"));
    }
    texts
}
