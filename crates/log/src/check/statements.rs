//! Rosters, policies, suspensions and recoveries against the log.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use trust::acts::{Act, Acts};
use trust::chain::Recovered;
use trust::leaf::ActKind;
use trust::log_acts::CorrectedTimes;
use trust::recovery::{ANNOUNCE, VETO, check_recovery};
use trust::suspension::SuspensionBody;
use trust::{Sha256Digest, Time, json};

use super::Findings;
use super::records::Vote;
use store::{Rows, StatementKind, StatementRow, StatementState};

/// What is kept of a statement.
pub struct Statement {
    id: Sha256Digest,
    kind: StatementKind,
    state: StatementState,
    /// Whether the row is about what was signed: the body is the one that the id names, and a suspension is found under the
    /// roster that its body names.
    whole: bool,
}

impl Statement {
    pub fn new(row: StatementRow) -> Self {
        let follows = match row.kind {
            StatementKind::Suspension => {
                let body = json::require_canonical::<SuspensionBody>(&row.body);
                body.is_ok_and(|body| body.roster.digest == row.follows)
            }
            _ => true,
        };
        Self {
            whole: follows && Sha256Digest::of(&row.body) == row.id,
            id: row.id,
            kind: row.kind,
            state: row.state,
        }
    }
}

/// What became of statements: each row against the leaves about it, and the other way round.
pub fn states(rows: &Rows<Statement>, acts: &Acts, findings: &mut Findings) {
    let mut told: BTreeMap<&str, Vec<&Act>> = BTreeMap::new();
    for act in &acts.statements {
        if let Some(id) = &act.leaf.reference {
            told.entry(id).or_default().push(act);
        }
    }
    for act in &acts.documents {
        let of = act.leaf.reference.as_deref();
        // The genesis is no statement.
        if let Some(told) = of.and_then(|id| told.get_mut(id)) {
            told.push(act);
        }
    }
    let mut rows_by_id = BTreeMap::new();
    for row in &rows.read {
        let id = row.id.to_string();
        let acts_of_it = told.get(id.as_str()).map_or(&[][..], Vec::as_slice);
        state_of_row(row, acts_of_it, acts, findings);
        rows_by_id.insert(id, row);
    }
    for (id, told) in told {
        if rows_by_id.contains_key(id) || rows.is_unreadable(id) {
            continue;
        }
        let index = told.first().map(|act| act.index);
        let code = match effective_suspension(told.iter().copied()) {
            true => "suspension_missing",
            false => "statement_missing",
        };
        let what = format!("statement {id} is in the log but not in the database");
        findings.add(code, index, what);
    }
}

fn state_of_row(row: &Statement, told: &[&Act], acts: &Acts, findings: &mut Findings) {
    let id = row.id;
    let last = told.iter().map(|act| act.index).max();
    let in_log = state_in_log(row.kind, told, acts);
    let has_effect =
        |state| row.kind == StatementKind::Suspension && state == Some(StatementState::Effective);
    let (here, there) = (has_effect(Some(row.state)), has_effect(in_log));
    let what = match in_log {
        None => format!("the log contains no proposal of statement {id}"),
        Some(_) if !row.whole => {
            format!("the row of statement {id} was changed after it was filed")
        }
        Some(in_log) if in_log != row.state => {
            let (row, in_log) = (row.state.as_str(), in_log.as_str());
            format!("statement {id} is {row} in its row, but {in_log} in the log")
        }
        Some(_) => return,
    };
    // Whom a suspension concerns would count, or not count, against what was logged.
    let code = match (here, there) {
        (true, false) => "suspension_unlogged",
        // One that was changed suspends nobody.
        (_, true) if !here || !row.whole => "suspension_missing",
        _ if in_log.is_none() => "statement_unlogged",
        _ => "statement_state",
    };
    findings.add(code, last, what);
}

/// What became of a statement by the leaves about it, in any order; none if nobody opened it.
fn state_in_log(kind: StatementKind, told: &[&Act], acts: &Acts) -> Option<StatementState> {
    use StatementState as S;
    let mut told = told.to_vec();
    told.sort_by_key(|act| act.index);
    let mut state = None;
    for act in &told {
        state = match act.leaf.action.as_str() {
            "propose" => Some(S::Open),
            "suspend" => Some(S::Effective),
            "rejected" | "vetoed" => Some(S::Rejected),
            "expired" => Some(S::Expired),
            ANNOUNCE => Some(S::Announced),
            action if action.starts_with(INSTALL) => Some(S::Effective),
            _ => state,
        };
    }
    let last = told.last()?.index;
    // What was open when the next document was installed is void; suspensions end with a roster.
    let voids = |act: &Arc<Act>| {
        let installed = act.leaf.action.strip_prefix(INSTALL);
        let roster = matches!(installed, Some("roster" | "recovery"));
        act.index > last && (roster || kind != StatementKind::Suspension)
    };
    match state {
        Some(S::Open | S::Announced) if acts.documents.iter().any(voids) => Some(S::Void),
        state => state,
    }
}

/// What an act begins with that installs a document.
const INSTALL: &str = "install-";

fn effective_suspension<'a>(mut told: impl Iterator<Item = &'a Act>) -> bool {
    told.any(|act| act.leaf.kind == ActKind::Suspension && act.leaf.action == "suspend")
}

/// Signatures over rosters, policies and suspensions.
pub fn signatures(rows: &Rows<Vote>, acts: &Acts, findings: &mut Findings) {
    let mut there = BTreeSet::new();
    for vote in &rows.read {
        there.insert(vote.index);
        let id = vote.ceremony.to_string();
        let told = acts.statements.iter().any(|act| {
            act.index == vote.index
                && act.leaf.reference.as_deref() == Some(&*id)
                && act.leaf.digest == Some(vote.digest)
        });
        if !told {
            let what = format!("a signature of statement {id} differs from the one in its leaf");
            findings.add("statement_unlogged", Some(vote.index), what);
        }
    }
    for act in &acts.statements {
        let signed = matches!(
            act.leaf.action.as_str(),
            "propose" | "sign" | "reject" | VETO
        );
        let unreadable = || rows.is_unreadable(&act.index.to_string());
        if signed && !there.contains(&act.index) && !unreadable() {
            let what = format!(
                "{} recorded {} of a statement: the signature is not in the database",
                act.leaf.actor, act.leaf.action
            );
            findings.add("statement_missing", Some(act.index), what);
        }
    }
}

/// Recoveries of the chain: each was announced, not vetoed, and not used early, by the log as a whole. Its own file cannot
/// show that a veto was left out.
pub fn recoveries(all: &[Recovered], acts: &Acts, times: &CorrectedTimes, findings: &mut Findings) {
    let time = |act: &Act| -> Time {
        let index = u64::try_from(act.index).unwrap_or(u64::MAX);
        times.of(index, act.leaf.time)
    };
    for recovered in all {
        let acts = acts.statements.iter().map(Arc::as_ref);
        let held = check_recovery(recovered.document, recovered.delay, acts, time);
        if let Err(fault) = held {
            let what = format!("recovery {}: {fault}", recovered.document);
            findings.add("recovery", None, what);
        }
    }
}
