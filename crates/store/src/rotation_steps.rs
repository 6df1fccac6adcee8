//! The steps of rotations, each attempt a row, and what people report of steps that happen elsewhere.

use trust::Time;

use crate::database::{Store, on};
use crate::decode::Decode as _;
use crate::engine::{Columns, Connection, Engine, Value, guarded};
use crate::error::{Error, Subject};
use crate::reads::{self, FromColumns};
use crate::rotation_lease::{RotationLease, shortened};
use crate::statements::statements;

statements! {
    /// The attempts of one rotation are few.
    LAST_ATTEMPT = "SELECT COALESCE(MAX(CASE WHEN step = $2 THEN attempt END), 0), COUNT(*) FROM rotation_step
        WHERE event = $1";
    INSERT_STEP = "INSERT INTO rotation_step (event, step, attempt, place, started_at, actor)
        VALUES ($1, $2, $3, $4, $5, $6)";
    HAS_EVENT = "UPDATE rotation_event SET state = 'running', updated_at = $3
        WHERE id = $1 AND lease_epoch = $2 AND lease_owner <> '' AND ended_at IS NULL";
    /// The same, unless a mark or a pause came meanwhile. A mark that came too late counts no more.
    MAY_BEGIN = "UPDATE rotation_event SET state = 'running', updated_at = $3
        WHERE id = $1 AND lease_epoch = $2 AND lease_owner <> '' AND ended_at IS NULL
            AND (cancel = 0 OR promoted_at IS NOT NULL)
            AND (roll_back = 0 OR promoted_at IS NULL OR retired_at IS NOT NULL)
            AND (cause = 'event' OR held = 0
                AND NOT EXISTS (SELECT 1 FROM rotation_pause WHERE id = 1 AND paused_at IS NOT NULL))";
    END_STEP = "UPDATE rotation_step SET ended_at = $3, outcome = $4, why = $5, evidence = $6
        WHERE event = $1 AND step = $2 AND outcome IS NULL";
    RETRY_STEPS = "UPDATE rotation_step SET outcome = 'retried' WHERE event = $1 AND outcome IN ('transient', 'person')";
    STEPS = "SELECT step, attempt, started_at, ended_at, outcome, actor, why, evidence FROM rotation_step
        WHERE event = $1 ORDER BY place";
    REPORTED = "SELECT reported_at, reported_by, evidence FROM rotation_report WHERE event = $1 AND step = $2";
}

/// An attempt at a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RotationStepRow {
    pub step: String,
    /// 1, 2, 3…
    pub attempt: u32,
    pub started_at: Time,
    pub ended_at: Option<Time>,
    /// `done`, `transient`, `person`, or `retried` by a person's word.
    pub outcome: Option<String>,
    pub actor: String,
    /// Why it failed.
    pub why: Option<String>,
    /// JSON.
    pub evidence: Option<String>,
}

impl FromColumns for RotationStepRow {
    fn read(row: &impl Columns) -> Result<Self, Error> {
        Ok(Self {
            step: row.text(0)?,
            attempt: row.number(1, "rotation_step.attempt")?,
            started_at: row.time(2, "rotation_step.started_at")?,
            ended_at: row.maybe_time(3, "rotation_step.ended_at")?,
            outcome: row.maybe_text(4)?,
            actor: row.text(5)?,
            why: row.maybe_text(6)?,
            evidence: row.maybe_text(7)?,
        })
    }
}

/// How an attempt begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepBegin {
    /// It was begun, and came to a wait.
    pub again: bool,
    /// It conflicts with what somebody wants of the rotation, or with a pause.
    pub unless_marked: bool,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepEnd {
    pub step: &'static str,
    /// `done`, `transient` or `person`.
    pub outcome: &'static str,
    pub why: Option<String>,
    /// JSON of at most 8 192 bytes.
    pub evidence: Option<String>,
}

/// What somebody says of a step that happened elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RotationReport {
    pub at: Time,
    pub by: String,
    /// JSON.
    pub evidence: String,
}

impl FromColumns for RotationReport {
    fn read(row: &impl Columns) -> Result<Self, Error> {
        Ok(Self {
            at: row.time(0, "rotation_report.reported_at")?,
            by: row.text(1)?,
            evidence: row.text(2)?,
        })
    }
}

pub(crate) async fn end<C: Connection>(
    tx: &mut C,
    event: &str,
    step: &StepEnd,
    at: Time,
) -> Result<(), Error> {
    let why = step.why.as_deref().map(shortened);
    let values = [
        Value::Text(event),
        Value::Text(step.step),
        Value::Int(at.millis()),
        Value::Text(step.outcome),
        Value::MaybeText(why.as_deref()),
        Value::MaybeText(step.evidence.as_deref()),
    ];
    guarded(tx, END_STEP, &values, Subject::Rotation).await
}

/// What failed counts no more.
pub(crate) async fn retry<C: Connection>(tx: &mut C, event: &str) -> Result<(), Error> {
    tx.execute(RETRY_STEPS, &[Value::Text(event)])
        .await
        .map(drop)
}

async fn begin_step<C: Connection>(
    tx: &mut C,
    lease: &RotationLease,
    (step, actor): (&str, &str),
    how: StepBegin,
    at: Time,
) -> Result<(), Error> {
    let values = [
        Value::Text(&lease.event),
        Value::Int(lease.epoch),
        Value::Int(at.millis()),
    ];
    let may = match how.unless_marked {
        true => MAY_BEGIN,
        false => HAS_EVENT,
    };
    guarded(tx, may, &values, Subject::Rotation).await?;
    if how.again {
        return Ok(());
    }
    let of = [Value::Text(&lease.event), Value::Text(step)];
    let last = tx.fetch_optional(LAST_ATTEMPT, &of).await?;
    let (last, before) = match last {
        Some(row) => (row.int(0)?, row.int(1)?),
        None => (0, 0),
    };
    let values = [
        of[0],
        of[1],
        Value::Int(last + 1),
        Value::Int(before + 1),
        Value::Int(at.millis()),
        Value::Text(actor),
    ];
    guarded(tx, INSERT_STEP, &values, Subject::Rotation).await
}

async fn begin<E: Engine>(
    engine: &E,
    lease: &RotationLease,
    step: (&str, &str),
    how: StepBegin,
    at: Time,
) -> Result<(), Error> {
    let mut tx = engine.begin().await?;
    match begin_step(&mut tx, lease, step, how, at).await {
        Ok(()) => engine.commit(tx).await,
        Err(error) => {
            engine.rollback(tx).await;
            Err(error)
        }
    }
}

impl Store {
    /// An attempt at a step begins, by this actor: written before anything is done.
    pub async fn begin_rotation_step(
        &self,
        lease: &RotationLease,
        (step, actor): (&str, &str),
        how: StepBegin,
        at: Time,
    ) -> Result<(), Error> {
        on!(self, engine => begin(engine, lease, (step, actor), how, at))
    }

    /// The attempts of a rotation in the order in which they began; each step has few.
    pub async fn rotation_steps(&self, event: &str) -> Result<Vec<RotationStepRow>, Error> {
        on!(self, engine => reads::all(engine, STEPS, &[Value::Text(event)]))
    }

    /// What somebody said of a step.
    pub async fn rotation_report(
        &self,
        event: &str,
        step: &str,
    ) -> Result<Option<RotationReport>, Error> {
        let values = [Value::Text(event), Value::Text(step)];
        on!(self, engine => reads::one(engine, REPORTED, &values))
    }
}
