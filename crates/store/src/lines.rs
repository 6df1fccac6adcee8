//! The lines of ceremonies' subjects, and the uses of standing orders.

use crate::database::{Store, on};
use crate::engine::{Columns, Connection, Value};
use crate::error::{Error, Subject};
use crate::reads::{self, FromColumns};
use crate::statements::statements;

statements! {
    LINES = "SELECT subject, seq FROM ceremony_line WHERE ceremony = $1 ORDER BY subject";
    /// The last ceremony of a line that was carried out.
    LINE_HEAD = "SELECT l.seq, l.ceremony, c.execution FROM ceremony_line l
        JOIN ceremony c ON c.id = l.ceremony
        WHERE l.subject = $1 AND l.done = 1 ORDER BY l.seq DESC LIMIT 1";
    LAST_OF_LINE = "SELECT COALESCE(MAX(seq), 0) FROM ceremony_line
        WHERE subject = $1 AND done = 1";
    LAST_STOP_OF_LINE = "SELECT COALESCE(MAX(seq), 0) FROM emergency_stop WHERE subject = $1";
    INSERT_LINE = "INSERT INTO ceremony_line (ceremony, subject, seq, done)
        VALUES ($1, $2, $3, 0)";
    LINES_DONE = "UPDATE ceremony_line SET done = 1 WHERE ceremony = $1 AND done = 0";
    /// A ceremony that was given up gives its places back.
    LINES_BACK = "UPDATE ceremony_line SET done = 0 WHERE ceremony = $1 AND done = 1";
    INSERT_ORDER_USE = "INSERT INTO order_use (order_id, use_number, ceremony)
        VALUES ($1, $2, $3)";
}

/// A ceremony's place in the line of one subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineRow {
    /// [`trust::Subject`] as text.
    pub subject: String,
    pub seq: i64,
}

/// The last ceremony of a line that was carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineHeadRow {
    pub seq: i64,
    pub ceremony: String,
    pub execution: Vec<u8>,
}

/// A use of a standing order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderUseRow {
    /// Hex.
    pub order: String,
    pub number: i64,
}

impl FromColumns for LineRow {
    fn read(row: &impl Columns) -> Result<Self, Error> {
        Ok(Self {
            subject: row.text(0)?,
            seq: row.int(1)?,
        })
    }
}

impl FromColumns for LineHeadRow {
    fn read(row: &impl Columns) -> Result<Self, Error> {
        Ok(Self {
            seq: row.int(0)?,
            ceremony: row.text(1)?,
            execution: row.blob(2)?,
        })
    }
}

/// A ceremony has a place in the line of each of its subjects. Several may be proposed as the next
/// of a subject; the first that is carried out uses the place up. Other subjects do not matter.
pub(crate) async fn expect_next<C: Connection>(tx: &mut C, lines: &[LineRow]) -> Result<(), Error> {
    for line in lines {
        let values = [Value::Text(&line.subject)];
        let mut last = 0;
        for sql in [LAST_OF_LINE, LAST_STOP_OF_LINE] {
            // In a line of stops they take places too.
            if sql == LAST_OF_LINE || line.subject.starts_with("stop/") {
                let row = tx.fetch_optional(sql, &values).await?;
                last = last.max(row.map_or(Ok(0), |row| row.int(0))?);
            }
        }
        // The row of a stop may be gone whose leaf has a place, after which the next comes.
        let after_stops = line.subject.starts_with("stop/") && line.seq > last;
        if line.seq != last + 1 && !after_stops {
            return Err(Error::conflict(Subject::CeremonySequence));
        }
    }
    Ok(())
}

pub(crate) async fn lines<C: Connection>(
    tx: &mut C,
    ceremony: &str,
) -> Result<Vec<LineRow>, Error> {
    let rows = tx.fetch(LINES, &[Value::Text(ceremony)]).await?;
    rows.iter().map(LineRow::read).collect()
}

/// A birth that nobody accepts gives its place back, as long as nothing was carried out after it.
pub(crate) async fn give_back<C: Connection>(tx: &mut C, id: &str) -> Result<(), Error> {
    match tx.execute(LINES_BACK, &[Value::Text(id)]).await {
        Err(Error::Conflict { source, .. }) => Err(Error::Conflict {
            what: Subject::CeremonySequence,
            source,
        }),
        other => other.map(drop),
    }
}

impl Store {
    /// Its places in the lines of its subjects.
    pub async fn lines(&self, ceremony: &str) -> Result<Vec<LineRow>, Error> {
        let id = [Value::Text(ceremony)];
        on!(self, engine => reads::all(engine, LINES, &id))
    }

    /// The last ceremony of this line that was carried out.
    pub async fn line_head(&self, subject: &str) -> Result<Option<LineHeadRow>, Error> {
        let subject = [Value::Text(subject)];
        on!(self, engine => reads::one(engine, LINE_HEAD, &subject))
    }
}
