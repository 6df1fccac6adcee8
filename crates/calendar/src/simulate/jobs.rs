//! What jobs and people do in a simulation: events are made, policies change, somebody declares an emergency.

use std::cmp::Reverse;

use crate::facts::{Consent, OpenEvent};
use crate::next_step::{EventFacts, Outcome};
use crate::plan::{Plan, Rotation, plan};
use crate::policy::{Policies, Refused};
use crate::time::{Span, Time};
use crate::words::{EventState, Step, Trigger};

use super::engine::{Engine, Wake};
use super::world::{FaultKind, What};

/// How far ahead the daily job makes events: until its next slot, and an hour and a day more in case that one is missed.
const AHEAD: Span = Span::hours(49);

/// How long before its slot a rotation that needs a ceremony has its event, so that custodians can be asked in time.
const NOTICE: Span = Span::days(15);

impl Engine {
    pub(super) fn check_daily(&mut self, now: Time) {
        let stopped = |kind| {
            matches!(
                kind,
                FaultKind::Database | FaultKind::Replicas | FaultKind::Paused
            )
        };
        let fault = self.fault(now, stopped);
        let next = self.daily.as_ref().and_then(|daily| daily.next(now));
        // Missed slots are one run at the end of what was in the way.
        let next = fault.map(|fault| fault.1).or(next);
        if let Some(next) = next {
            self.queue.push(Reverse((next, Wake::Check)));
        }
        if fault.is_none() {
            self.check(now, false);
        }
    }

    /// Makes events for what is due soon; only for emergencies if the scheduler is paused.
    fn check(&mut self, now: Time, emergencies: bool) {
        let Plan { rotations, .. } = plan(&self.facts, &self.policies, &self.orders, now, NOTICE);
        for rotation in rotations.iter().filter(|rotation| !rotation.has_event) {
            let ahead = if rotation.consent == Consent::Ceremony {
                NOTICE
            } else {
                AHEAD
            };
            let emergency = rotation.trigger == Trigger::Event;
            if emergency || !emergencies && rotation.slot < now + ahead {
                self.make(rotation, now);
            }
        }
    }

    fn make(&mut self, rotation: &Rotation, now: Time) {
        // What is overdue gets the hour in which there is room for it.
        let Some((asset, begins_at)) = self
            .names
            .get(&rotation.asset)
            .copied()
            .zip(rotation.begins_at)
        else {
            return;
        };
        let slot = begins_at.hour_start();
        let mut event = OpenEvent {
            id: format!("kr_{}", self.events.len()),
            version: rotation.version,
            trigger: rotation.trigger,
            state: EventState::Scheduled,
            slot,
            due: rotation.due,
            consent: rotation.consent.clone(),
            published_at: None,
            promoted_at: None,
        };
        if let Consent::Order(id) = &rotation.consent
            && let Some(order) = self.orders.iter_mut().find(|order| order.id == *id)
        {
            order.used = order.used.saturating_add(1);
        }
        let mut facts = EventFacts::scheduled(rotation.trigger, slot);
        if let Some(there) = self.facts.assets.get_mut(asset) {
            let standby = there
                .standby()
                .filter(|(standby, _)| standby.number == rotation.version);
            if let Some((_, published_at)) = standby {
                // It is made already, and published if it was accepted.
                (facts.published_at, event.published_at) = (published_at, published_at);
                let done = if published_at.is_some() { 2 } else { 1 };
                for step in [Step::Generate, Step::Publish].iter().take(done) {
                    facts.begin(*step, now);
                    facts.end(*step, now, Outcome::Done);
                }
            }
            there.request = None;
            there.events.push(event.clone());
        }
        self.add(asset, facts, &event, now);
        let late = rotation
            .late
            .map(|late| (late.reason, late.by.unwrap_or(Span::ZERO)));
        if let Some(event) = self.events.last_mut() {
            event.held_by.extend(late);
        }
    }

    pub(super) fn change(&mut self, index: usize, now: Time) -> Result<(), Vec<Refused>> {
        let Some(change) = self.world.changes.get(index).cloned() else {
            return Ok(());
        };
        match change.what {
            What::Policies(documents) => {
                self.policies =
                    Policies::check(&self.world.types(), documents, self.world.caches, now)?;
            }
            What::Order(order) => self.orders.push(order),
            What::Withdraw(id) => self
                .orders
                .iter_mut()
                .filter(|order| order.id == id)
                .for_each(|order| order.paused = true),
            What::Import(asset) => {
                if !self.names.contains_key(&asset.name) {
                    self.facts.assets.push(asset);
                    self.enter(self.facts.assets.len() - 1);
                }
            }
            What::Request(asset, request) => {
                if let Some(asset) = self.names.get(&asset).copied() {
                    let emergency = request.trigger == Trigger::Event;
                    if emergency {
                        self.withdraw_scheduled(asset);
                    }
                    // What rotates already is not asked for again.
                    let free = self.open.get(asset).is_some_and(Vec::is_empty);
                    let there = self.facts.assets.get_mut(asset);
                    if let Some(there) = there.filter(|_| free || emergency) {
                        there.request = Some(request);
                    }
                }
            }
            What::RollBack(asset) => {
                let open = self
                    .names
                    .get(&asset)
                    .and_then(|asset| self.open.get(*asset))
                    .cloned();
                for index in open.unwrap_or_default() {
                    if let Some(event) = self.events.get_mut(index) {
                        event.facts.roll_back = true;
                        let wake = self.event(index);
                        self.queue.push(Reverse((now, wake)));
                    }
                }
            }
            What::Hold(asset, held) => {
                let asset = self.names.get(&asset).copied();
                if let Some(asset) = asset.and_then(|asset| self.facts.assets.get_mut(asset)) {
                    asset.held = held;
                }
            }
        }
        let stopped = self.fault(now, |kind| {
            matches!(kind, FaultKind::Database | FaultKind::Replicas)
        });
        let paused = self.fault(now, |kind| kind == FaultKind::Paused).is_some();
        match stopped {
            Some((_, until)) => self.queue.push(Reverse((until, Wake::Check))),
            None => self.check(now, paused),
        }
        Ok(())
    }

    /// An emergency takes the place of what was not promoted yet.
    fn withdraw_scheduled(&mut self, asset: usize) {
        let open = self.open.get(asset).cloned().unwrap_or_default();
        for index in open {
            let Some(event) = self
                .events
                .get_mut(index)
                .filter(|event| event.facts.promoted_at.is_none())
            else {
                continue;
            };
            event.facts.state = EventState::Cancelled;
            let version = event.lived.version;
            self.take_back(index, version);
            self.made.remove(&(asset, version));
        }
    }
}
