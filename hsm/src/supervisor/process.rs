//! Starting a worker process, and listening to it.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Instant;

use super::Shared;
use super::job::Outcome;
use super::link::Link;
use super::pool::{After, Pool};
use super::worker_slot::Phase;
use crate::error::Error;
use crate::frame::{self, Event, Frame, Incoming, Kind, StartOrder, Status};
use crate::profile::Profile;
use crate::worker::pin;

/// What every program may need; everything else of our environment (which may hold secrets) stays here.
const ENVIRONMENT: [&str; 6] = ["PATH", "HOME", "LANG", "TZ", "TMPDIR", "LD_LIBRARY_PATH"];

/// Starts the process for a slot and the thread that listens to it. The pool's lock is held by the caller: a start is
/// some hundred microseconds, and happens rarely.
pub fn start(
    shared: &Arc<Shared>,
    pool: &mut Pool,
    index: usize,
    now: Instant,
) -> Result<(), Error> {
    let failed = |error: io::Error| Error::WorkerStart {
        reason: error.to_string(),
    };
    let (ours, theirs) = UnixStream::pair().map_err(failed)?;
    let child = command(shared, theirs).spawn().map_err(failed)?;
    let link = Arc::new(Link::new(ours));
    let reader = link.reader().map_err(failed)?;
    link.put(|out| frame::put_json(out, Kind::Start, 0, &order(shared)));

    // From here on the slot has a process. If the listening thread cannot be started the caller gives the slot up, and
    // the process ends with its socket.
    let slot = &mut pool.slots[index];
    slot.incarnation += 1;
    slot.phase = Phase::Starting;
    slot.attempt = Some(now);
    slot.last_answer = now;
    let incarnation = slot.incarnation;
    slot.child = Some(child);
    slot.link = Some(Arc::clone(&link));
    pool.counters.processes_started += 1;
    link.flush();
    let shared = Arc::clone(shared);
    thread::Builder::new()
        .name(format!("hsm-{index}"))
        .spawn(move || listen(&shared, index, incarnation, &link, &reader))
        .map_err(failed)?;
    Ok(())
}

fn command(shared: &Shared, socket: UnixStream) -> Command {
    let config = &shared.config;
    let mut command = Command::new(&config.worker_exe);
    command
        .args(&config.worker_args)
        .stdin(Stdio::from(OwnedFd::from(socket)))
        // Nothing a vendor's library prints belongs on our output.
        .stdout(Stdio::null())
        .env_clear()
        // A Ctrl-C at the terminal is for the service, which then ends its workers in order.
        .process_group(0);
    // Variables that vendors' libraries read; the configuration's own come last and win.
    let known = Profile::environment();
    for name in ENVIRONMENT
        .iter()
        .copied()
        .chain(known.iter().map(String::as_str))
    {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command.envs(config.env.iter().map(|(name, value)| (name, value)));
    command
}

/// What the worker must know. Where the PIN is, not what it is.
fn order(shared: &Shared) -> StartOrder {
    let config = &shared.config;
    StartOrder {
        uri: config.uri.clone(),
        profile: config.profile.clone(),
        power: shared.power,
        sessions: config.sessions,
        lock_dir: config.lock_dir.clone(),
        retry_rejected: config.retry_rejected && shared.first.swap(false, Ordering::Relaxed),
    }
}

/// Ends a process that no longer answers. It is reaped by the monitor.
pub fn kill(child: &mut Child) {
    // It may have ended by itself just now.
    let _ = child.kill();
}

/// The listening thread: reads answers in bulk, settles them under one lock, refills the worker, then tells the callers.
fn listen(shared: &Arc<Shared>, index: usize, incarnation: u64, link: &Link, reader: &UnixStream) {
    let mut incoming = Incoming::default();
    loop {
        let read = incoming.fill(reader).and_then(|()| {
            let now = Instant::now();
            let mut after = After::default();
            // One lock for all answers of one read.
            let mut pool = shared.pool();
            if pool.slots[index].incarnation != incarnation {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            while let Some(frame) = incoming.next()? {
                hear(shared, &mut pool, index, &frame, now, &mut after)?;
            }
            // The room that these answers made is filled before anybody is told, so that the worker never waits for a caller.
            pool.dispatch(now, &mut after);
            drop(pool);
            after.run();
            Ok(())
        });
        if read.is_err() {
            break;
        }
    }
    link.close();
    let mut pool = shared.pool();
    if pool.slots[index].incarnation == incarnation {
        gone(&mut pool, index).run();
        drop(pool);
        shared.tick.notify_all();
    }
}

/// One frame from a worker. A frame that only we may send ends the connection: its sender is not what we started.
fn hear(
    shared: &Shared,
    pool: &mut Pool,
    index: usize,
    frame: &Frame<'_>,
    now: Instant,
    after: &mut After,
) -> io::Result<()> {
    match frame.kind {
        Kind::Signed => pool.settle(
            index,
            frame.id,
            Outcome::Signature(frame.body.to_vec()),
            now,
            after,
        ),
        Kind::Wrapped => {
            let items = frame::items(frame.body)?;
            pool.settle(index, frame.id, Outcome::Items(items), now, after);
        }
        Kind::Done => pool.settle(index, frame.id, Outcome::Answer(frame.json()?), now, after),
        Kind::Failed => pool.settle(index, frame.id, Outcome::Error(frame.json()?), now, after),
        Kind::Event => match frame.json()? {
            Event::SessionReopened => pool.counters.sessions_reopened += 1,
            Event::LoggedIn => pool.counters.logins += 1,
            Event::Reinitialised => pool.counters.reinitialised += 1,
            Event::Mismatch => {
                pool.counters.mismatches += 1;
                tracing::error!(
                    "the token used a different key, or used it wrongly; the result was withheld"
                );
            }
            Event::WrapIntegrity => {
                pool.counters.integrity_failures += 1;
                tracing::error!(
                    "a wrapped data key is damaged or was wrapped by a different key; the token is well"
                );
            }
        },
        Kind::Status => status(shared, pool, index, frame.json()?, now, after),
        Kind::Start
        | Kind::Define
        | Kind::DefineWrap
        | Kind::Sign
        | Kind::Wrap
        | Kind::Prepare
        | Kind::Probe
        | Kind::Call => {
            return Err(frame::broken());
        }
    }
    Ok(())
}

/// A worker's word about itself.
fn status(
    shared: &Shared,
    pool: &mut Pool,
    index: usize,
    status: Status,
    now: Instant,
    after: &mut After,
) {
    match status {
        Status::Queued => {
            let slot = &mut pool.slots[index];
            slot.phase = Phase::Queued;
            slot.attempt = None;
        }
        Status::Starting => {
            let slot = &mut pool.slots[index];
            if slot.phase != Phase::Down {
                slot.phase = Phase::Starting;
            }
            slot.attempt = Some(now);
        }
        Status::Ready {
            generation,
            sessions,
            identity,
            limits,
            wrap,
        } => {
            tracing::info!(token = %identity.label, profile = %identity.profile, generation, "token ready");
            // The limits come with the first worker that has seen the token: from now on the pool has its full size.
            if let (Err(reason), None | Some(Ok(()))) = (&wrap, &pool.wrap) {
                tracing::info!(%reason, "the token cannot carry wrapping keys");
            }
            pool.wrap = Some(wrap);
            pool.identity = Some(identity);
            pool.limits = shared.limits(limits);
            pool.outage = None;
            let slot = &mut pool.slots[index];
            slot.generation = generation;
            slot.sessions = sessions;
            slot.phase = Phase::Ready;
            slot.attempt = None;
            if pool.circuit.open {
                pool.prove(index, now, after);
            }
            pool.ever_ready = true;
        }
        Status::Down { error } => {
            // Once for an outage, not once for each process that tries.
            if pool.outage.as_ref() != Some(&error) {
                tracing::warn!(%error, "token unavailable");
                pool.outage = Some(error.clone());
            }
            pool.last_error = Some(error);
            pool.slots[index].phase = Phase::Down;
            pool.slots[index].attempt = None;
        }
        Status::Stopped { error } => {
            tracing::error!(%error, "token unusable until an operator intervenes");
            let stamp = shared
                .config
                .uri
                .pin_source
                .as_ref()
                .and_then(|source| pin::stamp(source).ok());
            pool.last_error = Some(error.clone());
            // The stamp, so that the same PIN is not tried again by the next process.
            pool.stopped = Some((error, stamp, now));
        }
    }
    shared.tick.notify_all();
}

/// The socket is closed: the process has ended or is about to. Its work goes to others; the monitor starts the next.
fn gone(pool: &mut Pool, index: usize) -> After {
    let now = Instant::now();
    let mut after = After::default();
    let slot = &mut pool.slots[index];
    let gave_way = matches!(slot.phase, Phase::Down);
    // One that gave way after trying in place for a while is replaced at once; one that died is started ever slower.
    if !gave_way {
        slot.failures += 1;
    }
    let pause = super::back_off::back_off(slot.failures);
    slot.phase = Phase::Vacant { from: now + pause };
    slot.attempt = None;
    if let Some(child) = &mut slot.child {
        kill(child);
    }
    // If this thread died before here, the socket's other end would still be closed by its own process, and the monitor
    // would find the requests overdue and answer them.
    pool.lost(index, now, &mut after);
    after
}
