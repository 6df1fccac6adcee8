//! Reading, the same on both engines. Each call is one statement and so one consistent view.

use super::decode::FromColumns;
use super::engine::{Columns, Connection, Engine, Value};
use super::error::Error;
use super::rows::*;
use super::statements;

/// What one page of leaves holds at most, whatever is asked for.
pub const MAX_PAGE: i64 = 10_000;

pub(super) async fn all<E: Engine, T: FromColumns>(
    engine: &E,
    sql: &'static str,
    values: &[Value<'_>],
) -> Result<Vec<T>, Error> {
    let rows = engine.reader().await?.fetch(sql, values).await?;
    rows.iter().map(T::read).collect()
}

pub(super) async fn one<E: Engine, T: FromColumns>(
    engine: &E,
    sql: &'static str,
    values: &[Value<'_>],
) -> Result<Option<T>, Error> {
    Ok(all(engine, sql, values).await?.into_iter().next())
}

/// A number of the log head.
pub(super) async fn head<E: Engine>(engine: &E, sql: &'static str) -> Result<i64, Error> {
    match engine.reader().await?.fetch_optional(sql, &[]).await? {
        Some(row) => row.int(0),
        None => Err(Error::Corrupt {
            what: "no log head",
            source: None,
        }),
    }
}

/// Whether a count is above zero.
pub(super) async fn any<E: Engine>(
    engine: &E,
    sql: &'static str,
    values: &[Value<'_>],
) -> Result<bool, Error> {
    match engine.reader().await?.fetch_optional(sql, values).await? {
        Some(row) => Ok(row.int(0)? > 0),
        None => Ok(false),
    }
}

pub(super) async fn latest_time<E: Engine>(
    engine: &E,
    leaves: &[Value<'_>],
) -> Result<Option<i64>, Error> {
    let sql = statements::LATEST_TIME;
    match engine.reader().await?.fetch_optional(sql, leaves).await? {
        Some(row) => row.maybe_int(0),
        None => Ok(None),
    }
}

pub(super) async fn transcript<E: Engine>(engine: &E, id: &str) -> Result<Option<Vec<u8>>, Error> {
    let sql = statements::TRANSCRIPT;
    match engine
        .reader()
        .await?
        .fetch_optional(sql, &[Value::Text(id)])
        .await?
    {
        Some(row) => row.maybe_blob(0),
        None => Ok(None),
    }
}

pub(super) async fn leaves_of<E: Engine>(
    engine: &E,
    filter: &LeafFilter,
    limit: i64,
) -> Result<Vec<LeafRow>, Error> {
    let from = Value::Int(filter.from_index);
    let (since, until) = (Value::Int(filter.since), Value::Int(filter.until));
    let limit = Value::Int(limit.clamp(0, MAX_PAGE));
    match (&filter.kid, &filter.ring, filter.acts_only) {
        (Some(kid), None, false) => {
            let values = [Value::Text(kid), from, since, until, limit];
            all(engine, statements::LEAVES_OF_KID, &values).await
        }
        (None, Some(ring), false) => {
            let values = [Value::Text(ring), from, since, until, limit];
            all(engine, statements::LEAVES_OF_RING, &values).await
        }
        (None, None, true) => {
            all(
                engine,
                statements::LEAVES_OF_ACTS,
                &[from, since, until, limit],
            )
            .await
        }
        (None, None, false) => {
            all(
                engine,
                statements::LEAVES_OF_TIME,
                &[from, since, until, limit],
            )
            .await
        }
        (kid, ring, acts_only) => {
            let flag = Value::Int(i64::from(acts_only));
            let (kid, ring) = (
                Value::MaybeText(kid.as_deref()),
                Value::MaybeText(ring.as_deref()),
            );
            let values = [kid, ring, flag, from, since, until, limit];
            all(engine, statements::LEAVES_OF_SEVERAL, &values).await
        }
    }
}
