//! Conditions that hold, for receivers that are told of them again and again while they do.

use crate::database::{Store, on};
use crate::decode::Decode as _;
use crate::engine::{Columns, Engine, Value, write};
use crate::error::Error;
use crate::reads::{self, FromColumns};
use crate::statements::statements;
use trust::Time;

statements! {
    /// Of one receiver: what holds, and what has ended and was not acknowledged.
    ALERTS = "SELECT receiver, key, kind, subject, data, started_at, ended_at, told_at FROM outbox_alert
        WHERE receiver = $1 ORDER BY key LIMIT $2";
    /// One that begins again before its end was told goes on.
    BEGIN_ALERT = "INSERT INTO outbox_alert (receiver, key, kind, subject, data, started_at)
        VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT (receiver, key) DO UPDATE SET data = excluded.data, ended_at = NULL";
    END_ALERT = "UPDATE outbox_alert SET ended_at = $3 WHERE receiver = $1 AND key = $2 AND ended_at IS NULL";
    TOLD_ALERT = "UPDATE outbox_alert SET told_at = $3 WHERE receiver = $1 AND key = $2 AND ended_at IS NULL";
    FORGET_ALERT = "DELETE FROM outbox_alert WHERE receiver = $1 AND key = $2 AND ended_at IS NOT NULL";
}

/// A condition, as one receiver is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertRow {
    pub receiver: String,
    /// Names the condition.
    pub key: String,
    pub kind: String,
    pub subject: String,
    /// JSON without secrets.
    pub data: String,
    pub started_at: Time,
    pub ended_at: Option<Time>,
    pub told_at: Option<Time>,
}

impl FromColumns for AlertRow {
    fn read(row: &impl Columns) -> Result<Self, Error> {
        Ok(Self {
            receiver: row.text(0)?,
            key: row.text(1)?,
            kind: row.text(2)?,
            subject: row.text(3)?,
            data: row.text(4)?,
            started_at: row.time(5, "outbox_alert.started_at")?,
            ended_at: row.maybe_time(6, "outbox_alert.ended_at")?,
            told_at: row.maybe_time(7, "outbox_alert.told_at")?,
        })
    }
}

async fn alerts<E: Engine>(engine: &E, receiver: &str, limit: i64) -> Result<Vec<AlertRow>, Error> {
    reads::all(engine, ALERTS, &[Value::Text(receiver), Value::Int(limit)]).await
}

impl Store {
    /// What one receiver is told of, at most so many.
    pub async fn alerts(&self, receiver: &str, limit: i64) -> Result<Vec<AlertRow>, Error> {
        on!(self, engine => alerts(engine, receiver, limit))
    }

    /// The condition holds from now on, or still does.
    pub async fn begin_alert(&self, row: &AlertRow) -> Result<(), Error> {
        let values = [
            Value::Text(&row.receiver),
            Value::Text(&row.key),
            Value::Text(&row.kind),
            Value::Text(&row.subject),
            Value::Text(&row.data),
            Value::Int(row.started_at.millis()),
        ];
        on!(self, engine => write(engine, BEGIN_ALERT, &values)).map(drop)
    }

    /// It does not hold any more.
    pub async fn end_alert(&self, receiver: &str, key: &str, at: Time) -> Result<(), Error> {
        self.change_condition(END_ALERT, receiver, key, Some(at))
            .await
    }

    /// The receiver acknowledged that it holds.
    pub async fn told_alert(&self, receiver: &str, key: &str, at: Time) -> Result<(), Error> {
        self.change_condition(TOLD_ALERT, receiver, key, Some(at))
            .await
    }

    /// The receiver acknowledged that it ended.
    pub async fn forget_alert(&self, receiver: &str, key: &str) -> Result<(), Error> {
        self.change_condition(FORGET_ALERT, receiver, key, None)
            .await
    }

    async fn change_condition(
        &self,
        sql: &'static str,
        receiver: &str,
        key: &str,
        at: Option<Time>,
    ) -> Result<(), Error> {
        let of = [Value::Text(receiver), Value::Text(key)];
        let at = at.map(|at| Value::Int(at.millis()));
        let values: Vec<_> = of.into_iter().chain(at).collect();
        on!(self, engine => write(engine, sql, &values)).map(drop)
    }
}
