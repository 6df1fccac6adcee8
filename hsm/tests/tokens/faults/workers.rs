//! Worker processes that die, many that start at once, callers that go away.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Instant;

use hsm::{Error, KeySpec, Power, Sign, Supervisor};
use rustix::process::{Pid, Signal, kill_process};

use super::load::{more, pause, under_load};
use super::shim::Shimmed;
use crate::support::*;

fn pids(signer: &Supervisor) -> Vec<Pid> {
    let processes = signer.health().processes;
    processes
        .iter()
        .filter_map(|process| Pid::from_raw(process.pid? as i32))
        .collect()
}

#[test]
fn workers_killed_under_load_lose_no_request() {
    let token = Token::softhsm();
    let key = new_key(&token.executor(), KeySpec::P256);
    let mut config = token.config();
    config.processes = Some(2);
    let signer = started(config, Power::Use);
    let load = under_load(&signer, &[key], |served| {
        for round in 0..20 {
            let pids = pids(&signer);
            if let Some(pid) = pids.get(round % 2) {
                let _ = kill_process(*pid, Signal::KILL);
            }
            more(served, 5);
        }
    });
    eprintln!(
        "killed 20 times: longest wait {:?}, {} served",
        load.longest, load.served
    );
    let counters = signer.health().counters;
    assert!(counters.processes_started > 10, "{counters:?}");
    assert_eq!(
        (counters.failures, counters.mismatches),
        (0, 0),
        "{counters:?}"
    );
}

#[test]
fn many_workers_that_start_at_once_on_one_token_all_get_ready() {
    let shimmed = Shimmed::fresh();
    let key = new_key(&shimmed.token.executor(), KeySpec::P256);
    let before = shimmed.calls("C_Login");
    // Long enough to be met in, whatever the machine does meanwhile.
    shimmed.inject("C_Login sleep 10");
    for round in 1..=3 {
        let mut config = shimmed.token.config();
        config.processes = Some(2);
        let all: Vec<_> = (0..6)
            .map(|_| Supervisor::start(config.clone(), Power::Use).unwrap())
            .collect();
        let until = soon();
        for signer in &all {
            signer.wait_ready(until).unwrap();
            assert_signs(signer, &key, 1);
            all_ready(signer, 2);
            assert_eq!(signer.health().last_error, None, "no start failed");
        }
        assert_eq!(shimmed.calls("C_Login"), before + round * 12);
    }
    // Logins that meet are what makes a third of such starts fail on SoftHSM.
    assert!(!shimmed.overlapped("C_Login"));
}

#[test]
fn ten_thousand_callers_that_go_away_leave_nothing_behind() {
    let token = Token::softhsm();
    let key = new_key(&token.executor(), KeySpec::P256);
    let mut config = token.config();
    config.queue_limit = 256;
    let signer = started(config, Power::Use);
    let answered = Arc::new(AtomicUsize::new(0));
    for seed in 0..10_000 {
        let answered = Arc::clone(&answered);
        // Nobody holds the other end: the caller has hung up. A third of them leave no time either.
        let (sender, _) = mpsc::sync_channel::<Result<hsm::Signature, Error>>(1);
        let reply = Box::new(move |outcome| {
            answered.fetch_add(1, Ordering::Relaxed);
            drop(sender.try_send(outcome));
        });
        let deadline = within(if seed % 3 == 0 { 0 } else { 2_000 });
        signer.submit(&key, &input_for(key.scheme, seed), deadline, reply);
    }
    let until = soon();
    while answered.load(Ordering::Relaxed) < 10_000 {
        assert!(Instant::now() < until, "{:?}", signer.health());
        pause(5);
    }
    while signer
        .health()
        .processes
        .iter()
        .any(|process| process.in_flight > 0)
    {
        assert!(Instant::now() < until, "{:?}", signer.health());
        pause(5);
    }
    assert_eq!(signer.health().queued, 0);
    assert!(
        signer.health().counters.overloaded > 0,
        "the queue is bounded"
    );
    assert_signs(&signer, &key, 1);
}

#[test]
fn long_messages_that_fill_the_socket_arrive_whole() {
    let token = Token::softhsm();
    let key = new_key(&token.executor(), KeySpec::Ed25519);
    let signer = token.signer();
    let (sender, receiver) = mpsc::channel();
    let message = |seed: u64| -> Vec<u8> { (0..64 * 1024).map(|at| (at ^ seed) as u8).collect() };
    for seed in 0..100 {
        let sender = sender.clone();
        let reply = Box::new(move |outcome| sender.send((seed, outcome)).unwrap());
        signer.submit(&key, &message(seed), soon(), reply);
    }
    drop(sender);
    let mut answers = 0;
    for (seed, outcome) in receiver {
        assert!(verifies(&key, &message(seed), outcome.unwrap().as_ref()));
        answers += 1;
    }
    assert_eq!(answers, 100);
    let longer = vec![0; 64 * 1024 + 1];
    let outcome = signer.sign(&key, &longer, soon());
    assert!(
        matches!(outcome, Err(Error::InputLength { .. })),
        "{outcome:?}"
    );
}

#[test]
fn a_full_queue_is_refused_at_once() {
    let token = Token::softhsm();
    let key = new_key(&token.executor(), KeySpec::P256);
    let mut config = token.config();
    config.queue_limit = 4;
    let (here, away) = (
        token.dir.path().join("tokens"),
        token.dir.path().join("away"),
    );
    std::fs::rename(here, away).unwrap();
    let signer = Supervisor::start(config, Power::Use).unwrap();
    let (sender, receiver) = mpsc::channel();
    for seed in 0..6 {
        let sender = sender.clone();
        let reply = Box::new(move |outcome: Result<hsm::Signature, Error>| {
            sender.send(outcome.unwrap_err()).unwrap()
        });
        signer.submit(&key, &input_for(key.scheme, seed), within(300), reply);
    }
    drop(sender);
    let answers: Vec<_> = receiver.iter().collect();
    let full = Error::Overloaded { limit: 4 };
    assert_eq!(
        answers.iter().filter(|error| **error == full).count(),
        2,
        "{answers:?}"
    );
    assert_eq!(answers[..2], [full.clone(), full], "at once");
    assert_eq!(answers[2..], vec![Error::DeadlineExceeded; 4]);
}

#[test]
fn workers_leave_when_their_supervisor_does() {
    let token = Token::softhsm();
    let signer = token.signer();
    let before = pids(&signer);
    assert!(!before.is_empty());
    drop(signer);
    for pid in before {
        assert!(
            rustix::process::test_kill_process(pid).is_err(),
            "{pid:?} is still there"
        );
    }
}

/// In a process of its own, which is then killed: nothing of the supervisor is left to end the workers, and the library
/// they are in hangs.
#[test]
fn workers_leave_when_the_service_is_killed_even_out_of_a_hung_call() {
    const ALONE: &str = "CHANCERY_TEST_ORPHAN";
    if std::env::var_os(ALONE).is_some() {
        let shimmed = Shimmed::fresh();
        let key = new_key(&shimmed.token.executor(), KeySpec::P256);
        let signer = shimmed.token.signer();
        assert_signs(&signer, &key, 1);
        shimmed.inject("C_Sign hang");
        for seed in 0..4 {
            signer.submit(&key, &input_for(key.scheme, seed), soon(), Box::new(drop));
        }
        pause(50);
        let pids: Vec<String> = pids(&signer)
            .iter()
            .map(|pid| pid.as_raw_nonzero().to_string())
            .collect();
        println!(
            "\norphans {} {}",
            shimmed.token.dir.path().display(),
            pids.join(" ")
        );
        pause(60_000);
        return;
    }
    let mut service = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "faults::workers::workers_leave_when_the_service_is_killed_even_out_of_a_hung_call",
        ])
        .arg("--nocapture")
        .env(ALONE, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(service.stdout.take().unwrap()).lines();
    let line = lines
        .map(Result::unwrap)
        .find(|line| line.starts_with("orphans"))
        .unwrap();
    service.kill().unwrap();
    service.wait().unwrap();
    let mut words = line.split(' ').skip(1);
    let dir = words.next().unwrap();
    let until = soon();
    for pid in words {
        // Our grandchildren: whoever adopts them reaps them, so an unreaped one counts as gone.
        let stat = format!("/proc/{pid}/stat");
        while std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
            assert!(Instant::now() < until, "{pid} is still there");
            pause(5);
        }
    }
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn stopping_serves_what_was_accepted_and_refuses_the_rest() {
    let token = Token::softhsm();
    let key = new_key(&token.executor(), KeySpec::P256);
    let signer = token.signer();
    let (sender, receiver) = mpsc::channel();
    for seed in 0..200 {
        let sender = sender.clone();
        let reply = Box::new(move |outcome| sender.send(outcome).unwrap());
        signer.submit(&key, &input_for(key.scheme, seed), soon(), reply);
    }
    signer.stop(soon());
    drop(sender);
    assert_eq!(receiver.iter().filter(Result::is_ok).count(), 200);
    assert_eq!(
        signer.sign(&key, &input_for(key.scheme, 1), soon()),
        Err(Error::Stopping)
    );
}
