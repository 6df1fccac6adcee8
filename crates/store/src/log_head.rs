//! The row that orders all writers: the size of the log, the latest time of its leaves, and the version of everything
//! else.

use crate::engine::{Columns, Connection, Engine, HeadStatements, Taken, Value};
use crate::error::Error;
use crate::fence::Head;
use crate::statements::statements;

statements! {
    HEAD_SET = "UPDATE log_head SET size = $1 WHERE id = 1";
    CLOCK_RAISE = "UPDATE log_head SET clock = $1 WHERE id = 1 AND clock < $1";
    LOG_SIZE = "SELECT size FROM log_head WHERE id = 1";
    VERSION = "SELECT version FROM log_head WHERE id = 1";
}

impl Head {
    pub fn read(row: &impl Columns) -> Result<Self, Error> {
        Ok(Self {
            size: row.int(0)?,
            clock: row.int(1)?,
            now: row.int(2)?,
            database: row.text(3)?,
            written: row.int(4)?,
        })
    }
}

pub(crate) fn no_head() -> Error {
    Error::Corrupt {
        what: "no log head",
        source: None,
    }
}

/// Locks the one row that orders all writers.
pub(crate) async fn take_head<C: Connection>(
    tx: &mut C,
    statements: HeadStatements,
    taken: Taken,
) -> Result<Head, Error> {
    let row = tx.fetch_optional(statements.take, &taken.values()).await?;
    Head::read(&row.ok_or_else(no_head)?)
}

/// For a leaf whose time was decided after the head was taken.
pub(crate) async fn raise_clock<C: Connection>(tx: &mut C, time: i64) -> Result<(), Error> {
    tx.execute(CLOCK_RAISE, &[Value::Int(time)]).await.map(drop)
}

/// A number of the log head.
pub(crate) async fn number<E: Engine>(engine: &E, sql: &'static str) -> Result<i64, Error> {
    let row = engine.reader().await?.fetch_optional(sql, &[]).await?;
    row.ok_or_else(no_head)?.int(0)
}
