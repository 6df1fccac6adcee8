//! A network HSM: `p11-kit server` in front of SoftHSM, killed, stopped and restarted under load.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hsm::{KeyRef, KeySpec, Power, Supervisor};
use rustix::process::{Pid, Signal, kill_process};

use super::load::{pause, under_load};
use crate::support::*;

const CLIENT: &str = "/usr/lib/x86_64-linux-gnu/pkcs11/p11-kit-client.so";

/// The HSM: a listener, and a process for each connection.
struct Server {
    socket: PathBuf,
    conf: String,
    listener: Child,
}

impl Server {
    fn start(socket: &Path, conf: &str) -> Server {
        let _ = std::fs::remove_file(socket);
        let listener = Command::new("p11-kit")
            .args(["server", "-f", "--provider", SOFTHSM, "-n"])
            .arg(socket)
            .arg("pkcs11:token=seal")
            .env("SOFTHSM2_CONF", conf)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let until = soon();
        while !socket.exists() {
            assert!(Instant::now() < until, "p11-kit server did not start");
            pause(2);
        }
        Server {
            socket: socket.to_path_buf(),
            conf: conf.to_owned(),
            listener,
        }
    }

    fn handlers(&self) -> Vec<Pid> {
        let listener = self.listener.id();
        let path = format!("/proc/{listener}/task/{listener}/children");
        let children = std::fs::read_to_string(path).unwrap_or_default();
        children
            .split_whitespace()
            .filter_map(|pid| Pid::from_raw(pid.parse().ok()?))
            .collect()
    }

    fn signal_handlers(&self, signal: Signal) {
        for pid in self.handlers() {
            let _ = kill_process(pid, signal);
        }
    }

    /// Handlers first: without their listener they could not be found.
    fn kill(&mut self) {
        self.signal_handlers(Signal::KILL);
        self.kill_listener();
    }

    fn kill_listener(&mut self) {
        let _ = self.listener.kill();
        self.listener.wait().unwrap();
    }

    fn restart(&mut self) {
        self.listener = Server::start(&self.socket.clone(), &self.conf.clone()).take();
    }

    /// The process alone, without the care of `Drop`.
    fn take(self) -> Child {
        let mut this = std::mem::ManuallyDrop::new(self);
        let spare = Command::new("true").spawn().unwrap();
        std::mem::replace(&mut this.listener, spare)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.signal_handlers(Signal::KILL);
        let _ = self.listener.kill();
        let _ = self.listener.wait();
    }
}

struct Rig {
    signer: Supervisor,
    server: Server,
    keys: Vec<Arc<KeyRef>>,
    _token: Token,
}

fn rig(hard_ms: u64) -> Rig {
    let mut token = Token::softhsm();
    let executor = token.executor();
    let keys = (0..2).map(|_| new_key(&executor, KeySpec::P256)).collect();
    drop(executor);
    let socket = token.dir.path().join("hsm.sock");
    let server = Server::start(&socket, &token.env[0].1);
    token.module = PathBuf::from(CLIENT);
    token.env = vec![(
        "P11_KIT_SERVER_ADDRESS".to_owned(),
        format!("unix:path={}", socket.display()),
    )];
    let mut config = token.config();
    config.hard_timeout = Some(Duration::from_millis(hard_ms));
    let signer = started(config, Power::Use);
    Rig {
        signer,
        server,
        keys,
        _token: token,
    }
}

fn nothing_lost(signer: &Supervisor) {
    let counters = signer.health().counters;
    assert_eq!(
        (counters.failures, counters.mismatches),
        (0, 0),
        "{counters:?}"
    );
}

#[test]
fn a_server_killed_and_restarted_under_load_loses_no_request() {
    let Rig {
        signer,
        mut server,
        keys,
        _token,
    } = rig(5_000);
    for _ in 0..3 {
        let mut back = Duration::ZERO;
        let load = under_load(&signer, &keys, |served| {
            server.kill();
            pause(300);
            server.restart();
            let began = Instant::now();
            super::load::more(served, 1);
            back = began.elapsed();
        });
        eprintln!(
            "server away 300 ms: served {back:?} after its return, longest wait {:?}",
            load.longest
        );
    }
    nothing_lost(&signer);
}

#[test]
fn connections_killed_under_load_lose_no_request() {
    let Rig {
        signer,
        server,
        keys,
        _token,
    } = rig(5_000);
    let load = under_load(&signer, &keys, |served| {
        for _ in 0..5 {
            server.signal_handlers(Signal::KILL);
            super::load::more(served, 5);
            pause(50);
        }
    });
    eprintln!("connections killed: longest wait {:?}", load.longest);
    nothing_lost(&signer);
}

#[test]
fn a_black_hole_is_left_by_killing_the_worker() {
    let Rig {
        signer,
        server,
        keys,
        _token,
    } = rig(400);
    // Stopped between two calls: in the middle of one it might hold a lock on SoftHSM's files, which no network HSM has,
    // and every later start would wait for it. A start is such calls, so both workers are past theirs.
    all_ready(&signer, 2);
    keys.iter().for_each(|key| assert_signs(&signer, key, 1));
    let stopped = server.handlers();
    server.signal_handlers(Signal::STOP);
    let load = under_load(&signer, &keys, |served| {
        // Both workers hang in C_Sign; C_Finalize would hang, too. New processes make new connections.
        super::load::more(served, 5);
    });
    for pid in stopped {
        let _ = kill_process(pid, Signal::KILL);
    }
    eprintln!(
        "black hole with a hard limit of 400 ms: longest wait {:?}",
        load.longest
    );
    assert!(signer.health().counters.processes_killed >= 1);
    nothing_lost(&signer);
}

#[test]
fn a_listener_restarted_alone_is_not_even_noticed() {
    let Rig {
        signer,
        mut server,
        keys,
        _token,
    } = rig(5_000);
    let orphans = server.handlers();
    under_load(&signer, &keys, |_| {
        server.kill_listener();
        pause(100);
        server.restart();
    });
    nothing_lost(&signer);
    drop(signer);
    for pid in orphans {
        let _ = kill_process(pid, Signal::KILL);
    }
}
