//! Gives each rotation its hour.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};

use crate::facts::{AssetFacts, Consent, Facts, OpenEvent, Order};
use crate::key_type::Grace;
use crate::policy::{Policies, Policy};
use crate::time::{Span, Time};
use crate::words::{ApprovalClass, EventState, Priority, Reason, Trigger};

use super::due::{Basis, Due, Hours, ceiling_hour};
use super::ledger::{Ledger, Takes};
use super::orders::Orders;
use super::planned::{Late, Plan, Rotation, Unplanned, Why};

/// Where a candidate stands in line: the hour that it would like, how important it is, a number by its name, its asset, its
/// version. The number makes the order one of names, whatever order the assets were listed in.
type Rank = (i64, Priority, u64, usize, u32);

/// A rotation that has no hour yet.
#[derive(Clone, Copy)]
struct Candidate {
    due: Due,
    hours: Hours,
    basis: Basis,
}

/// An asset with what planning it needs again and again.
struct Entry<'a> {
    asset: &'a AssetFacts,
    policy: &'a Policy,
    takes: Takes,
    number: u64,
    /// The version that comes next.
    next: u32,
    candidate: Option<Candidate>,
}

/// A rotation with its hour, whose beginning is not yet known.
struct Placed {
    entry: usize,
    rotation: Rotation,
    basis: Basis,
    /// Why its hour is later than it should be.
    displaced: Option<Reason>,
}

pub(super) struct Planner<'a> {
    facts: &'a Facts,
    policies: &'a Policies,
    now: Time,
    until: Time,
    /// What would like an hour after `until` may get one before.
    last_hour: i64,
    ledger: Ledger,
    orders: Orders<'a>,
    entries: Vec<Entry<'a>>,
    queue: BinaryHeap<Reverse<Rank>>,
    placed: Vec<Placed>,
    unplanned: Vec<Unplanned>,
}

impl<'a> Planner<'a> {
    pub(super) fn new(
        facts: &'a Facts,
        policies: &'a Policies,
        orders: &'a [Order],
        now: Time,
        until: Time,
    ) -> Self {
        let jitter = policies
            .iter()
            .map(Policy::jitter)
            .max()
            .unwrap_or(Span::ZERO);
        Self {
            facts,
            policies,
            now,
            until,
            last_hour: (until + jitter).hour(),
            ledger: Ledger::default(),
            orders: Orders::new(orders),
            entries: Vec::with_capacity(facts.assets.len()),
            queue: BinaryHeap::new(),
            placed: Vec::with_capacity(facts.assets.len()),
            unplanned: Vec::new(),
        }
    }

    pub(super) fn run(mut self) -> Plan {
        self.enter_assets();
        self.place_queue();
        self.settle_overdue();
        // What follows from the overdue.
        self.place_queue();
        self.finish()
    }

    /// Events and emergencies take their hours, the others are put in line.
    fn enter_assets(&mut self) {
        let mut names = HashSet::with_capacity(self.facts.assets.len());
        for asset in &self.facts.assets {
            let unplanned = |why| Unplanned {
                asset: asset.name.clone(),
                key_type: asset.key_type.clone(),
                why,
            };
            if !names.insert(&asset.name) {
                self.unplanned.push(unplanned(Why::NameTwice));
                continue;
            }
            let Some(policy) = self.policies.get(&asset.key_type) else {
                self.unplanned.push(unplanned(Why::NoPolicy));
                continue;
            };
            let basis = match Basis::of(asset) {
                Ok(basis) => basis,
                Err(0) => {
                    self.unplanned.push(unplanned(Why::NoPrimary));
                    continue;
                }
                Err(_) => {
                    self.unplanned.push(unplanned(Why::TwoPrimaries));
                    continue;
                }
            };
            let token = policy.key_type().uses_token();
            let takes = self.ledger.takes(
                &self.facts.limits,
                token,
                policy.owner(),
                asset.owner.as_ref(),
            );
            let entry = self.entries.len();
            self.entries.push(Entry {
                asset,
                policy,
                takes,
                number: asset.name.spread(0),
                next: asset.newest() + 1,
                candidate: None,
            });
            if !self.begin(entry, basis) {
                self.unplanned.push(unplanned(Why::NoDate));
            }
        }
    }

    /// Whether the asset has a date.
    fn begin(&mut self, entry: usize, basis: Basis) -> bool {
        let Some(Entry {
            asset,
            policy,
            takes,
            ..
        }) = self.entries.get(entry)
        else {
            return false;
        };
        let (asset, policy, takes) = (*asset, *policy, *takes);
        let open = asset.event.as_ref().filter(|event| event.state.is_open());
        if let Some(event) = open {
            if event.promoted_at.is_none() {
                self.ledger.enter(takes, event.slot.hour());
            }
            return self.keep(entry, event, basis);
        }
        match asset.request {
            Some(request) if request.trigger == Trigger::Event => {
                let due = Due {
                    at: request.at + policy.lead(),
                    trigger: Trigger::Event,
                };
                self.ledger.enter(takes, request.at.hour());
                self.place(
                    entry,
                    Candidate {
                        due,
                        hours: Hours::at(request.at),
                        basis,
                    },
                    Some(request.at.hour()),
                );
                true
            }
            Some(request) => {
                let hour = ceiling_hour(request.at);
                // Asked for, it may take the hour after next before it is late.
                let at = Time::from_hour(hour + 1) + policy.lead();
                let due = Due {
                    at,
                    trigger: request.trigger,
                };
                let hours = Hours {
                    earliest: hour,
                    preferred: hour,
                    latest: hour + 1,
                    hopeless: None,
                };
                self.queue(entry, Candidate { due, hours, basis });
                true
            }
            None => self.enqueue(entry, basis, Time::from_millis(0)),
        }
    }

    /// Puts the next rotation in line, if it falls into the plan. Whether there is a date at all.
    fn enqueue(&mut self, entry: usize, basis: Basis, from: Time) -> bool {
        let Some(Entry {
            asset,
            policy,
            next,
            ..
        }) = self.entries.get(entry)
        else {
            return false;
        };
        let Some(due) = basis.due(policy) else {
            return false;
        };
        let hours = Hours::of(
            policy,
            due,
            from.max(basis.since),
            asset.name.spread(u64::from(*next)),
        );
        self.queue(entry, Candidate { due, hours, basis });
        true
    }

    fn queue(&mut self, index: usize, candidate: Candidate) {
        if candidate.hours.preferred > self.last_hour {
            return;
        }
        if let Some(entry) = self.entries.get_mut(index) {
            let priority = entry.policy.priority();
            let rank = (
                candidate.hours.preferred,
                priority,
                entry.number,
                index,
                entry.next,
            );
            entry.candidate = Some(candidate);
            self.queue.push(Reverse(rank));
        }
    }

    fn place_queue(&mut self) {
        while let Some(Reverse((_, _, _, entry, _))) = self.queue.pop() {
            if let Some(candidate) = self
                .entries
                .get_mut(entry)
                .and_then(|entry| entry.candidate.take())
            {
                self.place(entry, candidate, None);
            }
        }
    }

    /// Gives a candidate its hour, and puts what follows in line unless this one is overdue.
    fn place(&mut self, index: usize, candidate: Candidate, fixed: Option<i64>) {
        let Some(Entry {
            asset,
            policy,
            takes,
            next,
            ..
        }) = self.entries.get_mut(index)
        else {
            return;
        };
        let (asset, policy, takes) = (*asset, *policy, *takes);
        let version = *next;
        *next += 1;
        let Candidate { due, hours, basis } = candidate;
        let mut open = policy.open_hours().clone();
        let mut earliest = hours.earliest;
        let mut highest = self.last_hour;
        let (mut consent, mut waits, mut order) = (Consent::Automatic, None, None);
        match policy.approval() {
            ApprovalClass::Automatic => {}
            ApprovalClass::Ceremony => {
                (consent, waits) = (Consent::Ceremony, Some(Reason::Approval))
            }
            ApprovalClass::StandingOrder => {
                match self.orders.offer(
                    &asset.name,
                    Time::from_hour(hours.latest),
                    policy.open_hours(),
                ) {
                    Ok(offer) => {
                        open = offer.open.clone();
                        earliest = earliest.max(ceiling_hour(offer.from));
                        highest = highest.min(offer.until.hour());
                        consent = Consent::Order(offer.id.clone());
                        order = Some(offer);
                    }
                    Err(reason) => (consent, waits) = (Consent::Ceremony, Some(reason)),
                }
            }
        }
        let preferred = hours.preferred.max(earliest);
        let found = fixed.or_else(|| {
            self.ledger
                .room_by(takes, &open, earliest, preferred)
                .or_else(|| self.ledger.room_from(takes, &open, preferred, highest))
        });
        let hour = match (found, order.is_some()) {
            (Some(hour), _) => Some(hour),
            // The order has no room before it ends: by a ceremony, then.
            (None, true) => {
                (consent, waits, order) = (Consent::Ceremony, Some(Reason::OrderEnded), None);
                self.ledger
                    .room_from(takes, policy.open_hours(), preferred, self.last_hour)
            }
            (None, false) => None,
        };
        if fixed.is_none()
            && let Some(hour) = hour
        {
            self.ledger.enter(takes, hour);
        }
        if let Some(offer) = order {
            self.orders.take(offer.index);
        }
        let displaced = match hour {
            Some(hour) if hour <= hours.latest => hours.hopeless,
            _ if hours.hopeless.is_some() => hours.hopeless,
            // Without other rotations in the way it would have been in time, or the windows would not have let it.
            _ if open
                .last_by(hours.latest)
                .is_none_or(|hour| hour < earliest) =>
            {
                Some(Reason::Window)
            }
            _ => Some(Reason::Capacity),
        };
        let slot = Time::from_hour(hour.unwrap_or(hours.latest));
        let rotation = Rotation {
            asset: asset.name.clone(),
            key_type: asset.key_type.clone(),
            owner: asset.owner.as_ref().unwrap_or(policy.owner()).clone(),
            version,
            trigger: due.trigger,
            due: due.at,
            slot,
            begins_at: hour.map(Time::from_hour),
            promote_at: None,
            retire_at: None,
            archive_at: None,
            consent,
            waits,
            late: None,
            has_event: false,
            notice: !policy.open_hours().is_always(),
        };
        self.settle(Placed {
            entry: index,
            rotation,
            basis,
            displaced,
        });
    }

    /// An event keeps its hour.
    fn keep(&mut self, index: usize, event: &OpenEvent, basis: Basis) -> bool {
        let Some(Entry {
            asset,
            policy,
            next,
            ..
        }) = self.entries.get_mut(index)
        else {
            return false;
        };
        *next = (*next).max(event.version + 1);
        let waits = match (event.state, &event.consent, event.published_at) {
            (EventState::Failed, _, _) => Some(Reason::Person),
            (_, Consent::Ceremony, None) => Some(Reason::Approval),
            _ => None,
        };
        let rotation = Rotation {
            asset: asset.name.clone(),
            key_type: asset.key_type.clone(),
            owner: asset.owner.as_ref().unwrap_or(policy.owner()).clone(),
            version: event.version,
            trigger: event.trigger,
            due: event.due,
            slot: event.slot,
            begins_at: event.published_at.or(Some(event.slot)),
            promote_at: event.promoted_at,
            retire_at: None,
            archive_at: None,
            consent: event.consent.clone(),
            waits,
            late: None,
            has_event: true,
            notice: !policy.open_hours().is_always(),
        };
        self.settle(Placed {
            entry: index,
            rotation,
            basis,
            displaced: None,
        });
        true
    }

    /// Whether a rotation has not begun although its hour is over.
    fn is_overdue(&self, placed: &Placed) -> bool {
        let begun = self
            .entries
            .get(placed.entry)
            .and_then(|entry| entry.asset.event.as_ref());
        let begun = begun.is_some_and(|event| event.published_at.or(event.promoted_at).is_some());
        !(begun && placed.rotation.has_event) && placed.rotation.slot.hour() < self.now.hour()
    }

    /// Fills in what follows from a rotation's beginning, and puts the next one in line.
    fn settle(&mut self, mut placed: Placed) {
        if self.is_overdue(&placed) {
            self.placed.push(placed);
            return;
        }
        self.hold_back(&mut placed);
        self.fill(&mut placed);
        self.follow(&placed);
        self.placed.push(placed);
    }

    /// A pause and a person's hold; neither stops an emergency.
    fn hold_back(&self, placed: &mut Placed) {
        let rotation = &mut placed.rotation;
        if rotation.trigger == Trigger::Event {
            return;
        }
        let held = self
            .entries
            .get(placed.entry)
            .is_some_and(|entry| entry.asset.held);
        if held || rotation.waits == Some(Reason::Person) {
            rotation.begins_at = None;
            rotation.waits = rotation.waits.or(Some(Reason::Held));
            return;
        }
        // What has begun is held before its promotion, and not undone.
        let begun = rotation.has_event
            && rotation
                .begins_at
                .is_some_and(|begins_at| begins_at != rotation.slot);
        let Some((pause, begins_at)) = self.facts.pause.zip(rotation.begins_at).filter(|_| !begun)
        else {
            return;
        };
        if pause.until.is_none_or(|until| begins_at < until) {
            rotation.begins_at = pause
                .until
                .map(|until| Time::from_hour(ceiling_hour(until)));
            rotation.waits = Some(Reason::Paused);
        }
    }

    /// When a version that is ready can be promoted: not in a pause, and in a window.
    fn promotion(&self, policy: &Policy, ready: Time, emergency: bool) -> Result<Time, Reason> {
        if emergency {
            return Ok(ready);
        }
        let paused = self
            .facts
            .pause
            .filter(|pause| pause.until.is_none_or(|until| ready < until));
        let ready = match paused {
            Some(pause) => pause.until.ok_or(Reason::Paused)?,
            None => ready,
        };
        policy.open_hours().open_from(ready).ok_or(Reason::Window)
    }

    fn fill(&self, placed: &mut Placed) {
        let Some(policy) = self.entries.get(placed.entry).map(|entry| entry.policy) else {
            return;
        };
        let emergency = placed.rotation.trigger == Trigger::Event;
        let rotation = &mut placed.rotation;
        if let (None, Some(begins_at)) = (rotation.promote_at, rotation.begins_at) {
            match self.promotion(policy, begins_at + policy.lead(), emergency) {
                Ok(at) => rotation.promote_at = Some(at),
                Err(reason) => rotation.waits = Some(reason),
            }
        }
        // A compromised version does not go on beside its successor.
        let overlap = if emergency {
            Span::ZERO
        } else {
            policy.overlap()
        };
        rotation.retire_at = rotation.promote_at.map(|at| at + overlap);
        rotation.archive_at = rotation.promote_at.and_then(|at| match policy.grace() {
            Grace::For(_) if emergency => Some(at),
            Grace::For(grace) => Some(at + grace),
            Grace::Forever => None,
        });
        let by = match rotation.promote_at {
            Some(at) if at <= rotation.due => return,
            Some(at) => Some(at.since(rotation.due)),
            None => None,
        };
        let overdue = rotation.slot.hour() < self.now.hour();
        let reason = match rotation.waits {
            Some(reason @ (Reason::Paused | Reason::Held | Reason::Person)) => reason,
            Some(reason) if overdue && rotation.has_event => reason,
            _ => match placed.displaced {
                Some(reason) => reason,
                None if overdue => Reason::Backlog,
                None if !policy.open_hours().is_always() => Reason::Window,
                None => Reason::Capacity,
            },
        };
        rotation.late = Some(Late { by, reason });
    }

    /// Puts the rotation after this one in line.
    fn follow(&mut self, placed: &Placed) {
        let rotation = &placed.rotation;
        let (Some(begins_at), Some(promote_at), Some(retire_at)) =
            (rotation.begins_at, rotation.promote_at, rotation.retire_at)
        else {
            return;
        };
        // Of an event that was promoted, the primary's own facts say when it was made.
        let done = rotation.has_event && promote_at == placed.basis.since;
        let basis = if done {
            placed.basis
        } else {
            placed.basis.after(begins_at, promote_at)
        };
        self.enqueue(placed.entry, basis, retire_at);
    }

    /// What is overdue begins in the first hours that have room, the important first.
    fn settle_overdue(&mut self) {
        let mut overdue: Vec<(Priority, Time, u64, usize)> = Vec::new();
        for (index, placed) in self.placed.iter().enumerate() {
            let Some(entry) = self
                .entries
                .get(placed.entry)
                .filter(|_| self.is_overdue(placed))
            else {
                continue;
            };
            let emergency = placed.rotation.trigger == Trigger::Event;
            let priority = if emergency {
                Priority::Critical
            } else {
                entry.policy.priority()
            };
            overdue.push((priority, placed.rotation.slot, entry.number, index));
        }
        overdue.sort_unstable();
        let paused = self.facts.pause.and_then(|pause| pause.until);
        let first = paused.map_or(self.now.hour(), |until| {
            ceiling_hour(until).max(self.now.hour())
        });
        for (_, _, _, index) in overdue {
            self.settle_one_overdue(index, first);
        }
    }

    fn settle_one_overdue(&mut self, index: usize, first: i64) {
        let Some(mut placed) = self.placed.get_mut(index).map(|placed| Placed {
            entry: placed.entry,
            rotation: placed.rotation.clone(),
            basis: placed.basis,
            displaced: placed.displaced,
        }) else {
            return;
        };
        let Some(Entry { policy, takes, .. }) = self.entries.get(placed.entry) else {
            return;
        };
        let (policy, takes) = (*policy, *takes);
        placed.rotation.begins_at = Some(placed.rotation.slot);
        self.hold_back(&mut placed);
        if placed.rotation.begins_at.is_some() {
            let emergency = placed.rotation.trigger == Trigger::Event;
            let hour = match emergency {
                true => Some(self.now.hour()),
                false => self
                    .ledger
                    .room_from(takes, policy.open_hours(), first, self.last_hour),
            };
            if let Some(hour) = hour {
                self.ledger.enter(takes, hour);
            }
            placed.rotation.begins_at = hour.map(|hour| Time::from_hour(hour).max(self.now));
            placed.displaced = hour.is_none().then_some(Reason::Capacity);
        }
        self.fill(&mut placed);
        self.follow(&placed);
        if let Some(there) = self.placed.get_mut(index) {
            *there = placed;
        }
    }

    fn finish(self) -> Plan {
        let Self {
            now,
            until,
            placed,
            mut unplanned,
            ledger,
            entries,
            policies,
            ..
        } = self;
        let mut placed: Vec<(Time, u64, Rotation)> = placed
            .into_iter()
            .filter(|placed| placed.rotation.slot < until)
            .map(|placed| {
                let number = entries.get(placed.entry).map_or(0, |entry| entry.number);
                (placed.rotation.slot, number, placed.rotation)
            })
            .collect();
        placed.sort_unstable_by(|a, b| (a.0, a.1, a.2.version).cmp(&(b.0, b.1, b.2.version)));
        unplanned.sort_unstable_by(|a, b| a.asset.cmp(&b.asset));
        let mut conflicts = ledger.conflicts();
        // Hours that are over have passed, whatever was in them.
        conflicts.retain(|conflict| conflict.hour.hour() >= now.hour() && conflict.hour < until);
        Plan {
            now,
            until,
            rotations: placed
                .into_iter()
                .map(|(_, _, rotation)| rotation)
                .collect(),
            unplanned,
            conflicts,
            exceptions: policies.exceptions(),
        }
    }
}
