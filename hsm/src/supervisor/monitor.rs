//! The watching thread: deadlines, hung processes, starts, probes, the circuit.

use std::process::Child;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::Shared;
use super::back_off::back_off;
use super::job::{Job, Task, Waiter};
use super::pool::{After, Pool};
use super::process;
use super::worker_slot::{Phase, WorkerSlot};
use crate::error::Error;
use crate::worker::pin;

/// Between looks while there is work or trouble, and while there is none.
const BUSY: Duration = Duration::from_millis(5);
const IDLE: Duration = Duration::from_millis(100);
/// Kills within a minute that open the circuit.
const KILLS: usize = 3;
/// What a process may take to bring the token up, however short its calls have to be.
const START: Duration = Duration::from_secs(2);
/// Between proofs of a worker that failed the last one.
const PROVE_AGAIN: Duration = Duration::from_millis(50);
/// How long ended workers may take before they are killed.
const FAREWELL: Duration = Duration::from_millis(500);

/// Until the supervisor stops. Decisions are made under the lock, their effects outside it.
pub fn run(shared: &Arc<Shared>) {
    let mut ended: Vec<Child> = Vec::new();
    loop {
        let mut pool = shared.pool();
        if pool.stopping {
            break;
        }
        // Deadlines first: a caller's time is not spent on our housekeeping.
        let now = Instant::now();
        let mut after = After::default();
        pool.expire(now, &mut after);
        reap(&mut pool, &mut ended);
        kill_hung(&mut pool, now);
        circuit(&mut pool, now, &mut after);
        if may_start(shared, &mut pool, now, &mut after) {
            start_one(shared, &mut pool, now);
        }
        probe(&mut pool, now, &mut after);
        pool.revive(now, &mut after);
        // What a full socket did not take the last time.
        pool.slots
            .iter()
            .for_each(|slot| after.touch(slot.link.as_ref()));
        let calm = pool.is_idle() && pool.slots.iter().all(|slot| slot.phase == Phase::Ready);
        drop(pool);
        after.run();
        shared.ready.notify_all();
        ended.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
        let pool = shared.pool();
        if !pool.stopping {
            let wait = if calm { IDLE } else { BUSY };
            drop(
                shared
                    .tick
                    .wait_timeout(pool, wait)
                    .unwrap_or_else(PoisonError::into_inner),
            );
        }
    }
    farewell(shared, ended);
}

/// Ends all workers: their sockets close, they leave by themselves; who does not is killed.
fn farewell(shared: &Shared, mut ended: Vec<Child>) {
    let mut after = After::default();
    let mut pool = shared.pool();
    pool.refuse_all(&Error::Stopping, &mut after);
    for index in 0..pool.slots.len() {
        let slot = &mut pool.slots[index];
        slot.incarnation += 1;
        slot.phase = Phase::Vacant {
            from: Instant::now(),
        };
        if let Some(link) = slot.link.take() {
            link.close();
        }
        ended.extend(slot.child.take());
        // Changes of objects that a worker still had may have happened.
        for job in slot.take_all() {
            let error = job.overdue();
            let error = if error == Error::DeadlineExceeded {
                Error::Stopping
            } else {
                error
            };
            after
                .tell
                .push((job.waiter, super::job::Outcome::Error(error)));
        }
    }
    drop(pool);
    after.run();
    shared.ready.notify_all();
    let until = Instant::now() + FAREWELL;
    while !ended.is_empty() {
        ended.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
        if Instant::now() > until {
            ended.iter_mut().for_each(process::kill);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Collects children whose slot is vacant, so that none stays a zombie.
fn reap(pool: &mut Pool, ended: &mut Vec<Child>) {
    for slot in &mut pool.slots {
        if matches!(slot.phase, Phase::Vacant { .. }) {
            ended.extend(slot.child.take());
        }
    }
}

/// A call that takes longer than the hard limit will never end. Killing the process is the only thing that ends it: a
/// black-holed HSM blocks C_Finalize as well as C_Sign.
fn kill_hung(pool: &mut Pool, now: Instant) {
    for index in 0..pool.slots.len() {
        let (hard, slow) = (pool.hard_limit(false), pool.hard_limit(true));
        let slot = &mut pool.slots[index];
        // Waits for its socket to close.
        if slot.phase == Phase::Dying {
            continue;
        }
        // Others wait for its lock meanwhile, so the first attempt gets no more time than one call. Later ones get more:
        // loading a library and logging in may be slower than any call.
        let patience = hard.max(START) * (1 << slot.failures.min(2));
        let starting = slot.attempt.is_some_and(|since| now - since > patience);
        // Age in flight counts, not silence: a worker with many sessions may answer while one of them hangs.
        // One long call (a generation) holds up what came behind it.
        let limit = if slot.flights().any(|flight| flight.slow) {
            slow
        } else {
            hard
        };
        let hung = starting || slot.flights().any(|flight| now - flight.sent > limit);
        if hung && let Some(child) = &mut slot.child {
            tracing::warn!(pid = child.id(), "worker unresponsive; killed");
            process::kill(child);
            pool.counters.processes_killed += 1;
            pool.circuit.kills.push_back(now);
            // The listening thread sees the socket close and does the rest.
            slot.phase = Phase::Dying;
        }
    }
}

/// Opens when nobody is ready for too long, or when process after process had to be killed and no signature came between;
/// closes when a worker has proved itself.
fn circuit(pool: &mut Pool, now: Instant, after: &mut After) {
    let circuit = &mut pool.circuit;
    while circuit
        .kills
        .front()
        .is_some_and(|at| now - *at > Duration::from_secs(60))
    {
        circuit.kills.pop_front();
    }
    // Any signature clears the kills, so one good worker beside a hanging one keeps the circuit closed.
    let killing = circuit.kills.len() >= KILLS;
    if !killing && pool.slots.iter().any(|slot| slot.phase == Phase::Ready) {
        if circuit.open {
            tracing::info!("circuit closed");
            circuit.open = false;
        }
        circuit.down_since = None;
        return;
    }
    let since = *circuit.down_since.get_or_insert(now);
    let error = Error::CircuitOpen {
        retry_after: circuit.pause,
    };
    if circuit.open {
        // Work that came back from a worker that was killed meanwhile.
        pool.refuse_all(&error, after);
        return;
    }
    if !killing && now - since <= circuit.after {
        return;
    }
    tracing::error!("circuit open: the token is unavailable");
    circuit.open = true;
    circuit.kills.clear();
    pool.counters.circuit_opened += 1;
    pool.refuse_all(&error, after);
    // Those that look ready are asked to prove it as well.
    let ready: Vec<usize> = (0..pool.slots.len())
        .filter(|index| pool.slots[*index].phase == Phase::Ready)
        .collect();
    ready
        .into_iter()
        .for_each(|index| pool.prove(index, now, after));
}

/// Whether a process may be started now. Starts are one at a time.
fn may_start(shared: &Shared, pool: &mut Pool, now: Instant, after: &mut After) -> bool {
    if let Some((error, ..)) = &pool.stopped {
        // Workers that were ready before go on; without any, nobody waits for a person.
        if !pool.any_ready() {
            let error = error.clone();
            pool.refuse_all(&error, after);
        }
        return reconsider(shared, pool, now);
    }
    let starting = |slot: &WorkerSlot| matches!(slot.phase, Phase::Queued | Phase::Starting);
    !pool.slots.iter().any(starting)
}

/// Looks whether the reason to stop has gone: another PIN in the source, or for everything else simply some time.
fn reconsider(shared: &Shared, pool: &mut Pool, now: Instant) -> bool {
    let Some((error, stamp, seen)) = &mut pool.stopped else {
        return true;
    };
    // A PIN costs the token a try, so only a changed source earns one; anything else is cheap to look at again.
    let about_pin = matches!(error, Error::PinRejected | Error::PinSource { .. });
    let pause = if about_pin {
        Duration::from_millis(250)
    } else {
        Duration::from_secs(5)
    };
    if now - *seen < pause {
        return false;
    }
    *seen = now;
    let current = shared
        .config
        .uri
        .pin_source
        .as_ref()
        .and_then(|source| pin::stamp(source).ok());
    if about_pin && current == *stamp {
        return false;
    }
    pool.stopped = None;
    true
}

/// Starts the process of one vacant slot whose pause is over.
fn start_one(shared: &Arc<Shared>, pool: &mut Pool, now: Instant) {
    // One until the profile is known, then as many as it says.
    let wanted = if pool.identity.is_some() {
        pool.limits.processes.max(1)
    } else {
        1
    };
    // Never shrinks: the number comes from settings that do not change while we run.
    while pool.slots.len() < wanted {
        pool.slots.push(WorkerSlot::new(now));
    }
    let due = |slot: &WorkerSlot| {
        matches!(slot.phase, Phase::Vacant { from } if from <= now) && slot.child.is_none()
    };
    let Some(index) = pool.slots.iter().position(due) else {
        return;
    };
    if let Err(error) = process::start(shared, pool, index, now) {
        let slot = &mut pool.slots[index];
        slot.failures += 1;
        slot.phase = Phase::Vacant {
            from: now + back_off(slot.failures + 1),
        };
        // Started but not listened to: it must not stay.
        if let Some(link) = slot.link.take() {
            link.close();
        }
        if let Some(child) = &mut slot.child {
            process::kill(child);
        }
        tracing::error!(%error, "worker not started");
        pool.last_error = Some(error);
    }
}

/// An idle worker signs something of ours now and then; one that waits for its token shows that it is alive.
fn probe(pool: &mut Pool, now: Instant, after: &mut After) {
    let key = pool.probe_key.or(pool.last_key);
    for slot in &mut pool.slots {
        let (key, pause) = match slot.phase {
            Phase::Ready => (key, pool.limits.probe),
            Phase::Proving => (key, PROVE_AGAIN),
            Phase::Down => (None, pool.limits.probe),
            _ => continue,
        };
        if slot.in_flight() == 0 && now - slot.last_answer > pause {
            let job = Job::new(Task::Probe { key }, now + pool.limits.hard, Waiter::Nobody);
            // Fails only without a process, and then there is nothing to probe.
            drop(slot.send(job, &pool.books, now));
            after.touch(slot.link.as_ref());
        }
    }
}
