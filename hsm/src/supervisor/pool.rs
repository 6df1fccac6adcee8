//! The state behind the supervisor's lock, and the decisions over it: who gets which work, and what becomes of it.
//!
//! Nothing here blocks, calls back or touches a process; what must be done outside the lock is handed back as [`After`].

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::job::{Job, Outcome, Task, Waiter};
use super::link::Link;
use super::worker_slot::{Books, Phase, WorkerSlot};
use crate::api::TokenIdentity;
use crate::error::Error;
use crate::frame::KeyNumber;
use crate::health::{Counters, Health, ProcessHealth, State};
use crate::key::KeyRef;
use crate::profile::Limits;
use crate::wrap::WrapOp;

/// A generation of RSA-4096 on a busy machine takes many times as long as a signature.
const SLOW: u32 = 12;

/// Re-wrapping that has waited this long gets its turn before signatures, once.
const BACKGROUND_SHARE: Duration = Duration::from_millis(20);

/// A signature this long ago says that more will come.
const FOREGROUND: Duration = Duration::from_millis(200);

/// To be done when the lock is free again: first the wire, then the callers.
#[derive(Default)]
pub struct After {
    pub flush: Vec<Arc<Link>>,
    pub tell: Vec<(Waiter, Outcome)>,
}

impl After {
    pub fn run(self) {
        self.flush.iter().for_each(|link| link.flush());
        self.tell
            .into_iter()
            .for_each(|(waiter, outcome)| waiter.tell(outcome));
    }

    /// Each worker is written to once, however many requests it got.
    pub fn touch(&mut self, link: Option<&Arc<Link>>) {
        if let Some(link) = link
            && !self.flush.iter().any(|known| Arc::ptr_eq(known, link))
        {
            self.flush.push(Arc::clone(link));
        }
    }
}

/// Whether work is refused at once, and what that depends on.
pub struct Circuit {
    pub open: bool,
    /// Without a ready worker for this long, it opens.
    pub after: Duration,
    /// What callers are told to wait.
    pub pause: Duration,
    /// When processes had to be killed, within the last minute and since the last signature.
    pub kills: VecDeque<Instant>,
    /// Since when no worker is ready.
    pub down_since: Option<Instant>,
}

impl Circuit {
    pub fn new(after: Duration) -> Self {
        Self {
            open: false,
            after,
            pause: Duration::from_secs(1),
            kills: VecDeque::new(),
            down_since: None,
        }
    }
}

pub struct Pool {
    /// Waits for room in a worker. Whoever was in flight when a worker died comes back to the front.
    pub queue: VecDeque<Box<Job>>,
    pub queue_limit: usize,
    /// Re-wrapping, behind everything else; bounded like the queue.
    pub background: VecDeque<Box<Job>>,
    /// When something else was asked for last.
    pub asked: Option<Instant>,
    /// When a worker was given some of it last.
    pub background_given: Instant,
    /// Failed for a passing reason; due again at that moment.
    pub delayed: Vec<(Instant, Box<Job>)>,
    pub slots: Vec<WorkerSlot>,
    pub books: Books,
    /// A key kept for probing; without one the key used last.
    pub probe_key: Option<KeyNumber>,
    pub last_key: Option<KeyNumber>,
    pub limits: Limits,
    pub identity: Option<TokenIdentity>,
    /// What the trial of wrapping found, in the worker that became ready last.
    pub wrap: Option<Result<(), String>>,
    pub counters: Counters,
    pub circuit: Circuit,
    pub last_error: Option<Error>,
    /// What the service log was told of the outage that goes on.
    pub outage: Option<Error>,
    /// A person must act; with the stamp of the PIN source at that time, and when to look again.
    pub stopped: Option<(Error, Option<String>, Instant)>,
    /// Set once; nothing new is let in.
    pub stopping: bool,
    pub ever_ready: bool,
}

impl Pool {
    /// Without any slot yet; the monitor makes them.
    pub fn new(
        queue_limit: usize,
        limits: Limits,
        after: Duration,
        probe: Option<&Arc<KeyRef>>,
    ) -> Self {
        let mut books = Books::default();
        Self {
            queue: VecDeque::new(),
            queue_limit,
            background: VecDeque::new(),
            asked: None,
            background_given: Instant::now(),
            delayed: Vec::new(),
            slots: Vec::new(),
            probe_key: probe.map(|key| books.signing.number(key)),
            books,
            last_key: None,
            limits,
            identity: None,
            wrap: None,
            counters: Counters::default(),
            circuit: Circuit::new(after),
            last_error: None,
            outage: None,
            stopped: None,
            stopping: false,
            ever_ready: false,
        }
    }

    /// Whether anybody could sign now.
    pub fn any_ready(&self) -> bool {
        self.slots.iter().any(|slot| slot.phase == Phase::Ready)
    }

    /// How long a call may take before its process is killed.
    pub fn hard_limit(&self, slow: bool) -> Duration {
        self.limits.hard * if slow { SLOW } else { 1 }
    }

    /// Why new work is refused, if it is.
    fn refusal(&self) -> Option<Error> {
        if self.stopping {
            return Some(Error::Stopping);
        }
        if self.any_ready() && !self.circuit.open {
            return None;
        }
        if let Some((error, ..)) = &self.stopped {
            return Some(error.clone());
        }
        self.circuit.open.then_some(Error::CircuitOpen {
            retry_after: self.circuit.pause,
        })
    }

    /// Takes new work, or answers why not.
    pub fn admit(&mut self, job: Box<Job>, now: Instant, after: &mut After) {
        if let Some(error) = self.refusal() {
            after.tell.push((job.waiter, Outcome::Error(error)));
            return;
        }
        if let Task::Sign { key, .. } = &job.task {
            self.last_key = Some(*key);
        }
        if job.is_background() {
            if self.background.len() >= self.queue_limit {
                self.overloaded(job, after);
            } else {
                self.background.push_back(job);
                self.dispatch(now, after);
            }
            return;
        }
        self.asked = Some(now);
        // Whoever waits goes first.
        let job = match self.queue.is_empty() {
            true => match self.place_job(job, now, after) {
                Ok(()) => return,
                Err(job) => job,
            },
            false => job,
        };
        if self.queue.len() + self.delayed.len() >= self.queue_limit {
            self.overloaded(job, after);
        } else {
            self.queue.push_back(job);
        }
    }

    fn overloaded(&mut self, job: Box<Job>, after: &mut After) {
        self.counters.overloaded += 1;
        let limit = self.queue_limit;
        let error = Error::Overloaded { limit };
        after.tell.push((job.waiter, Outcome::Error(error)));
    }

    /// Work that was let in before goes in front of what waits: it has waited longest.
    fn requeue(&mut self, job: Box<Job>) {
        match job.is_background() {
            true => self.background.push_front(job),
            false => self.queue.push_front(job),
        }
    }

    /// To the ready worker with the least in flight.
    fn place_job(
        &mut self,
        job: Box<Job>,
        now: Instant,
        after: &mut After,
    ) -> Result<(), Box<Job>> {
        let depth = self.limits.depth;
        // Ties go to the first: at low load one warm worker does it all.
        let best = self
            .slots
            .iter_mut()
            .filter(|slot| slot.has_room(depth))
            .min_by_key(|slot| slot.load() / slot.sessions.max(1));
        let Some(slot) = best else {
            return Err(job);
        };
        if let Some(given) = &job.given {
            // Of what is done again the first time counts.
            let _ = given.set(now);
        }
        slot.send(job, &self.books, now)?;
        after.touch(slot.link.as_ref());
        Ok(())
    }

    /// Moves waiting work to workers with room.
    pub fn dispatch(&mut self, now: Instant, after: &mut After) {
        // A share of its own where the queue is never empty.
        if now.saturating_duration_since(self.background_given) >= BACKGROUND_SHARE {
            self.place_background(now, after);
        }
        while let Some(job) = self.queue.pop_front() {
            if let Err(job) = self.place_job(job, now, after) {
                self.queue.push_front(job);
                return;
            }
        }
        while self.place_background(now, after) {}
    }

    /// One piece to the worker with the least to do among those that have none. One is all that a signature may have to wait
    /// behind, and while there are signatures half of the workers are kept free of it.
    fn place_background(&mut self, now: Instant, after: &mut After) -> bool {
        let depth = self.limits.depth;
        let ready = |slot: &&WorkerSlot| slot.phase == Phase::Ready;
        let taken = self.slots.iter().filter(|slot| slot.background() > 0);
        let (ready, taken) = (self.slots.iter().filter(ready).count(), taken.count());
        let asked = self
            .asked
            .is_some_and(|at| now.saturating_duration_since(at) < FOREGROUND);
        let another = !asked || taken < (ready / 2).max(1);
        let best = self
            .slots
            .iter_mut()
            .filter(|slot| slot.has_room(depth) && slot.background() < slot.sessions.div_ceil(2))
            .filter(|slot| another || slot.background() > 0)
            .min_by_key(|slot| slot.in_flight());
        let Some(slot) = best else {
            return false;
        };
        let Some(job) = self.background.pop_front() else {
            return false;
        };
        match slot.send(job, &self.books, now) {
            Ok(()) => {
                after.touch(slot.link.as_ref());
                self.background_given = now;
                true
            }
            Err(job) => {
                self.background.push_front(job);
                false
            }
        }
    }

    /// An answer from the worker in `slot`.
    pub fn settle(
        &mut self,
        slot: usize,
        id: u64,
        outcome: Outcome,
        now: Instant,
        after: &mut After,
    ) {
        // An answer nobody waits for: the worker was slow, and the request has been taken away from it.
        let Some(flight) = self.slots[slot].take(id, now) else {
            return;
        };
        let Some(job) = flight.job else {
            return;
        };
        if let Task::Probe { .. } = job.task {
            self.probed(slot, &outcome);
            return;
        }
        match outcome {
            Outcome::Error(error) => self.failed(job, error, now, after),
            good => {
                self.slots[slot].failures = 0;
                match &good {
                    Outcome::Signature(_) => {
                        self.counters.signatures += 1;
                        self.circuit.kills.clear();
                    }
                    Outcome::Items(items) => {
                        self.wrapped(&job.task, items.len() as u64);
                        self.circuit.kills.clear();
                    }
                    Outcome::Answer(_) | Outcome::Error(_) => {}
                }
                if job.waiter.is_somebody() {
                    after.tell.push((job.waiter, good));
                }
            }
        }
    }

    fn wrapped(&mut self, task: &Task, items: u64) {
        let Task::Wrap { op, .. } = task else {
            return;
        };
        match op {
            WrapOp::Check => {}
            WrapOp::Wrap => self.counters.wraps += items,
            WrapOp::Unwrap => self.counters.unwraps += items,
            WrapOp::Rewrap => self.counters.rewraps += items,
        }
    }

    /// A passing error is tried again while the deadline allows the pause; the caller sees only the delay.
    fn failed(&mut self, mut job: Box<Job>, error: Error, now: Instant, after: &mut After) {
        self.last_error = Some(error.clone());
        // Nobody is served by an attempt that cannot begin before the deadline.
        if job.waiter.is_somebody() && job.may_retry(&error) && now + job.pause() < job.deadline {
            let due = now + job.pause();
            job.attempts += 1;
            self.counters.resubmitted += 1;
            self.delayed.push((due, job));
            return;
        }
        self.counters.failures += 1;
        after.tell.push((job.waiter, Outcome::Error(error)));
    }

    /// The outcome of a signature of our own.
    fn probed(&mut self, slot: usize, outcome: &Outcome) {
        self.counters.probes += 1;
        let slot = &mut self.slots[slot];
        let token_answers = match outcome {
            Outcome::Error(error) => {
                self.counters.probes_failed += 1;
                self.last_error = Some(error.clone());
                // A key that is gone is that key's trouble; the token has answered.
                !matches!(
                    error,
                    Error::WorkerLost | Error::TokenAbsent { .. } | Error::Token { .. }
                )
            }
            _ => true,
        };
        if slot.phase == Phase::Proving && token_answers {
            slot.phase = Phase::Ready;
        }
    }

    /// Half-open: one signature of our own before anybody else's depends on this worker. Without a key to try, its word
    /// must do.
    pub fn prove(&mut self, slot: usize, now: Instant, after: &mut After) {
        let Some(key) = self.probe_key.or(self.last_key) else {
            return;
        };
        let slot = &mut self.slots[slot];
        slot.phase = Phase::Proving;
        let probe = Job::new(
            Task::Probe { key: Some(key) },
            now + self.limits.hard,
            Waiter::Nobody,
        );
        // Fails only without a process; then there is nobody to prove anything.
        drop(slot.send(probe, &self.books, now));
        after.touch(slot.link.as_ref());
    }

    /// The process in `slot` is gone.
    pub fn lost(&mut self, slot: usize, now: Instant, after: &mut After) {
        // In reverse, each to the front: the queue then has them in the order they came.
        let jobs = self.slots[slot].take_all();
        self.slots[slot].link = None;
        for mut job in jobs.into_iter().rev() {
            match job.after_death() {
                _ if !job.waiter.is_somebody() => {}
                Some(error) => {
                    self.counters.failures += 1;
                    after.tell.push((job.waiter, Outcome::Error(error)));
                }
                None => {
                    // In front: it has waited longest. The limit is for newcomers; these were let in before.
                    self.counters.resubmitted += 1;
                    self.requeue(job);
                }
            }
        }
        self.dispatch(now, after);
    }

    /// Answers everything whose deadline has passed. What a worker still has keeps its room there until the worker
    /// answers or dies: the permit lives with the work.
    pub fn expire(&mut self, now: Instant, after: &mut After) {
        let before = after.tell.len();
        let late = |job: &Job| job.deadline <= now;
        let mut kept = VecDeque::with_capacity(self.queue.len());
        for job in self.queue.drain(..) {
            match late(&job) {
                true => after
                    .tell
                    .push((job.waiter, Outcome::Error(Error::DeadlineExceeded))),
                false => kept.push_back(job),
            }
        }
        self.queue = kept;
        let (overdue, kept) = self.background.drain(..).partition(|job| late(job));
        self.background = kept;
        let overdue: VecDeque<Box<Job>> = overdue;
        for job in overdue {
            after
                .tell
                .push((job.waiter, Outcome::Error(Error::DeadlineExceeded)));
        }
        for slot in &mut self.slots {
            for flight in slot.flights() {
                if let Some(job) = &mut flight.job
                    && late(job)
                    && job.waiter.is_somebody()
                {
                    let error = job.overdue();
                    // The caller goes, the job stays: whether the token signs meanwhile is not up to us.
                    let waiter = std::mem::replace(&mut job.waiter, Waiter::Nobody);
                    after.tell.push((waiter, Outcome::Error(error)));
                }
            }
        }
        self.counters.deadline_exceeded += (after.tell.len() - before) as u64;
    }

    /// Delayed work whose pause is over, and requests that a silent worker sits on, go back to the front.
    pub fn revive(&mut self, now: Instant, after: &mut After) {
        let mut index = 0;
        while index < self.delayed.len() {
            if self.delayed[index].0 <= now || self.delayed[index].1.deadline <= now {
                let (_, job) = self.delayed.swap_remove(index);
                self.requeue(job);
            } else {
                index += 1;
            }
        }
        self.steal(now);
        self.dispatch(now, after);
    }

    /// Only when somebody else is there to take it: otherwise the request is where it has the best chance.
    fn steal(&mut self, now: Instant) {
        let (stall, depth) = (self.limits.stall, self.limits.depth);
        if self
            .slots
            .iter()
            .filter(|slot| slot.phase == Phase::Ready)
            .count()
            < 2
        {
            return;
        }
        let free = |slots: &[WorkerSlot], but: usize| {
            let others = slots.iter().enumerate().filter(|(index, _)| *index != but);
            others
                .filter(|(_, slot)| slot.has_room(depth) && now - slot.last_answer < stall)
                .count()
                > 0
        };
        for index in 0..self.slots.len() {
            if now - self.slots[index].last_answer < stall || !free(&self.slots, index) {
                continue;
            }
            for flight in self.slots[index].flights() {
                let worth = |job: &Job| job.repeatable() && !job.stolen && job.waiter.is_somebody();
                if now - flight.sent >= stall
                    && flight.job.as_deref().is_some_and(worth)
                    && let Some(mut job) = flight.job.take()
                {
                    job.stolen = true;
                    self.counters.resubmitted += 1;
                    // `requeue` needs the whole pool, and the slots are borrowed.
                    match job.is_background() {
                        true => self.background.push_front(job),
                        false => self.queue.push_front(job),
                    }
                }
            }
        }
    }

    /// Refuses everything that waits, when the circuit opens, a person must act, or we stop.
    pub fn refuse_all(&mut self, error: &Error, after: &mut After) {
        let waiting = self
            .queue
            .drain(..)
            .chain(self.background.drain(..))
            .chain(self.delayed.drain(..).map(|(_, job)| job));
        for job in waiting {
            self.counters.failures += 1;
            after.tell.push((job.waiter, Outcome::Error(error.clone())));
        }
    }

    /// Nothing waits and nothing is in flight.
    pub fn is_idle(&self) -> bool {
        self.queue.is_empty()
            && self.background.is_empty()
            && self.delayed.is_empty()
            && self.slots.iter().all(|slot| slot.in_flight() == 0)
    }

    /// One consistent look at everything.
    pub fn health(&self) -> Health {
        // Somebody who can sign outweighs everything; then what only a person can change.
        let state = match (&self.stopped, self.any_ready() && !self.circuit.open) {
            (_, true) => State::Ready,
            (Some((error, ..)), _) => State::Stopped {
                error: error.clone(),
            },
            _ if self.stopping => State::Stopped {
                error: Error::Stopping,
            },
            _ if self.circuit.open => State::CircuitOpen {
                retry_after: self.circuit.pause,
            },
            _ if !self.ever_ready => State::Starting,
            _ => State::Recovering,
        };
        let process = |slot: &WorkerSlot| ProcessHealth {
            pid: slot.child.as_ref().map(std::process::Child::id),
            ready: slot.phase == Phase::Ready,
            generation: slot.generation,
            in_flight: slot.in_flight(),
        };
        Health {
            state,
            token: self.identity.clone(),
            wrap: self.wrap.clone(),
            processes: self.slots.iter().map(process).collect(),
            queued: self.queue.len() + self.delayed.len(),
            queue_limit: self.queue_limit,
            last_error: self.last_error.clone(),
            counters: self.counters,
        }
    }
}

#[cfg(test)]
mod tests;
