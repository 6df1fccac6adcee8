//! Stops of signing as they were signed. Whether a ring is stopped is in the log alone: what asks for it is here too, for
//! the transaction of each signature.

use trust::{Sha256Digest, Time};

use crate::database::{Store, on};
use crate::decode::Decode;
use crate::engine::{Columns, Connection, Engine, Value};
use crate::error::{Error, Subject};
use crate::leaves::LeafRow;
use crate::lines::{LineRow, expect_next};
use crate::reads::{self, FromColumns, MAX_PAGE};
use crate::rows::{self, Keyed, Page, PageStart};
use crate::statements::statements;

macro_rules! stop_columns {
    () => {
        "id, subject, seq, body, signature, at, idx"
    };
}
pub(crate) use stop_columns;

statements! {
    STOP = concat!("SELECT ", stop_columns!(), " FROM emergency_stop WHERE id = $1");
    STOPS = concat!("SELECT ", stop_columns!(), " FROM emergency_stop
        WHERE id >= $1 ORDER BY id LIMIT $2 OFFSET $3");
    LAST_STOP = concat!("SELECT ", stop_columns!(), " FROM emergency_stop
        WHERE subject = $1 ORDER BY seq DESC LIMIT 1");
    INSERT_STOP = "INSERT INTO emergency_stop (id, subject, seq, body, signature, at, idx)
        VALUES ($1, $2, $3, $4, $5, $6, $7)";
}

/// What whoever made a signature knew of stops and emergency rotations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Judged {
    /// What the log tells below this index was looked at, and the ring may sign by it.
    pub below: i64,
    /// The last instant at which it may, where its emergency rotation is not ratified.
    pub until: Option<i64>,
}

impl Judged {
    /// Whether a signature of this time may be released, where `last` is the last leaf by which a ring could have been
    /// kept from signing, and `now` the database's clock.
    pub(crate) fn permits(self, last: i64, now: i64, time: i64) -> bool {
        last < self.below && self.until.is_none_or(|until| now.max(time) <= until)
    }
}

/// A stop as it was signed; unverified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StopRow {
    /// Of the body.
    pub id: Sha256Digest,
    /// [`trust::Subject`] as text, and the place in its line.
    pub line: LineRow,
    /// [`trust::stop::StopBody`], the exact bytes.
    pub body: Vec<u8>,
    /// [`trust::MemberSignature`] as canonical JSON.
    pub signature: String,
    pub at: Time,
    /// The leaf that tells of it; of one that is not written yet none.
    pub index: Option<i64>,
}

impl Keyed for StopRow {
    const TABLE: &'static str = "emergency_stop";
}

impl FromColumns for StopRow {
    fn read(row: &impl Columns) -> Result<Self, Error> {
        Ok(Self {
            id: row.parsed(0, "emergency_stop.id")?,
            line: LineRow {
                subject: row.text(1)?,
                seq: row.int(2)?,
            },
            body: row.blob(3)?,
            signature: row.text(4)?,
            at: row.time(5, "emergency_stop.at")?,
            index: row.maybe_int(6)?,
        })
    }
}

/// By this very leaf. After its commit no replica releases a signature that was made without knowing of the leaf:
/// whoever commits one takes the log head after us and sees it.
pub(crate) async fn stop<C: Connection>(
    tx: &mut C,
    row: &StopRow,
    index: i64,
) -> Result<(), Error> {
    expect_next(tx, std::slice::from_ref(&row.line)).await?;
    let id = row.id.to_string();
    let values = [
        Value::Text(&id),
        Value::Text(&row.line.subject),
        Value::Int(row.line.seq),
        Value::Blob(&row.body),
        Value::Text(&row.signature),
        Value::Int(row.at.millis()),
        Value::Int(index),
    ];
    match tx.execute(INSERT_STOP, &values).await {
        Err(Error::Conflict { source, .. }) => Err(Error::Conflict {
            what: Subject::CeremonySequence,
            source,
        }),
        other => other.map(drop),
    }
}

async fn emergency_leaves<E: Engine>(
    engine: &E,
    values: &[Value<'_>],
) -> Result<Vec<LeafRow>, Error> {
    reads::all(engine, E::DIALECT.emergency_leaves, values).await
}

async fn last_emergency<E: Engine>(engine: &E) -> Result<i64, Error> {
    let mut reader = engine.reader().await?;
    let row = reader
        .fetch_optional(E::DIALECT.last_emergency, &[])
        .await?;
    row.map_or(Ok(-1), |row| row.int(0))
}

impl Store {
    pub async fn stop(&self, id: &str) -> Result<Option<StopRow>, Error> {
        on!(self, engine => reads::one(engine, STOP, &[Value::Text(id)]))
    }

    /// The last stop of a line, whether it has ended or not.
    pub async fn last_stop(&self, subject: &str) -> Result<Option<StopRow>, Error> {
        on!(self, engine => reads::one(engine, LAST_STOP, &[Value::Text(subject)]))
    }

    /// A page of all stops by their ids; at most [`MAX_PAGE`].
    pub async fn stops(&self, start: &PageStart, limit: i64) -> Result<Page<StopRow>, Error> {
        let limit = limit.clamp(1, MAX_PAGE);
        let values = [
            Value::Text(&start.key),
            Value::Int(limit),
            Value::Int(start.behind),
        ];
        on!(self, engine => rows::page(engine, STOPS, &values, (start, limit)))
    }

    /// Leaves by which rings are kept from signing, or go on, from this index on; at most [`MAX_PAGE`].
    pub async fn emergency_leaves(&self, from: i64) -> Result<Vec<LeafRow>, Error> {
        let values = [Value::Int(from), Value::Int(MAX_PAGE)];
        on!(self, engine => emergency_leaves(engine, &values))
    }

    /// The index of the last of them; -1 before the first.
    pub async fn last_emergency(&self) -> Result<i64, Error> {
        on!(self, engine => last_emergency(engine))
    }
}
