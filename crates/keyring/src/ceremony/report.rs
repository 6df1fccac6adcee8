//! How far a ceremony is, for people and programs.

use std::fmt;

use serde::Serialize;
use trust::tally::NotCounted;
use trust::{Kid, Line, Operation, Request, verify_transcript};

use super::deadlines::NOT_RATIFIED;
use super::error::{Error, describe};
use super::service::{CeremonyFacts, CeremonyService};
use store::CeremonyState;

#[derive(Debug, Clone, Serialize)]
pub struct Report {
    pub ceremony: String,
    /// Its place in the line of each of its subjects.
    pub lines: Vec<Line>,
    pub operation: &'static str,
    pub ring: Option<String>,
    pub proposer: Option<String>,
    pub state: String,
    /// Said in words by the tally, as of now.
    pub standing: String,
    pub approvals_needed: Option<usize>,
    pub approved_by: Vec<String>,
    pub acceptances_needed: Option<usize>,
    pub accepted_by: Vec<String>,
    /// Signatures that do not count, each with its reason.
    pub not_counted: Vec<String>,
    /// The keys it is about.
    pub kids: Vec<Kid>,
}

impl Report {
    /// Of a ceremony of which nothing was counted yet.
    pub(super) fn of(request: &Request, ceremony: String) -> Self {
        Self {
            ceremony,
            operation: request.operation.word(),
            ring: request.operation.ring().map(ToString::to_string),
            proposer: request.proposer.as_ref().map(ToString::to_string),
            lines: request.lines.clone(),
            state: String::new(),
            standing: String::new(),
            approvals_needed: None,
            approved_by: Vec::new(),
            acceptances_needed: None,
            accepted_by: Vec::new(),
            not_counted: Vec::new(),
            kids: Vec::new(),
        }
    }
}

impl CeremonyService {
    /// Counts everything anew.
    pub async fn report(&self, id: &str) -> Result<Report, Error> {
        self.report_of(&self.facts(id).await?)
    }

    /// Of a closed ceremony: what its transcript says, once it verifies under the roster and the policy of its time.
    pub(super) fn finished(&self, transcript: &[u8]) -> Result<Report, Error> {
        let verified = verify_transcript(transcript, &self.pin)?;
        let request = verified.request();
        let digest = verified.statement().request_digest;
        let mut report = Report::of(request, digest.to_string());
        report.state = CeremonyState::Closed.to_string();
        report.standing = "finished".to_owned();
        report.approved_by = members(verified.approved_by().iter());
        report.accepted_by = members(verified.accepted_by().iter());
        let needed = verified.trusted().policy().to_accept(&request.operation);
        report.acceptances_needed = match verified.by_executor() {
            Some(_) => Some(0),
            None => Some(needed.get()),
        };
        report.kids = kids(&verified.statement().outcome);
        Ok(report)
    }

    pub(super) fn report_of(&self, facts: &CeremonyFacts) -> Result<Report, Error> {
        if let (CeremonyState::Closed, Some(transcript)) = (facts.row.state, &facts.row.transcript)
        {
            return self.finished(transcript);
        }
        let request = Request::decode(&facts.row.request)?;
        let mut report = Report::of(&request, facts.id.clone());
        report.state = facts.row.state.to_string();
        if facts.row.execution.is_some() {
            let (transcript, tally) = facts.acceptances()?;
            report.approved_by = tally
                .approved_by()
                .iter()
                .map(ToString::to_string)
                .collect();
            report.accepted_by = members(tally.counted.iter().map(|c| &c.member));
            report.acceptances_needed = match &tally.by_executor {
                Some(_) => Some(0),
                None => Some(tally.needed.get()),
            };
            report.not_counted = not_counted(&tally.not_counted);
            report.kids = kids(&tally.statement().outcome);
            let ratifies = matches!(request.operation, Operation::Ratification(_));
            report.standing = match (facts.row.state, tally.is_complete()) {
                (CeremonyState::Failed, _) if ratifies => NOT_RATIFIED.to_owned(),
                (_, true) => "accepted".to_owned(),
                (_, false) => format!("waiting for {} more acceptance(s)", tally.missing()),
            };
            drop(transcript);
        } else {
            let tally = facts.tally(self.env.now());
            report.approved_by = match tally.under() {
                // Once, for all keys under it.
                Some(under) => members(under.approved_by.iter()),
                None => members(tally.counted.iter().map(|c| &c.member)),
            };
            report.approvals_needed = tally.needed.map(trust::Threshold::get);
            report.not_counted = not_counted(&tally.not_counted);
            report.standing = describe(&tally);
        }
        Ok(report)
    }
}

pub fn kids(outcome: &trust::Outcome) -> Vec<Kid> {
    use trust::Outcome as O;
    match outcome {
        O::Generated(generated) => vec![generated.key.kid().clone()],
        O::Destroyed { kids } => kids.clone(),
        O::Revoked { kid } => vec![kid.clone()],
        O::EmergencyRotated { kid, .. } => vec![kid.clone()],
        O::Corrected(_)
        | O::NewOrigin { .. }
        | O::Ordered { .. }
        | O::Resumed(_)
        | O::Ratified { .. }
        | O::PolicySet(_) => Vec::new(),
    }
}

pub(super) fn members<'a>(ids: impl Iterator<Item = &'a trust::MemberId>) -> Vec<String> {
    ids.map(ToString::to_string).collect()
}

pub(super) fn not_counted(all: &[NotCounted]) -> Vec<String> {
    all.iter()
        .map(|not| match &not.member {
            Some(member) => format!("{member}: {}", not.why),
            None => not.why.to_string(),
        })
        .collect()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |all: &[String]| {
            if all.is_empty() {
                "none".to_owned()
            } else {
                all.join(", ")
            }
        };
        writeln!(f, "ceremony     {}", self.ceremony)?;
        for line in &self.lines {
            writeln!(
                f,
                "subject      {} (sequence {})",
                line.subject, line.sequence
            )?;
        }
        writeln!(f, "operation    {}", self.operation)?;
        if let Some(proposer) = &self.proposer {
            writeln!(f, "proposed by  {proposer}")?;
        }
        writeln!(f, "state        {}: {}", self.state, self.standing)?;
        writeln!(f, "approved by  {}", list(&self.approved_by))?;
        if self.acceptances_needed.is_some() {
            writeln!(f, "accepted by  {}", list(&self.accepted_by))?;
        }
        for kid in &self.kids {
            writeln!(f, "kid          {kid}")?;
        }
        for not in &self.not_counted {
            writeln!(f, "not counted  {not}")?;
        }
        Ok(())
    }
}
