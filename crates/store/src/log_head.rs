//! The row that orders all writers: the size of the log and the version of everything else.

use crate::engine::{Columns, Connection, Engine, Value};
use crate::error::Error;
use crate::statements::statements;

statements! {
    HEAD_SIGN = "UPDATE log_head SET size = size + $1 WHERE id = 1 RETURNING size";
    /// One leaf; `$1` is 1 where replicas have to look again.
    HEAD_CHANGE =
        "UPDATE log_head SET size = size + 1, version = version + $1 WHERE id = 1 RETURNING size";
    HEAD_SET = "UPDATE log_head SET size = $1 WHERE id = 1";
    LOG_SIZE = "SELECT size FROM log_head WHERE id = 1";
    VERSION = "SELECT version FROM log_head WHERE id = 1";
    HEAD_LOCK = "UPDATE log_head SET size = size WHERE id = 1";
}

/// Locks the one row that orders all writers; returns the new size of the log.
pub(crate) async fn take_head<C: Connection>(
    tx: &mut C,
    sql: &'static str,
    by: i64,
) -> Result<i64, Error> {
    match tx.fetch_optional(sql, &[Value::Int(by)]).await? {
        Some(row) => row.int(0),
        None => Err(Error::Corrupt {
            what: "no log head",
            source: None,
        }),
    }
}

/// A number of the log head.
pub(crate) async fn number<E: Engine>(engine: &E, sql: &'static str) -> Result<i64, Error> {
    match engine.reader().await?.fetch_optional(sql, &[]).await? {
        Some(row) => row.int(0),
        None => Err(Error::Corrupt {
            what: "no log head",
            source: None,
        }),
    }
}
