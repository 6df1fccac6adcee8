//! How much was signed by one key since an instant: the blast radius of its compromise.

use crate::database::{Store, on};
use crate::engine::{Columns, Engine, Value};
use crate::error::Error;
use crate::reads::{self, FromColumns};
use crate::statements::statements;

statements! {
    /// Served by the index over kid and place; days are those of UTC.
    BY_DAY = "SELECT time / 86400000, COUNT(*), MIN(idx), MAX(idx), MIN(time), MAX(time)
        FROM log_leaf WHERE kid = $1 AND kind = 'sign' AND time >= $2
        GROUP BY time / 86400000 ORDER BY 1";
}

/// The signatures of one day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DayRow {
    /// Days since the epoch.
    pub day: i64,
    pub signatures: i64,
    pub first_index: i64,
    pub last_index: i64,
    pub first_time: i64,
    pub last_time: i64,
}

impl FromColumns for DayRow {
    fn read(row: &impl Columns) -> Result<Self, Error> {
        Ok(Self {
            day: row.int(0)?,
            signatures: row.int(1)?,
            first_index: row.int(2)?,
            last_index: row.int(3)?,
            first_time: row.int(4)?,
            last_time: row.int(5)?,
        })
    }
}

async fn by_day<E: Engine>(engine: &E, kid: &str, since: i64) -> Result<Vec<DayRow>, Error> {
    let values = [Value::Text(kid), Value::Int(since)];
    reads::all(engine, BY_DAY, &values).await
}

impl Store {
    /// The signatures by a key since an instant, itself included, for each day that has any. Reads
    /// every leaf of the key: one at a time is enough.
    pub async fn signatures_by_day(&self, kid: &str, since: i64) -> Result<Vec<DayRow>, Error> {
        on!(self, engine => by_day(engine, kid, since))
    }
}
