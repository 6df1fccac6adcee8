//! The executor as a process of its own: what is approved is carried out, by the one way there is.

use std::collections::HashMap;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;
use trust::tally::Standing;
use trust::{Sha256Digest, error_chain};

use super::error::{Error, Kind};
use super::reconcile::{Alone, Finding};
use super::report::Report;
use super::service::CeremonyService;
use crate::keys::{Keys, Settings};
use store::{CeremonyState, CeremonyUnderWay};
use token::Executor;

/// Open ceremonies that are looked at.
const MOST: i64 = 2_000;

/// Until what a rule refused is tried again; each further pause is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(15);
const LONGEST_PAUSE: Duration = Duration::from_secs(15 * 60);

/// Carries approved ceremonies out.
pub struct Runner {
    service: CeremonyService,
    executor: Executor,
    settings: Settings,
    waits: HashMap<Sha256Digest, Pause>,
}

/// Since it was refused.
struct Pause {
    until: Instant,
    length: Duration,
    why: String,
}

/// What came of one look.
#[derive(Debug, Default, Serialize)]
pub struct Round {
    /// What was carried out.
    pub executed: Vec<Report>,
    /// Approved, and a rule refused to carry it out.
    pub waits: Vec<Delayed>,
    /// What an executor that died left, and what became of it.
    pub findings: Vec<Finding>,
    /// Why the token was out of reach, if it was: what needs it waits, and what does not goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unavailable: Option<String>,
}

/// An approved ceremony that is not carried out.
#[derive(Debug, Clone, Serialize)]
pub struct Delayed {
    pub ceremony: Sha256Digest,
    pub why: String,
    /// Whether that is new.
    #[serde(skip)]
    pub is_news: bool,
}

impl Runner {
    pub fn new(service: CeremonyService, executor: Executor, settings: Settings) -> Self {
        Self {
            service,
            executor,
            settings,
            waits: HashMap::new(),
        }
    }

    /// Looks once. `stops` is asked before each ceremony; what was begun is ended. An error is of the database, and of no
    /// ceremony alone.
    pub async fn round(
        &mut self,
        stops: &(dyn Fn() -> bool + Send + Sync),
    ) -> Result<Round, Error> {
        let mut round = Round::default();
        if self.service.is_unsettled().await? {
            let findings = self.service.reconcile(&self.executor, Alone::Unknown);
            match findings.await {
                Ok(findings) => round.findings = findings,
                Err(error @ Error::Token(_)) => round.unavailable = Some(error_chain(&error)),
                Err(error) => return Err(error),
            }
        }
        let approved = self.service.approved().await?;
        let is_approved = |id: &Sha256Digest| approved.iter().any(|row| row.id == *id);
        self.waits.retain(|id, _| is_approved(id));
        for row in &approved {
            if stops() {
                break;
            }
            let now = Instant::now();
            if let Some(pause) = self.waits.get(&row.id).filter(|pause| now < pause.until) {
                round.waits.push(Delayed {
                    ceremony: row.id,
                    why: pause.why.clone(),
                    is_news: false,
                });
                continue;
            }
            let id = row.id.to_string();
            // A revocation has to be possible when the token is gone, and just then.
            if round.unavailable.is_some() && self.service.touches_token(&id).await? {
                continue;
            }
            match self.carry_out(&id).await {
                Ok(report) => {
                    self.waits.remove(&row.id);
                    round.executed.push(report);
                }
                Err(error @ Error::Token(_)) if error.kind() == Kind::Unavailable => {
                    round.unavailable = Some(error_chain(&error));
                }
                Err(error) if error.kind() == Kind::Unavailable => return Err(error),
                Err(error) => round.waits.push(self.pause(row.id, now, &error)),
            }
        }
        Ok(round)
    }

    async fn carry_out(&self, id: &str) -> Result<Report, Error> {
        let service = &self.service;
        // A refusal by `execute` is a leaf, and this asks again and again.
        match service.standing(id).await? {
            Standing::Approved => {}
            standing => return Err(Error::NotApproved(standing)),
        }
        let executor = service.touches_token(id).await?;
        let executor = executor.then_some(&self.executor);
        let keys = Keys::load(service.store.clone(), self.settings.clone()).await?;
        let snapshot = keys.snapshot_with(service.kids(id).await?).await;
        let snapshot = snapshot.map_err(crate::keys::Error::from)?;
        service.execute(id, executor, &snapshot).await
    }

    fn pause(&mut self, ceremony: Sha256Digest, now: Instant, error: &Error) -> Delayed {
        let why = error_chain(error);
        let before = self.waits.get(&ceremony);
        // Another executor's, which will soon have done it.
        let is_claimed = matches!(error, Error::Claimed);
        let is_news = !is_claimed && before.is_none_or(|before| before.why != why);
        let length = match before {
            _ if is_claimed => Duration::ZERO,
            Some(before) => (before.length * 2).min(LONGEST_PAUSE),
            None => FIRST_PAUSE,
        };
        let pause = Pause {
            until: now + length,
            length,
            why: why.clone(),
        };
        self.waits.insert(ceremony, pause);
        Delayed {
            ceremony,
            why,
            is_news,
        }
    }
}

impl CeremonyService {
    /// Approved by their rows, those that have waited longest first.
    pub async fn approved(&self) -> Result<Vec<CeremonyUnderWay>, Error> {
        let mut rows = self.store.under_way(MOST).await?.read;
        rows.retain(|row| row.state == CeremonyState::Approved);
        rows.sort_by_key(|row| (row.updated_at, row.id));
        Ok(rows)
    }

    /// By the tally, now.
    pub async fn standing(&self, id: &str) -> Result<Standing, Error> {
        let facts = self.facts(id).await?;
        Ok(facts.tally(self.env.now()).into_standing())
    }

    /// Whether an executor died, or did not learn what came of its act.
    async fn is_unsettled(&self) -> Result<bool, Error> {
        let held = self.store.held_executions().await?;
        let has_holder = |id: &String| held.iter().any(|held| held.ceremony.to_string() == *id);
        let died = held.iter().any(|held| held.left.is_none());
        Ok(died || !self.store.executing().await?.iter().all(has_holder))
    }
}
