//! SoftHSM behind our own module that injects faults.

use std::fs;
use std::path::PathBuf;

use hsm::{Class, Error, KeySpec, Sign};

use super::load::pause;
use crate::support::*;

/// A SoftHSM token whose module is the shim.
pub struct Shimmed {
    pub token: Token,
    control: PathBuf,
    log: PathBuf,
}

impl Shimmed {
    pub fn fresh() -> Shimmed {
        let mut token = Token::softhsm();
        let shim = std::env::current_exe()
            .unwrap()
            .with_file_name("libhsm_shim.so");
        assert!(
            shim.is_file(),
            "{} is built as a dev-dependency",
            shim.display()
        );
        let real = std::mem::replace(&mut token.module, shim);
        let (control, log) = (
            token.dir.path().join("control"),
            token.dir.path().join("log"),
        );
        for (name, path) in [("MODULE", &real), ("CONTROL", &control), ("LOG", &log)] {
            token
                .env
                .push((format!("HSM_SHIM_{name}"), path.display().to_string()));
        }
        Shimmed {
            token,
            control,
            log,
        }
    }

    /// Replaced in one step: the module reads it at any moment.
    pub fn inject(&self, lines: &str) {
        let new = self.control.with_extension("new");
        fs::write(&new, lines).unwrap();
        fs::rename(new, &self.control).unwrap();
    }

    pub fn heal(&self) {
        self.inject("");
    }

    /// Whether two processes were ever in this function at once.
    pub fn overlapped(&self, function: &str) -> bool {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let returned = format!("{function} returned");
        let mut inside = 0;
        for line in log.lines() {
            inside += i32::from(line == function) - i32::from(line == returned);
            if inside > 1 {
                return true;
            }
        }
        false
    }

    /// Lets `work` meet the fault, and heals it a little later.
    pub fn meets(&self, function: &str, fault: &str, work: impl FnOnce() + Send) {
        let before = self.calls(function);
        self.inject(fault);
        std::thread::scope(|scope| {
            let work = scope.spawn(work);
            let until = soon();
            while self.calls(function) == before {
                assert!(
                    std::time::Instant::now() < until,
                    "{function} was never called"
                );
                pause(1);
            }
            pause(100);
            self.heal();
            work.join().unwrap();
        });
    }

    pub fn calls(&self, function: &str) -> usize {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        log.lines().filter(|line| *line == function).count()
    }
}

#[test]
fn a_wrong_signature_never_leaves() {
    let shimmed = Shimmed::fresh();
    let executor = shimmed.token.executor();
    for spec in [
        KeySpec::P256,
        KeySpec::P384,
        KeySpec::Rsa2048,
        KeySpec::Ed25519,
    ] {
        let key = new_key(&executor, spec);
        let signer = shimmed.token.signer();
        assert_signs(&signer, &key, 1);
        shimmed.inject("C_Sign corrupt");
        for seed in 0..5 {
            let outcome = signer.sign(&key, &input_for(key.scheme, seed), soon());
            assert_eq!(
                outcome,
                Err(Error::WrongSignature { cka_id: key.cka_id }),
                "{spec:?}"
            );
        }
        assert!(signer.health().counters.mismatches >= 5, "each is told");
        shimmed.heal();
        assert_signs(&signer, &key, 2);
    }
}

#[test]
fn a_handle_of_another_key_never_signs() {
    let shimmed = Shimmed::fresh();
    let executor = shimmed.token.executor();
    let ours = new_key(&executor, KeySpec::P256);
    let other = new_key(&executor, KeySpec::P256);
    let mut config = shimmed.token.config();
    config.processes = Some(1);
    let signer = started(config, hsm::Power::Use);
    assert_signs(&signer, &other, 1);
    assert_signs(&signer, &ours, 1);
    // From here on the token signs with the other key, which it does without any error.
    shimmed.inject("C_SignInit swap");
    for seed in 0..5 {
        let outcome = signer.sign(&ours, &input_for(ours.scheme, seed), soon());
        assert_eq!(outcome.unwrap_err().class(), Class::Fatal);
    }
    assert!(signer.health().counters.mismatches >= 5);
    shimmed.heal();
    assert_signs(&signer, &ours, 2);
    assert_signs(&signer, &other, 2);
}

#[test]
fn passing_errors_cost_time_and_no_request() {
    let shimmed = Shimmed::fresh();
    let executor = shimmed.token.executor();
    let key = new_key(&executor, KeySpec::P256);
    let signer = shimmed.token.signer();
    assert_signs(&signer, &key, 1);
    // DEVICE_MEMORY, DEVICE_ERROR, SESSION_HANDLE_INVALID, GENERAL_ERROR, USER_NOT_LOGGED_IN, a vendor's own.
    for code in ["0x31", "0x30", "0xb3", "0x5", "0x101", "0x80000a01"] {
        shimmed.meets("C_Sign", &format!("C_Sign rv {code}"), || {
            assert_signs(&signer, &key, 2)
        });
    }
    let counters = signer.health().counters;
    assert!(
        counters.sessions_reopened > 0 && counters.reinitialised > 0,
        "{counters:?}"
    );
    assert_eq!(counters.failures, 0);
}

#[test]
fn a_token_without_free_sessions_is_waited_for() {
    let shimmed = Shimmed::fresh();
    let executor = shimmed.token.executor();
    let key = new_key(&executor, KeySpec::P256);
    let signer = shimmed.token.signer();
    shimmed.meets("C_OpenSession", "C_OpenSession rv 0xb1", || {
        assert_signs(&signer, &key, 2)
    });
    assert_eq!(signer.health().counters.failures, 0);
}

#[test]
fn a_slow_token_is_slow_and_not_dead() {
    let shimmed = Shimmed::fresh();
    let executor = shimmed.token.executor();
    let key = new_key(&executor, KeySpec::P256);
    let signer = shimmed.token.signer();
    shimmed.inject("C_Sign sleep 60");
    for seed in 0..10 {
        assert_signs(&signer, &key, seed);
    }
    // So slow that whoever watches the clock is not overtaken, however busy the machine is.
    shimmed.inject("C_Sign sleep 2000");
    let outcome = signer.sign(&key, &input_for(key.scheme, 1), within(20));
    assert_eq!(
        outcome,
        Err(Error::DeadlineExceeded),
        "the caller is told in time"
    );
    assert_eq!(signer.health().counters.processes_killed, 0);
}

#[test]
fn a_hung_call_is_killed_and_its_request_served_by_another() {
    let shimmed = Shimmed::fresh();
    let executor = shimmed.token.executor();
    let key = new_key(&executor, KeySpec::P256);
    let mut config = shimmed.token.config();
    config.hard_timeout = Some(std::time::Duration::from_millis(400));
    config.processes = Some(2);
    let signer = started(config, hsm::Power::Use);
    assert_signs(&signer, &key, 1);
    shimmed.meets("C_Sign", "C_Sign hang", || {
        std::thread::scope(|scope| {
            for seed in 0..20 {
                let (signer, key) = (&signer, &key);
                scope.spawn(move || assert_signs(signer, key, seed));
            }
        });
    });
    // The other worker may have served them all before the hard limit of the first.
    let until = soon();
    while signer.health().counters.processes_killed == 0 {
        assert!(std::time::Instant::now() < until, "{:?}", signer.health());
        pause(5);
    }
    let counters = signer.health().counters;
    assert_eq!(counters.failures, 0);
}

/// It holds the start lock, for which every other process of the token waits.
#[test]
fn a_worker_that_hangs_while_it_brings_a_lost_token_up_again_is_killed_before_the_circuit_opens() {
    let shimmed = Shimmed::fresh();
    let executor = shimmed.token.executor();
    let key = new_key(&executor, KeySpec::P256);
    let mut config = shimmed.token.config();
    config.processes = Some(2);
    // Found by a probe alone it would take a probe's interval of 5 s, and the time that a call may take.
    config.hard_timeout = Some(std::time::Duration::from_secs(2));
    config.circuit_after = std::time::Duration::from_secs(6);
    let signer = started(config, hsm::Power::Use);
    all_ready(&signer, 2);
    assert_signs(&signer, &key, 1);
    std::thread::scope(|scope| {
        // The token is lost, so the workers try again and again by themselves.
        shimmed.inject("C_Sign rv 0x30\nC_Login rv 0x30");
        let caller = scope.spawn(|| assert_signs(&signer, &key, 2));
        let until = soon();
        while !signer
            .health()
            .processes
            .iter()
            .all(|process| !process.ready)
        {
            assert!(std::time::Instant::now() < until, "{:?}", signer.health());
            pause(1);
        }
        shimmed.inject("C_Login hang");
        while signer.health().counters.processes_killed == 0 {
            assert!(std::time::Instant::now() < until, "{:?}", signer.health());
            pause(1);
        }
        shimmed.heal();
        caller.join().unwrap();
    });
    let counters = signer.health().counters;
    assert_eq!(
        (counters.failures, counters.circuit_opened),
        (0, 0),
        "{counters:?}"
    );
}

#[test]
fn a_token_that_keeps_hanging_opens_the_circuit_and_closes_it_when_it_is_back() {
    let shimmed = Shimmed::fresh();
    let executor = shimmed.token.executor();
    let key = new_key(&executor, KeySpec::P256);
    let mut config = shimmed.token.config();
    config.hard_timeout = Some(std::time::Duration::from_millis(100));
    config.circuit_after = std::time::Duration::from_millis(1500);
    config.processes = Some(1);
    let signer = started(config, hsm::Power::Use);
    assert_signs(&signer, &key, 1);
    shimmed.inject("C_Sign hang");
    let outcome = signer.sign(&key, &input_for(key.scheme, 1), soon());
    assert!(
        matches!(outcome, Err(Error::CircuitOpen { .. })),
        "{outcome:?} {:?}",
        signer.health()
    );
    let began = std::time::Instant::now();
    let outcome = signer.sign(&key, &input_for(key.scheme, 1), soon());
    assert!(
        matches!(outcome, Err(Error::CircuitOpen { .. })),
        "{outcome:?} {:?}",
        signer.health()
    );
    assert!(
        began.elapsed() < std::time::Duration::from_secs(5),
        "at once"
    );
    assert!(!signer.health().state.is_ready());
    shimmed.heal();
    let until = soon();
    while !signer.health().state.is_ready() {
        assert!(std::time::Instant::now() < until, "{:?}", signer.health());
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert_signs(&signer, &key, 2);
    assert!(signer.health().counters.circuit_opened >= 1);
}
