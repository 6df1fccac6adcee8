//! Reading, the same on both engines. Each call is one statement and so one consistent view.

use crate::engine::{Columns, Connection, Engine, Value};
use crate::error::Error;

/// What one page of leaves holds at most, whatever is asked for.
pub const MAX_PAGE: i64 = 10_000;

pub(crate) trait FromColumns: Sized {
    fn read(row: &impl Columns) -> Result<Self, Error>;
}

pub(crate) async fn all<E: Engine, T: FromColumns>(
    engine: &E,
    sql: &'static str,
    values: &[Value<'_>],
) -> Result<Vec<T>, Error> {
    let rows = engine.reader().await?.fetch(sql, values).await?;
    rows.iter().map(T::read).collect()
}

pub(crate) async fn one<E: Engine, T: FromColumns>(
    engine: &E,
    sql: &'static str,
    values: &[Value<'_>],
) -> Result<Option<T>, Error> {
    Ok(all(engine, sql, values).await?.into_iter().next())
}

/// Whether a count is above zero.
pub(crate) async fn any<E: Engine>(
    engine: &E,
    sql: &'static str,
    values: &[Value<'_>],
) -> Result<bool, Error> {
    match engine.reader().await?.fetch_optional(sql, values).await? {
        Some(row) => Ok(row.int(0)? > 0),
        None => Ok(false),
    }
}
