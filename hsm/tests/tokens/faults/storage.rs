//! The token's storage comes late, goes and comes back.

use std::fs;

use hsm::{KeySpec, Power, Sign, State, Supervisor};

use super::load::{pause, under_load};
use crate::support::*;

#[test]
fn a_token_that_is_absent_at_the_start_is_found_when_it_appears() {
    let token = Token::softhsm();
    let key = new_key(&token.executor(), KeySpec::P256);
    let (here, away) = (
        token.dir.path().join("tokens"),
        token.dir.path().join("away"),
    );
    fs::rename(&here, &away).unwrap();
    fs::create_dir(&here).unwrap();
    let signer = Supervisor::start(token.config(), Power::Use).unwrap();
    signer.wait_ready(within(300)).unwrap_err();
    assert_eq!(signer.health().state, State::Starting);
    std::thread::scope(|scope| {
        let early = scope.spawn(|| assert_signs(&signer, &key, 1));
        pause(200);
        fs::remove_dir(&here).unwrap();
        fs::rename(&away, &here).unwrap();
        early.join().unwrap();
    });
    assert!(signer.health().state.is_ready());
}

#[test]
fn storage_that_goes_and_comes_back_costs_time_and_no_request() {
    let token = Token::softhsm();
    let executor = token.executor();
    let keys: Vec<_> = (0..3).map(|_| new_key(&executor, KeySpec::P256)).collect();
    drop(executor);
    let signer = token.signer();
    let (here, away) = (
        token.dir.path().join("tokens"),
        token.dir.path().join("away"),
    );
    for round in 0..3 {
        let load = under_load(&signer, &keys, |_| {
            fs::rename(&here, &away).unwrap();
            let until = soon();
            while signer.health().state.is_ready() {
                assert!(
                    std::time::Instant::now() < until,
                    "round {round}: {:?}",
                    signer.health()
                );
                pause(1);
            }
            pause(200);
            fs::rename(&away, &here).unwrap();
        });
        eprintln!(
            "storage gone for 200 ms after it was noticed: longest wait {:?}, {} served",
            load.longest, load.served
        );
    }
    let counters = signer.health().counters;
    assert_eq!(
        (counters.failures, counters.mismatches),
        (0, 0),
        "{counters:?}"
    );
}

#[test]
fn after_a_reinitialisation_no_handle_of_before_is_used() {
    // SoftHSM numbers handles in the order of finding: with the other key found first, the old number of one is the new
    // number of the other, and C_Sign with it answers CKR_OK.
    let token = Token::softhsm();
    let executor = token.executor();
    let first = new_key(&executor, KeySpec::P256);
    let second = new_key(&executor, KeySpec::P256);
    let witness = new_key(&executor, KeySpec::P256);
    drop(executor);
    let mut config = token.config();
    config.processes = Some(1);
    let signer = started(config, Power::Use);
    let (here, away) = (
        token.dir.path().join("tokens"),
        token.dir.path().join("away"),
    );
    for round in 0..4 {
        let (one, other) = if round % 2 == 0 {
            (&first, &second)
        } else {
            (&second, &first)
        };
        assert_signs(&signer, one, round);
        assert_signs(&signer, other, round);
        fs::rename(&here, &away).unwrap();
        // A third key meets the outage; the bindings of the two stay as they were.
        let outcome = signer.sign(&witness, &input_for(witness.scheme, 1), within(50));
        outcome.unwrap_err();
        fs::rename(&away, &here).unwrap();
        signer.wait_ready(soon()).unwrap();
        assert_signs(&signer, other, round);
        assert_signs(&signer, one, round);
    }
    assert!(
        signer.health().counters.mismatches == 0,
        "found out before C_Sign, not after"
    );
    assert!(signer.health().processes[0].generation > 4);
}
