//! The row that orders all writers: the size of the log, the latest time of its leaves, and the version of everything
//! else.

use crate::engine::{Columns, Connection, Engine, Value};
use crate::error::Error;
use crate::fence::Head;
use crate::statements::statements;

statements! {
    HEAD_SET = "UPDATE log_head SET size = $1 WHERE id = 1";
    CLOCK_SET = "UPDATE log_head SET clock = $1 WHERE id = 1";
    CLOCK_RAISE = "UPDATE log_head SET clock = $1 WHERE id = 1 AND clock < $1";
    LOG_SIZE = "SELECT size FROM log_head WHERE id = 1";
    VERSION = "SELECT version FROM log_head WHERE id = 1";
}

/// What each engine writes in its own way: its clock, and the word that names the database.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeadStatements {
    /// Moves the head by `$1` leaves, of which `$3` is the latest time; `$2` is 1 where replicas have to look
    /// again. Answers with a [`Head`].
    pub take: &'static str,
    /// Answers with a [`Head`] and writes nothing.
    pub look: &'static str,
}

/// What is about to be written.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Taken {
    pub leaves: i64,
    pub is_news: bool,
    /// The latest time of the leaves.
    pub time: i64,
}

impl Taken {
    pub fn values(self) -> [Value<'static>; 3] {
        let news = i64::from(self.is_news);
        [self.leaves, news, self.time].map(Value::Int)
    }
}

impl Head {
    pub fn read(row: &impl Columns) -> Result<Self, Error> {
        Ok(Self {
            size: row.int(0)?,
            clock: row.int(1)?,
            now: row.int(2)?,
            database: row.text(3)?,
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
