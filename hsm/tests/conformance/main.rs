//! What any token must do to be used by Chancery. Runs unchanged against `CHANCERY_TEST_MODULE`; without it against a
//! fresh SoftHSM token, and against kryoptic when its module was built.

#[path = "../support/mod.rs"]
mod support;

use std::sync::Arc;

use hsm::{Administer, Class, Error, KeyRef, KeySpec, ObjectClass, Scheme, Sign};
use support::*;

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
