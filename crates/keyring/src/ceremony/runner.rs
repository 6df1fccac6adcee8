//! The executor as a process of its own: what is approved is carried out, and what standing orders make due is asked for and
//! carried out, by the one way there is.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde::Serialize;
use tokio::time::Instant;
use trust::bytes16::Nonce;
use trust::request::StandingOrder;
use trust::tally::Standing;
use trust::{Kid, Name, Sha256Digest, Time, error_chain};

use super::due::Due;
use super::error::Error;
use super::pauses::{Pauses, Trouble};
use super::reconcile::{Alone, Finding};
use super::report::Report;
use super::service::CeremonyService;
use crate::keys::{Keys, Settings, Snapshot};
use store::{CeremonyState, CeremonyUnderWay, MAX_PAGE, OrderRow};
use token::Executor;

/// What the names of rings begin with where rotations are planned.
const SIGNING: &str = "signing/";

/// Open ceremonies that are looked at.
const MOST: i64 = 2_000;

/// Carries approved ceremonies and standing orders out.
pub struct Runner {
    service: CeremonyService,
    executor: Executor,
    settings: Settings,
    /// Read once, and then what changed.
    keys: Option<Arc<Keys>>,
    /// Ceremonies.
    waits: Pauses,
    /// Standing orders, by the ceremonies that asked for them.
    orders_wait: Pauses,
    orders: HashMap<Nonce, Known>,
}

/// A standing order as it was verified once. Whatever is asked for under it is verified again.
struct Known {
    /// None where another executor makes its keys.
    order: Option<StandingOrder>,
    /// As long as the database is at this version nothing is to be done about it, before this instant or at all.
    rests: Option<(i64, Option<Time>)>,
}

/// What came of one look.
#[derive(Debug, Default, Serialize)]
pub struct Round {
    /// What was carried out.
    pub executed: Vec<Report>,
    /// Approved, and a rule refused to carry it out.
    pub waits: Vec<Delayed>,
    /// Keys that became primary as their standing orders say.
    pub rotated: Vec<Rotated>,
    /// Standing orders whose next key is due and is not made.
    pub orders: Vec<DelayedOrder>,
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

/// A key that took over.
#[derive(Debug, Clone, Serialize)]
pub struct Rotated {
    pub order: Nonce,
    pub ring: Name,
    pub kid: Kid,
}

/// A standing order of which a key is due.
#[derive(Debug, Clone, Serialize)]
pub struct DelayedOrder {
    pub order: Nonce,
    pub ring: Name,
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
            keys: None,
            waits: Pauses::default(),
            orders_wait: Pauses::default(),
            orders: HashMap::new(),
        }
    }

    /// Looks once. `stops` is asked before each ceremony and each order; what was begun is ended. An error is of the
    /// database, and of no ceremony alone.
    pub async fn round(
        &mut self,
        stops: &(dyn Fn() -> bool + Send + Sync),
    ) -> Result<Round, Error> {
        let mut round = Round::default();
        self.settle(&mut round).await?;
        self.approved(&mut round, stops).await?;
        if round.unavailable.is_none() {
            self.under_orders(&mut round, stops).await?;
        }
        Ok(round)
    }

    /// A new act on top of an unknown one would leave two unknowns.
    async fn settle(&self, round: &mut Round) -> Result<(), Error> {
        if !self.service.is_unsettled().await? {
            return Ok(());
        }
        let findings = self.service.reconcile(&self.executor, Alone::Unknown);
        match findings.await {
            Ok(findings) => round.findings.extend(findings),
            Err(error @ Error::Token(_)) => round.unavailable = Some(error_chain(&error)),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    async fn approved(
        &mut self,
        round: &mut Round,
        stops: &(dyn Fn() -> bool + Send + Sync),
    ) -> Result<(), Error> {
        let approved = self.service.approved().await?;
        let ids = approved.iter().map(|row| row.id);
        self.waits.keep(&ids.collect());
        for row in &approved {
            if stops() {
                break;
            }
            let now = Instant::now();
            if let Some(why) = self.waits.why(row.id, now) {
                round.waits.push(Delayed {
                    ceremony: row.id,
                    why,
                    is_news: false,
                });
                continue;
            }
            let id = row.id.to_string();
            match self.carry_out(&id, round).await {
                Ok(None) => {}
                Ok(Some(report)) => {
                    self.waits.end(row.id);
                    round.executed.push(report);
                }
                Err(error) => {
                    let (why, is_news) = match self.waits.judge(row.id, error, now)? {
                        Trouble::Token(why) => {
                            round.unavailable = Some(why);
                            continue;
                        }
                        Trouble::One(why, is_news) => (why, is_news),
                        Trouble::Another(why) => (why, false),
                    };
                    round.waits.push(Delayed {
                        ceremony: row.id,
                        why,
                        is_news,
                    });
                }
            }
        }
        Ok(())
    }

    /// None where it needs the token, which is out of reach.
    async fn carry_out(&mut self, id: &str, round: &mut Round) -> Result<Option<Report>, Error> {
        let touches_token = self.service.touches_token(id).await?;
        // A revocation has to be possible when the token is gone, and just then.
        if touches_token && round.unavailable.is_some() {
            return Ok(None);
        }
        // A refusal by `execute` is a leaf, and this asks again and again.
        match self.service.standing(id).await? {
            Standing::Approved => {}
            standing => return Err(Error::NotApproved(standing)),
        }
        let kids = self.service.kids(id).await?;
        let keys = match &self.keys {
            // What makes something new asks for no key.
            Some(keys) if kids.is_empty() => Arc::clone(keys),
            _ => self.keys().await?,
        };
        let service = &self.service;
        let snapshot = keys.snapshot_with(kids).await;
        let snapshot = snapshot.map_err(crate::keys::Error::from)?;
        let executor = touches_token.then_some(&self.executor);
        // The whole token is compared once in a round, and where somebody died.
        let report = match round.executed.is_empty() || service.is_unsettled().await? {
            true => service.execute(id, executor, &snapshot).await,
            false => service.execute_settled(id, executor, &snapshot).await,
        };
        report.map(Some)
    }

    async fn under_orders(
        &mut self,
        round: &mut Round,
        stops: &(dyn Fn() -> bool + Send + Sync),
    ) -> Result<(), Error> {
        // Whoever has no key signs no result.
        if !self.service.signs_results() {
            return Ok(());
        }
        let rows = self.service.orders_that_hold().await?;
        let findings = rows.unreadable.iter().map(Finding::unreadable);
        round.findings.extend(findings);
        self.orders_wait
            .keep(&rows.read.iter().map(|row| row.ceremony).collect());
        let held: HashSet<Nonce> = rows.read.iter().map(|row| row.id).collect();
        self.orders.retain(|id, _| held.contains(id));
        if rows.read.is_empty() {
            return Ok(());
        }
        let snapshot = self.keys().await?.current();
        let rotating = self.rotating().await?;
        for row in &rows.read {
            if stops() || round.unavailable.is_some() {
                break;
            }
            let now = Instant::now();
            let delayed = |why, is_news| DelayedOrder {
                order: row.id,
                ring: row.ring.clone(),
                why,
                is_news,
            };
            if let Some(why) = self.orders_wait.why(row.ceremony, now) {
                round.orders.push(delayed(why, false));
                continue;
            }
            let beside = rows.read.iter();
            let beside = beside.filter(|other| other.ring == row.ring && other.id != row.id);
            let decided = rotating.contains(row.ring.as_str());
            let of = (row, beside.map(|other| other.id).collect(), decided);
            match self.under_order(of, &snapshot, round).await {
                Ok(()) => self.orders_wait.end(row.ceremony),
                Err(error) => match self.orders_wait.judge(row.ceremony, error, now)? {
                    Trouble::Token(why) => round.unavailable = Some(why),
                    Trouble::One(why, is_news) => round.orders.push(delayed(why, is_news)),
                    // Two executors took it at once.
                    Trouble::Another(_) => {}
                },
            }
        }
        Ok(())
    }

    /// Rings of which a rotation is open: an engine decides about them. What it asked for is carried out, and nothing is done
    /// besides (ADR 64). One that waits for nothing but the end of a grace decides nothing any more.
    async fn rotating(&self) -> Result<HashSet<String>, Error> {
        let open = self.service.store.open_rotations((SIGNING, 0), MAX_PAGE);
        let open = open.await?.into_iter();
        let open = open.filter(|row| row.retired_at.is_none());
        let rings = open.filter_map(|row| row.asset.strip_prefix(SIGNING).map(str::to_owned));
        Ok(rings.collect())
    }

    /// What is due under one order, beside others of its ring: its next key, and that the key which was made before becomes
    /// primary.
    async fn under_order(
        &mut self,
        (row, beside, decided): (&OrderRow, Vec<Nonce>, bool),
        snapshot: &Arc<Snapshot>,
        round: &mut Round,
    ) -> Result<(), Error> {
        let (service, id) = (&self.service, row.id.to_string());
        let known = match self.orders.entry(row.id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => place.insert(Known {
                order: service.order_of_ours(&id).await?,
                rests: None,
            }),
        };
        let Some(order) = &known.order else {
            return Ok(());
        };
        let now = service.env.now();
        if let Some((version, until)) = known.rests
            && !decided
            && version == snapshot.version
            && until.is_none_or(|until| now < until)
        {
            return Ok(());
        }
        let order = order.clone();
        // Another order's key of this round would be a reason to make none.
        let snapshot = &self.fresh(&row.ring, snapshot).await?;
        let service = &self.service;
        let uses = service.store.uses_of(&id).await?;
        let mut others = Vec::new();
        for other in beside {
            others.extend(service.store.uses_of(&other.to_string()).await?);
        }
        let mut rests_until = None;
        let rotated = match decided {
            true => Err(None),
            false => service.rotate_if_due(&order, &uses, snapshot).await?,
        };
        match rotated {
            Ok(kid) => round.rotated.push(Rotated {
                order: row.id,
                ring: row.ring.clone(),
                kid,
            }),
            Err(until) => rests_until = until,
        }
        let due = service.due(&order, (&uses, &others), snapshot).await?;
        let rests = match due {
            Due::Use(_) | Due::Wait(_) | Due::No(_) if decided => None,
            Due::Use(number) => {
                let take = (row, Some(number), None);
                let report = self.make(take, snapshot).await?;
                round.executed.push(report);
                None
            }
            Due::GoOn(ceremony) => {
                let take = (row, None, Some(ceremony));
                let report = self.make(take, snapshot).await?;
                round.executed.push(report);
                None
            }
            Due::Wait(until) => {
                let until = [rests_until, until].into_iter().flatten().min();
                Some((snapshot.version, until))
            }
            Due::No(_) => Some((snapshot.version, rests_until)),
        };
        if let Some(known) = self.orders.get_mut(&row.id) {
            known.rests = rests;
        }
        Ok(())
    }

    /// A use that is taken, or the ceremony of one that was taken before.
    async fn make(
        &mut self,
        (order, number, ceremony): (&OrderRow, Option<u32>, Option<String>),
        snapshot: &Arc<Snapshot>,
    ) -> Result<Report, Error> {
        let service = &self.service;
        // Whatever the last one left.
        if service.is_unsettled().await? {
            service.reconcile(&self.executor, Alone::Unknown).await?;
        }
        let snapshot = self.fresh(&order.ring, snapshot).await?;
        let service = &self.service;
        let order = order.id.to_string();
        let id = match ceremony {
            Some(id) => id,
            None => service.propose_use(&order, number, &snapshot).await?,
        };
        let executor = Some(&self.executor);
        service.execute_settled(&id, executor, &snapshot).await
    }

    /// As this ring is now. Of a hundred rings that rotate in a night each would otherwise cost reading what the others changed.
    async fn fresh(&mut self, ring: &Name, known: &Arc<Snapshot>) -> Result<Arc<Snapshot>, Error> {
        let rows = self.service.store.rings().await?.read;
        let mut rows = rows.iter();
        let version = rows.find(|row| row.name == *ring).map(|row| row.version);
        match known.rings.get(ring.as_str()).map(|ring| ring.version) == version {
            true => Ok(Arc::clone(known)),
            false => Ok(self.keys().await?.current()),
        }
    }

    /// As they are now.
    async fn keys(&mut self) -> Result<Arc<Keys>, Error> {
        if let Some(keys) = &self.keys {
            keys.refresh().await;
            return Ok(Arc::clone(keys));
        }
        let store = self.service.store.clone();
        let keys = Keys::load(store, self.settings.clone()).await?;
        Ok(Arc::clone(self.keys.insert(keys)))
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
