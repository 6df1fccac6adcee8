//! Ceremonies whose time is over are ended, so that nobody is asked to look at them any more. Nothing rests on it: what
//! comes late does not count, whatever the row says.

use std::time::Duration;

use base::Trouble;
use trust::tally::Standing;
use trust::{Operation, Request, error_chain};

use super::error::Error;
use super::service::{CeremonyFacts, CeremonyService};
use crate::verification::EvidenceBuilder;
use store::{CeremonyState, Heads};

/// How often it is looked for them.
const EVERY: Duration = Duration::from_secs(30);

/// Open ceremonies that are looked at together.
const TOGETHER: i64 = 500;

/// How much longer a ratification, or a rotation policy, is left open than it may be accepted: clocks of replicas differ.
const CLOCKS: Duration = Duration::from_secs(30);

/// Why a ratification ends that was carried out and not accepted in time.
pub(super) const NOT_RATIFIED: &str =
    "the emergency rotation was not ratified in time; a resume is needed";

/// Why a rotation policy ends that was carried out and not accepted in time.
const NOT_ACCEPTED: &str =
    "the policy was not accepted in time and has no effect; propose it again";

impl CeremonyService {
    /// Ends what is late, again and again, until dropped.
    pub async fn keep_deadlines(self, evidence: EvidenceBuilder) {
        let mut trouble = Trouble::default();
        loop {
            match self.keep(&evidence).await {
                Ok(()) => {
                    if trouble.is_over() {
                        tracing::info!("late ceremonies are ended again");
                    }
                }
                Err(error) => {
                    let why = error_chain(&error);
                    if let Some(count) = trouble.is(&why) {
                        tracing::warn!(error = why, count, "late ceremonies are not ended");
                    }
                }
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    /// Once.
    pub async fn keep(&self, evidence: &EvidenceBuilder) -> Result<(), Error> {
        let expired = self.expire().await;
        self.write_clones().await;
        // Those that cannot be ended keep no others waiting.
        let kept = self.keep_statements(evidence).await;
        expired.and(kept)
    }

    /// Ends the open ceremonies whose deadline has passed; how many that were. Each is a transaction of its own: if we
    /// die in between, the others are ended the next time.
    pub async fn expire(&self) -> Result<usize, Error> {
        let mut ended = 0;
        let mut failed = None;
        let mut before = (i64::MAX, String::new());
        loop {
            let at = (before.0, before.1.as_str());
            let rows = self.store.ceremony_heads(Heads::UnderWay, at, TOGETHER);
            let rows = rows.await?;
            let full = (rows.read.len() + rows.unreadable.len()) as i64 == TOGETHER;
            for row in &rows.read {
                before = (row.created_at.millis(), row.id.to_string());
                if !self.may_be_late(row.state, &row.request) {
                    continue;
                }
                match self.expire_one(&before.1).await {
                    Ok(true) => ended += 1,
                    Ok(false) => {}
                    // Nobody can be asked about the others either.
                    Err(Error::Store(error)) if !error.is_corrupt() => {
                        return Err(Error::Store(error));
                    }
                    // Of this one alone; the others are not to wait for somebody who mends it.
                    Err(error) => failed = failed.or(Some(error)),
                }
            }
            if !full || rows.read.is_empty() {
                return failed.map_or(Ok(ended), Err);
            }
        }
    }

    /// By what its row says; the tally, or the log, has the last word.
    fn may_be_late(&self, state: CeremonyState, request: &[u8]) -> bool {
        Request::decode(request).is_ok_and(|request| {
            let generates = matches!(request.operation, Operation::Generate(_));
            // The log says until when, and whether another policy took effect.
            if let (
                CeremonyState::Executed,
                Operation::Ratification(_) | Operation::RotationPolicy(_),
            ) = (state, &request.operation)
            {
                return true;
            }
            let deadline = match state {
                CeremonyState::Proposed => request.approve_by,
                CeremonyState::Approved => request.execute_by,
                // Under a former roster or policy nobody may accept it any more. What else was carried out had its effect
                // then, and keeps its place in its line.
                CeremonyState::Executed if generates => request.execute_by,
                _ => return false,
            };
            self.env.now() > deadline
        })
    }

    async fn expire_one(&self, id: &str) -> Result<bool, Error> {
        let facts = self.facts(id).await?;
        // It may have been executed, or ended by another replica, since the page was read.
        if !self.may_be_late(facts.row.state, &facts.row.request) {
            return Ok(false);
        }
        let now = self.env.now();
        let from = facts.row.state;
        if from == CeremonyState::Executed {
            let request = Request::decode(&facts.row.request)?;
            if let Operation::Ratification(order) = &request.operation {
                // Of one that the log does not tell of nothing is known.
                let until = self.deadline(order).await?;
                return match until.is_some_and(|until| now > until + CLOCKS) {
                    true => {
                        self.end_late(&facts, CeremonyState::Failed, Some(NOT_RATIFIED))
                            .await
                    }
                    false => Ok(false),
                };
            }
            if let Operation::RotationPolicy(order) = &request.operation {
                // Enough accepted it, and whoever took the last acceptance died before it was closed.
                if self.close_if_accepted(id).await? {
                    return Ok(true);
                }
                // Whether it may be as it is, each replica says by its own settings: that is left to its acceptance.
                let why = match self.replaces_what_is_in_force(order).await {
                    Err(Error::Overtaken(why)) => why,
                    Err(error) => return Err(error),
                    Ok(_) if now > request.execute_by + CLOCKS => NOT_ACCEPTED.to_owned(),
                    Ok(_) => return Ok(false),
                };
                return self
                    .end_late(&facts, CeremonyState::Failed, Some(&why))
                    .await;
            }
            if facts.may_be_accepted(now).is_ok() {
                return Ok(false);
            }
            return self.end_late(&facts, CeremonyState::Expired, None).await;
        }
        let to = match facts.tally(now).into_standing() {
            Standing::Expired { .. } => CeremonyState::Expired,
            // Whoever took the signature died before the row was moved.
            Standing::Rejected { .. } => CeremonyState::Rejected,
            Standing::Cancelled { .. } => CeremonyState::Cancelled,
            // Void, and nobody could execute it any more.
            Standing::Refused(_) if now > Request::decode(&facts.row.request)?.execute_by => {
                CeremonyState::Expired
            }
            Standing::Refused(_) | Standing::Approved | Standing::Waiting { .. } => {
                return Ok(false);
            }
        };
        self.end_late(&facts, to, None).await
    }

    async fn end_late(
        &self,
        facts: &CeremonyFacts,
        to: CeremonyState,
        why: Option<&str>,
    ) -> Result<bool, Error> {
        let (id, from) = (&facts.id, facts.row.state);
        let moved = self.move_because(facts, (from, to), to.as_str(), why);
        match moved.await {
            // Another replica ended it, or somebody rejected or accepted it in between; or another ceremony was carried
            // out after it, and names it.
            Err(Error::Store(error)) if error.is_conflict() => Ok(false),
            Err(error) => Err(error),
            Ok(()) => {
                tracing::info!(ceremony = id, state = %to, "the time of a ceremony is over");
                Ok(true)
            }
        }
    }
}
