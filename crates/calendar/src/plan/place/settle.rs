//! From a rotation's hour to its instants: pauses, windows, what is overdue, what follows.

use crate::facts::{Consent, OpenEvent};
use crate::key_type::Grace;
use crate::plan::due::{Basis, WORK, ceiling_hour};
use crate::plan::ledger::Takes;
use crate::plan::planned::{Late, Plan, Rotation};
use crate::policy::Policy;
use crate::time::{Span, Time};
use crate::words::{EventState, Priority, Reason, Trigger};

use super::{Entry, Placed, Planner};

impl Planner<'_> {
    /// An event keeps its hour. Of several of one asset the last says what follows.
    pub(super) fn keep(
        &mut self,
        index: usize,
        event: &OpenEvent,
        takes: Takes,
        basis: Basis,
        last: bool,
    ) {
        let Some(Entry {
            asset,
            policy,
            next,
            ..
        }) = self.entries.get_mut(index)
        else {
            return;
        };
        if event.promoted_at.is_none() {
            self.ledger.enter(takes, event.slot.hour());
        }
        *next = (*next).max(event.version.saturating_add(1));
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
            is_promoted: event.promoted_at.is_some(),
            notice: !policy.open_hours().is_always(),
        };
        let begun = event.published_at.or(event.promoted_at).is_some();
        self.settle(Placed {
            entry: index,
            rotation,
            basis,
            displaced: None,
            begun,
            last,
        });
    }

    /// Whether a rotation has not begun although its hour is over.
    fn is_overdue(&self, placed: &Placed) -> bool {
        !placed.begun && placed.rotation.slot.hour() < self.now.hour()
    }

    /// Fills in what follows from a rotation's beginning, and puts the next one in line.
    pub(super) fn settle(&mut self, mut placed: Placed) {
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
        let Some((pause, begins_at)) = self
            .facts
            .pause
            .zip(rotation.begins_at)
            .filter(|_| !placed.begun)
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

    /// An emergency takes a standby version that was published long ago; what verifiers do not fetch is ready at once.
    fn emergency_ready(&self, entry: usize, policy: &Policy, begins_at: Time) -> Time {
        if !policy.key_type().published {
            return begins_at;
        }
        let asset = self.entries.get(entry).map(|entry| entry.asset);
        let published_at = asset.and_then(|asset| asset.standby()?.1);
        (published_at.unwrap_or(begins_at) + policy.lead()).max(begins_at)
    }

    fn fill(&self, placed: &mut Placed) {
        let Some(policy) = self.entries.get(placed.entry).map(|entry| entry.policy) else {
            return;
        };
        let emergency = placed.rotation.trigger == Trigger::Event;
        let rotation = &mut placed.rotation;
        if let (None, Some(begins_at)) = (rotation.promote_at, rotation.begins_at) {
            let ready = match emergency {
                true => self.emergency_ready(placed.entry, policy, begins_at),
                false => begins_at + policy.lead(),
            };
            match self.promotion(policy, ready, emergency) {
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
        if !placed.last {
            return;
        }
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
        // What lives too short to be planned for does not fill its hour again and again.
        let from = retire_at.max(begins_at + WORK);
        self.enqueue(placed.entry, basis, from);
    }

    /// What is overdue begins in the first hours that have room: emergencies, then the important, then what is due first.
    pub(super) fn settle_overdue(&mut self) {
        let mut overdue: Vec<(bool, Priority, Time, u64, usize)> = Vec::new();
        for (index, placed) in self.placed.iter().enumerate() {
            let Some(entry) = self
                .entries
                .get(placed.entry)
                .filter(|_| self.is_overdue(placed))
            else {
                continue;
            };
            let is_routine = placed.rotation.trigger != Trigger::Event;
            let (priority, due) = (entry.policy.priority(), placed.rotation.due);
            overdue.push((is_routine, priority, due, entry.number, index));
        }
        overdue.sort_unstable();
        let paused = self.facts.pause.and_then(|pause| pause.until);
        let first = paused.map_or(self.now.hour(), |until| {
            ceiling_hour(until).max(self.now.hour())
        });
        for (.., index) in overdue {
            self.settle_one_overdue(index, first);
        }
    }

    fn settle_one_overdue(&mut self, index: usize, first: i64) {
        let Some(mut placed) = self.placed.get_mut(index).map(|placed| Placed {
            entry: placed.entry,
            rotation: placed.rotation.clone(),
            basis: placed.basis,
            displaced: placed.displaced,
            begun: placed.begun,
            last: placed.last,
        }) else {
            return;
        };
        let Some(Entry { takes, open, .. }) = self.entries.get(placed.entry) else {
            return;
        };
        let (takes, open) = (*takes, *open);
        placed.rotation.begins_at = Some(placed.rotation.slot);
        self.hold_back(&mut placed);
        if placed.rotation.begins_at.is_some() {
            let emergency = placed.rotation.trigger == Trigger::Event;
            let highest = self.highest();
            let hour = match emergency {
                true => Some(self.now.hour()),
                false => {
                    let ledger = &mut self.ledger;
                    open.and_then(|open| ledger.room_from(takes, open, first, highest))
                }
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

    pub(super) fn finish(self) -> Plan {
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
        let within = |rotation: &Rotation| rotation.slot.min(rotation.due) < until;
        let mut places: Vec<(Time, u64, u32, usize)> = (placed.iter().enumerate())
            .filter(|(_, placed)| within(&placed.rotation))
            .map(
                |(
                    index,
                    Placed {
                        entry, rotation, ..
                    },
                )| {
                    let number = entries.get(*entry).map_or(0, |entry| entry.number);
                    (rotation.slot, number, rotation.version, index)
                },
            )
            .collect();
        // Places are small to sort, and rotations are not.
        places.sort_unstable();
        let mut placed: Vec<Option<Rotation>> =
            placed.into_iter().map(|one| Some(one.rotation)).collect();
        let rotations = places
            .into_iter()
            .filter_map(|(.., index)| placed.get_mut(index)?.take());
        unplanned.sort_by(|a, b| (&a.asset, a.why).cmp(&(&b.asset, b.why)));
        let mut conflicts = ledger.conflicts();
        // Hours that are over have passed, whatever was in them.
        conflicts.retain(|conflict| conflict.hour.hour() >= now.hour() && conflict.hour < until);
        Plan {
            now,
            until,
            rotations: rotations.collect(),
            unplanned,
            conflicts,
            exceptions: policies.exceptions(),
        }
    }
}
