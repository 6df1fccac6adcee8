//! How often a key signed in each hour of the last ninety days. Hours are counted with the days, behind the leaves; what is not
//! counted yet is read from the leaves.

use trust::Time;

use crate::blast_radius::{MAX_TAIL, reach};
use crate::database::{Store, on};
use crate::decode::Decode as _;
use crate::engine::{Columns, Connection, Engine, Value};
use crate::error::Error;
use crate::reads::FromColumns;
use crate::statements::statements;

statements! {
    /// One statement and so one view. There are at most as many rows as hours are kept, and leaves that are not counted.
    HOURS = "SELECT hour, CAST(SUM(signatures) AS BIGINT)
        FROM (SELECT hour, signatures FROM log_key_hour WHERE kid = $1 AND hour >= $2
            UNION ALL SELECT time / 3600000, 1 FROM log_leaf
                WHERE kid = $1 AND idx >= (SELECT size FROM log_counted WHERE id = 1) AND kind = 'sign' AND time >= $3) AS counted
        GROUP BY hour ORDER BY hour";
    /// Until when signatures were counted before there were hours.
    SINCE_HOURS = "SELECT COALESCE((SELECT time FROM log_leaf WHERE idx = since), (SELECT clock FROM log_head))
        FROM log_hours WHERE since > 0";
    FORGET_HOURS = "DELETE FROM log_key_hour WHERE (kid, hour) IN
        (SELECT kid, hour FROM log_key_hour WHERE hour < $1 ORDER BY hour, kid LIMIT $2)";
}

/// Milliseconds of an hour.
pub(crate) const HOUR: i64 = 3_600_000;

/// The signatures of one hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HourRow {
    /// Its first instant.
    pub from: Time,
    pub signatures: u64,
}

impl FromColumns for HourRow {
    fn read(row: &impl Columns) -> Result<Self, Error> {
        Ok(Self {
            from: Time::from_millis(row.int(0)?.saturating_mul(HOUR)),
            signatures: row.number(1, "signatures of an hour")?,
        })
    }
}

async fn by_hour<E: Engine>(engine: &E, kid: &str, since: i64) -> Result<Vec<HourRow>, Error> {
    let mut reader = engine.reader().await?;
    let (counted, head) = reach::<E>(&mut reader).await?;
    if head - counted > MAX_TAIL {
        return Err(Error::Uncounted {
            leaves: head - counted,
        });
    }
    let hour = since.max(0) / HOUR;
    let values = [
        Value::Text(kid),
        Value::Int(hour),
        Value::Int(hour.saturating_mul(HOUR)),
    ];
    let rows = reader.fetch(HOURS, &values).await?;
    rows.iter().map(HourRow::read).collect()
}

async fn since<E: Engine>(engine: &E) -> Result<Option<Time>, Error> {
    let mut reader = engine.reader().await?;
    let row = reader.fetch_optional(SINCE_HOURS, &[]).await?;
    row.map(|row| row.time(0, "log_leaf.time")).transpose()
}

impl Store {
    /// The signatures by a key in each hour that has any, from the hour of an instant on.
    pub async fn signatures_by_hour(&self, kid: &str, since: Time) -> Result<Vec<HourRow>, Error> {
        on!(self, engine => by_hour(engine, kid, since.millis()))
    }

    /// Signatures before this instant were counted by day alone; none where all of them were counted by hour.
    pub async fn hours_since(&self) -> Result<Option<Time>, Error> {
        on!(self, engine => since(engine))
    }
}
