//! The PIN is tried once.

use std::fs;
use std::time::Duration;

use hsm::{Error, KeySpec, Power, Sign, State, Supervisor};

use super::shim::Shimmed;
use crate::support::*;

/// Long enough for a supervisor that would try again to do so.
fn a_while() {
    std::thread::sleep(Duration::from_millis(1500));
}

#[test]
fn a_wrong_pin_is_tried_once_and_never_again_until_its_source_changes() {
    let shimmed = Shimmed::fresh();
    let key = new_key(&shimmed.token.executor(), KeySpec::P256);
    let before = shimmed.calls("C_Login");
    fs::write(&shimmed.token.pin_file, "99999999").unwrap();
    let mut config = shimmed.token.config();
    config.processes = Some(3);
    let signer = Supervisor::start(config.clone(), Power::Use).unwrap();
    assert_eq!(signer.wait_ready(soon()), Err(Error::PinRejected));
    a_while();
    assert_eq!(
        shimmed.calls("C_Login"),
        before + 1,
        "three processes, restarts and all"
    );
    let outcome = signer.sign(&key, &input_for(key.scheme, 1), soon());
    assert_eq!(
        outcome,
        Err(Error::PinRejected),
        "the caller is told why, at once"
    );
    assert_eq!(
        signer.health().state,
        State::Stopped {
            error: Error::PinRejected
        }
    );
    drop(signer);

    // The service restarted by its init system, in a loop.
    for _ in 0..3 {
        let again = Supervisor::start(config.clone(), Power::Use).unwrap();
        assert_eq!(again.wait_ready(soon()), Err(Error::PinRejected));
    }
    assert_eq!(shimmed.calls("C_Login"), before + 1);

    let signer = Supervisor::start(config, Power::Use).unwrap();
    assert_eq!(signer.wait_ready(soon()), Err(Error::PinRejected));
    fs::write(&shimmed.token.pin_file, PIN).unwrap();
    let until = soon();
    while signer.wait_ready(within(100)).is_err() {
        assert!(std::time::Instant::now() < until);
    }
    assert_signs(&signer, &key, 2);
}

#[test]
fn a_locked_pin_stops_and_is_not_tried_again() {
    let shimmed = Shimmed::fresh();
    shimmed.inject("C_Login rv 0xa4");
    let signer = Supervisor::start(shimmed.token.config(), Power::Use).unwrap();
    assert_eq!(signer.wait_ready(soon()), Err(Error::PinRejected));
    a_while();
    assert_eq!(shimmed.calls("C_Login"), 1);
}

#[test]
fn a_pin_file_that_comes_late_is_waited_for() {
    let token = Token::softhsm();
    fs::remove_file(&token.pin_file).unwrap();
    let signer = Supervisor::start(token.config(), Power::Use).unwrap();
    assert!(matches!(
        signer.wait_ready(soon()),
        Err(Error::PinSource { .. })
    ));
    fs::write(&token.pin_file, PIN).unwrap();
    let until = soon();
    while signer.wait_ready(within(100)).is_err() {
        assert!(std::time::Instant::now() < until);
    }
}

#[test]
fn the_pin_is_in_no_argument_environment_or_dump_of_a_worker() {
    let token = Token::softhsm();
    let signer = token.signer();
    for process in signer.health().processes {
        let pid = process.pid.unwrap();
        for file in ["cmdline", "environ"] {
            // Not even readable is the best answer: the process is not dumpable.
            if let Ok(content) = fs::read(format!("/proc/{pid}/{file}")) {
                assert!(
                    !content
                        .windows(PIN.len())
                        .any(|window| window == PIN.as_bytes()),
                    "{file}"
                );
            }
        }
    }
    let shown = format!("{:?} {:?}", signer.health(), token.config());
    assert!(!shown.contains(PIN));
}
