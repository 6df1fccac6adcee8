//! Births that are interrupted: nothing is repeated blindly, everything is found by its CKA_ID.

use std::time::Duration;

use hsm::{Act, Administer, Class, Error, KeySpec, Power};
use rustix::process::{Pid, Signal, kill_process};

use super::load::pause;
use super::shim::Shimmed;
use crate::support::*;

fn impatient(shimmed: &Shimmed) -> hsm::Supervisor {
    let mut config = shimmed.token.config();
    // A generation may take twelve times this long.
    config.hard_timeout = Some(Duration::from_millis(100));
    started(config, Power::Administer)
}

#[test]
fn a_birth_that_hangs_after_the_fact_is_found_and_adopted() {
    let shimmed = Shimmed::fresh();
    let executor = impatient(&shimmed);
    let order = order_for(&executor, KeySpec::P256);
    shimmed.inject("C_GenerateKeyPair late");
    let outcome = executor.generate(Permitted(order.clone()));
    assert_eq!(
        outcome,
        Err(Error::OutcomeUnknown {
            act: Act::Generate,
            cka_id: order.cka_id
        })
    );
    assert_eq!(outcome.unwrap_err().class(), Class::OutcomeUnknown);
    assert_eq!(shimmed.calls("C_GenerateKeyPair"), 1, "not repeated");
    shimmed.heal();
    assert_eq!(executor.find(order.cka_id).unwrap().len(), 2);
    let born = executor.read_back(order.cka_id).unwrap();
    assert_eq!(born.label, order.label);
    let key = key_of(&born, order.scheme);
    assert!(verifies(
        &key,
        &[7; 32],
        executor.prove(&key, &[7; 32]).unwrap().as_ref()
    ));
    assert!(matches!(
        executor.generate(Permitted(order)),
        Err(Error::AlreadyExists { count: 2, .. })
    ));
}

#[test]
fn a_birth_that_hangs_before_the_fact_left_nothing_and_may_be_ordered_again() {
    let shimmed = Shimmed::fresh();
    let executor = impatient(&shimmed);
    let order = order_for(&executor, KeySpec::P256);
    shimmed.inject("C_GenerateKeyPair hang");
    let outcome = executor.generate(Permitted(order.clone()));
    assert_eq!(
        outcome,
        Err(Error::OutcomeUnknown {
            act: Act::Generate,
            cka_id: order.cka_id
        })
    );
    shimmed.heal();
    assert_eq!(executor.find(order.cka_id).unwrap(), []);
    executor.generate(Permitted(order)).unwrap();
}

#[test]
fn a_birth_that_failed_but_happened_is_not_called_a_failure() {
    let shimmed = Shimmed::fresh();
    let executor = shimmed.token.executor();
    // DEVICE_ERROR, GENERAL_ERROR and a code that usually means "refused", each after the pair was made.
    for code in ["0x30", "0x5", "0xd1"] {
        let order = order_for(&executor, KeySpec::P256);
        shimmed.inject(&format!("C_GenerateKeyPair after {code}"));
        let outcome = executor.generate(Permitted(order.clone()));
        assert_eq!(
            outcome,
            Err(Error::OutcomeUnknown {
                act: Act::Generate,
                cka_id: order.cka_id
            }),
            "{code}"
        );
        assert_eq!(executor.find(order.cka_id).unwrap().len(), 2);
    }
    shimmed.heal();
}

#[test]
fn a_birth_that_was_refused_is_called_so() {
    let shimmed = Shimmed::fresh();
    let executor = shimmed.token.executor();
    let order = order_for(&executor, KeySpec::P256);
    // MECHANISM_INVALID, TEMPLATE_INCONSISTENT.
    for code in ["0x70", "0xd1"] {
        shimmed.inject(&format!("C_GenerateKeyPair rv {code}"));
        let outcome = executor.generate(Permitted(order.clone()));
        assert_eq!(outcome.unwrap_err().class(), Class::Unsupported, "{code}");
    }
    shimmed.heal();
    executor.generate(Permitted(order)).unwrap();
}

#[test]
fn a_worker_killed_during_a_birth_leaves_a_question_that_find_answers() {
    let token = Token::softhsm();
    let executor = token.executor();
    let pid = executor.health().processes[0].pid.unwrap();
    let pid = Pid::from_raw(pid as i32).unwrap();
    let order = order_for(&executor, KeySpec::Rsa4096);
    let outcome = std::thread::scope(|scope| {
        let birth = scope.spawn(|| executor.generate(Permitted(order.clone())));
        pause(100);
        kill_process(pid, Signal::KILL).unwrap();
        birth.join().unwrap()
    });
    if outcome.is_ok() {
        // RSA-4096 within 100 ms: it happens, once in a great while.
        return;
    }
    assert_eq!(
        outcome,
        Err(Error::OutcomeUnknown {
            act: Act::Generate,
            cka_id: order.cka_id
        })
    );
    match executor.find(order.cka_id).unwrap().len() {
        0 => drop(executor.generate(Permitted(order)).unwrap()),
        2 => drop(executor.read_back(order.cka_id).unwrap()),
        // Half a pair: nothing to adopt; it can be removed by the agreed CKA_ID.
        _ => assert!(executor.read_back(order.cka_id).is_err()),
    }
}

#[test]
fn a_destruction_that_failed_but_happened_is_a_question_too() {
    let shimmed = Shimmed::fresh();
    let executor = shimmed.token.executor();
    let key = new_key(&executor, KeySpec::P256);
    let order = destroy_order(&executor, &key);
    shimmed.inject("C_DestroyObject after 0x30");
    let outcome = executor.destroy(Permitted(order.clone()));
    assert_eq!(
        outcome,
        Err(Error::OutcomeUnknown {
            act: Act::Destroy,
            cka_id: key.cka_id
        })
    );
    shimmed.heal();
    let left = executor.find(key.cka_id).unwrap();
    assert_eq!(left.len(), 1, "the private key went first: {left:?}");
    executor.destroy(Permitted(order)).unwrap();
    assert_eq!(executor.find(key.cka_id).unwrap(), []);
}

#[test]
fn only_a_public_half_that_is_alone_is_removed_without_a_quorum() {
    let shimmed = Shimmed::fresh();
    let executor = shimmed.token.executor();
    let key = new_key(&executor, KeySpec::P256);
    let serial = executor.token().unwrap().serial;
    let remove = |serial: &str| executor.remove_public_half(serial, key.cka_id);
    let refused = remove(&serial);
    assert!(
        matches!(refused, Err(Error::Ambiguous { count: 2, .. })),
        "{refused:?}"
    );
    assert_eq!(executor.find(key.cka_id).unwrap().len(), 2, "a whole pair");
    // The private half goes first; then the destruction is interrupted.
    shimmed.inject("C_DestroyObject after 0x30");
    let order = destroy_order(&executor, &key);
    assert!(executor.destroy(Permitted(order)).is_err());
    shimmed.heal();
    let other = remove("another");
    assert!(matches!(other, Err(Error::OtherToken { .. })), "{other:?}");
    assert_eq!(executor.find(key.cka_id).unwrap().len(), 1);
    remove(&serial).unwrap();
    assert_eq!(executor.find(key.cka_id).unwrap(), []);
    let gone = remove(&serial);
    assert!(matches!(gone, Err(Error::NotFound { .. })), "{gone:?}");
    let signer = shimmed.token.signer();
    let powerless = signer.remove_public_half(&serial, key.cka_id);
    assert_eq!(powerless, Err(Error::Powerless));
}
