//! Signatures.

use std::sync::{Arc, mpsc};

use hsm::{Administer, Class, Error, KeyRef, KeySpec, Scheme, Sign, SignRequest};

use crate::support::*;

#[test]
fn every_algorithm_signs_and_verifies() {
    let token = Token::fresh();
    let executor = token.executor();
    let signer = token.signer();
    let cases = [
        (KeySpec::P256, Scheme::EcdsaP256Sha256),
        (KeySpec::P384, Scheme::EcdsaP384Sha384),
        (KeySpec::Rsa2048, Scheme::RsaPssSha256),
        (KeySpec::Rsa2048, Scheme::RsaPkcs1Sha256),
        (KeySpec::Rsa3072, Scheme::RsaPssSha256),
        (KeySpec::Rsa4096, Scheme::RsaPssSha256),
        (KeySpec::Ed25519, Scheme::Ed25519),
    ];
    for (spec, scheme) in cases {
        let mut order = order_for(&executor, spec);
        order.scheme = scheme;
        let born = match executor.generate(Permitted(order)) {
            Ok(born) => born,
            Err(error) if error.class() == Class::Unsupported => {
                eprintln!(
                    "NOT OFFERED by {}: {spec:?} {scheme:?}: {error}",
                    token.module.display()
                );
                assert!(spec == KeySpec::Ed25519, "only Ed25519 may be missing");
                continue;
            }
            Err(error) => panic!("{spec:?}: {error}"),
        };
        let key = key_of(&born, scheme);
        for seed in 0..5 {
            assert_signs(&signer, &key, seed);
        }
    }
    assert_eq!(signer.health().counters.mismatches, 0);
}

#[test]
fn a_digest_of_the_wrong_length_is_refused_before_the_token_sees_it() {
    let token = Token::fresh();
    let executor = token.executor();
    let key = new_key(&executor, KeySpec::P256);
    let signer = token.signer();
    for length in [0, 31, 33, 48, 64] {
        let outcome = signer.sign(&key, &vec![7; length], soon());
        assert_eq!(
            outcome,
            Err(Error::InputLength {
                cka_id: key.cka_id,
                expected: 32,
                got: length
            })
        );
    }
    assert_signs(&signer, &key, 1);
}

#[test]
fn thousands_of_signatures_at_once_are_each_answered_once_and_right() {
    let token = Token::fresh();
    let executor = token.executor();
    let keys: Vec<_> = (0..3).map(|_| new_key(&executor, KeySpec::P256)).collect();
    let signer = token.signer();
    let (sender, receiver) = mpsc::channel();
    let requests = (0..1000u64).map(|seed| {
        let key = Arc::clone(&keys[seed as usize % 3]);
        let sender = sender.clone();
        let reply = Box::new(move |outcome| sender.send((seed, outcome)).unwrap());
        SignRequest {
            input: input_for(key.scheme, seed),
            key,
            deadline: soon(),
            reply,
            given: None,
        }
    });
    signer.submit_all(requests.collect());
    drop(sender);
    let mut seen = vec![false; 1000];
    for (seed, outcome) in receiver {
        let key = &keys[seed as usize % 3];
        assert!(verifies(
            key,
            &input_for(key.scheme, seed),
            outcome.unwrap().as_ref()
        ));
        assert!(
            !std::mem::replace(&mut seen[seed as usize], true),
            "answered twice"
        );
    }
    assert!(seen.iter().all(|seen| *seen));
    assert_eq!(signer.health().counters.signatures, 1000);
    assert_eq!(signer.health().queued, 0);
}

#[test]
fn a_key_with_another_public_key_does_not_sign() {
    let token = Token::fresh();
    let executor = token.executor();
    let ours = new_key(&executor, KeySpec::P256);
    let other = new_key(&executor, KeySpec::P256);
    let signer = token.signer();
    let confused = Arc::new(KeyRef {
        spki: other.spki.clone(),
        ..(*ours).clone()
    });
    let outcome = signer.sign(&confused, &input_for(ours.scheme, 1), soon());
    assert_eq!(
        outcome,
        Err(Error::WrongKey {
            cka_id: ours.cka_id
        })
    );
    assert_eq!(outcome.unwrap_err().class(), Class::Fatal);
    assert_eq!(signer.health().counters.mismatches, 1);
    assert_signs(&signer, &ours, 2);
}

#[test]
fn an_unknown_key_is_not_found_and_a_broken_one_is_said_so() {
    let token = Token::fresh();
    let executor = token.executor();
    let key = new_key(&executor, KeySpec::P256);
    let signer = token.signer();
    let missing = Arc::new(KeyRef {
        cka_id: new_id(),
        ..(*key).clone()
    });
    let outcome = signer.sign(&missing, &input_for(key.scheme, 1), soon());
    assert_eq!(outcome.unwrap_err().class(), Class::NotFound);
    for spki in [
        Vec::new(),
        key.spki[..key.spki.len() - 1].to_vec(),
        key.spki[26..].to_vec(),
    ] {
        let broken = Arc::new(KeyRef {
            spki,
            ..(*key).clone()
        });
        let outcome = signer.sign(&broken, &input_for(key.scheme, 1), soon());
        assert_eq!(outcome, Err(Error::BadKeyRef { cka_id: key.cka_id }));
    }
    let wrong_scheme = Arc::new(KeyRef {
        scheme: Scheme::RsaPssSha256,
        ..(*key).clone()
    });
    let outcome = signer.sign(&wrong_scheme, &input_for(key.scheme, 1), soon());
    assert_eq!(outcome, Err(Error::BadKeyRef { cka_id: key.cka_id }));
}

#[test]
fn two_objects_with_one_id_are_an_error_and_never_the_first() {
    let token = Token::fresh();
    let executor = token.executor();
    let key = new_key(&executor, KeySpec::P256);
    let id: String = key.cka_id.to_string();
    let pin = std::fs::read_to_string(&token.pin_file).unwrap();
    let login = ["--login", "--pin", pin.trim()];
    let twin = [
        "--keypairgen",
        "--key-type",
        "EC:prime256v1",
        "--id",
        &id,
        "--label",
        "twin",
    ];
    token.tool(&[&login[..], &twin[..]].concat());
    let signer = token.signer();
    let outcome = signer.sign(&key, &input_for(key.scheme, 1), soon());
    assert_eq!(outcome.unwrap_err().class(), Class::Ambiguous);
    assert_eq!(executor.find(key.cka_id).unwrap().len(), 4);
}

#[test]
fn a_prepared_key_signs_and_a_deleted_one_is_gone() {
    let token = Token::fresh();
    let executor = token.executor();
    let key = new_key(&executor, KeySpec::P256);
    let kept = new_key(&executor, KeySpec::P256);
    let signer = token.signer();
    signer.prepare(&key, soon()).unwrap();
    assert_signs(&signer, &key, 1);
    assert_signs(&signer, &kept, 1);
    let order = destroy_order(&executor, &key);
    executor.destroy(Permitted(order)).unwrap();
    // Its handle is cached in every worker; the token must not sign with whatever has it now.
    for seed in 0..20 {
        let outcome = signer.sign(&key, &input_for(key.scheme, seed), soon());
        assert_eq!(outcome.unwrap_err().class(), Class::NotFound, "seed {seed}");
        assert_signs(&signer, &kept, seed);
    }
    assert_eq!(
        signer.prepare(&key, soon()).unwrap_err().class(),
        Class::NotFound
    );
}

#[test]
fn several_sessions_in_one_process_sign_at_once() {
    let token = Token::fresh();
    let executor = token.executor();
    let keys: Vec<_> = [KeySpec::P256, KeySpec::Rsa2048, KeySpec::P384]
        .into_iter()
        .map(|spec| new_key(&executor, spec))
        .collect();
    let mut config = token.config();
    (config.processes, config.sessions) = (Some(1), Some(4));
    let signer = started(config, hsm::Power::Use);
    std::thread::scope(|scope| {
        for caller in 0..6 {
            let (signer, keys) = (&signer, &keys);
            scope.spawn(move || {
                for seed in 0..50 {
                    assert_signs(signer, &keys[(caller + seed as usize) % 3], seed);
                }
            });
        }
    });
    let health = signer.health();
    assert_eq!(
        (health.counters.signatures, health.counters.mismatches),
        (300, 0)
    );
    assert_eq!(health.processes.len(), 1);
}
