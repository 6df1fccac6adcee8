//! Rosters, policies, suspensions and recoveries against the log.

use std::collections::BTreeSet;
use std::sync::Arc;

use trust::Time;
use trust::acts::{Act, Acts};
use trust::chain::Recovered;
use trust::log_acts::CorrectedTimes;
use trust::recovery::{VETO, check_recovery};

use super::Findings;
use super::records::Vote;
use store::Rows;

/// Signatures over rosters, policies and suspensions.
pub fn statements(rows: &Rows<Vote>, acts: &Acts, findings: &mut Findings) {
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
