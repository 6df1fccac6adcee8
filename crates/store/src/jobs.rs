//! Jobs and their runs, exactly one run of a job at a time in the whole installation. Each write of a run names the epoch of
//! its lease.

use std::time::Duration;

use trust::Time;

use crate::database::{Store, on};
use crate::decode::Decode as _;
use crate::engine::{Columns, Connection, Engine, Value, guarded, write};
use crate::error::{Error, Subject};
use crate::reads::{self, FromColumns, MAX_PAGE};
use crate::rotation_lease::{millis, taken};
use crate::statements::statements;

statements! {
    /// One whose pattern changed keeps its slot.
    ENSURE_JOB = "INSERT INTO job (name, cron, last_slot, catch_up) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
    JOBS = "SELECT name, cron, paused, last_slot, catch_up FROM job ORDER BY name";
    MOVE_SLOT = "UPDATE job SET last_slot = $2 WHERE name = $1 AND last_slot < $2 AND paused = 0";
    PAUSE_JOB = "UPDATE job SET paused = $2 WHERE name = $1 AND paused <> $2";
    /// At most one for each job.
    OPEN_RUNS = "SELECT job, slot, state, missed, lease_epoch, started_at, ended_at, summary FROM job_run
        WHERE ended_at IS NULL ORDER BY job LIMIT 1000";
    RUNS = "SELECT job, slot, state, missed, lease_epoch, started_at, ended_at, summary FROM job_run
        WHERE job = $1 AND slot < $2 ORDER BY slot DESC LIMIT $3";
    END_RUN = "UPDATE job_run SET state = $4, ended_at = $5, summary = $6, lease_until = 0
        WHERE job = $1 AND slot = $2 AND lease_epoch = $3 AND ended_at IS NULL";
    FORGET_RUNS = "DELETE FROM job_run WHERE job = $1 AND slot < $2 AND ended_at IS NOT NULL";
}

/// A job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRow {
    pub name: String,
    pub cron: String,
    pub paused: bool,
    /// The last slot that a run was for.
    pub last_slot: Time,
    /// How long after a slot it is still made up for.
    pub catch_up: Duration,
}

impl FromColumns for JobRow {
    fn read(row: &impl Columns) -> Result<Self, Error> {
        Ok(Self {
            name: row.text(0)?,
            cron: row.text(1)?,
            paused: row.int(2)? == 1,
            last_slot: row.time(3, "job.last_slot")?,
            catch_up: Duration::from_millis(row.number(4, "job.catch_up")?),
        })
    }
}

/// A run of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRunRow {
    pub job: String,
    pub slot: Time,
    /// `running`, `done` or `failed`.
    pub state: String,
    /// How many slots before this one had no run of their own.
    pub missed: u32,
    pub lease_epoch: i64,
    pub started_at: Time,
    pub ended_at: Option<Time>,
    /// JSON.
    pub summary: Option<String>,
}

impl FromColumns for JobRunRow {
    fn read(row: &impl Columns) -> Result<Self, Error> {
        Ok(Self {
            job: row.text(0)?,
            slot: row.time(1, "job_run.slot")?,
            state: row.text(2)?,
            missed: row.number(3, "job_run.missed")?,
            lease_epoch: row.int(4)?,
            started_at: row.time(5, "job_run.started_at")?,
            ended_at: row.maybe_time(6, "job_run.ended_at")?,
            summary: row.maybe_text(7)?,
        })
    }
}

/// Who runs a job, for which slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunLease {
    pub job: String,
    pub slot: Time,
    pub epoch: i64,
}

/// A run that begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewRun<'a> {
    pub job: &'a str,
    pub slot: Time,
    pub missed: u32,
    pub owner: &'a str,
    pub at: Time,
    /// By a person's word: the job's last slot stays, and a pause is no reason not to.
    pub by_hand: bool,
}

pub(crate) async fn pause<C: Connection>(tx: &mut C, job: &str, paused: bool) -> Result<(), Error> {
    let values = [Value::Text(job), Value::Int(paused.into())];
    guarded(tx, PAUSE_JOB, &values, Subject::JobRun).await
}

async fn begin_run<C: Connection>(
    tx: &mut C,
    sql: &'static str,
    new: &NewRun<'_>,
    time: Duration,
) -> Result<bool, Error> {
    let (job, slot) = (Value::Text(new.job), Value::Int(new.slot.millis()));
    if !new.by_hand && tx.execute(MOVE_SLOT, &[job, slot]).await? != 1 {
        return Ok(false);
    }
    let values = [
        job,
        slot,
        Value::Int(new.missed.into()),
        Value::Text(new.owner),
        Value::Int(millis(time)),
        Value::Int(new.at.millis()),
    ];
    Ok(tx.execute(sql, &values).await? == 1)
}

/// The slot moves with the run that is for it: if we die before COMMIT neither has happened.
async fn begin<E: Engine>(engine: &E, new: &NewRun<'_>, time: Duration) -> Result<bool, Error> {
    let mut tx = engine.begin().await?;
    match begin_run(&mut tx, E::DIALECT.rotations.begin_run, new, time).await {
        Ok(true) => engine.commit(tx).await.map(|()| true),
        Ok(false) => {
            engine.rollback(tx).await;
            Ok(false)
        }
        Err(error) => {
            engine.rollback(tx).await;
            Err(error)
        }
    }
}

async fn take<E: Engine>(engine: &E, values: &[Value<'_>]) -> Result<Option<i64>, Error> {
    taken(engine, E::DIALECT.rotations.take_run, values).await
}

async fn hold<E: Engine>(engine: &E, values: &[Value<'_>]) -> Result<u64, Error> {
    write(engine, E::DIALECT.rotations.hold_run, values).await
}

impl Store {
    /// A job that is not there yet; slots before this instant have no run.
    pub async fn ensure_job(
        &self,
        name: &str,
        cron: &str,
        catch_up: Duration,
        now: Time,
    ) -> Result<bool, Error> {
        let values = [
            Value::Text(name),
            Value::Text(cron),
            Value::Int(now.millis()),
            Value::Int(millis(catch_up)),
        ];
        Ok(on!(self, engine => write(engine, ENSURE_JOB, &values))? == 1)
    }

    pub async fn jobs(&self) -> Result<Vec<JobRow>, Error> {
        on!(self, engine => reads::all(engine, JOBS, &[]))
    }

    /// Begins the run for a slot; none where somebody else did, the job is paused, or another run of it is open.
    pub async fn begin_run(
        &self,
        new: &NewRun<'_>,
        time: Duration,
    ) -> Result<Option<RunLease>, Error> {
        let begun = on!(self, engine => begin(engine, new, time))?;
        Ok(begun.then(|| RunLease {
            job: new.job.to_owned(),
            slot: new.slot,
            epoch: 1,
        }))
    }

    /// Goes on with a run whose owner's time has run out.
    pub async fn take_run(
        &self,
        job: &str,
        slot: Time,
        owner: &str,
        time: Duration,
    ) -> Result<Option<RunLease>, Error> {
        let values = [
            Value::Text(job),
            Value::Int(slot.millis()),
            Value::Text(owner),
            Value::Int(millis(time)),
        ];
        let epoch = on!(self, engine => take(engine, &values))?;
        Ok(epoch.map(|epoch| RunLease {
            job: job.to_owned(),
            slot,
            epoch,
        }))
    }

    /// From now on so long; a conflict where another one took it.
    pub async fn hold_run(&self, lease: &RunLease, time: Duration) -> Result<(), Error> {
        let values = [
            Value::Text(&lease.job),
            Value::Int(lease.slot.millis()),
            Value::Int(lease.epoch),
            Value::Int(millis(time)),
        ];
        match on!(self, engine => hold(engine, &values))? {
            1 => Ok(()),
            _ => Err(Error::conflict(Subject::JobRun)),
        }
    }

    /// The run's end, by whoever has it; a conflict for one who was overtaken.
    pub async fn end_run(
        &self,
        lease: &RunLease,
        state: &str,
        summary: &str,
        at: Time,
    ) -> Result<(), Error> {
        let values = [
            Value::Text(&lease.job),
            Value::Int(lease.slot.millis()),
            Value::Int(lease.epoch),
            Value::Text(state),
            Value::Int(at.millis()),
            Value::Text(summary),
        ];
        match on!(self, engine => write(engine, END_RUN, &values))? {
            1 => Ok(()),
            _ => Err(Error::conflict(Subject::JobRun)),
        }
    }

    /// Runs that have no end.
    pub async fn open_runs(&self) -> Result<Vec<JobRunRow>, Error> {
        on!(self, engine => reads::all(engine, OPEN_RUNS, &[]))
    }

    /// Runs of a job before a slot, the newest first, at most [`MAX_PAGE`].
    pub async fn runs(&self, job: &str, before: i64, limit: i64) -> Result<Vec<JobRunRow>, Error> {
        let limit = Value::Int(limit.clamp(1, MAX_PAGE));
        let values = [Value::Text(job), Value::Int(before), limit];
        on!(self, engine => reads::all(engine, RUNS, &values))
    }

    /// Forgets runs of before an instant that have ended.
    pub async fn forget_runs(&self, job: &str, before: Time) -> Result<u64, Error> {
        let values = [Value::Text(job), Value::Int(before.millis())];
        on!(self, engine => write(engine, FORGET_RUNS, &values))
    }
}
