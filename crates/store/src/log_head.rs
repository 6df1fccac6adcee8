//! The row that orders all writers: the size of the log, the latest time of its leaves, and the version of everything
//! else.

use crate::database::{Store, on};
use crate::engine::{Columns, Connection, Engine, Value};
use crate::error::Error;
use crate::fence::{Clock, Fence, Halted, Head};
use crate::statements::statements;

statements! {
    HEAD_SET = "UPDATE log_head SET size = $1 WHERE id = 1";
    CLOCK_SET = "UPDATE log_head SET clock = $1 WHERE id = 1";
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

fn no_head() -> Error {
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

/// A number of the log head.
pub(crate) async fn number<E: Engine>(engine: &E, sql: &'static str) -> Result<i64, Error> {
    let row = engine.reader().await?.fetch_optional(sql, &[]).await?;
    row.ok_or_else(no_head)?.int(0)
}

async fn look<E: Engine>(engine: &E, fence: &Fence) -> Result<Head, Error> {
    let before = fence.before();
    let sql = engine.head().look;
    let row = engine.reader().await?.fetch_optional(sql, &[]).await?;
    let head = Head::read(&row.ok_or_else(no_head)?)?;
    // What it finds, it keeps: `halted` tells.
    let _ = fence.check(before, &head, head.size);
    Ok(head)
}

impl Store {
    /// From now on commits compare the clock of this process with the database's, and with the latest leaf.
    pub fn compare_clocks(&self, clock: Clock, tolerance: std::time::Duration) {
        let tolerance = i64::try_from(tolerance.as_millis()).unwrap_or(i64::MAX);
        self.fence.compare_clocks(clock, tolerance);
    }

    /// Reads the database's clock (milliseconds) and what it is known by, without writing. What is wrong with them
    /// is in [`Self::halted`] afterwards.
    pub async fn look(&self) -> Result<(i64, String), Error> {
        let head = on!(self, engine => look(engine, &self.fence))?;
        Ok((head.now, head.database))
    }

    /// Commits nothing any more: it is not the database that the log was written with.
    pub fn was_replaced(&self) {
        self.fence.was_replaced();
    }

    /// Why nothing may be written, by the last commit or look.
    pub fn halted(&self) -> Option<Halted> {
        self.fence.halted()
    }
}
