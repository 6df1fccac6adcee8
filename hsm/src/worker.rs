//! The worker process: one module, one `C_Initialize`, session threads that own everything they touch.
//!
//! If this process dies at any line, the supervisor sees the socket close, gives what was in flight to another worker and
//! starts a new one. Nothing here is kept anywhere else.

mod aes_kw;
mod attributes;
mod keys;
mod lock;
mod mechanism;
mod module;
mod mutate;
pub mod pin;
mod public_key;
mod session_thread;
mod trial;
mod verify;
mod wire;
mod wrap_keys;
mod wrapping;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::FdFlags;
use rustix::process::{DumpableBehavior, Signal, getpid, kill_process, set_dumpable_behavior};

use crate::config::Power;
use crate::error::Class;
use crate::frame::{Kind, StartOrder, Status, broken};
use keys::Keys;
use module::Module;
use session_thread::SessionThread;
use wire::{Inbox, Outbox};

/// Failed attempts to reach the token in place before the process gives way to a fresh one.
const ATTEMPTS_IN_PLACE: u32 = 40;

/// What the threads of this process share.
struct Worker {
    inbox: Inbox,
    outbox: Outbox,
    module: Module,
    keys: Keys,
    power: Power,
}

/// The body of the hidden sub-command. Standard input is the socket to the supervisor; arguments carry nothing.
pub fn worker_main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// From the first frame to the end. An error means that we were not started by a supervisor.
fn run() -> io::Result<()> {
    // No core dump and no ptrace by our own user: the PIN and the vendor's secrets pass through this memory.
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    // A child that the vendor's library might start must not hold the socket open after our death.
    rustix::io::fcntl_setfd(io::stdin(), FdFlags::CLOEXEC)?;
    let socket: OwnedFd = io::stdin().as_fd().try_clone_to_owned()?;
    let socket = UnixStream::from(socket);
    let inbox = Inbox::new(socket.try_clone()?);
    let outbox = Outbox::new(socket.try_clone()?);

    let keys = Keys::default();
    let first = inbox.next(&outbox, &keys)?;
    if first.kind != Kind::Start {
        return Err(broken());
    }
    let order: StartOrder = serde_json::from_slice(&first.body)?;
    let power = order.power;
    let module = Module::new(order)?;
    let worker = Worker {
        inbox,
        outbox,
        module,
        keys,
        power,
    };
    watch(&worker, &socket)
}

/// Whether the supervisor has closed its end. Waits for that, or for our own thread's call, at most so long.
fn supervisor_gone(
    socket: &UnixStream,
    wake: Option<&OwnedFd>,
    wait: Option<Duration>,
) -> io::Result<bool> {
    let wait = wait.map(|wait| Timespec {
        tv_sec: wait.as_secs() as i64,
        tv_nsec: i64::from(wait.subsec_nanos()),
    });
    let mut fds = vec![PollFd::new(socket, PollFlags::RDHUP)];
    fds.extend(wake.map(|wake| PollFd::new(wake, PollFlags::IN)));
    match poll(&mut fds, wait.as_ref()) {
        Ok(_) => Ok(fds[0]
            .revents()
            .intersects(PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR)),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The main thread: brings the token up, keeps it up, and ends the process when the supervisor is gone. It waits for the
/// hang-up only, so it notices even when every session thread hangs inside the library.
fn watch(worker: &Worker, socket: &UnixStream) -> io::Result<()> {
    thread::scope(|scope| {
        let mut seated = false;
        let mut attempts = 0;
        loop {
            if !worker.module.is_up() {
                attempts += 1;
                match bring_up(worker, socket) {
                    Ok(()) => attempts = 0,
                    Err(End::Now) => exit(),
                    Err(End::Wait) if attempts >= ATTEMPTS_IN_PLACE => exit(),
                    Err(End::Wait) => {}
                }
            }
            // Session threads are taken even while the token is away: they answer at once that it is, and the supervisor keeps the
            // requests for later.
            if !seated {
                for _ in 0..worker.module.sessions() {
                    scope.spawn(|| SessionThread::new(worker).work());
                }
                seated = true;
            }
            let wait = (!worker.module.is_up()).then(|| worker.module.pause(attempts));
            if supervisor_gone(socket, Some(worker.module.wake()), wait)? {
                exit();
            }
            worker.module.woken();
        }
    })
}

/// What an attempt that failed means for the process.
enum End {
    Wait,
    Now,
}

/// One attempt, under the token's start lock, told to the supervisor.
fn bring_up(worker: &Worker, socket: &UnixStream) -> Result<(), End> {
    let gone = || supervisor_gone(socket, None, Some(Duration::from_millis(2))).unwrap_or(true);
    let queued = || worker.outbox.status(&Status::Queued);
    match worker
        .module
        .start(gone, queued, || worker.outbox.status(&Status::Starting))
    {
        Ok(ready) => {
            worker.outbox.status(&ready);
            Ok(())
        }
        Err(error) if error.class() == Class::Misconfigured => {
            // A wrong PIN, a missing library, an unknown profile: repeating helps nobody and may lock the token.
            worker.outbox.status(&Status::Stopped { error });
            Err(End::Now)
        }
        Err(error) => {
            worker.outbox.status(&Status::Down { error });
            Err(End::Wait)
        }
    }
}

/// Ends the process at once, without exit handlers: nothing of ours is worth saving, and the libraries' own handlers
/// finalise them under hung or signing threads, which crashes some and blocks others.
fn exit() -> ! {
    // Cannot fail for ourselves; should it, the loop keeps the promise of the type until the supervisor kills us.
    let _ = kill_process(getpid(), Signal::KILL);
    loop {
        thread::park();
    }
}
