//! The service's end: starts, feeds, watches and replaces worker processes.

mod back_off;
mod job;
mod keybook;
mod link;
mod monitor;
mod pool;
mod process;
mod worker_slot;
mod wrap;

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::api::{
    Administer, DestroyOrder, DestroyWrapOrder, GenerateOrder, GenerateWrapOrder, Generated,
    GeneratedWrap, ObjectInfo, Reply, Sign, SignRequest, TokenIdentity, Warrant,
};
use crate::config::{Power, TokenConfig};
use crate::error::Error;
use crate::frame::{Answer, Call};
use crate::health::{Health, State};
use crate::key::{CkaId, KeyRef, Signature};
use crate::profile::{Limits, Profile};
use job::{Job, Outcome, Task, Waiter};
use pool::{After, Pool};
use worker_slot::Phase;

/// A message for Ed25519; digests are shorter by nature.
const LONGEST_INPUT: usize = 64 * 1024;

/// What the threads of one supervisor share.
struct Shared {
    config: TokenConfig,
    power: Power,
    pool: Mutex<Pool>,
    /// No worker has been started yet.
    first: AtomicBool,
    /// Calls the monitor.
    tick: Condvar,
    /// Calls whoever waits for readiness or rest.
    ready: Condvar,
}

impl Shared {
    fn pool(&self) -> MutexGuard<'_, Pool> {
        // A panic under the lock is a defect of ours; refusing every later signature would not mend it.
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The profile's limits with the configuration's word over them.
    fn limits(&self, profile: Limits) -> Limits {
        let hard = self.config.hard_timeout.unwrap_or(profile.hard);
        Limits {
            // One executor is enough, and one mutation at a time is what the lock inside the worker assumes.
            processes: match self.power {
                Power::Use => self.config.processes.unwrap_or(profile.processes),
                Power::Administer => 1,
            },
            hard,
            stall: profile.stall.min(hard / 4),
            probe: self.config.probe_interval.unwrap_or(profile.probe),
            ..profile
        }
    }
}

/// A pool of workers on one token. Cheap to clone; the last clone stops the workers.
#[derive(Clone)]
pub struct Supervisor {
    owner: Arc<Owner>,
}

/// Held by every clone; the last one to go ends the workers. The threads hold only [`Shared`], so they keep nothing alive.
struct Owner {
    shared: Arc<Shared>,
    monitor: Mutex<Option<JoinHandle<()>>>,
}

impl Supervisor {
    /// Returns at once with settings errors only; a token that is absent or slow is waited for in the background.
    pub fn start(mut config: TokenConfig, power: Power) -> Result<Supervisor, Error> {
        // The named profile, or a careful one until the first worker has seen the token.
        let profile = match &config.profile {
            Some(name) => Profile::named(name)?,
            None => Profile::named("generic")?,
        };
        // One session: changes of objects then never meet each other in the worker.
        if power == Power::Administer {
            config.sessions = Some(1);
        }
        let pool = Pool::new(
            config.queue_limit,
            profile.limits(),
            config.circuit_after,
            config.probe.as_ref(),
        );
        let shared = Shared {
            config,
            power,
            pool: Mutex::new(pool),
            first: AtomicBool::new(true),
            tick: Condvar::new(),
            ready: Condvar::new(),
        };
        let shared = Arc::new(shared);
        let limits = shared.limits(profile.limits());
        shared.pool().limits = limits;
        let watched = Arc::clone(&shared);
        let monitor = thread::Builder::new()
            .name("hsm-monitor".to_owned())
            .spawn(move || monitor::run(&watched))
            .map_err(|error| Error::WorkerStart {
                reason: error.to_string(),
            })?;
        Ok(Supervisor {
            owner: Arc::new(Owner {
                shared,
                monitor: Mutex::new(Some(monitor)),
            }),
        })
    }

    fn shared(&self) -> &Shared {
        &self.owner.shared
    }

    /// Waits until a worker is ready, or says why none is.
    pub fn wait_ready(&self, deadline: Instant) -> Result<TokenIdentity, Error> {
        let mut pool = self.shared().pool();
        loop {
            match (pool.health().state, &pool.identity) {
                (State::Ready, Some(identity)) => return Ok(identity.clone()),
                (State::Stopped { error }, _) => return Err(error),
                _ => {}
            }
            // The reason is worth more than the fact that time is up.
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(pool.last_error.clone().unwrap_or(Error::DeadlineExceeded));
            }
            (pool, _) = self
                .shared()
                .ready
                .wait_timeout(pool, left)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Cheap enough for every scrape of the metrics.
    pub fn health(&self) -> Health {
        self.shared().pool().health()
    }

    /// Binds ahead of the first use: in every ready worker the key is found, compared and has signed a challenge when
    /// this returns. Workers that start later bind at their first use.
    pub fn prepare(&self, key: &Arc<KeyRef>, deadline: Instant) -> Result<(), Error> {
        self.wait_ready(deadline)?;
        let (sender, receiver) = mpsc::channel();
        let now = Instant::now();
        let mut after = After::default();
        let mut pool = self.shared().pool();
        let number = pool.books.signing.number(key);
        let Pool { slots, books, .. } = &mut *pool;
        for slot in slots.iter_mut().filter(|slot| slot.phase == Phase::Ready) {
            let sender = sender.clone();
            let waiter = Waiter::Answer(Box::new(move |outcome| drop(sender.send(outcome))));
            let job = Job::new(Task::Prepare { key: number }, deadline, waiter);
            if slot.send(job, books, now).is_ok() {
                after.touch(slot.link.as_ref());
            }
        }
        drop(pool);
        after.run();
        // The channel ends when the last worker has answered or died.
        drop(sender);
        receiver.iter().try_for_each(|outcome| outcome.map(drop))
    }

    /// Refuses new work, waits for the accepted until `deadline`, ends the workers.
    pub fn stop(&self, deadline: Instant) {
        let mut pool = self.shared().pool();
        while !pool.is_idle() && Instant::now() < deadline {
            let step = Duration::from_millis(5);
            (pool, _) = self
                .shared()
                .ready
                .wait_timeout(pool, step)
                .unwrap_or_else(PoisonError::into_inner);
        }
        drop(pool);
        self.owner.end();
    }

    /// Takes all jobs under one lock and writes to each worker once.
    fn admit(&self, requests: impl IntoIterator<Item = SignRequest>) {
        let now = Instant::now();
        let mut after = After::default();
        let mut pool = self.shared().pool();
        for request in requests {
            let SignRequest {
                key,
                input,
                deadline,
                reply,
                given,
            } = request;
            if input.len() > LONGEST_INPUT {
                let (cka_id, got) = (key.cka_id, input.len());
                let error = Error::InputLength {
                    cka_id,
                    expected: LONGEST_INPUT,
                    got,
                };
                after
                    .tell
                    .push((Waiter::Signature(reply), Outcome::Error(error)));
                continue;
            }
            let key = pool.books.signing.number(&key);
            let mut job = Job::new(
                Task::Sign { key, input },
                deadline,
                Waiter::Signature(reply),
            );
            job.given = given;
            pool.admit(job, now, &mut after);
        }
        drop(pool);
        after.run();
    }

    /// One call of the executor or of reconciliation, to its end.
    fn call(&self, call: Call) -> Result<Answer, Error> {
        let shared = self.shared();
        // Refused here and again in the worker, whose library has only read-only sessions.
        if job::changed(&call).is_some() && shared.power != Power::Administer {
            return Err(Error::Powerless);
        }
        let (sender, receiver) = mpsc::sync_channel(1);
        let waiter = Waiter::Answer(Box::new(move |outcome| drop(sender.send(outcome))));
        let now = Instant::now();
        let mut after = After::default();
        let mut pool = shared.pool();
        // Long enough for a generation after a recovery. When it passes, a change is `OutcomeUnknown`.
        let deadline = now + pool.hard_limit(true) + shared.config.circuit_after;
        pool.admit(
            Job::new(Task::Call(call), deadline, waiter),
            now,
            &mut after,
        );
        drop(pool);
        after.run();
        receiver.recv().unwrap_or(Err(Error::Stopping))
    }
}

impl Owner {
    /// Waits for the monitor, which waits for the workers: when this returns, no process of ours is left.
    fn end(&self) {
        self.shared.pool().stopping = true;
        self.shared.tick.notify_all();
        let monitor = self
            .monitor
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        // A reply that held the last clone may run on the monitor itself; it then ends by itself, right after.
        if let Some(monitor) = monitor
            && monitor.thread().id() != thread::current().id()
        {
            // A panic there has been reported on standard error already.
            drop(monitor.join());
        }
    }
}

impl Drop for Owner {
    /// Ends the workers also where nobody thought of `stop`.
    fn drop(&mut self) {
        self.end();
    }
}

impl Sign for Supervisor {
    fn submit(&self, key: &Arc<KeyRef>, input: &[u8], deadline: Instant, reply: Reply) {
        self.admit([SignRequest {
            key: Arc::clone(key),
            input: input.to_vec(),
            deadline,
            reply,
            given: None,
        }]);
    }

    fn submit_all(&self, requests: Vec<SignRequest>) {
        self.admit(requests);
    }
}

/// An answer of another kind than the question.
fn odd() -> Error {
    Error::Protocol {
        what: "a response to a different request".to_owned(),
    }
}

impl Administer for Supervisor {
    fn generate(&self, warrant: impl Warrant<GenerateOrder>) -> Result<Generated, Error> {
        match self.call(Call::Generate(warrant.order().clone()))? {
            Answer::Generated(born) => Ok(*born),
            _ => Err(odd()),
        }
    }

    fn destroy(&self, warrant: impl Warrant<DestroyOrder>) -> Result<(), Error> {
        self.call(Call::Destroy(warrant.order().clone())).map(drop)
    }

    fn generate_wrap(
        &self,
        warrant: impl Warrant<GenerateWrapOrder>,
    ) -> Result<GeneratedWrap, Error> {
        match self.call(Call::GenerateWrap(warrant.order().clone()))? {
            Answer::GeneratedWrap(born) => Ok(*born),
            _ => Err(odd()),
        }
    }

    fn read_back_wrap(&self, cka_id: CkaId, challenge: [u8; 32]) -> Result<GeneratedWrap, Error> {
        match self.call(Call::ReadBackWrap(cka_id, challenge))? {
            Answer::GeneratedWrap(born) => Ok(*born),
            _ => Err(odd()),
        }
    }

    fn destroy_wrap(&self, warrant: impl Warrant<DestroyWrapOrder>) -> Result<(), Error> {
        self.call(Call::DestroyWrap(warrant.order().clone()))
            .map(drop)
    }

    fn remove_public_half(&self, token_serial: &str, cka_id: CkaId) -> Result<(), Error> {
        self.call(Call::RemovePublicHalf(token_serial.to_owned(), cka_id))
            .map(drop)
    }

    fn find(&self, cka_id: CkaId) -> Result<Vec<ObjectInfo>, Error> {
        match self.call(Call::Find(cka_id))? {
            Answer::Objects(found) => Ok(found),
            _ => Err(odd()),
        }
    }

    fn list(&self) -> Result<Vec<ObjectInfo>, Error> {
        match self.call(Call::List)? {
            Answer::Objects(found) => Ok(found),
            _ => Err(odd()),
        }
    }

    fn read_back(&self, cka_id: CkaId) -> Result<Generated, Error> {
        match self.call(Call::ReadBack(cka_id))? {
            Answer::Generated(born) => Ok(*born),
            _ => Err(odd()),
        }
    }

    fn prove(&self, key: &KeyRef, input: &[u8]) -> Result<Signature, Error> {
        // The same path as every signature: bound, verified, counted.
        let limit = self.shared().pool().hard_limit(true);
        self.sign(&Arc::new(key.clone()), input, Instant::now() + limit)
    }

    fn token(&self) -> Result<TokenIdentity, Error> {
        match self.call(Call::Token)? {
            Answer::Token(identity) => Ok(identity),
            _ => Err(odd()),
        }
    }
}
