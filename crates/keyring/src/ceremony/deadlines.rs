//! Ceremonies whose time is over are ended, so that nobody is asked to look at them any more. Nothing rests on it: what
//! comes late does not count, whatever the row says.

use std::time::Duration;

use base::Trouble;
use trust::tally::Standing;
use trust::{Request, error_chain};

use super::error::Error;
use super::service::CeremonyService;
use crate::verification::EvidenceBuilder;
use store::{CeremonyState, Heads};

/// How often it is looked for them.
const EVERY: Duration = Duration::from_secs(30);

/// Open ceremonies that are looked at together.
const TOGETHER: i64 = 500;

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
                if !self.is_late(row.state, &row.request) {
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

    /// By what its row says; the tally has the last word.
    fn is_late(&self, state: CeremonyState, request: &[u8]) -> bool {
        Request::decode(request).is_ok_and(|request| {
            let deadline = match state {
                CeremonyState::Proposed => request.approve_by,
                CeremonyState::Approved => request.execute_by,
                _ => return false,
            };
            self.env.now() > deadline
        })
    }

    async fn expire_one(&self, id: &str) -> Result<bool, Error> {
        let facts = self.facts(id).await?;
        // It may have been executed, or ended by another replica, since the page was read.
        if !self.is_late(facts.row.state, &facts.row.request) {
            return Ok(false);
        }
        let now = self.env.now();
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
        let from = facts.row.state;
        tracing::info!(ceremony = id, state = %to, "the time of a ceremony is over");
        match self.move_to(&facts, from, to, to.as_str()).await {
            // Another replica ended it, or somebody rejected it in between.
            Err(Error::Store(error)) if error.is_conflict() => Ok(false),
            done => done.map(|()| true),
        }
    }
}
