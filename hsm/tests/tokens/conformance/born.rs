//! Birth and death of keys.

use hsm::{Administer, Error, KeySpec, ObjectClass, Sign};

use crate::support::*;

#[test]
fn a_newborn_key_is_read_back_as_evidence() {
    let token = Token::fresh();
    let executor = token.executor();
    for (spec, mechanism) in [
        (KeySpec::P256, "CKM_EC_KEY_PAIR_GEN"),
        (KeySpec::Rsa2048, "CKM_RSA_PKCS_KEY_PAIR_GEN"),
    ] {
        let order = order_for(&executor, spec);
        let born = executor.generate(Permitted(order.clone())).unwrap();
        let read = &born.attributes;
        for (what, value) in [
            ("local", read.local),
            ("always_sensitive", read.always_sensitive),
            ("never_extractable", read.never_extractable),
            ("token", read.token),
            ("private", read.private),
            ("sensitive", read.sensitive),
            ("sign", read.sign),
        ] {
            assert_eq!(value, Some(true), "{spec:?} {what}");
        }
        for (what, value) in [
            ("extractable", read.extractable),
            ("modifiable", read.modifiable),
            ("decrypt", read.decrypt),
            ("unwrap", read.unwrap),
            ("derive", read.derive),
        ] {
            assert_eq!(value, Some(false), "{spec:?} {what}");
        }
        assert_eq!(read.key_gen_mechanism.as_deref(), Some(mechanism));
        assert_eq!(
            (born.label.as_str(), born.cka_id),
            (order.label.as_str(), order.cka_id)
        );
        assert_eq!(born.token.serial, order.token_serial);
        assert_eq!(
            executor.read_back(order.cka_id).unwrap(),
            born,
            "the same again when asked later"
        );
    }
}

#[test]
fn a_new_key_proves_possession() {
    let token = Token::fresh();
    let executor = token.executor();
    let key = new_key(&executor, KeySpec::P256);
    let digest = input_for(key.scheme, 9);
    let proof = executor.prove(&key, &digest).unwrap();
    assert!(verifies(&key, &digest, proof.as_ref()));
}

#[test]
fn find_and_list_show_what_is_there_and_destroy_removes_it() {
    let token = Token::fresh();
    let executor = token.executor();
    let before = executor.list().unwrap().len();
    let born = born(&executor, KeySpec::P256);
    let key = key_of(&born, scheme_of(KeySpec::P256));
    let other = new_key(&executor, KeySpec::P384);
    assert_eq!(executor.list().unwrap().len(), before + 4);
    let found = executor.find(key.cka_id).unwrap();
    assert_eq!(found.len(), 2);
    let public = found
        .iter()
        .find(|object| object.class == ObjectClass::PublicKey)
        .unwrap();
    assert_eq!(public.spki.as_ref(), Some(&born.spki));
    assert_eq!(public.label, born.label);

    let order = destroy_order(&executor, &key);
    executor.destroy(Permitted(order.clone())).unwrap();
    assert_eq!(executor.find(key.cka_id).unwrap(), []);
    assert!(matches!(
        executor.destroy(Permitted(order)),
        Err(Error::NotFound { .. })
    ));
    assert_eq!(
        executor.find(other.cka_id).unwrap().len(),
        2,
        "the other key is untouched"
    );
    assert_eq!(
        executor.read_back(key.cka_id).unwrap_err().class(),
        hsm::Class::NotFound
    );
}

#[test]
fn a_hundred_births_beside_signatures_all_succeed() {
    let token = Token::fresh();
    let executor = token.executor();
    let key = new_key(&executor, KeySpec::P256);
    let signer = token.signer();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut seed = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                seed += 1;
                signer
                    .sign(&key, &input_for(key.scheme, seed), soon())
                    .unwrap();
            }
        });
        for _ in 0..100 {
            let order = order_for(&executor, KeySpec::P256);
            let id = order.cka_id;
            if let Err(error) = executor.generate(Permitted(order)) {
                // Other processes sign meanwhile, which no lock of ours excludes. A clean refusal is allowed to be
                // rare, an unknown outcome is allowed to be found out; a half key is neither.
                eprintln!("generation failed beside signatures: {error}");
                assert!([0, 2].contains(&executor.find(id).unwrap().len()));
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert_eq!(signer.health().counters.mismatches, 0);
}
