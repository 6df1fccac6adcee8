//! Tokens that fail while data keys are wrapped. Asserted throughout: a blob is blamed only by a token that is well, and nothing
//! leaves that another key made.

use std::time::Duration;

use hsm::{Act, Administer, Class, Error, KeySpec, ObjectClass, Power, State};

use super::load::pause;
use super::shim::Shimmed;
use crate::support::*;
use crate::wrapping::*;

fn many(count: u32) -> Vec<[u8; 32]> {
    (0..count).map(dek).collect()
}

#[test]
fn an_unwrap_that_answers_general_error_blames_the_blob_only_if_the_token_is_well() {
    let shimmed = Shimmed::fresh();
    let executor = shimmed.token.executor();
    let key = new_wrap_key(&executor);
    let blobs = wrapped(&executor, &key, &many(20));
    // The same code that SoftHSM has for a damaged blob, for every unwrap: the key's own challenge does not come back either.
    shimmed.inject("C_UnwrapKey rv 0x5");
    let work = hsm::WrapWork::Unwrap {
        key: key.clone(),
        blobs: blobs.clone(),
    };
    for item in carried(&executor, work, within(500)) {
        let error = item.unwrap_err();
        assert_ne!(error.class(), Class::Integrity, "{error}");
    }
    assert_eq!(executor.health().counters.integrity_failures, 0);
    shimmed.heal();
    assert!(opened(&executor, &key, &blobs).iter().all(Result::is_ok));
}

#[test]
fn a_token_that_fails_for_a_while_in_the_middle_of_a_rewrap_loses_no_item() {
    let shimmed = Shimmed::fresh();
    let executor = shimmed.token.executor();
    let (old, new) = (new_wrap_key(&executor), new_wrap_key(&executor));
    let signer = shimmed.token.signer();
    let deks = many(100);
    let blobs = wrapped(&signer, &old, &deks);
    let expected = wrapped(&signer, &new, &deks);
    // DEVICE_ERROR, GENERAL_ERROR, OBJECT_HANDLE_INVALID, and the session gone.
    for fault in [
        "C_UnwrapKey rv 0x30",
        "C_UnwrapKey rv 0x5",
        "C_WrapKey rv 0x82",
        "C_WrapKey rv 0xb3",
        "C_DestroyObject rv 0x5",
        "C_DestroyObject after 0x30",
    ] {
        let function = fault.split(' ').next().unwrap();
        shimmed.meets(function, fault, || {
            let moved = rewrapped(&signer, (&old, &new), &blobs);
            let moved: Result<Vec<_>, _> = moved.into_iter().collect();
            assert_eq!(moved.as_ref(), Ok(&expected), "{fault}");
        });
    }
    assert_eq!(signer.health().counters.integrity_failures, 0);
}

#[test]
fn a_worker_killed_or_hung_in_the_middle_of_a_rewrap_loses_no_item() {
    let shimmed = Shimmed::fresh();
    let executor = shimmed.token.executor();
    let (old, new) = (new_wrap_key(&executor), new_wrap_key(&executor));
    let mut config = shimmed.token.config();
    config.hard_timeout = Some(Duration::from_millis(300));
    let signer = started(config, Power::Use);
    let deks = many(100);
    let blobs = wrapped(&signer, &old, &deks);
    let expected = wrapped(&signer, &new, &deks);
    shimmed.meets("C_UnwrapKey", "C_UnwrapKey hang", || {
        let moved = rewrapped(&signer, (&old, &new), &blobs);
        let moved: Result<Vec<_>, _> = moved.into_iter().collect();
        assert_eq!(moved.as_ref(), Ok(&expected));
        // Others may have done its work before its time is over.
        let until = soon();
        while signer.health().counters.processes_killed == 0 {
            assert!(std::time::Instant::now() < until, "what hangs is killed");
            pause(1);
        }
    });
}

#[test]
fn what_the_handle_of_another_wrapping_key_makes_never_leaves() {
    let shimmed = Shimmed::fresh();
    let executor = shimmed.token.executor();
    let (old, new) = (new_wrap_key(&executor), new_wrap_key(&executor));
    let blobs = wrapped(&executor, &old, &many(5));
    let moved = rewrapped(&executor, (&old, &new), &blobs);
    assert!(moved.iter().all(Result::is_ok));
    shimmed.inject("C_WrapKey swap");
    let deks = many(5).iter().map(hsm::Dek::copy_of).collect();
    let key = old.clone();
    let items = carried(&executor, hsm::WrapWork::Wrap { key, deks }, soon());
    for item in items {
        let cka_id = old.cka_id;
        assert_eq!(item, Err(Error::WrongCheckValue { cka_id }));
    }
    for item in rewrapped(&executor, (&old, &new), &blobs) {
        assert_eq!(item.unwrap_err().class(), Class::Fatal);
    }
    assert!(executor.health().counters.mismatches > 0, "each is told");
    // Unwrapping by another key's handle is no damaged blob.
    shimmed.inject("C_UnwrapKey swap");
    let work = rewrap_work((&old, &new), &blobs);
    for item in carried(&executor, work, within(500)) {
        assert_ne!(item.unwrap_err().class(), Class::Integrity);
    }
    shimmed.heal();
    assert_eq!(rewrapped(&executor, (&old, &new), &blobs), moved);
    assert_eq!(executor.health().counters.integrity_failures, 0);
}

#[test]
fn handles_are_bound_again_after_the_library_was_initialised_again() {
    let shimmed = Shimmed::fresh();
    let executor = shimmed.token.executor();
    let keys: Vec<_> = (0..4).map(|_| new_wrap_key(&executor)).collect();
    let signer = shimmed.token.signer();
    let deks = many(10);
    let before: Vec<_> = keys.iter().map(|k| wrapped(&signer, k, &deks)).collect();
    let reinitialised = signer.health().counters.reinitialised;
    shimmed.inject("C_WrapKey rv 0x30");
    std::thread::scope(|scope| {
        let work = scope.spawn(|| wrapped(&signer, &keys[3], &deks));
        let until = soon();
        while signer.health().counters.reinitialised == reinitialised {
            assert!(std::time::Instant::now() < until, "the ladder gets there");
            pause(1);
        }
        shimmed.heal();
        assert_eq!(work.join().unwrap(), before[3]);
    });
    for (key, before) in keys.iter().zip(&before).rev() {
        assert_eq!(&wrapped(&signer, key, &deks), before);
    }
    assert_eq!(signer.health().counters.mismatches, 0);
}

#[test]
fn a_wrapping_key_whose_birth_hangs_after_the_fact_is_found_and_adopted() {
    let shimmed = Shimmed::fresh();
    let mut config = shimmed.token.config();
    // A generation may take twelve times this long.
    config.hard_timeout = Some(Duration::from_millis(100));
    let executor = started(config, Power::Administer);
    let order = wrap_order(&executor, 1);
    let cka_id = order.cka_id;
    shimmed.inject("C_GenerateKey late");
    let act = Act::Generate;
    assert_eq!(
        executor.generate_wrap(Permitted(order.clone())),
        Err(Error::OutcomeUnknown { act, cka_id })
    );
    shimmed.heal();
    let found = executor.find(cka_id).unwrap();
    assert!(matches!(found.as_slice(), [only] if only.class == ObjectClass::SecretKey));
    let born = executor.read_back_wrap(cka_id, order.challenge).unwrap();
    let key = std::sync::Arc::new(hsm::WrapRef {
        cka_id,
        challenge: order.challenge,
        check_value: born.check_value,
    });
    let blobs = wrapped(&executor, &key, &many(3));
    assert_eq!(opened(&executor, &key, &blobs)[2], Ok(dek(2)));
    // And one whose challenge cannot be wrapped is there as well.
    let order = wrap_order(&executor, 2);
    let cka_id = order.cka_id;
    shimmed.inject("C_WrapKey rv 0x5");
    assert_eq!(
        executor.generate_wrap(Permitted(order.clone())),
        Err(Error::OutcomeUnknown { act, cka_id })
    );
    shimmed.heal();
    executor.read_back_wrap(cka_id, order.challenge).unwrap();
}

#[test]
fn a_destruction_that_failed_but_happened_is_not_called_a_failure() {
    let shimmed = Shimmed::fresh();
    let executor = shimmed.token.executor();
    let key = new_wrap_key(&executor);
    let order = destroy_wrap_order(&executor, &key);
    // The session object of the challenge is destroyed by the same function: there the ladder helps, then it is refused.
    shimmed.inject("C_DestroyObject after 0x30");
    assert!(executor.destroy_wrap(Permitted(order.clone())).is_err());
    shimmed.heal();
    assert_eq!(executor.find(key.cka_id).unwrap().len(), 1);
    executor.destroy_wrap(Permitted(order)).unwrap();
    assert_eq!(executor.find(key.cka_id).unwrap(), []);
}

#[test]
fn a_token_that_fails_the_trial_signs_and_says_that_it_cannot_wrap() {
    let shimmed = Shimmed::fresh();
    let first = shimmed.token.executor();
    let key = new_wrap_key(&first);
    let pair = new_key(&first, KeySpec::P256);
    // MECHANISM_INVALID, as a token says that lists the mechanism and does not have it.
    shimmed.inject("C_WrapKey rv 0x70");
    let executor = shimmed.token.executor();
    let health = executor.health();
    assert_eq!(health.state, State::Ready);
    let reason = health.wrap.unwrap().unwrap_err();
    assert!(reason.contains("no such mechanism"), "{reason}");
    assert_signs(&executor, &pair, 1);
    let cannot = Error::CannotWrap { reason };
    let order = wrap_order(&executor, 1);
    assert_eq!(
        executor.generate_wrap(Permitted(order)),
        Err(cannot.clone())
    );
    let deks = many(1).iter().map(hsm::Dek::copy_of).collect();
    let items = carried(&executor, hsm::WrapWork::Wrap { key, deks }, soon());
    assert_eq!(items, [Err(cannot)]);
}

#[test]
fn a_key_in_strict_mode_rewraps_and_opens_nothing() {
    let shimmed = Shimmed::fresh();
    let executor = shimmed.token.executor();
    let (old, new) = (new_wrap_key(&executor), new_wrap_key(&executor));
    let blobs = wrapped(&executor, &old, &many(3));
    shimmed.inject("C_UnwrapKey strict");
    let cka_id = old.cka_id;
    for item in opened(&executor, &old, &blobs) {
        assert_eq!(item, Err(Error::StrictKey { cka_id }));
    }
    let moved = rewrapped(&executor, (&old, &new), &blobs);
    assert!(moved.iter().all(Result::is_ok));
    let health = executor.health();
    assert_eq!(health.counters.integrity_failures, 0);
    assert_eq!(health.counters.reinitialised, 0);
}

#[test]
fn a_caller_that_went_away_frees_nothing_that_still_runs() {
    let shimmed = Shimmed::fresh();
    let executor = shimmed.token.executor();
    let (old, new) = (new_wrap_key(&executor), new_wrap_key(&executor));
    let signer = shimmed.token.signer();
    let blobs = wrapped(&signer, &old, &many(40));
    shimmed.inject("C_UnwrapKey sleep 5");
    drop(submitted(
        &signer,
        rewrap_work((&old, &new), &blobs),
        soon(),
    ));
    let until = soon();
    while signer.health().counters.rewraps < 40 {
        assert!(std::time::Instant::now() < until, "the work goes on");
        pause(1);
    }
    shimmed.heal();
    assert!(signer.health().processes.iter().all(|p| p.in_flight == 0));
}
