//! The worker's end of the socket. Session threads read it in turn (whoever finds a request works on it, the next one
//! reads), so a request costs no thread switch inside the worker; answers wait for each other for a fraction of a
//! millisecond, so that many leave in one write.

use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use super::keys::Keys;
use zeroize::{Zeroize as _, Zeroizing};

use crate::error::Error;
use crate::frame::{self, Answer, Event, Incoming, Item, KeyNumber, Kind, Status};

/// Answers that may wait for company, and how long the first of them may. Half of what a profile keeps in flight for a
/// session: the other half keeps this one busy while the supervisor refills.
const COMPANY: usize = 8;
const PATIENCE: Duration = Duration::from_millis(1);

/// A frame taken off the socket, owned.
pub struct Request {
    pub kind: Kind,
    pub id: u64,
    /// Erased when it goes: data keys may be in it.
    pub body: Zeroizing<Vec<u8>>,
    pub received: Instant,
}

/// The reading end, held by one session thread at a time.
pub struct Inbox {
    state: Mutex<(UnixStream, Incoming)>,
}

/// A poisoned lock here only means that another session thread panicked between two frames; the bytes are whole.
fn unpoisoned<'a, T>(
    guard: Result<MutexGuard<'a, T>, PoisonError<MutexGuard<'a, T>>>,
) -> MutexGuard<'a, T> {
    guard.unwrap_or_else(PoisonError::into_inner)
}

impl Inbox {
    pub fn new(socket: UnixStream) -> Self {
        Self {
            state: Mutex::new((socket, Incoming::default())),
        }
    }

    /// The next frame. Before it waits, for the socket or for its turn, the answers so far are sent. Definitions of keys
    /// are taken in here, under the lock, so that no other thread meets a request before its key.
    pub fn next(&self, outbox: &Outbox, keys: &Keys) -> io::Result<Request> {
        // Somebody else is reading: our answers must not wait until he has read something.
        let mut guard = match self.state.try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {
                outbox.flush()?;
                unpoisoned(self.state.lock())
            }
        };
        let (socket, incoming) = &mut *guard;
        loop {
            // About to wait for the supervisor, who may be waiting for these.
            while !incoming.has_frame() {
                outbox.flush()?;
                incoming.fill(&*socket)?;
            }
            let frame = incoming.next()?.ok_or_else(frame::broken)?;
            if frame.kind == Kind::Define {
                keys.define(
                    KeyNumber::try_from(frame.id).map_err(|_| frame::broken())?,
                    frame.json()?,
                );
                continue;
            }
            if frame.kind == Kind::DefineWrap {
                keys.define_wrap(
                    KeyNumber::try_from(frame.id).map_err(|_| frame::broken())?,
                    frame.json()?,
                );
                continue;
            }
            return Ok(Request {
                kind: frame.kind,
                id: frame.id,
                body: Zeroizing::new(frame.body.to_vec()),
                received: Instant::now(),
            });
        }
    }
}

/// Answers on their way out.
struct Pending {
    socket: UnixStream,
    bytes: Vec<u8>,
    answers: usize,
    since: Option<Instant>,
    /// Data keys are among the bytes.
    secret: bool,
}

/// The writing end. Frames leave in the order they were put here: a status before the answers it explains.
pub struct Outbox {
    pending: Mutex<Pending>,
}

impl Outbox {
    pub fn new(socket: UnixStream) -> Self {
        Self {
            pending: Mutex::new(Pending {
                socket,
                bytes: Vec::new(),
                answers: 0,
                since: None,
                secret: false,
            }),
        }
    }

    pub fn signed(&self, id: u64, signature: &[u8]) -> io::Result<()> {
        self.answer(|bytes| frame::put(bytes, Kind::Signed, id, &[signature]))
    }

    pub fn wrapped(&self, id: u64, items: &[Item]) -> io::Result<()> {
        let mut pending = unpoisoned(self.pending.lock());
        // What waits is sent first, so that the buffer need not grow and leave a copy of itself behind.
        pending.flush()?;
        pending.secret = true;
        frame::put_items(&mut pending.bytes, id, items);
        pending.flush()
    }

    pub fn done(&self, id: u64, answer: &Answer) -> io::Result<()> {
        self.answer(|bytes| frame::put_json(bytes, Kind::Done, id, answer))
    }

    pub fn failed(&self, id: u64, error: &Error) -> io::Result<()> {
        self.answer(|bytes| frame::put_json(bytes, Kind::Failed, id, error))
    }

    /// Sent at once; should the supervisor be gone, the main thread will notice by itself.
    pub fn status(&self, status: &Status) {
        let mut pending = unpoisoned(self.pending.lock());
        frame::put_json(&mut pending.bytes, Kind::Status, 0, status);
        drop(pending.flush());
    }

    /// Travels with the next answer.
    pub fn event(&self, event: Event) {
        let mut pending = unpoisoned(self.pending.lock());
        frame::put_json(&mut pending.bytes, Kind::Event, 0, &event);
    }

    /// Waits for company only while more requests are at hand; [`Inbox::next`] sends what is left before it waits.
    fn answer(&self, put: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        let mut pending = unpoisoned(self.pending.lock());
        put(&mut pending.bytes);
        pending.answers += 1;
        let now = Instant::now();
        let since = *pending.since.get_or_insert(now);
        // A caller waits for the first of them.
        if pending.answers >= COMPANY || now.duration_since(since) >= PATIENCE {
            pending.flush()
        } else {
            Ok(())
        }
    }

    pub fn flush(&self) -> io::Result<()> {
        unpoisoned(self.pending.lock()).flush()
    }
}

impl Pending {
    fn flush(&mut self) -> io::Result<()> {
        self.answers = 0;
        self.since = None;
        if self.bytes.is_empty() {
            return Ok(());
        }
        // Blocks while the supervisor does not read; its reading thread does nothing else.
        let sent = (&self.socket).write_all(&self.bytes);
        if std::mem::take(&mut self.secret) {
            self.bytes[..].zeroize();
        }
        self.bytes.clear();
        sent
    }
}
