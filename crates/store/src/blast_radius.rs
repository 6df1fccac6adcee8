//! How much was signed by one key since an instant: the blast radius of its compromise. It is counted
//! behind the leaves, many at once, by day, by hour and by block of indexes; what is not counted yet is read from
//! the leaves, so no answer depends on how far the counts are.

use std::collections::BTreeMap;

use crate::database::{Store, on};
use crate::engine::{Columns, Connection, Engine, Value};
use crate::error::Error;
use crate::reads::FromColumns;
use crate::statements::statements;

statements! {
    COUNTED = "SELECT log_counted.size, log_head.size FROM log_counted CROSS JOIN log_head";
    MOVE_COUNTED = "UPDATE log_counted SET size = $2 WHERE id = 1 AND size = $1";
    /// Days are those of UTC. Leaves come in order, so the first index of a row stays and the last one moves.
    COUNT_DAYS = "INSERT INTO log_key_day
            (kid, day, signatures, first_index, last_index, first_time, last_time)
        SELECT kid, time / 86400000, COUNT(*), MIN(idx), MAX(idx), MIN(time), MAX(time)
            FROM log_leaf WHERE idx >= $1 AND idx < $2 AND kind = 'sign'
            GROUP BY kid, time / 86400000
        ON CONFLICT (kid, day) DO UPDATE SET
            signatures = log_key_day.signatures + excluded.signatures,
            last_index = excluded.last_index,
            first_time = CASE WHEN excluded.first_time < log_key_day.first_time
                THEN excluded.first_time ELSE log_key_day.first_time END,
            last_time = CASE WHEN excluded.last_time > log_key_day.last_time
                THEN excluded.last_time ELSE log_key_day.last_time END";
    COUNT_BLOCKS = "INSERT INTO log_key_block
            (kid, day, block, signatures, first_index, last_index, first_time, last_time)
        SELECT kid, time / 86400000, idx / $3, COUNT(*), MIN(idx), MAX(idx), MIN(time), MAX(time)
            FROM log_leaf WHERE idx >= $1 AND idx < $2 AND kind = 'sign'
            GROUP BY kid, time / 86400000, idx / $3
        ON CONFLICT (kid, day, block) DO UPDATE SET
            signatures = log_key_block.signatures + excluded.signatures,
            last_index = excluded.last_index,
            first_time = CASE WHEN excluded.first_time < log_key_block.first_time
                THEN excluded.first_time ELSE log_key_block.first_time END,
            last_time = CASE WHEN excluded.last_time > log_key_block.last_time
                THEN excluded.last_time ELSE log_key_block.last_time END";
    /// Hours are those of UTC.
    COUNT_HOURS = "INSERT INTO log_key_hour (kid, hour, signatures)
        SELECT kid, time / 3600000, COUNT(*) FROM log_leaf WHERE idx >= $1 AND idx < $2 AND kind = 'sign'
            GROUP BY kid, time / 3600000
        ON CONFLICT (kid, hour) DO UPDATE SET signatures = log_key_hour.signatures + excluded.signatures";
    /// One statement and so one view: the days after the one of the instant, the blocks of that day that
    /// are wholly after it, and the leaves that are not counted. A block that the instant falls into is a
    /// row of its own; there are as many as the clocks of replicas differ by.
    SINCE = "SELECT part, day, CAST(SUM(signatures) AS BIGINT), MIN(first_index), MAX(last_index), MIN(first_time),
            MAX(last_time)
        FROM (SELECT -1 AS part, day, signatures, first_index, last_index, first_time, last_time
                FROM log_key_day WHERE kid = $1 AND day > $2
            UNION ALL SELECT CASE WHEN first_time >= $3 THEN -1 ELSE block END, day, signatures,
                    first_index, last_index, first_time, last_time
                FROM log_key_block WHERE kid = $1 AND day = $2 AND last_time >= $3
            UNION ALL SELECT -1, time / 86400000, 1, idx, idx, time, time
                FROM log_leaf WHERE kid = $1 AND idx >= (SELECT size FROM log_counted WHERE id = 1)
                    AND kind = 'sign' AND time >= $3) AS counted
        GROUP BY part, day ORDER BY day, part";
    /// One block leaf by leaf.
    IN_BLOCK = "SELECT COUNT(*), MIN(idx), MAX(idx), MIN(time), MAX(time)
        FROM log_leaf WHERE kid = $1 AND idx >= $2 AND idx <= $3 AND kind = 'sign' AND time >= $4
            AND time / 86400000 = $5";
}

const DAY: i64 = 86_400_000;

/// Indexes of a block: what is counted leaf by leaf at most for each block that an instant falls into.
const BLOCK: i64 = if cfg!(test) { 8 } else { 4_096 };

/// Leaves that one transaction counts at most.
const MAX_COUNTED: i64 = 65_536;

/// Leaves that are not counted and are read for a question at most.
pub(crate) const MAX_TAIL: i64 = if cfg!(test) { 60 } else { 100_000 };

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

/// A row of [`SINCE`]: of a day, or of a block that the instant falls into.
struct Part {
    partial: bool,
    row: DayRow,
}

impl FromColumns for Part {
    fn read(row: &impl Columns) -> Result<Self, Error> {
        Ok(Self {
            partial: row.int(0)? >= 0,
            row: DayRow {
                day: row.int(1)?,
                signatures: row.int(2)?,
                first_index: row.int(3)?,
                last_index: row.int(4)?,
                first_time: row.int(5)?,
                last_time: row.int(6)?,
            },
        })
    }
}

impl DayRow {
    fn add(&mut self, other: &Self) {
        self.signatures += other.signatures;
        self.first_index = self.first_index.min(other.first_index);
        self.last_index = self.last_index.max(other.last_index);
        self.first_time = self.first_time.min(other.first_time);
        self.last_time = self.last_time.max(other.last_time);
    }
}

/// How far the counts and the log go.
pub(crate) async fn reach<E: Engine>(reader: &mut E::Reader) -> Result<(i64, i64), Error> {
    match reader.fetch_optional(COUNTED, &[]).await? {
        Some(row) => Ok((row.int(0)?, row.int(1)?)),
        None => Err(Error::Corrupt {
            what: "no count of signatures",
            source: None,
        }),
    }
}

async fn uncounted<E: Engine>(engine: &E) -> Result<i64, Error> {
    let (counted, head) = reach::<E>(&mut engine.reader().await?).await?;
    Ok(head - counted)
}

/// Counts the next leaves; how many. Whoever comes second at the same ones does nothing. If we die before
/// COMMIT none of them is counted, and the next call does the same again.
pub(crate) async fn count<E: Engine>(engine: &E, at_most: i64) -> Result<i64, Error> {
    let (counted, head) = reach::<E>(&mut engine.reader().await?).await?;
    let to = head.min(counted.saturating_add(at_most.clamp(0, MAX_COUNTED)));
    if to == counted {
        return Ok(0);
    }
    let mut tx = engine.begin().await?;
    match add::<E>(&mut tx, counted, to).await {
        Ok(true) => engine.commit(tx).await.map(|()| to - counted),
        Ok(false) => {
            engine.rollback(tx).await;
            Ok(0)
        }
        Err(error) => {
            engine.rollback(tx).await;
            Err(error)
        }
    }
}

async fn add<E: Engine>(tx: &mut E::Transaction, from: i64, to: i64) -> Result<bool, Error> {
    let values = [Value::Int(from), Value::Int(to), Value::Int(BLOCK)];
    if tx.execute(MOVE_COUNTED, &values[..2]).await? == 0 {
        return Ok(false);
    }
    tx.execute(COUNT_DAYS, &values[..2]).await?;
    tx.execute(COUNT_BLOCKS, &values).await?;
    tx.execute(COUNT_HOURS, &values[..2]).await?;
    Ok(true)
}

async fn by_day<E: Engine>(engine: &E, kid: &str, since: i64) -> Result<Vec<DayRow>, Error> {
    let mut reader = engine.reader().await?;
    let (counted, head) = reach::<E>(&mut reader).await?;
    if head - counted > MAX_TAIL {
        return Err(Error::Uncounted {
            leaves: head - counted,
        });
    }
    // As the statements divide: towards zero.
    let first_day = since / DAY;
    let values = [Value::Text(kid), Value::Int(first_day), Value::Int(since)];
    let mut days: BTreeMap<i64, DayRow> = BTreeMap::new();
    let mut add = |row: DayRow| {
        days.entry(row.day)
            .and_modify(|day| day.add(&row))
            .or_insert(row);
    };
    for row in reader.fetch(SINCE, &values).await? {
        let Part { partial, row } = Part::read(&row)?;
        if !partial {
            add(row);
            continue;
        }
        // Leaves never change, so this may be of a later view.
        let values = [
            Value::Text(kid),
            Value::Int(row.first_index),
            Value::Int(row.last_index),
            Value::Int(since),
            Value::Int(row.day),
        ];
        let Some(found) = reader.fetch_optional(IN_BLOCK, &values).await? else {
            continue;
        };
        let signatures = found.int(0)?;
        if signatures > 0 {
            add(DayRow {
                day: row.day,
                signatures,
                first_index: found.int(1)?,
                last_index: found.int(2)?,
                first_time: found.int(3)?,
                last_time: found.int(4)?,
            });
        }
    }
    Ok(days.into_values().collect())
}

impl Store {
    /// The signatures by a key since an instant, itself included, for each day that has any.
    pub async fn signatures_by_day(&self, kid: &str, since: i64) -> Result<Vec<DayRow>, Error> {
        on!(self, engine => by_day(engine, kid, since))
    }

    /// How many leaves [`Store::count_signatures`] has still to do.
    pub async fn uncounted(&self) -> Result<i64, Error> {
        on!(self, engine => uncounted(engine))
    }
}
