//! How far a statement is, for people and programs.

use std::fmt;

use serde::Serialize;
use trust::Sha256Digest;

use super::judged::Judged;
use crate::ceremony::error::Error;
use crate::ceremony::report::{members, not_counted};
use crate::ceremony::service::CeremonyService;
use log::suspended;
use store::{StatementKind, StatementRow, StatementState};
use trust::Time;

/// How far a statement is.
#[derive(Debug, Clone, Serialize)]
pub struct StatementReport {
    /// SHA-256 of the body.
    pub statement: Sha256Digest,
    pub kind: &'static str,
    pub state: &'static str,
    /// In words.
    pub standing: String,
    pub opened_by: String,
    pub created_at: Time,
    pub closes_at: Time,
    /// How many custodians a document needs.
    pub needed: Option<usize>,
    /// How many custodians of the roster that it would install.
    pub needed_new: Option<usize>,
    /// By the roster before, or by the recovery roster; of a suspension those who count.
    pub signed_by: Vec<String>,
    /// By the roster that it would install.
    pub signed_by_new: Vec<String>,
    /// Members with a new key that has not signed, and the key.
    pub unproven: Vec<String>,
    pub not_counted: Vec<String>,
}

/// Statements as a list shows them.
#[derive(Debug, Clone, Serialize)]
pub struct StatementSummary {
    pub statement: Sha256Digest,
    pub kind: &'static str,
    pub state: &'static str,
    pub opened_by: String,
    pub created_at: Time,
    pub closes_at: Time,
}

impl From<&StatementRow> for StatementSummary {
    fn from(row: &StatementRow) -> Self {
        Self {
            statement: row.id,
            kind: row.kind.as_str(),
            state: row.state.as_str(),
            opened_by: row.opened_by.clone(),
            created_at: row.created_at,
            closes_at: row.closes_at,
        }
    }
}

impl CeremonyService {
    /// The exact bytes that members sign, and what kind of statement they are.
    pub async fn statement_body(&self, id: &str) -> Result<(StatementKind, Vec<u8>), Error> {
        let row = self.stored_statement(id).await?.row;
        Ok((row.kind, row.body))
    }

    /// Counts everything anew.
    pub async fn statement_report(&self, id: &str) -> Result<StatementReport, Error> {
        let stored = self.stored_statement(id).await?;
        let row = stored.row;
        let mut report = StatementReport {
            statement: row.id,
            kind: row.kind.as_str(),
            state: row.state.as_str(),
            standing: row.state.as_str().to_owned(),
            opened_by: row.opened_by.clone(),
            created_at: row.created_at,
            closes_at: row.closes_at,
            needed: None,
            needed_new: None,
            signed_by: Vec::new(),
            signed_by_new: Vec::new(),
            unproven: Vec::new(),
            not_counted: Vec::new(),
        };
        if let (StatementState::Announced, Some(announced)) = (row.state, row.announced) {
            let leaf = self.store.leaf(announced).await?;
            let (_, trusted) = self.trusted().await?;
            if let (Some(leaf), Some(entitled)) = (leaf, trusted.recovery()) {
                let from = Time::from_millis(leaf.time) + entitled.delay();
                report.standing = format!("takes effect from {from} on unless a member vetoes");
            }
        }
        if row.state != StatementState::Open {
            return Ok(report);
        }
        let (_, trusted) = self.trusted().await?;
        let suspended = suspended(&self.store, &trusted).await?;
        let judged = match Judged::of(&trusted, row.kind, &row.body, stored.agreed, &suspended) {
            Ok(judged) => judged,
            Err(error) => {
                report.standing = error.to_string();
                return Ok(report);
            }
        };
        report.not_counted = not_counted(judged.not_counted());
        match &judged {
            Judged::Document { progress, .. } => {
                report.needed = Some(progress.needed);
                report.needed_new = Some(progress.needed_new);
                report.signed_by = members(progress.old.iter().map(|counted| &counted.member));
                report.signed_by_new = members(progress.new.iter().map(|counted| &counted.member));
                let unproven = progress.unproven.iter();
                report.unproven = unproven.map(|(id, key)| format!("{id}: {key}")).collect();
                let by = match row.kind {
                    StatementKind::Recovery => "the recovery roster",
                    _ => "the current roster",
                };
                report.standing = format!(
                    "waiting for {} of {by}, {} of the next one and {} new keys",
                    progress.needed.saturating_sub(progress.old.len()),
                    progress.needed_new.saturating_sub(progress.new.len()),
                    progress.unproven.len()
                );
            }
            Judged::Suspension { tally, .. } => {
                report.signed_by = members(tally.counted.iter().map(|counted| &counted.member));
                report.standing = "waiting for the member, or for two other custodians".to_owned();
            }
        }
        Ok(report)
    }

    /// Statements that were opened before a place, the newest first, and the place of the next page.
    pub async fn statements(
        &self,
        before: Option<(Time, Sha256Digest)>,
        limit: usize,
    ) -> Result<(Vec<StatementSummary>, Vec<String>), Error> {
        let id = before.map(|(_, id)| id.to_string());
        let before = match (before, &id) {
            (Some((time, _)), Some(id)) => (time.millis(), id.as_str()),
            _ => (i64::MAX, ""),
        };
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = self.store.statements_before(before, limit).await?;
        let unreadable = rows.unreadable.into_iter().map(|row| row.key).collect();
        Ok((rows.read.iter().map(Into::into).collect(), unreadable))
    }
}

impl fmt::Display for StatementReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |all: &[String]| match all {
            [] => "none".to_owned(),
            all => all.join(", "),
        };
        writeln!(f, "statement    {} ({})", self.statement, self.kind)?;
        writeln!(f, "opened by    {}", self.opened_by)?;
        writeln!(f, "state        {}: {}", self.state, self.standing)?;
        if self.state != StatementState::Open.as_str() {
            return Ok(());
        }
        writeln!(f, "until        {}", self.closes_at)?;
        writeln!(f, "signed by    {}", list(&self.signed_by))?;
        if self.kind == StatementKind::Roster.as_str() {
            writeln!(f, "of the next  {}", list(&self.signed_by_new))?;
        }
        for key in &self.unproven {
            writeln!(f, "new key      {key} has not signed")?;
        }
        for not in &self.not_counted {
            writeln!(f, "not counted  {not}")?;
        }
        Ok(())
    }
}
