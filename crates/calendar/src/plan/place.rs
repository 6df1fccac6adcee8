//! Gives each rotation its hour.

mod settle;

use std::collections::{BTreeMap, HashSet};

use crate::facts::{AssetFacts, Consent, Facts, OpenEvent, Order};
use crate::name::NameHash;
use crate::policy::{Policies, Policy};
use crate::time::{Span, Time};
use crate::words::{ApprovalClass, Priority, Reason, Trigger};

use super::due::{Basis, Due, Hours, WORK, ceiling_hour};
use super::ledger::{Ledger, Open, Takes};
use super::orders::Orders;
use super::planned::{Plan, Rotation, Unplanned, Why};

/// Where a candidate stands among those that would like the same hour: how important it is, when it is due, a number by its
/// name, its asset, its version. The number makes the order one of names, whatever order the assets were listed in.
type Rank = (Priority, Time, u64, usize, u32);

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
    /// The policy's windows.
    open: Option<Open>,
    hash: NameHash,
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
    /// Whether it is under way.
    begun: bool,
    /// Whether the next rotation of the asset follows from it.
    last: bool,
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
    /// By the hour that they would like.
    queue: BTreeMap<i64, Vec<Rank>>,
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
            queue: BTreeMap::new(),
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
            let Some(next) = asset.newest().checked_add(1) else {
                self.unplanned.push(unplanned(Why::NoNumber));
                continue;
            };
            let takes = self.ledger.takes(&self.facts.limits, asset, policy);
            let open = self.ledger.open(policy.open_hours());
            let entry = self.entries.len();
            self.entries.push(Entry {
                asset,
                policy,
                takes,
                open,
                hash: asset.name.hash(),
                number: asset.name.spread(0),
                next,
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
        let mut open: Vec<&OpenEvent> = asset
            .events
            .iter()
            .filter(|event| event.state.is_open())
            .collect();
        open.sort_by_key(|event| event.version);
        let promoted = open.iter().all(|event| event.promoted_at.is_some());
        let emergency = asset
            .request
            .filter(|request| request.trigger == Trigger::Event && promoted);
        if let Some((last, before)) = open.split_last() {
            for event in before {
                self.keep(entry, event, takes, basis, false);
            }
            self.keep(entry, last, takes, basis, emergency.is_none());
            if emergency.is_none() {
                return true;
            }
        }
        match asset.request {
            Some(request) if request.trigger == Trigger::Event => {
                let due = Due {
                    at: request.at + policy.lead() + WORK,
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
                let open = policy.open_hours();
                let hour = ceiling_hour(request.at);
                let hour = open.first_from(hour).unwrap_or(hour);
                // Asked for, it may take the hour after before it is late.
                let ready = Time::from_hour(hour + 1) + policy.lead();
                let at = open.open_from(ready).unwrap_or(ready) + WORK;
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
            policy, hash, next, ..
        }) = self.entries.get(entry)
        else {
            return false;
        };
        let Some(due) = basis.due(policy) else {
            return false;
        };
        let place = hash.spread(u64::from(*next));
        let hours = Hours::of(policy, due, from.max(basis.since), place);
        self.queue(entry, Candidate { due, hours, basis });
        true
    }

    fn queue(&mut self, index: usize, candidate: Candidate) {
        if candidate.hours.preferred > self.last_hour {
            return;
        }
        if let Some(entry) = self.entries.get_mut(index) {
            let priority = entry.policy.priority();
            let due = candidate.due.at;
            let rank = (priority, due, entry.number, index, entry.next);
            entry.candidate = Some(candidate);
            let hour = candidate.hours.preferred;
            self.queue.entry(hour).or_default().push(rank);
        }
    }

    /// The search for room ends a year after the plan: what has none by then has none.
    fn highest(&self) -> i64 {
        self.last_hour + 366 * 24
    }

    fn place_queue(&mut self) {
        while let Some((_, mut hour)) = self.queue.pop_first() {
            hour.sort_unstable();
            for (_, _, _, entry, _) in hour {
                let entry_there = self.entries.get_mut(entry);
                if let Some(candidate) = entry_there.and_then(|entry| entry.candidate.take()) {
                    self.place(entry, candidate, None);
                }
            }
        }
    }

    /// Gives a candidate its hour, and puts what follows in line unless this one is overdue.
    fn place(&mut self, index: usize, candidate: Candidate, fixed: Option<i64>) {
        let Some(Entry {
            asset,
            policy,
            takes,
            open: of_policy,
            next,
            ..
        }) = self.entries.get_mut(index)
        else {
            return;
        };
        let (asset, policy, takes, of_policy) = (*asset, *policy, *takes, *of_policy);
        let standby = match candidate.due.trigger {
            Trigger::Event => asset.standby(),
            _ => None,
        };
        let version = match standby {
            Some((standby, _)) => standby.number,
            None => {
                *next = next.saturating_add(1);
                next.saturating_sub(1)
            }
        };
        let Candidate { due, hours, basis } = candidate;
        let mut earliest = hours.earliest;
        let mut highest = self.highest();
        let (mut consent, mut waits, mut order) = (Consent::Automatic, None, None);
        match policy.approval() {
            // Each emergency has its three approvals.
            _ if due.trigger == Trigger::Event => {
                (consent, waits) = (Consent::Ceremony, Some(Reason::Approval));
            }
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
                        earliest = earliest.max(ceiling_hour(offer.from));
                        highest = highest.min(offer.until.hour());
                        consent = Consent::Order(offer.id.clone());
                        order = Some(offer);
                    }
                    Err(reason) => (consent, waits) = (Consent::Ceremony, Some(reason)),
                }
            }
        }
        let within = (order.as_ref()).map_or(policy.open_hours(), |offer| &offer.open);
        // Without other rotations in the way it would have been in time, or the windows would not have let it.
        let in_time = within.last_by(hours.latest);
        let shut = in_time.is_none_or(|hour| hour < earliest);
        let open = match &order {
            Some(offer) => self.ledger.open(&offer.open),
            None => of_policy,
        };
        let preferred = hours.preferred.max(earliest);
        let found = fixed.or_else(|| {
            let ledger = &mut self.ledger;
            let by = ledger.room_by(takes, open?, earliest, preferred);
            by.or_else(|| ledger.room_from(takes, open?, preferred, highest))
        });
        let hour = match (found, order.is_some()) {
            (Some(hour), _) => Some(hour),
            // The order has no room before it ends: by a ceremony, then.
            (None, true) => {
                (consent, waits, order) = (Consent::Ceremony, Some(Reason::OrderEnded), None);
                let highest = self.highest();
                let ledger = &mut self.ledger;
                of_policy.and_then(|open| ledger.room_from(takes, open, preferred, highest))
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
            _ if shut => Some(Reason::Window),
            _ => Some(Reason::Capacity),
        };
        let slot = Time::from_hour(hour.unwrap_or(hours.latest));
        let rotation = Rotation {
            asset: asset.name.clone(),
            // That of the asset, which is one of many with it: all of these share one.
            key_type: policy.key_type().name.clone(),
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
            is_promoted: false,
            notice: !policy.open_hours().is_always(),
        };
        self.settle(Placed {
            entry: index,
            rotation,
            basis,
            displaced,
            begun: false,
            last: true,
        });
    }
}
