//! Writes that are no act: nobody decided them, nothing in the log tells of them, and whatever they
//! touch can be made again. No version rises, so no replica reads anything again.

use std::time::Duration;

use crate::acts;
use crate::blast_radius;
use crate::database::{Store, on};
use crate::engine::{Engine, Value, write};
use crate::error::Error;
use crate::index;
use crate::leases::RETURN_LEASE;
use crate::usage;

/// Answers that one call forgets: no other writer waits longer than for these.
pub const ANSWERS: i64 = 1_000;

/// Hours that one call forgets.
pub const HOURS: i64 = 1_000;

/// What is kept in order besides the acts. Each may be done by any replica, any number of times; if
/// we die before it is committed it has not happened, and the next call does the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Housekeeping {
    /// Takes the lease or renews it, unless another holder's runs. One row, or none.
    TakeLease {
        name: String,
        holder: String,
        time: Duration,
    },
    /// Ends a holder's own lease; of another holder's nothing changes.
    ReturnLease { name: String, holder: String },
    /// Puts the signatures among the next leaves into the index: at most 65 536 leaves.
    IndexSignatures { at_most: i64 },
    /// Counts the signatures among the next leaves by key: at most 65 536 leaves.
    CountSignatures { at_most: i64 },
    /// Puts the next acts on keys into their index: at most so many leaves.
    IndexActs { at_most: i64 },
    /// Forgets answers to repeated requests that are older than this, at most [`ANSWERS`] of them; the leaves stay.
    ForgetAnswers { before: i64 },
    /// Forgets how often keys signed in hours that ended before this, at most [`HOURS`] rows; the days stay.
    ForgetHours { before: i64 },
}

/// How many rows, or how many leaves where they are indexed or counted.
async fn keep<E: Engine>(engine: &E, work: &Housekeeping) -> Result<u64, Error> {
    match work {
        Housekeeping::TakeLease { name, holder, time } => {
            let millis = i64::try_from(time.as_millis()).unwrap_or(i64::MAX / 2);
            let values = [Value::Text(name), Value::Text(holder), Value::Int(millis)];
            write(engine, E::DIALECT.take_lease, &values).await
        }
        Housekeeping::ReturnLease { name, holder } => {
            let values = [Value::Text(name), Value::Text(holder)];
            write(engine, RETURN_LEASE, &values).await
        }
        Housekeeping::IndexSignatures { at_most } => {
            index::index(engine, *at_most).await.map(i64::unsigned_abs)
        }
        Housekeeping::CountSignatures { at_most } => blast_radius::count(engine, *at_most)
            .await
            .map(i64::unsigned_abs),
        Housekeeping::IndexActs { at_most } => acts::index(engine, *at_most).await.map(u64::from),
        Housekeeping::ForgetAnswers { before } => {
            let values = [Value::Int(*before), Value::Int(ANSWERS)];
            write(engine, E::DIALECT.forget_answers, &values).await
        }
        Housekeeping::ForgetHours { before } => {
            let values = [
                Value::Int(before.div_euclid(usage::HOUR)),
                Value::Int(HOURS),
            ];
            write(engine, usage::FORGET_HOURS, &values).await
        }
    }
}

impl Store {
    /// How many rows it touched, or how many leaves were indexed or counted.
    pub async fn keep(&self, work: &Housekeeping) -> Result<u64, Error> {
        on!(self, engine => keep(engine, work))
    }

    /// Makes `holder` the one that does the work of this name for so long by the database's clock, unless another
    /// one's lease still runs.
    pub async fn lease(&self, name: &str, holder: &str, time: Duration) -> Result<bool, Error> {
        let work = Housekeeping::TakeLease {
            name: name.to_owned(),
            holder: holder.to_owned(),
            time,
        };
        Ok(self.keep(&work).await? == 1)
    }

    /// So that the next one need not wait; whether there was one to give back.
    pub async fn return_lease(&self, name: &str, holder: &str) -> Result<bool, Error> {
        let work = Housekeeping::ReturnLease {
            name: name.to_owned(),
            holder: holder.to_owned(),
        };
        Ok(self.keep(&work).await? == 1)
    }

    /// [`Housekeeping::IndexSignatures`].
    pub async fn index_signatures(&self, at_most: i64) -> Result<i64, Error> {
        let done = self
            .keep(&Housekeeping::IndexSignatures { at_most })
            .await?;
        Ok(done.cast_signed())
    }

    /// [`Housekeeping::CountSignatures`].
    pub async fn count_signatures(&self, at_most: i64) -> Result<i64, Error> {
        let done = self
            .keep(&Housekeeping::CountSignatures { at_most })
            .await?;
        Ok(done.cast_signed())
    }

    /// [`Housekeeping::IndexActs`]; whether there are more.
    pub async fn index_acts(&self, at_most: i64) -> Result<bool, Error> {
        Ok(self.keep(&Housekeeping::IndexActs { at_most }).await? == 1)
    }

    /// [`Housekeeping::ForgetAnswers`].
    pub async fn forget_answers(&self, before: i64) -> Result<u64, Error> {
        self.keep(&Housekeeping::ForgetAnswers { before }).await
    }

    /// [`Housekeeping::ForgetHours`].
    pub async fn forget_hours(&self, before: i64) -> Result<u64, Error> {
        self.keep(&Housekeeping::ForgetHours { before }).await
    }
}
