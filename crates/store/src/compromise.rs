//! Reports of compromise: what a named principal says of a key or an asset, and what a person decided of it.

use calendar::AssetName;
use trust::{Kid, Time};

use crate::database::{Store, on};
use crate::decode::{Decode as _, unreadable};
use crate::engine::{Columns, Connection, Engine, Value, guarded};
use crate::error::{Error, Subject};
use crate::reads::{self, FromColumns, MAX_PAGE};
use crate::rows::{self, Keyed, Rows};
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
    /// Bounded by the same number.
    OPEN_REPORTS_OF = "SELECT COUNT(*) FROM compromise_report WHERE state = 'open' AND principal = $1";
    OPEN_REPORTS = "SELECT id, principal, asset, kid, source, reason, received_at, compromised_since
        FROM compromise_report WHERE state = 'open' AND (received_at, id) < ($1, $2) ORDER BY received_at DESC, id DESC LIMIT $3";
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
    pub asset: AssetName,
    pub key_type: String,
    /// The key, where one was named.
    pub kid: Option<Kid>,
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
    /// Whether it is so; else it was dismissed.
    pub is_declared: bool,
    /// The rotation that was declared; none where the key was revoked already.
    pub rotation: Option<String>,
}

/// How many reports are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MostReports {
    /// Of a principal and day.
    pub a_day: i64,
    /// Of a principal, that nobody has decided.
    pub open: i64,
}

/// What people are called for: a report that nobody has decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenReport {
    pub id: String,
    pub principal: String,
    pub asset: AssetName,
    pub kid: Option<Kid>,
    pub source: String,
    pub reason: String,
    pub received_at: Time,
    pub compromised_since: Option<Time>,
}

/// In its one spelling: it becomes part of commands.
fn id(row: &impl Columns) -> Result<String, Error> {
    let id = row.text(0)?;
    let is_digit = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
    match id.strip_prefix("cr_") {
        Some(digits) if digits.len() == 32 && digits.bytes().all(is_digit) => Ok(id),
        _ => Err(unreadable("compromise_report.id", &id)),
    }
}

impl FromColumns for CompromiseRow {
    fn read(row: &impl Columns) -> Result<Self, Error> {
        let decided = row.maybe_time(12, "compromise_report.decided_at")?;
        let rotation = row.maybe_text(15)?;
        let is_declared = row.text(11)? == "declared";
        let decision = match (decided, row.maybe_text(13)?, row.maybe_text(14)?) {
            (Some(at), Some(by), Some(reason)) => Some(CompromiseDecision {
                at,
                by,
                reason,
                is_declared,
                rotation,
            }),
            _ => None,
        };
        Ok(Self {
            id: id(row)?,
            principal: row.text(1)?,
            report: row.text(2)?,
            asset: row.parsed(3, "compromise_report.asset")?,
            key_type: row.text(4)?,
            kid: row.maybe_parsed(5, "compromise_report.kid")?,
            source: row.text(6)?,
            reason: row.text(7)?,
            evidence: row.maybe_text(8)?,
            compromised_since: row.maybe_time(9, "compromise_report.compromised_since")?,
            received_at: row.time(10, "compromise_report.received_at")?,
            decision,
        })
    }
}

impl FromColumns for OpenReport {
    fn read(row: &impl Columns) -> Result<Self, Error> {
        Ok(Self {
            id: id(row)?,
            principal: row.text(1)?,
            asset: row.parsed(2, "compromise_report.asset")?,
            kid: row.maybe_parsed(3, "compromise_report.kid")?,
            source: row.text(4)?,
            reason: row.text(5)?,
            received_at: row.time(6, "compromise_report.received_at")?,
            compromised_since: row.maybe_time(7, "compromise_report.compromised_since")?,
        })
    }
}

impl Keyed for OpenReport {
    const TABLE: &'static str = "compromise_report";
}

/// Already there: a conflict. As many as may be of that principal: said as such.
pub(crate) async fn report<C: Connection>(
    tx: &mut C,
    row: &CompromiseRow,
    most: MostReports,
) -> Result<(), Error> {
    let day = Value::Int(row.received_at.millis().div_euclid(DAY_MILLIS));
    let principal = Value::Text(&row.principal);
    let of_day = tx.fetch_optional(REPORTS_OF_DAY, &[principal, day]).await?;
    let open = tx.fetch_optional(OPEN_REPORTS_OF, &[principal]).await?;
    if of_day.map_or(Ok(0), |row| row.int(0))? >= most.a_day
        || open.map_or(Ok(0), |row| row.int(0))? >= most.open
    {
        return Err(Error::Already {
            what: Subject::Compromise,
            why: "has as many of its principal as there may be",
        });
    }
    let values = [
        Value::Text(&row.id),
        principal,
        Value::Text(&row.report),
        Value::Text(row.asset.as_str()),
        Value::Text(&row.key_type),
        Value::MaybeText(row.kid.as_ref().map(Kid::as_str)),
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
    let state = match decision.is_declared {
        true => "declared",
        false => "dismissed",
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

async fn counted<E: Engine>(
    engine: &E,
    sql: &'static str,
    values: &[Value<'_>],
) -> Result<i64, Error> {
    let mut reader = engine.reader().await?;
    let row = reader.fetch_optional(sql, values).await?;
    row.map_or(Ok(0), |row| row.int(0))
}

impl Store {
    pub async fn compromise_report(&self, id: &str) -> Result<Option<CompromiseRow>, Error> {
        on!(self, engine => reads::one(engine, REPORT, &[Value::Text(id)]))
    }

    /// How many a principal filed on the day of an instant.
    pub async fn compromise_reports_of_day(&self, principal: &str, at: Time) -> Result<i64, Error> {
        let day = Value::Int(at.millis().div_euclid(DAY_MILLIS));
        let values = [Value::Text(principal), day];
        on!(self, engine => counted(engine, REPORTS_OF_DAY, &values))
    }

    /// How many of a principal nobody has decided.
    pub async fn open_compromise_reports_of(&self, principal: &str) -> Result<i64, Error> {
        on!(self, engine => counted(engine, OPEN_REPORTS_OF, &[Value::Text(principal)]))
    }

    /// Those that nobody decided, before an instant and id, the latest first; at most [`MAX_PAGE`].
    pub async fn open_compromise_reports(
        &self,
        (at, id): (i64, &str),
        limit: i64,
    ) -> Result<Rows<OpenReport>, Error> {
        let limit = Value::Int(limit.clamp(1, MAX_PAGE));
        let values = [Value::Int(at), Value::Text(id), limit];
        on!(self, engine => rows::each(engine, OPEN_REPORTS, &values))
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
