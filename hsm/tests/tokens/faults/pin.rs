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

/// The PIN was changed at the token and set back while its file stayed as it was.
#[test]
fn case_a7_a_restarted_service_tries_a_rejected_pin_once_more() {
    let shimmed = Shimmed::fresh();
    let key = new_key(&shimmed.token.executor(), KeySpec::P256);
    let mut config = shimmed.token.config();
    config.processes = Some(2);
    config.retry_rejected = true;
    let rejected = || {
        let signer = Supervisor::start(config.clone(), Power::Use).unwrap();
        let error = signer.wait_ready(soon()).unwrap_err();
        assert_eq!(error, Error::PinRejected);
        assert!(error.to_string().contains("touch"), "{error}");
    };
    let before = shimmed.calls("C_Login");
    shimmed.inject("C_Login rv 0xa0");
    rejected();
    assert_eq!(shimmed.calls("C_Login"), before + 1);
    // The first restart tries, a loop of restarts does not, and neither do commands.
    for tried in [2, 2, 2] {
        rejected();
        assert_eq!(shimmed.calls("C_Login"), before + tried);
    }
    let command = Supervisor::start(shimmed.token.config(), Power::Use).unwrap();
    assert_eq!(command.wait_ready(soon()), Err(Error::PinRejected));
    assert_eq!(shimmed.calls("C_Login"), before + 2);
    drop(command);
    // Touched while the token rejects it, then set back: the restart needs no further touch.
    let pin = fs::read(&shimmed.token.pin_file).unwrap();
    fs::write(&shimmed.token.pin_file, &pin).unwrap();
    rejected();
    assert_eq!(shimmed.calls("C_Login"), before + 3);
    shimmed.inject("");
    let signer = Supervisor::start(config.clone(), Power::Use).unwrap();
    signer.wait_ready(soon()).unwrap();
    assert_signs(&signer, &key, 1);
    drop(signer);
    // What was accepted begins anew.
    shimmed.inject("C_Login rv 0xa0");
    let before = shimmed.calls("C_Login");
    rejected();
    rejected();
    rejected();
    assert_eq!(shimmed.calls("C_Login"), before + 2);
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
