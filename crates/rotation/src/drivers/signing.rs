//! Signing rings. Who may make a key is decided by a quorum: under a standing order this takes a use of it, which the order's
//! executor carries out (ADR 56); without one it waits for a ceremony. What a replica may do by itself, it does here: make an
//! accepted key the primary, roll back, retire.

use std::sync::Arc;

use base::step;
use calendar::next_step::OldUse;
use calendar::words::{Reason, Trigger};
use calendar::{Span, Time};
use keyring::ceremony::{CeremonyService, Error as CeremonyError, Kind};
use keyring::keys::{Key, Keys, Ring};
use keyring::rotation::{self, RingChange};
use log::Log;
use serde_json::json;
use store::{CeremonyRow, CeremonyState, OrderRow, Store};
use trust::plan::Blocked;
use trust::{KeyState, Request, Safety, error_chain};

use super::rings::{at, key_of, published_at, ring_of_asset, standby_of};
use super::{Answer, Doing, Done, Driver, Task, Usage, Waits};
use crate::times::from_row;

/// Orders and open ceremonies that are looked at.
const MOST: i64 = 2_000;

/// An old key that made no signature for so long is silent: longer than a replica takes to hear of a promotion.
const SILENT: Span = Span::hours(1);

/// Hours after the promotion that a validation report has.
const MOST_HOURS: usize = 48;

/// Rings.
pub struct Signing {
    keys: Arc<Keys>,
    ceremonies: CeremonyService,
    store: Store,
    log: Log,
    safety: Safety,
    /// For the log.
    actor: String,
}

impl Signing {
    /// What the names of rings begin with.
    pub const KIND: &'static str = "signing";

    /// `ceremonies` files what standing orders permit; `safety` is the installation's.
    pub fn new(
        keys: Arc<Keys>,
        ceremonies: CeremonyService,
        store: Store,
        safety: Safety,
        actor: String,
    ) -> Self {
        Self {
            keys,
            ceremonies,
            log: Log::new(store.clone()),
            store,
            safety,
            actor,
        }
    }

    /// As it is now.
    async fn ring(&self, task: Task<'_>) -> Result<Arc<Ring>, Answer> {
        self.keys.refresh().await;
        let name = ring_of_asset(&task.event.asset).unwrap_or_default();
        let snapshot = self.keys.current();
        let ring = snapshot.rings.get(name).cloned();
        ring.ok_or_else(|| Answer::person(format!("the ring {name} is unknown, or unreadable")))
    }

    /// The version that this rotation makes, as far as it is there.
    fn made<'a>(task: Task<'_>, ring: &'a Ring) -> Option<&'a Arc<Key>> {
        match &task.event.made {
            Some(kid) => ring.keys.iter().find(|key| key.kid.as_str() == kid),
            None => standby_of(ring).or_else(|| {
                // Somebody made it the primary meanwhile.
                key_of(ring, task.event.version)
                    .filter(|key| matches!(key.state, KeyState::Primary(_)))
            }),
        }
    }

    async fn check_ring(&self, task: Task<'_>) -> Result<Answer, Answer> {
        let ring = self.ring(task).await?;
        let Some(primary) = &ring.primary else {
            return Ok(Answer::person("the ring has no primary key"));
        };
        Ok(Done::with(json!({
            "primary": primary.kid,
            "number": primary.number,
            "roll_back": format!("chancery rotation roll-back {}", task.event.id),
            "standby": standby_of(&ring).map(|key| &key.kid),
        })))
    }

    async fn generate_key(&self, task: Task<'_>) -> Result<Answer, Answer> {
        let ring = self.ring(task).await?;
        if let Some(key) = Self::made(task, &ring) {
            return Ok(Answer::Done(Done {
                version: Some(key.number),
                made: Some(key.kid.as_str().to_owned()),
                previous: ring
                    .primary
                    .as_ref()
                    .map(|primary| primary.number)
                    .filter(|number| *number != key.number),
                ceremony: Some(key.ceremony.to_string()),
                evidence: json!({
                    "kid": key.kid, "number": key.number, "ceremony": key.ceremony, "log_index": key.log_index,
                }),
                ..Done::default()
            }));
        }
        if let Some(waits) = self.asked_before(task).await? {
            return Ok(Answer::WaitFor(waits));
        }
        self.ask(task).await
    }

    /// The ceremony that was asked for before, if it can still come to a key.
    async fn asked_before(&self, task: Task<'_>) -> Result<Option<Waits>, Answer> {
        let Some(id) = &task.event.ceremony else {
            return Ok(None);
        };
        let row = self.store.ceremony(id).await.map_err(unavailable)?;
        let Some(row) = row else { return Ok(None) };
        use CeremonyState as S;
        let under_order = task.event.order.is_some();
        let (reason, what) = match (row.state, under_order) {
            (S::Proposed | S::Approved | S::Executing, true) | (S::Approved | S::Executing, _) => {
                (Reason::Executor, "the executor has to carry it out")
            }
            (S::Draft | S::Proposed, false) | (S::Draft, true) => {
                (Reason::Approval, "custodians have to approve it")
            }
            (S::Executed, _) => (Reason::Approval, "custodians have to accept the new key"),
            // Its key is on its way into the snapshot.
            (S::Closed, _) => (Reason::Executor, "its key is read"),
            (S::Rejected | S::Expired | S::Cancelled | S::Failed, _) => return Ok(None),
        };
        let request = Request::decode(&row.request).ok();
        if request.is_some_and(|request| has_lapsed(task, &row, &request)) {
            return Ok(None);
        }
        Ok(Some(Waits {
            reason,
            detail: format!("ceremony {id}: {what}"),
            ceremony: Some(id.clone()),
            order: task.event.order.clone(),
        }))
    }

    /// A use of a standing order, or else a ceremony that people have to hold.
    async fn ask(&self, task: Task<'_>) -> Result<Answer, Answer> {
        let name = ring_of_asset(&task.event.asset).unwrap_or_default();
        let orders = self.orders(task, name).await?;
        let snapshot = self.keys.current();
        let mut why = (
            Reason::Approval,
            "no standing order covers the ring".to_owned(),
        );
        for row in &orders {
            let order = row.id.to_string();
            let taken = self.store.last_use(&order).await.map_err(unavailable)?;
            let fence = task.step()?;
            let asked = self.ceremonies.ask_under_order(&order, fence, &snapshot);
            match asked.await {
                Ok(ceremony) => {
                    step::reached("rotation-filed");
                    return Ok(Answer::WaitFor(Waits {
                        reason: Reason::Executor,
                        detail: format!("ceremony {ceremony} under the standing order {order}"),
                        ceremony: Some(ceremony),
                        order: Some(order),
                    }));
                }
                Err(error) if error.kind() == Kind::Refused => {
                    let reason = match error {
                        CeremonyError::Paused { .. } => Reason::Retry,
                        _ if taken >= i64::from(row.uses) => Reason::OrderUsedUp,
                        _ => Reason::OrderInterval,
                    };
                    // What goes on by itself is told before what does not.
                    if why.0 != Reason::Retry {
                        why = (reason, format!("{order}: {}", error_chain(&error)));
                    }
                }
                Err(error) => return Err(Answer::transient(error_chain(&error))),
            }
        }
        if let Some(ceremony) = self.with_ticket(task).await? {
            return Ok(Answer::WaitFor(Waits {
                reason: Reason::Approval,
                detail: format!("ceremony {ceremony}: custodians have to approve it"),
                ceremony: Some(ceremony),
                order: None,
            }));
        }
        let id = &task.event.id;
        // Until an order permits the next use, or people give another one.
        Ok(Answer::waits(
            why.0,
            format!(
                "{}; a member of the roster may propose it: chancery ceremony new generate --ring {name} --ticket {id}",
                why.1
            ),
        ))
    }

    /// Those of the ring that hold, the one that the planner chose first.
    async fn orders(&self, task: Task<'_>, ring: &str) -> Result<Vec<OrderRow>, Answer> {
        let now = at(task.now).millis();
        let page = self.store.orders_until((now, ""), MOST).await;
        let mut rows = page.map_err(unavailable)?.rows.read;
        rows.retain(|row| row.ring.as_str() == ring && row.not_before <= at(task.now));
        let chosen = |row: &OrderRow| task.event.order.as_ref() == Some(&row.id.to_string());
        rows.sort_by_key(|row| !chosen(row));
        Ok(rows)
    }

    /// The open ceremony that somebody proposed for this rotation.
    async fn with_ticket(&self, task: Task<'_>) -> Result<Option<String>, Answer> {
        let open = self.store.under_way(MOST).await.map_err(unavailable)?.read;
        let ring = ring_of_asset(&task.event.asset);
        let of_ring = open.into_iter();
        let of_ring = of_ring.filter(|row| row.ring.as_ref().map(trust::Name::as_str) == ring);
        for row in of_ring {
            let id = row.id.to_string();
            let found = self.store.ceremony(&id).await.map_err(unavailable)?;
            let Some(found) = found else { continue };
            let Ok(request) = Request::decode(&found.request) else {
                continue;
            };
            if request.ticket.as_ref() == Some(&task.event.id)
                && !has_lapsed(task, &found, &request)
            {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }

    async fn published(&self, task: Task<'_>) -> Result<Answer, Answer> {
        let ring = self.ring(task).await?;
        let Some(key) = Self::made(task, &ring) else {
            return Err(Answer::person("the new key is not there any more"));
        };
        let Some(since) = published_at(key) else {
            return Ok(Answer::waits(
                Reason::Approval,
                "the new key is not accepted yet",
            ));
        };
        Ok(Answer::Done(Done {
            at: Some(since.min(task.now)),
            evidence: json!({ "kid": key.kid, "published_at": since, "log_index": key.log_index }),
            ..Done::default()
        }))
    }

    /// It is in the set that verifiers fetch. That its private half is where its transcript says, custodians or the executor
    /// have shown at its acceptance: who reads the snapshot has verified it again.
    async fn tested(&self, task: Task<'_>) -> Result<Answer, Answer> {
        let ring = self.ring(task).await?;
        let Some(key) = Self::made(task, &ring) else {
            return Err(Answer::person("the new key is not there any more"));
        };
        let kid = key.kid.as_str().as_bytes();
        let in_set = ring.jwks.bytes.windows(kid.len()).any(|part| part == kid);
        if !in_set {
            return Ok(Answer::waits(
                Reason::Propagation,
                "the ring's key set does not have the new key",
            ));
        }
        Ok(Done::with(json!({
            "kid": key.kid,
            "in_key_set": true,
            "etag": ring.jwks.etag,
            "possession": self.keys.possession_digest(key),
        })))
    }

    async fn promoted(&self, task: Task<'_>) -> Result<Answer, Answer> {
        let ring = self.ring(task).await?;
        let Some(key) = Self::made(task, &ring) else {
            return Err(Answer::person("the new key is not there any more"));
        };
        if let KeyState::Primary(active) = &key.state {
            return Ok(Answer::Done(Done {
                at: Some(from_row(active.activated_at).min(task.now)),
                evidence: json!({ "kid": key.kid, "number": key.number }),
                ..Done::default()
            }));
        }
        if task.event.cause == Trigger::Event.as_str() {
            let name = &ring.name;
            return Ok(Answer::waits(
                Reason::Approval,
                format!(
                    "an emergency rotation is ordered by members of the roster: chancery emergency rotate --ring {name}"
                ),
            ));
        }
        let plan = match rotation::plan(&ring, &RingChange::Rotate, &self.safety, at(task.now)) {
            Ok(plan) => plan,
            Err(blocked) => return Ok(wait_for(blocked)),
        };
        if plan.next_primary() != Some(&key.kid) {
            return Err(Answer::person("another key would become the primary"));
        }
        let previous = ring.primary.as_ref().map(|primary| primary.number);
        self.apply(plan.of_rotation(task.step()?), task).await?;
        Ok(Answer::Done(Done {
            previous,
            evidence: json!({ "kid": key.kid, "number": key.number, "previous": previous }),
            ..Done::default()
        }))
    }

    /// Nothing, where another replica has the rotation by then or somebody marked it.
    async fn apply(&self, plan: rotation::Plan, task: Task<'_>) -> Result<(), Answer> {
        let reason = format!("rotation {}", task.event.id);
        let now = at(task.now);
        let done = rotation::apply(&plan, &self.log, &self.actor, Some(&reason), now).await;
        match done {
            Ok(_) => {
                step::reached("rotation-applied");
                self.keys.refresh().await;
                Ok(())
            }
            Err(error) => Err(unavailable(error)),
        }
    }

    /// The key that the new one replaced, if it is in memory: others have ended long ago.
    fn previous<'a>(task: Task<'_>, ring: &'a Ring) -> Option<&'a Arc<Key>> {
        key_of(ring, task.event.previous_version?)
    }

    async fn retired(&self, task: Task<'_>) -> Result<Answer, Answer> {
        let ring = self.ring(task).await?;
        let Some(key) = Self::previous(task, &ring) else {
            return Ok(Done::with(
                json!({ "previous": task.event.previous_version }),
            ));
        };
        match &key.state {
            KeyState::Secondary { .. } => {}
            KeyState::Retired(_) | KeyState::Archived { .. } | KeyState::Revoked { .. } => {
                return Ok(Done::with(json!({ "kid": key.kid, "state": key.status() })));
            }
            KeyState::Prepared { .. } | KeyState::Primary(_) => {
                return Err(Answer::person(format!("the old key is {}", key.status())));
            }
        }
        let change = RingChange::Retire(key.kid.clone());
        let plan = match rotation::plan(&ring, &change, &self.safety, at(task.now)) {
            Ok(plan) => plan,
            Err(blocked) => return Ok(wait_for(blocked)),
        };
        let lately = self.usage_of(key, task.now - SILENT).await?;
        if lately.signatures > 0 {
            let Signatures {
                signatures, last, ..
            } = lately;
            return Ok(Answer::waits(
                Reason::OldStillUsed,
                format!(
                    "key {} made {signatures} signatures within {SILENT}, the last at {}: it retires when it is silent",
                    key.number,
                    last.unwrap_or(task.now)
                ),
            ));
        }
        self.apply(plan.of_rotation(task.step()?), task).await?;
        Ok(Done::with(json!({ "kid": key.kid, "state": "retired" })))
    }

    /// At the end of a finite grace the old key leaves the key sets for good; the archive keeps it, and what it signed stays
    /// valid. Its private half is destroyed by a ceremony that collects many.
    async fn archived(&self, task: Task<'_>) -> Result<Answer, Answer> {
        let ring = self.ring(task).await?;
        let Some(key) = Self::previous(task, &ring) else {
            // Newer keys fill the sets.
            return Ok(Done::with(
                json!({ "previous": task.event.previous_version, "in_key_sets": false }),
            ));
        };
        match (&key.state, key.unpublished_at) {
            (KeyState::Revoked { .. }, _) | (_, Some(_)) => {}
            (KeyState::Retired(_) | KeyState::Archived { .. }, None) => {
                let change = RingChange::Unpublish(key.kid.clone());
                match rotation::plan(&ring, &change, &self.safety, at(task.now)) {
                    Ok(plan) => self.apply(plan.of_rotation(task.step()?), task).await?,
                    Err(blocked) => return Ok(wait_for(blocked)),
                }
            }
            (
                KeyState::Prepared { .. } | KeyState::Primary(_) | KeyState::Secondary { .. },
                None,
            ) => {
                return Err(Answer::person(format!("the old key is {}", key.status())));
            }
        }
        Ok(Done::with(json!({
            "kid": key.kid, "state": key.status(), "in_key_sets": false,
            "destruction": "by a ceremony for many keys",
        })))
    }

    /// What a key signed since an instant.
    async fn usage_of(&self, key: &Key, since: Time) -> Result<Signatures, Answer> {
        let kid = key.kid.as_str();
        let days = self.store.signatures_by_day(kid, at(since).millis()).await;
        let days = days.map_err(unavailable)?;
        Ok(Signatures {
            signatures: days.iter().map(|day| day.signatures).sum(),
            last: days
                .iter()
                .map(|day| day.last_time)
                .max()
                .map(Time::from_millis),
        })
    }

    async fn rolled_back(&self, task: Task<'_>) -> Result<Answer, Answer> {
        let ring = self.ring(task).await?;
        let Some(key) = Self::previous(task, &ring) else {
            return Err(Answer::person("there is no old key to roll back to"));
        };
        if matches!(key.state, KeyState::Primary(_)) {
            return Ok(Done::with(json!({ "kid": key.kid })));
        }
        let plan = match rotation::plan(&ring, &RingChange::RollBack, &self.safety, at(task.now)) {
            Ok(plan) => plan,
            Err(blocked) => return Ok(wait_for(blocked)),
        };
        if plan.next_primary() != Some(&key.kid) {
            return Err(Answer::person("another key would become the primary"));
        }
        self.apply(plan.of_rotation(task.roll_back()?), task)
            .await?;
        Ok(Done::with(json!({ "kid": key.kid })))
    }

    /// How the use of the old key falls: a day before the promotion, since then, and hour by hour. It verifies whatever is
    /// done, so that what it signed before needs nothing of it.
    async fn used(&self, task: Task<'_>) -> Result<Usage, Answer> {
        let ring = self.ring(task).await?;
        let Some(key) = Self::previous(task, &ring) else {
            return Ok(Usage {
                old: OldUse::Free,
                evidence: json!({ "previous": task.event.previous_version }),
            });
        };
        let promoted = task.event.promoted_at.unwrap_or(task.event.created_at);
        let promoted = from_row(promoted);
        let since = self.usage_of(key, promoted).await?;
        let lately = self.usage_of(key, task.now - SILENT).await?;
        let from = at(promoted - Span::days(1));
        let hours = self.store.signatures_by_hour(key.kid.as_str(), from).await;
        let hours = hours.map_err(unavailable)?;
        let before: u64 = hours
            .iter()
            .filter(|hour| from_row(hour.from) < promoted.hour_start())
            .map(|hour| hour.signatures)
            .sum();
        let after = hours
            .iter()
            .filter(|hour| from_row(hour.from) >= promoted.hour_start());
        let by_hour = after.take(MOST_HOURS);
        let by_hour =
            by_hour.map(|hour| json!({ "from": hour.from, "signatures": hour.signatures }));
        Ok(Usage {
            old: match lately.signatures {
                0 => OldUse::Free,
                _ => OldUse::Needed,
            },
            evidence: json!({
                "kid": key.kid,
                "signatures_of_the_old_key_since": since.signatures,
                "last": since.last,
                "signatures_of_the_day_before": before,
                "by_hour": by_hour.collect::<Vec<_>>(),
            }),
        })
    }
}

/// What a key signed.
struct Signatures {
    signatures: i64,
    last: Option<Time>,
}

/// Not yet, or not without a person.
fn wait_for(blocked: Blocked) -> Answer {
    match blocked {
        Blocked::NotReady { ready_at, .. } => Answer::WaitUntil(from_row(ready_at)),
        blocked => Answer::person(blocked.to_string()),
    }
}

/// Nobody may carry it out any more.
fn has_lapsed(task: Task<'_>, row: &CeremonyRow, request: &Request) -> bool {
    use CeremonyState as S;
    at(task.now) > request.execute_by && matches!(row.state, S::Draft | S::Proposed | S::Approved)
}

fn unavailable(error: store::Error) -> Answer {
    Answer::transient(error_chain(&error))
}

fn either(answer: Result<Answer, Answer>) -> Answer {
    answer.unwrap_or_else(|answer| answer)
}

impl Driver for Signing {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn check<'a>(&'a self, task: Task<'a>) -> Doing<'a> {
        Box::pin(async move { either(self.check_ring(task).await) })
    }

    fn generate<'a>(&'a self, task: Task<'a>) -> Doing<'a> {
        Box::pin(async move { either(self.generate_key(task).await) })
    }

    fn publish<'a>(&'a self, task: Task<'a>) -> Doing<'a> {
        Box::pin(async move { either(self.published(task).await) })
    }

    fn test<'a>(&'a self, task: Task<'a>) -> Doing<'a> {
        Box::pin(async move { either(self.tested(task).await) })
    }

    fn promote<'a>(&'a self, task: Task<'a>) -> Doing<'a> {
        Box::pin(async move { either(self.promoted(task).await) })
    }

    fn in_use<'a>(&'a self, task: Task<'a>) -> Doing<'a, bool> {
        Box::pin(async move {
            self.ring(task).await.is_ok_and(|ring| {
                let key = Self::made(task, &ring);
                key.is_some_and(|key| matches!(key.state, KeyState::Primary(_)))
            })
        })
    }

    fn usage<'a>(&'a self, task: Task<'a>) -> Doing<'a, Usage> {
        Box::pin(async move {
            self.used(task).await.unwrap_or_else(|answer| Usage {
                old: OldUse::Needed,
                evidence: json!({ "unknown": format!("{answer:?}") }),
            })
        })
    }

    fn retire<'a>(&'a self, task: Task<'a>) -> Doing<'a> {
        Box::pin(async move { either(self.retired(task).await) })
    }

    fn archive<'a>(&'a self, task: Task<'a>) -> Doing<'a> {
        Box::pin(async move { either(self.archived(task).await) })
    }

    fn roll_back<'a>(&'a self, task: Task<'a>) -> Doing<'a> {
        Box::pin(async move { either(self.rolled_back(task).await) })
    }

    fn revoke<'a>(&'a self, task: Task<'a>) -> Doing<'a> {
        // A key that was accepted and never signed is the standby of the next rotation.
        // One that the executor was asked for under an order comes all the same: the use is spent.
        let facts = match (&task.event.made, &task.event.order, &task.event.ceremony) {
            (None, Some(order), Some(ceremony)) => {
                json!({ "kept_as_standby": null, "order_used": order, "made_by": ceremony })
            }
            (made, ..) => json!({ "kept_as_standby": made }),
        };
        Box::pin(async { Done::with(facts) })
    }
}
