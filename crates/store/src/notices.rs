//! What the outside was told of incidents, and what it was not, as people decided; and the weekly digest.

use trust::Time;

use crate::database::{Store, on};
use crate::engine::{Columns, Connection, Value, write};
use crate::error::{Error, Subject};
use crate::reads::{self, FromColumns, MAX_PAGE};
use crate::statements::statements;

macro_rules! notice_columns {
    () => {
        "id, incident, audience, decision, reason, body, decided_at, decided_by"
    };
}

statements! {
    /// Whoever was told was told: nobody decides afterwards that they are not.
    INSERT_NOTICE = "INSERT INTO notice (id, incident, audience, decision, reason, body, decided_at, decided_by)
        SELECT $1, $2, $3, $4, $5, $6, CAST($7 AS BIGINT), $8 WHERE NOT EXISTS (SELECT 1 FROM notice
            WHERE incident = $2 AND audience = $3 AND decision IN ('notify', $4))
        ON CONFLICT DO NOTHING";
    NOTICE = concat!("SELECT ", notice_columns!(), " FROM notice WHERE id = $1");
    NOTICES_BEFORE = concat!("SELECT ", notice_columns!(), " FROM notice
        WHERE (decided_at, id) < ($1, $2) ORDER BY decided_at DESC, id DESC LIMIT $3");
    /// One for each slot, whichever replica made it.
    INSERT_DIGEST = "INSERT INTO weekly_digest (slot, body, made_at) VALUES ($1, $2, $3) ON CONFLICT (slot) DO NOTHING";
    DIGEST = "SELECT slot FROM weekly_digest WHERE slot = $1";
    UNTOLD_DIGEST = "SELECT slot, body FROM weekly_digest WHERE told = 0 ORDER BY slot LIMIT 1";
    TELL_DIGEST = "UPDATE weekly_digest SET told = 1 WHERE slot = $1";
}

/// A decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoticeRow {
    /// `no_…`, by incident, audience and decision.
    pub id: String,
    pub incident: String,
    pub audience: String,
    /// Whether they are told.
    pub notify: bool,
    pub reason: String,
    /// What is sent, as JSON.
    pub body: String,
    pub decided_at: Time,
    pub decided_by: String,
}

/// What is kept of a week.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DigestRow {
    /// When it was due.
    pub slot: Time,
    /// Its lines, as JSON.
    pub body: String,
}

impl NoticeRow {
    /// Its word.
    pub const fn decision(&self) -> &'static str {
        match self.notify {
            true => "notify",
            false => "do-not-notify",
        }
    }
}

impl FromColumns for NoticeRow {
    fn read(row: &impl Columns) -> Result<Self, Error> {
        use crate::decode::Decode as _;
        Ok(Self {
            id: row.text(0)?,
            incident: row.text(1)?,
            audience: row.text(2)?,
            notify: row.text(3)? == "notify",
            reason: row.text(4)?,
            body: row.text(5)?,
            decided_at: row.time(6, "notice.decided_at")?,
            decided_by: row.text(7)?,
        })
    }
}

impl FromColumns for DigestRow {
    fn read(row: &impl Columns) -> Result<Self, Error> {
        use crate::decode::Decode as _;
        Ok(Self {
            slot: row.time(0, "weekly_digest.slot")?,
            body: row.text(1)?,
        })
    }
}

/// Decided already, so or the other way round: a conflict.
pub(crate) async fn decide<C: Connection>(tx: &mut C, row: &NoticeRow) -> Result<(), Error> {
    let values = [
        Value::Text(&row.id),
        Value::Text(&row.incident),
        Value::Text(&row.audience),
        Value::Text(row.decision()),
        Value::Text(&row.reason),
        Value::Text(&row.body),
        Value::Int(row.decided_at.millis()),
        Value::Text(&row.decided_by),
    ];
    match tx.execute(INSERT_NOTICE, &values).await? {
        1 => Ok(()),
        _ => Err(Error::conflict(Subject::Notice)),
    }
}

impl Store {
    pub async fn notice(&self, id: &str) -> Result<Option<NoticeRow>, Error> {
        on!(self, engine => reads::one(engine, NOTICE, &[Value::Text(id)]))
    }

    /// Before an instant and id, the latest first; at most [`MAX_PAGE`].
    pub async fn notices_before(
        &self,
        (at, id): (i64, &str),
        limit: i64,
    ) -> Result<Vec<NoticeRow>, Error> {
        let limit = Value::Int(limit.clamp(1, MAX_PAGE));
        let values = [Value::Int(at), Value::Text(id), limit];
        on!(self, engine => reads::all(engine, NOTICES_BEFORE, &values))
    }

    /// Whether there is a digest of a slot.
    pub async fn has_digest(&self, slot: Time) -> Result<bool, Error> {
        on!(self, engine => reads::any(engine, DIGEST, &[Value::Int(slot.millis())]))
    }

    /// Keeps the digest of a slot; whether it is this one.
    pub async fn keep_digest(&self, digest: &DigestRow, at: Time) -> Result<bool, Error> {
        let values = [
            Value::Int(digest.slot.millis()),
            Value::Text(&digest.body),
            Value::Int(at.millis()),
        ];
        Ok(on!(self, engine => write(engine, INSERT_DIGEST, &values))? == 1)
    }

    /// The oldest digest that has no messages yet.
    pub async fn untold_digest(&self) -> Result<Option<DigestRow>, Error> {
        on!(self, engine => reads::one(engine, UNTOLD_DIGEST, &[]))
    }

    /// It has its messages.
    pub async fn told_digest(&self, slot: Time) -> Result<(), Error> {
        let values = [Value::Int(slot.millis())];
        on!(self, engine => write(engine, TELL_DIGEST, &values)).map(drop)
    }
}
