//! Reports of compromise: what a named principal says of a key or an asset, and what a person decided of it.

use trust::Time;

use crate::database::{Store, on};
use crate::engine::{Columns, Connection, Engine, Value, guarded};
use crate::error::{Error, Subject};
use crate::reads::{self, FromColumns, MAX_PAGE};
use crate::statements::statements;

macro_rules! report_columns {
    () => {
        "id, principal, report, asset, key_type, kid, source, reason, evidence, compromised_since, received_at, state,
        decided_at, decided_by, decision, rotation"
    };
}

statements! {
    INSERT_REPORT = "INSERT INTO compromise_report (id, principal, report, asset, key_type, kid, source, reason, evidence,
            compromised_since, received_at, day, state)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 'open') ON CONFLICT (id) DO NOTHING";
    /// Bounded by the same number.
    REPORTS_OF_DAY = "SELECT COUNT(*) FROM compromise_report WHERE principal = $1 AND day = $2";
    REPORT = concat!("SELECT ", report_columns!(), " FROM compromise_report WHERE id = $1");
    OPEN_REPORTS = concat!("SELECT ", report_columns!(), " FROM compromise_report
        WHERE state = 'open' AND id > $1 ORDER BY id LIMIT $2");
    REPORTS_BEFORE = concat!("SELECT ", report_columns!(), " FROM compromise_report
        WHERE (received_at, id) < ($1, $2) ORDER BY received_at DESC, id DESC LIMIT $3");
    DECIDE_REPORT = "UPDATE compromise_report SET state = $2, decided_at = $3, decided_by = $4, decision = $5, rotation = $6
        WHERE id = $1 AND state = 'open'";
}

const DAY_MILLIS: i64 = 86_400_000;

/// A report as it was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompromiseRow {
    /// `cr_…`, by the principal and their name for it.
    pub id: String,
    pub principal: String,
    /// What the principal calls it.
    pub report: String,
    /// What is to be replaced.
    pub asset: String,
    pub key_type: String,
    /// The key, where one was named.
    pub kid: Option<String>,
    /// Where it was found out.
    pub source: String,
    pub reason: String,
    pub evidence: Option<String>,
    pub compromised_since: Option<Time>,
    pub received_at: Time,
    /// None while it is open.
    pub decision: Option<CompromiseDecision>,
}

/// What a person decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompromiseDecision {
    pub at: Time,
    pub by: String,
    pub reason: String,
    /// The rotation that was declared; none of a report that was dismissed.
    pub rotation: Option<String>,
}

impl FromColumns for CompromiseRow {
    fn read(row: &impl Columns) -> Result<Self, Error> {
        use crate::decode::Decode as _;
        let decided = row.maybe_time(12, "compromise_report.decided_at")?;
        let rotation = row.maybe_text(15)?;
        let decision = match (decided, row.maybe_text(13)?, row.maybe_text(14)?) {
            (Some(at), Some(by), Some(reason)) => Some(CompromiseDecision {
                at,
                by,
                reason,
                rotation,
            }),
            _ => None,
        };
        Ok(Self {
            id: row.text(0)?,
            principal: row.text(1)?,
            report: row.text(2)?,
            asset: row.text(3)?,
            key_type: row.text(4)?,
            kid: row.maybe_text(5)?,
            source: row.text(6)?,
            reason: row.text(7)?,
            evidence: row.maybe_text(8)?,
            compromised_since: row.maybe_time(9, "compromise_report.compromised_since")?,
            received_at: row.time(10, "compromise_report.received_at")?,
            decision,
        })
    }
}

/// Already there: a conflict. As many as may be of that principal and day: said as such.
pub(crate) async fn report<C: Connection>(
    tx: &mut C,
    row: &CompromiseRow,
    most: i64,
) -> Result<(), Error> {
    let day = Value::Int(row.received_at.millis().div_euclid(DAY_MILLIS));
    let principal = Value::Text(&row.principal);
    let counted = tx.fetch_optional(REPORTS_OF_DAY, &[principal, day]).await?;
    if counted.map_or(Ok(0), |row| row.int(0))? >= most {
        return Err(Error::Already {
            what: Subject::Compromise,
            why: "has as many of its principal and day as there may be",
        });
    }
    let values = [
        Value::Text(&row.id),
        principal,
        Value::Text(&row.report),
        Value::Text(&row.asset),
        Value::Text(&row.key_type),
        Value::MaybeText(row.kid.as_deref()),
        Value::Text(&row.source),
        Value::Text(&row.reason),
        Value::MaybeText(row.evidence.as_deref()),
        Value::MaybeInt(row.compromised_since.map(Time::millis)),
        Value::Int(row.received_at.millis()),
        day,
    ];
    match tx.execute(INSERT_REPORT, &values).await? {
        1 => Ok(()),
        _ => Err(Error::conflict(Subject::Compromise)),
    }
}

/// Only of one that is open.
pub(crate) async fn decide<C: Connection>(
    tx: &mut C,
    id: &str,
    decision: &CompromiseDecision,
) -> Result<(), Error> {
    let state = match decision.rotation {
        Some(_) => "declared",
        None => "dismissed",
    };
    let values = [
        Value::Text(id),
        Value::Text(state),
        Value::Int(decision.at.millis()),
        Value::Text(&decision.by),
        Value::Text(&decision.reason),
        Value::MaybeText(decision.rotation.as_deref()),
    ];
    guarded(tx, DECIDE_REPORT, &values, Subject::Compromise).await
}

async fn counted<E: Engine>(engine: &E, principal: &str, day: i64) -> Result<i64, Error> {
    let mut reader = engine.reader().await?;
    let values = [Value::Text(principal), Value::Int(day)];
    let row = reader.fetch_optional(REPORTS_OF_DAY, &values).await?;
    row.map_or(Ok(0), |row| row.int(0))
}

impl Store {
    pub async fn compromise_report(&self, id: &str) -> Result<Option<CompromiseRow>, Error> {
        on!(self, engine => reads::one(engine, REPORT, &[Value::Text(id)]))
    }

    /// How many a principal filed on the day of an instant.
    pub async fn compromise_reports_of_day(&self, principal: &str, at: Time) -> Result<i64, Error> {
        let day = at.millis().div_euclid(DAY_MILLIS);
        on!(self, engine => counted(engine, principal, day))
    }

    /// Those that nobody decided, behind an id; at most [`MAX_PAGE`].
    pub async fn open_compromise_reports(
        &self,
        after: &str,
        limit: i64,
    ) -> Result<Vec<CompromiseRow>, Error> {
        let values = [Value::Text(after), Value::Int(limit.clamp(1, MAX_PAGE))];
        on!(self, engine => reads::all(engine, OPEN_REPORTS, &values))
    }

    /// Before an instant and id, the latest first; at most [`MAX_PAGE`].
    pub async fn compromise_reports_before(
        &self,
        (at, id): (i64, &str),
        limit: i64,
    ) -> Result<Vec<CompromiseRow>, Error> {
        let limit = Value::Int(limit.clamp(1, MAX_PAGE));
        let values = [Value::Int(at), Value::Text(id), limit];
        on!(self, engine => reads::all(engine, REPORTS_BEFORE, &values))
    }
}
