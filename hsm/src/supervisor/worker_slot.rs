//! A slot for one worker process, and what is in flight there.

use std::collections::VecDeque;
use std::process::Child;
use std::sync::Arc;
use std::time::Instant;

use super::job::{Job, Task};
use super::keybook::KeyBook;
use super::link::Link;
use crate::frame::{self, KeyNumber, Kind, WrapHead};
use crate::key::KeyRef;
use crate::wrap::WrapRef;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// No process; one may be started from this moment on.
    Vacant {
        from: Instant,
    },
    /// Waits for another process of this token to finish its start.
    Queued,
    /// Inside the library for the first time.
    Starting,
    /// Up again after an open circuit; signs a probe before it gets work.
    Proving,
    Ready,
    /// The process lives, the token does not answer.
    Down,
    /// Killed; its socket has not closed yet.
    Dying,
}

/// The keys that were ever used, by number.
#[derive(Default)]
pub struct Books {
    pub signing: KeyBook<KeyRef>,
    pub wrapping: KeyBook<WrapRef>,
}

pub struct InFlight {
    /// Tells this request from the next one in the same slot.
    serial: u64,
    pub sent: Instant,
    /// Empty when the request was given to another worker: the answer, should it come, is dropped, but until then the
    /// room in this worker is taken.
    pub job: Option<Box<Job>>,
    /// A call that may take many times as long as a signature.
    pub slow: bool,
    /// Work that goes behind the others; it takes as long as many signatures.
    pub background: bool,
}

pub struct WorkerSlot {
    pub phase: Phase,
    /// Distinguishes the processes that have had this slot, so that a late word of one is not taken for the next one's.
    pub incarnation: u64,
    /// The way to the process, while there is one.
    pub link: Option<Arc<Link>>,
    /// Kept until it is reaped, also when the slot is vacant already.
    pub child: Option<Child>,
    /// As the worker said when it got ready.
    pub sessions: usize,
    pub generation: u64,
    /// Starts in a row that came to nothing.
    pub failures: u32,
    /// Since when the process has been inside the library to bring the token up, with the token's start lock in its
    /// hand: in its first attempt or in a later one, while it says that the token is down.
    pub attempt: Option<Instant>,
    pub last_answer: Instant,
    /// The low sixteen bits of a frame's id are the index here.
    slots: Vec<Option<InFlight>>,
    used: usize,
    serial: u64,
    /// Which keys this process has been told of, by number.
    defined: Vec<bool>,
    defined_wraps: Vec<bool>,
}

impl WorkerSlot {
    pub fn new(now: Instant) -> Self {
        Self {
            phase: Phase::Vacant { from: now },
            incarnation: 0,
            link: None,
            child: None,
            sessions: 1,
            generation: 0,
            failures: 0,
            attempt: None,
            last_answer: now,
            slots: Vec::new(),
            used: 0,
            serial: 0,
            defined: Vec::new(),
            defined_wraps: Vec::new(),
        }
    }

    pub fn in_flight(&self) -> usize {
        self.used
    }

    /// How long a new request would wait here, in signatures; a piece of background work takes as long as some.
    pub fn load(&self) -> usize {
        self.used + 7 * self.background()
    }

    /// Room for one more: one request being signed in each session, the others ready in the socket, so that no session
    /// waits for us.
    pub fn has_room(&self, depth: usize) -> bool {
        self.phase == Phase::Ready && self.used < self.sessions * depth
    }

    /// Puts the job on the wire (the caller flushes) and remembers it.
    pub fn send(&mut self, job: Box<Job>, books: &Books, now: Instant) -> Result<(), Box<Job>> {
        let Some(link) = self.link.clone() else {
            return Err(job);
        };
        self.serial += 1;
        let index = match self.slots.iter().position(Option::is_none) {
            Some(free) => free,
            None => {
                self.slots.push(None);
                self.slots.len() - 1
            }
        };
        let id = self.serial << 16 | index as u64;
        let key = match &job.task {
            Task::Sign { key, .. } | Task::Prepare { key } => Some(*key),
            Task::Probe { key } => *key,
            Task::Wrap { .. } | Task::Call(_) => None,
        };
        if let Task::Wrap { from, to, .. } = &job.task {
            self.define_wraps(&link, [*from, *to], &books.wrapping);
        }
        // Told once to each process; a request that came before its key could not be served.
        let define = key.filter(|key| !self.defined.get(*key as usize).is_some_and(|known| *known));
        let secret = matches!(job.task, Task::Wrap { .. });
        let put = |out: &mut Vec<u8>| {
            if let Some(reference) = define.and_then(|key| books.signing.get(key)) {
                frame::put_json(out, Kind::Define, u64::from(define.unwrap_or(0)), reference);
            }
            match &job.task {
                Task::Sign { key, input } => {
                    let left = job.deadline.saturating_duration_since(now).as_millis();
                    let left = u32::try_from(left).unwrap_or(u32::MAX);
                    frame::put(
                        out,
                        Kind::Sign,
                        id,
                        &[&key.to_le_bytes(), &left.to_le_bytes(), input],
                    );
                }
                Task::Prepare { key } => frame::put(out, Kind::Prepare, id, &[&key.to_le_bytes()]),
                Task::Probe { key: Some(key) } => {
                    frame::put(out, Kind::Probe, id, &[&key.to_le_bytes()])
                }
                Task::Probe { key: None } => frame::put(out, Kind::Probe, id, &[]),
                Task::Wrap {
                    op,
                    from,
                    to,
                    items,
                } => {
                    let left = job.deadline.saturating_duration_since(now).as_millis();
                    let head = WrapHead {
                        op: *op,
                        from: *from,
                        to: *to,
                        left_ms: u32::try_from(left).unwrap_or(u32::MAX),
                    };
                    frame::put(out, Kind::Wrap, id, &[&head.bytes(), items]);
                }
                Task::Call(call) => frame::put_json(out, Kind::Call, id, call),
            }
        };
        match secret {
            true => link.put_secret(put),
            false => link.put(put),
        }
        if let Some(key) = define {
            let index = key as usize;
            if self.defined.len() <= index {
                self.defined.resize(index + 1, false);
            }
            self.defined[index] = true;
        }
        let background = job.is_background();
        let slow = matches!(job.task, Task::Call(_));
        self.slots[index] = Some(InFlight {
            serial: self.serial,
            sent: now,
            job: Some(job),
            slow,
            background,
        });
        self.used += 1;
        Ok(())
    }

    /// Tells the process of the wrapping keys that it does not know yet.
    fn define_wraps(&mut self, link: &Link, numbers: [KeyNumber; 2], wraps: &KeyBook<WrapRef>) {
        for number in numbers {
            let index = number as usize;
            if self.defined_wraps.get(index).is_some_and(|known| *known) {
                continue;
            }
            if let Some(reference) = wraps.get(number) {
                let id = u64::from(number);
                link.put(|out| frame::put_json(out, Kind::DefineWrap, id, reference));
            }
            if self.defined_wraps.len() <= index {
                self.defined_wraps.resize(index + 1, false);
            }
            self.defined_wraps[index] = true;
        }
    }

    /// Requests that go behind the others, and are here.
    pub fn background(&self) -> usize {
        let flights = self.slots.iter().flatten();
        flights.filter(|flight| flight.background).count()
    }

    /// The job that an answer is for, and its room back. `None` for an answer to nothing we know.
    pub fn take(&mut self, id: u64, now: Instant) -> Option<InFlight> {
        let slot = self.slots.get_mut((id & 0xffff) as usize)?;
        if slot.as_ref()?.serial != id >> 16 {
            return None;
        }
        self.used -= 1;
        self.last_answer = now;
        slot.take()
    }

    /// Everything in flight, when the process is gone.
    pub fn take_all(&mut self) -> VecDeque<Box<Job>> {
        self.used = 0;
        self.defined.clear();
        self.defined_wraps.clear();
        self.slots
            .drain(..)
            .flatten()
            .filter_map(|flight| flight.job)
            .collect()
    }

    pub fn flights(&mut self) -> impl Iterator<Item = &mut InFlight> {
        self.slots.iter_mut().flatten()
    }
}
