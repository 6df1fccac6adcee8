//! The engine of the simulation: jobs, events, replicas and faults in the order of time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet};

use crate::cron::{Cron, JOBS};
use crate::facts::{Consent, Facts, OpenEvent, Order};
use crate::name::{AssetName, mix};
use crate::next_step::{EventFacts, Next, Outcome, Propagation, next_step};
use crate::plan::{ledger::Ledger, plan};
use crate::policy::{Policies, Policy, Refused};
use crate::time::{Span, Time};
use crate::words::{EventState, Priority, Reason, Step, Trigger};

use super::MOST_FINDINGS;
use super::findings::Finding;
use super::report::{Lived, PublishedSet, Report};
use super::verifiers::{self, Signer};
use super::world::{FaultKind, What, World};

/// How long an emergency waits for its three approvals.
const EMERGENCY_APPROVAL: Span = Span::minutes(10);

/// When something that nobody can date is looked at again.
const LOOK_AGAIN: Span = Span::hours(6);

/// One event.
pub(super) struct Event {
    pub(super) asset: usize,
    pub(super) facts: EventFacts,
    /// The version that its own replaced.
    pub(super) old: Option<u32>,
    pub(super) lived: Lived,
    /// When it was approved, or will be; `None` if never.
    pub(super) approved_at: Option<Time>,
    /// What held it, and how long.
    pub(super) held_by: Vec<(Reason, Span)>,
    pub(super) closed: bool,
}

impl Event {
    /// What held it longest.
    fn blame(&self) -> Option<Reason> {
        let mut sums: BTreeMap<Reason, Span> = BTreeMap::new();
        for (reason, span) in &self.held_by {
            let sum = sums.entry(*reason).or_default();
            *sum = sum.plus(*span);
        }
        sums.into_iter()
            .max_by_key(|(reason, span)| (*span, Reverse(*reason)))
            .map(|(reason, _)| reason)
    }
}

/// What the heap is ordered by at one instant: people first, then jobs, then events.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wake {
    Change(usize),
    Check,
    Event(Option<(bool, Priority, Time)>, usize),
}

pub(super) struct Engine {
    pub(super) world: World,
    pub(super) facts: Facts,
    pub(super) policies: Policies,
    pub(super) orders: Vec<Order>,
    pub(super) until: Time,
    pub(super) seed: u64,
    pub(super) queue: BinaryHeap<Reverse<(Time, Wake)>>,
    pub(super) events: Vec<Event>,
    pub(super) open: Vec<Vec<usize>>,
    pub(super) names: HashMap<AssetName, usize>,
    /// Hours that are given away, and hours in which something began.
    pub(super) reserved: Ledger,
    pub(super) begun: Ledger,
    pub(super) made: HashSet<(usize, u32)>,
    pub(super) sets: BTreeMap<AssetName, Vec<PublishedSet>>,
    pub(super) signers: HashMap<usize, Vec<Signer>>,
    pub(super) findings: Vec<Finding>,
    pub(super) daily: Option<Cron>,
}

impl Engine {
    pub(super) fn new(mut world: World, until: Time, seed: u64) -> Result<Self, Vec<Refused>> {
        let types = world.types();
        let documents = std::mem::take(&mut world.policies);
        let policies = Policies::check(&types, documents, world.caches, world.start)?;
        // What is changed later is refused now: a simulation does not end in the middle.
        for change in &world.changes {
            if let What::Policies(documents) = &change.what {
                Policies::check(&types, documents.clone(), world.caches, change.at)?;
            }
        }
        let facts = std::mem::take(&mut world.facts);
        let orders = std::mem::take(&mut world.orders);
        let mut engine = Self {
            facts,
            policies,
            orders,
            until,
            seed,
            queue: BinaryHeap::new(),
            events: Vec::new(),
            open: Vec::new(),
            names: HashMap::new(),
            reserved: Ledger::default(),
            begun: Ledger::default(),
            made: HashSet::new(),
            sets: BTreeMap::new(),
            signers: HashMap::new(),
            findings: Vec::new(),
            daily: JOBS.get(1).and_then(|job| job.cron.parse().ok()),
            world,
        };
        engine.facts.pause = None;
        for asset in 0..engine.facts.assets.len() {
            engine.enter(asset);
        }
        for (index, change) in engine.world.changes.iter().enumerate() {
            engine.queue.push(Reverse((change.at, Wake::Change(index))));
        }
        engine
            .queue
            .push(Reverse((engine.world.start, Wake::Check)));
        Ok(engine)
    }

    /// Enters an asset, with the events that it has already.
    pub(super) fn enter(&mut self, index: usize) {
        self.open.push(Vec::new());
        let Some(asset) = self.facts.assets.get(index) else {
            return;
        };
        self.names.insert(asset.name.clone(), index);
        let events = asset.events.clone();
        self.begin_publication(index);
        for event in events.iter().filter(|event| event.state.is_open()) {
            let mut facts = EventFacts::scheduled(event.trigger, event.slot);
            (facts.published_at, facts.promoted_at) = (event.published_at, event.promoted_at);
            let done = match (event.published_at, event.promoted_at) {
                (_, Some(_)) => Step::Promote.index() + 1,
                (Some(_), None) => Step::Publish.index() + 1,
                (None, None) => 0,
            };
            for step in Step::ALL.iter().take(done) {
                facts.begin(*step, self.world.start);
                facts.end(*step, self.world.start, Outcome::Done);
            }
            self.add(index, facts, event, self.world.start);
        }
    }

    pub(super) fn add(&mut self, asset: usize, facts: EventFacts, event: &OpenEvent, now: Time) {
        let Some(there) = self.facts.assets.get(asset) else {
            return;
        };
        if !self.made.insert((asset, event.version)) {
            let finding = Finding::Twice {
                asset: there.name.clone(),
                version: event.version,
            };
            self.findings.push(finding);
        }
        let approved_at = match &event.consent {
            Consent::Ceremony if event.trigger == Trigger::Event => Some(now + EMERGENCY_APPROVAL),
            Consent::Ceremony => self.world.ceremony.map(|takes| now + takes),
            Consent::Automatic | Consent::Order(_) => Some(now),
        };
        let lived = Lived {
            asset: there.name.clone(),
            key_type: there.key_type.clone(),
            version: event.version,
            slot: event.slot,
            due: event.due,
            consent: event.consent.clone(),
            generated_at: None,
            published_at: event.published_at,
            promoted_at: event.promoted_at,
            retired_at: None,
            archived_at: None,
            rolled_back: false,
            failures: 0,
        };
        let index = self.events.len();
        self.events.push(Event {
            asset,
            facts,
            old: event.promoted_at.and_then(|_| event.version.checked_sub(1)),
            lived,
            approved_at,
            held_by: Vec::new(),
            closed: false,
        });
        if let Some(open) = self.open.get_mut(asset) {
            open.push(index);
        }
        if event.trigger != Trigger::Event {
            self.take(asset, event.slot.hour(), false);
        }
        let wake = self.event(index);
        self.queue.push(Reverse((event.slot.max(now), wake)));
    }

    /// Enters a rotation's hour.
    fn take(&mut self, asset: usize, hour: i64, begun: bool) {
        let ledger = match begun {
            true => &mut self.begun,
            false => &mut self.reserved,
        };
        let Some(asset) = self.facts.assets.get(asset) else {
            return;
        };
        if let Some(policy) = self.policies.get(&asset.key_type) {
            let takes = ledger.takes(&self.facts.limits, asset, policy);
            ledger.enter(takes, hour);
        }
    }

    fn has_room(&mut self, asset: usize, hour: i64) -> bool {
        let Some(asset) = self.facts.assets.get(asset) else {
            return true;
        };
        let Some(policy) = self.policies.get(&asset.key_type) else {
            return true;
        };
        let takes = self.reserved.takes(&self.facts.limits, asset, policy);
        self.reserved.has_room(takes, hour)
    }

    /// Of what is due at one instant, emergencies go on first, then the important, then what is due first.
    pub(super) fn event(&self, index: usize) -> Wake {
        let urgency = self.events.get(index).and_then(|event| {
            let (_, policy) = self.of(event.asset)?;
            let is_routine = !event.facts.is_emergency();
            Some((is_routine, policy.priority(), event.lived.due))
        });
        Wake::Event(urgency, index)
    }

    pub(super) fn of(&self, asset: usize) -> Option<(&crate::facts::AssetFacts, &Policy)> {
        let asset = self.facts.assets.get(asset)?;
        Some((asset, self.policies.get(&asset.key_type)?))
    }

    pub(super) fn run(mut self) -> Result<Report, Vec<Refused>> {
        while let Some(Reverse((now, wake))) = self.queue.pop() {
            if now >= self.until {
                break;
            }
            match wake {
                Wake::Change(index) => self.change(index, now)?,
                Wake::Check => self.check_daily(now),
                Wake::Event(_, index) => self.advance(index, now),
            }
        }
        Ok(self.report())
    }

    /// The end of the last fault of these kinds that is on at `now`.
    pub(super) fn fault(
        &self,
        now: Time,
        stops: impl Fn(FaultKind) -> bool,
    ) -> Option<(FaultKind, Time)> {
        let on = self
            .world
            .faults
            .iter()
            .filter(|fault| fault.from <= now && now < fault.until && stops(fault.kind));
        on.max_by_key(|fault| fault.until)
            .map(|fault| (fault.kind, fault.until))
    }

    /// Goes on with an event as far as it can go at `now`.
    fn advance(&mut self, index: usize, now: Time) {
        loop {
            match self.one_step(index, now) {
                Some(at) if at > now => {
                    let wake = self.event(index);
                    self.queue.push(Reverse((at, wake)));
                    return;
                }
                Some(_) => {}
                None => return,
            }
        }
    }

    /// When the event is to be asked again; `None` if never.
    fn one_step(&mut self, index: usize, now: Time) -> Option<Time> {
        let (asset, emergency, slot) = {
            let event = self.events.get(index).filter(|event| !event.closed)?;
            (event.asset, event.facts.is_emergency(), event.facts.slot)
        };
        // The rotations of one asset are done one after the other; the end of an old version's grace is in nobody's way.
        let open = self.open.get(asset).map_or(&[][..], Vec::as_slice);
        let behind = open.first().is_some_and(|first| *first != index) && open.contains(&index);
        if behind && !emergency {
            return Some(self.hold(index, Reason::AlreadyRotates, now, now + Span::hours(1)));
        }
        self.refresh(index, now);
        let Some(skew) = self.replica(index, now) else {
            return Some(self.hold(index, Reason::Clock, now, now + LOOK_AGAIN));
        };
        let (asset_facts, policy) = self.of(asset)?;
        let (hsm, class) = (policy.key_type().uses_token(), policy.approval());
        let held = asset_facts.held;
        let event = self.events.get(index)?;
        let next = next_step(&event.facts, policy, shifted(now, skew));
        match next {
            Next::Step(step) => {
                let ceremonial = class != crate::words::ApprovalClass::Automatic;
                if let Some((kind, until)) =
                    self.fault(now, |kind| kind.stops(step, hsm, ceremonial))
                {
                    return Some(self.hold(index, kind.reason(), now, until));
                }
                let first = event.facts.record(step).is_none();
                if step == Step::Generate && first && !emergency {
                    if now.hour() != slot.hour() {
                        if !self.has_room(asset, now.hour()) {
                            let next_hour = Time::from_hour(now.hour() + 1);
                            return Some(self.hold(index, Reason::Capacity, now, next_hour));
                        }
                        self.take(asset, now.hour(), false);
                    }
                    self.take(asset, now.hour(), true);
                }
                self.attempt(index, step, now, first);
                Some(now)
            }
            Next::WaitUntil(at) => Some(shifted(at, -skew).max(now + Span::seconds(1))),
            Next::Waiting(reason) => {
                let until = match reason {
                    Reason::Paused => self
                        .fault(now, |kind| kind == FaultKind::Paused)
                        .map(|fault| fault.1),
                    Reason::Propagation | Reason::ProbeContradicts => {
                        let probes =
                            |kind| matches!(kind, FaultKind::ProbesSilent | FaultKind::ProbeLies);
                        self.fault(now, probes).map(|fault| fault.1)
                    }
                    Reason::Approval if !held => event.approved_at,
                    _ => None,
                };
                let until = until
                    .filter(|until| *until > now)
                    .unwrap_or(now + LOOK_AGAIN);
                Some(self.hold(index, reason, now, until))
            }
            Next::RollBack => (!self.roll_back(index, now)).then_some(now),
            Next::Cancel => {
                let version = event.lived.version;
                self.take_back(index, version);
                None
            }
            Next::Done => {
                self.close(index);
                None
            }
        }
    }

    fn hold(&mut self, index: usize, reason: Reason, now: Time, until: Time) -> Time {
        if let Some(event) = self.events.get_mut(index) {
            event.held_by.push((reason, until.since(now)));
        }
        until
    }

    /// What the engine would read before it asks.
    fn refresh(&mut self, index: usize, now: Time) {
        let paused = self.fault(now, |kind| kind == FaultKind::Paused).is_some();
        let silent = self
            .fault(now, |kind| kind == FaultKind::ProbesSilent)
            .is_some();
        let lies = self
            .fault(now, |kind| kind == FaultKind::ProbeLies)
            .is_some();
        let Some(event) = self.events.get_mut(index) else {
            return;
        };
        event.facts.paused = paused;
        event.facts.held = self
            .facts
            .assets
            .get(event.asset)
            .is_some_and(|asset| asset.held);
        event.facts.consent_missing = match event.approved_at {
            Some(at) if at <= now => None,
            _ => Some(Reason::Approval),
        };
        event.facts.propagation = match (silent, lies) {
            (_, true) => Propagation::Contradicted,
            (true, false) => Propagation::Missing,
            (false, false) => Propagation::Proven,
        };
    }

    /// By how many seconds the clock of the replica is ahead that takes the next step; `None` if all of them are too far off.
    fn replica(&self, index: usize, now: Time) -> Option<i64> {
        let tolerance = i64::try_from(self.world.tolerance.as_seconds()).unwrap_or(i64::MAX);
        let good: Vec<i64> = self
            .world
            .replicas
            .iter()
            .copied()
            .filter(|skew| skew.abs() <= tolerance)
            .collect();
        let number = mix(self.seed ^ mix(index as u64) ^ now.millis().cast_unsigned());
        let chosen = number.checked_rem(good.len() as u64)?;
        good.get(usize::try_from(chosen).ok()?).copied()
    }

    fn attempt(&mut self, index: usize, step: Step, now: Time, first: bool) {
        let chance = mix(self.seed ^ mix((index as u64) << 3 | step.index() as u64)) % 1_000;
        let fails = first && chance < u64::from(self.world.failures);
        if let Some(event) = self.events.get_mut(index) {
            event.facts.state = EventState::Running;
            event.facts.begin(step, now);
            if fails {
                event.lived.failures += 1;
                event
                    .facts
                    .end(step, now, Outcome::Failed { transient: true });
                event
                    .held_by
                    .push((Reason::Retry, crate::next_step::pause_after(1)));
                return;
            }
        }
        self.carry_out(index, step, now);
        if let Some(event) = self.events.get_mut(index) {
            event.facts.end(step, now, Outcome::Done);
            event.facts.state = EventState::Waiting;
        }
    }

    pub(super) fn late(&mut self, index: usize, now: Time) {
        let Some(event) = self.events.get(index).filter(|event| event.lived.due < now) else {
            return;
        };
        self.findings.push(Finding::Late {
            asset: event.lived.asset.clone(),
            version: event.lived.version,
            due: event.lived.due,
            by: now.since(event.lived.due),
            reason: event.blame(),
        });
    }

    fn report(mut self) -> Report {
        let until = self.until;
        for index in 0..self.events.len() {
            let unpromoted = |event: &Event| !event.closed && event.lived.promoted_at.is_none();
            if self.events.get(index).is_some_and(unpromoted) {
                self.late(index, until);
            }
        }
        // What was due and never had an event.
        let missed = plan(
            &self.facts,
            &self.policies,
            &self.orders,
            until,
            Span::hours(1),
        )
        .rotations;
        for rotation in missed
            .iter()
            .filter(|rotation| !rotation.has_event && rotation.due < until)
        {
            self.findings.push(Finding::Late {
                asset: rotation.asset.clone(),
                version: rotation.version,
                due: rotation.due,
                by: until.since(rotation.due),
                reason: rotation.late.map(|late| late.reason),
            });
        }
        self.expired_at_the_end(until);
        for (index, signers) in &self.signers {
            let Some(asset) = self.facts.assets.get(*index) else {
                continue;
            };
            let sets = self.sets.get(&asset.name).map_or(&[][..], Vec::as_slice);
            for verifier in &self.world.verifiers {
                self.findings.extend(verifiers::check(
                    &asset.name,
                    sets,
                    signers,
                    verifier,
                    until,
                ));
            }
        }
        let over = self.begun.conflicts().into_iter();
        self.findings.extend(over.map(|over| Finding::TooMany {
            hour: over.hour,
            resource: over.resource,
            kind: over.kind,
            rotations: over.rotations,
            limit: over.limit,
        }));
        // The verifiers were asked in no particular order.
        self.findings
            .sort_by_cached_key(|finding| serde_json::to_string(finding).unwrap_or_default());
        let findings_in_all = self.findings.len();
        self.findings.truncate(MOST_FINDINGS);
        let mut report = Report {
            v: 1,
            start: self.world.start,
            until,
            seed: self.seed,
            assets: self.facts.assets.len(),
            passed: findings_in_all == 0,
            all: Default::default(),
            by_type: BTreeMap::new(),
            automatic_per_mille: 0,
            exceptions: self.policies.exceptions(),
            findings: self.findings,
            findings_in_all,
            rotations: self.events.into_iter().map(|event| event.lived).collect(),
            published: self.sets,
        };
        report.count();
        report
    }
}

/// An instant by a clock that is ahead by `skew` seconds.
fn shifted(at: Time, skew: i64) -> Time {
    Time::from_millis(at.millis().saturating_add(skew.saturating_mul(1_000)))
}
