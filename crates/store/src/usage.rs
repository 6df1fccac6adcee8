//! How often a key signed in each hour of the last ninety days. Hours are counted with the days, behind the leaves; what is not
//! counted yet is read from the leaves.

use std::collections::BTreeMap;

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
    /// Of the hours up to one: those that stand where it and the ones before it do in their weeks. The index of hours has at most
    /// ninety days of each key that signs.
    RHYTHM = "SELECT signing_key.ring, log_key_hour.hour, CAST(SUM(log_key_hour.signatures) AS BIGINT)
        FROM log_key_hour JOIN signing_key ON signing_key.kid = log_key_hour.kid
        WHERE log_key_hour.hour > $1 AND log_key_hour.hour <= $2 AND ($2 - log_key_hour.hour) % 168 < $3
        GROUP BY signing_key.ring, log_key_hour.hour ORDER BY signing_key.ring, log_key_hour.hour";
    /// Of the hours from one to another, without it.
    USED_BY_RING = "SELECT signing_key.ring, CAST(SUM(log_key_hour.signatures) AS BIGINT)
        FROM log_key_hour JOIN signing_key ON signing_key.kid = log_key_hour.kid
        WHERE log_key_hour.hour >= $1 AND log_key_hour.hour < $2 GROUP BY signing_key.ring ORDER BY signing_key.ring";
    AFTER_THE_END = "SELECT log_key_hour.kid, log_key_hour.hour, log_key_hour.signatures, signing_key.retired_at, signing_key.revoked_at
        FROM log_key_hour JOIN signing_key ON signing_key.kid = log_key_hour.kid
        WHERE log_key_hour.hour > $1 AND (signing_key.retired_at IS NOT NULL OR signing_key.revoked_at IS NOT NULL)
        ORDER BY log_key_hour.hour, log_key_hour.kid LIMIT $2";
    /// The first leaf that is not counted.
    COUNTED_TO = "SELECT log_leaf.time FROM log_counted JOIN log_leaf ON log_leaf.idx = log_counted.size WHERE log_counted.id = 1";
    FORGET_HOURS = "DELETE FROM log_key_hour WHERE (kid, hour) IN
        (SELECT kid, hour FROM log_key_hour WHERE hour < $1 ORDER BY hour, kid LIMIT $2)";
}

/// Hours of ended keys that are read at most.
const MOST_ENDED: i64 = 1_000;

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

/// How rings and ended keys were used, as far as rules ask.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rhythm {
    /// Hours, counted from the epoch, with their signatures, for each ring that has any, in ascending order.
    pub rings: BTreeMap<String, Vec<(i64, u64)>>,
    /// Keys that have ended, with the hours in which they signed, and when they ended.
    pub ended: BTreeMap<String, (Time, Vec<(i64, u64)>)>,
}

/// Which hours are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RhythmOf {
    /// The last hour that is over.
    pub last: i64,
    /// So many hours, of this week and of those before.
    pub hours: i64,
    /// How far back, in hours.
    pub back: i64,
    /// How far back it is looked for uses of ended keys, in hours.
    pub lately: i64,
}

async fn rhythm<E: Engine>(engine: &E, of: &RhythmOf) -> Result<Option<Rhythm>, Error> {
    let mut reader = engine.reader().await?;
    let waits = reader.fetch_optional(COUNTED_TO, &[]).await?;
    if let Some(row) = waits
        && row.int(0)? < (of.last + 1).saturating_mul(HOUR)
    {
        return Ok(None);
    }
    let mut found = Rhythm::default();
    let places = [of.last - of.back, of.last, of.hours].map(Value::Int);
    for row in &reader.fetch(RHYTHM, &places).await? {
        let hour = (row.int(1)?, row.number(2, "signatures of an hour")?);
        found.rings.entry(row.text(0)?).or_default().push(hour);
    }
    let lately = [of.last - of.lately, MOST_ENDED].map(Value::Int);
    for row in &reader.fetch(AFTER_THE_END, &lately).await? {
        let ends = [row.maybe_int(3)?, row.maybe_int(4)?];
        let Some(ended_at) = ends.into_iter().flatten().min() else {
            continue;
        };
        let hour = (row.int(1)?, row.number(2, "signatures of an hour")?);
        let of_key = (found.ended.entry(row.text(0)?))
            .or_insert_with(|| (Time::from_millis(ended_at), Vec::new()));
        of_key.1.push(hour);
    }
    Ok(Some(found))
}

async fn since<E: Engine>(engine: &E) -> Result<Option<Time>, Error> {
    let mut reader = engine.reader().await?;
    let row = reader.fetch_optional(SINCE_HOURS, &[]).await?;
    row.map(|row| row.time(0, "log_leaf.time")).transpose()
}

async fn used<E: Engine>(engine: &E, from: i64, to: i64) -> Result<BTreeMap<String, u64>, Error> {
    let mut reader = engine.reader().await?;
    let hours = [from, to].map(Value::Int);
    let mut found = BTreeMap::new();
    for row in &reader.fetch(USED_BY_RING, &hours).await? {
        found.insert(row.text(0)?, row.number(1, "signatures of a ring")?);
    }
    Ok(found)
}

impl Store {
    /// The signatures by a key in each hour that has any, from the hour of an instant on.
    pub async fn signatures_by_hour(&self, kid: &str, since: Time) -> Result<Vec<HourRow>, Error> {
        on!(self, engine => by_hour(engine, kid, since.millis()))
    }

    /// The hours that rules about usage ask for; none while signatures of them are not counted.
    pub async fn rhythm(&self, of: &RhythmOf) -> Result<Option<Rhythm>, Error> {
        on!(self, engine => rhythm(engine, of))
    }

    /// The signatures of each ring from one hour, counted from the epoch, to another, without it; as far as they are counted.
    pub async fn used_by_ring(&self, from: i64, to: i64) -> Result<BTreeMap<String, u64>, Error> {
        on!(self, engine => used(engine, from, to))
    }

    /// Signatures before this instant were counted by day alone; none where all of them were counted by hour.
    pub async fn hours_since(&self) -> Result<Option<Time>, Error> {
        on!(self, engine => since(engine))
    }
}
