//! What keeps rings from signing, ring by ring and from the newest on: so that whoever starts needs not read what is over.

use crate::database::{Store, on};
use crate::engine::{Columns, Connection, Engine, Value};
use crate::error::Error;
use crate::leaves::LeafRow;
use crate::reads::{self, MAX_PAGE};
use crate::rows::{self, Rows};
use crate::statements::statements;
use crate::stops::{StopRow, stop_columns};

statements! {
    STOP_SUBJECTS = "WITH RECURSIVE line (subject) AS (SELECT CAST('' AS TEXT)
        UNION ALL SELECT (SELECT s.subject FROM emergency_stop s WHERE s.subject > line.subject
            ORDER BY s.subject LIMIT 1) FROM line WHERE line.subject IS NOT NULL)
        SELECT subject FROM line WHERE subject IS NOT NULL AND subject <> ''";
    STOPS_OF = concat!("SELECT ", stop_columns!(), " FROM emergency_stop
        WHERE subject = $1 AND seq > $2 ORDER BY seq LIMIT $3");
}

/// A leaf by which a ring may be kept from signing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hindrance {
    Stop,
    /// An emergency rotation, which has to be ratified.
    Rotation,
}

async fn texts<E: Engine>(engine: &E, sql: &'static str) -> Result<Vec<String>, Error> {
    let rows = engine.reader().await?.fetch(sql, &[]).await?;
    rows.iter().map(|row| row.text(0)).collect()
}

async fn emergency_lines<E: Engine>(engine: &E, of: Hindrance) -> Result<Vec<String>, Error> {
    let statements = E::DIALECT.emergency;
    let sql = match of {
        Hindrance::Stop => statements.stop_lines,
        Hindrance::Rotation => statements.rotation_lines,
    };
    texts(engine, sql).await
}

async fn hindrances_before<E: Engine>(
    engine: &E,
    of: Hindrance,
    values: &[Value<'_>],
) -> Result<Vec<LeafRow>, Error> {
    let statements = E::DIALECT.emergency;
    let sql = match of {
        Hindrance::Stop => statements.stops_before,
        Hindrance::Rotation => statements.rotations_before,
    };
    reads::all(engine, sql, values).await
}

async fn ends_after<E: Engine>(engine: &E, values: &[Value<'_>]) -> Result<Vec<LeafRow>, Error> {
    reads::all(engine, E::DIALECT.emergency.ends_after, values).await
}

async fn last_before<E: Engine>(engine: &E, index: i64) -> Result<Option<LeafRow>, Error> {
    let values = [Value::Int(index)];
    reads::one(engine, E::DIALECT.emergency.last_before, &values).await
}

impl Store {
    /// The rings that such leaves name, each once, and the empty text, which stands for all rings. Costs
    /// the same however many leaves each has.
    pub async fn emergency_lines(&self, of: Hindrance) -> Result<Vec<String>, Error> {
        on!(self, engine => emergency_lines(engine, of))
    }

    /// The newest of such leaves of a ring (of all rings: the empty text) before an index, the newest first; at most
    /// [`MAX_PAGE`].
    pub async fn hindrances_before(
        &self,
        of: Hindrance,
        ring: &str,
        before: i64,
        limit: i64,
    ) -> Result<Vec<LeafRow>, Error> {
        let limit = limit.clamp(1, MAX_PAGE);
        let values = [Value::Text(ring), Value::Int(before), Value::Int(limit)];
        on!(self, engine => hindrances_before(engine, of, &values))
    }

    /// Other leaves of emergencies of a ring behind an index, the oldest first: resumes and ratifications; at most
    /// [`MAX_PAGE`].
    pub async fn emergency_ends(
        &self,
        ring: &str,
        after: i64,
        limit: i64,
    ) -> Result<Vec<LeafRow>, Error> {
        let limit = limit.clamp(1, MAX_PAGE);
        let values = [Value::Text(ring), Value::Int(after), Value::Int(limit)];
        on!(self, engine => ends_after(engine, &values))
    }

    /// The last leaf before an index by which a ring may have been kept from signing, or went on.
    pub async fn last_emergency_before(&self, index: i64) -> Result<Option<LeafRow>, Error> {
        on!(self, engine => last_before(engine, index))
    }

    /// The subjects of all stops that were signed, each once. Costs the same however many each has.
    pub async fn stop_subjects(&self) -> Result<Vec<String>, Error> {
        on!(self, engine => texts(engine, STOP_SUBJECTS))
    }

    /// The stops of a line behind a place, in order; at most [`MAX_PAGE`].
    pub async fn stops_of(
        &self,
        subject: &str,
        after: i64,
        limit: i64,
    ) -> Result<Rows<StopRow>, Error> {
        let limit = limit.clamp(1, MAX_PAGE);
        let values = [Value::Text(subject), Value::Int(after), Value::Int(limit)];
        on!(self, engine => rows::each(engine, STOPS_OF, &values))
    }
}
