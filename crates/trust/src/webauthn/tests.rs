//! The verifier on the vectors of the standard: W3C Web Authentication Level 3, section "Test Vectors".

use std::collections::BTreeMap;

use super::*;
use crate::browser::registration::{self, RegistrationError};
use crate::hex;
use crate::roster::MemberKey;

const VECTORS: &str = include_str!("tests/vectors.txt");

/// The values of one of the standard's examples, by the names that it gives them.
type Example = BTreeMap<&'static str, Vec<u8>>;

fn examples() -> BTreeMap<&'static str, Example> {
    let mut all: BTreeMap<&str, Example> = BTreeMap::new();
    let mut section = "";
    for line in VECTORS.lines() {
        if let Some(name) = line.strip_prefix("[sctn-test-vectors-") {
            section = name.trim_end_matches(']');
        } else if let Some((name, value)) = line.split_once(" = ") {
            let example = all.entry(section).or_default();
            example.insert(name, hex::decode(value).unwrap());
        }
    }
    assert_eq!(all.len(), 15);
    all
}

/// All examples use this relying party.
fn relying_party() -> Passkeys {
    Passkeys {
        origins: vec!["https://example.org".to_owned()],
        rp_id: "example.org".to_owned(),
    }
}

fn key_of(example: &Example) -> Result<PasskeyKey, RegistrationError> {
    let object = &example["registration.attestationObject"];
    let registration = registration::of_attestation(object, None)?;
    let MemberKey::Webauthn {
        algorithm,
        public_key,
        ..
    } = registration.key
    else {
        panic!("not a passkey");
    };
    Ok(PasskeyKey::from_spki(algorithm, &public_key.0).unwrap())
}

fn assertion(example: &Example) -> Assertion<'_> {
    Assertion {
        authenticator_data: &example["authentication.authenticatorData"],
        client_data: &example["authentication.clientDataJSON"],
        signature: &example["authentication.signature"],
    }
}

fn answered(example: &Example, assertion: Assertion<'_>) -> Result<(), PasskeyError> {
    let key = key_of(example).unwrap();
    let challenge = &example["authentication.challenge"];
    answers(&relying_party(), &key, challenge, assertion).map(drop)
}

#[test]
fn the_examples_of_the_standard_verify_or_are_refused_for_what_they_lack() {
    use PasskeyError::{CrossOrigin, NotVerified};
    let examples = examples();
    for (section, expected) in [
        // The user was not verified in these: their other checks are in the next test.
        ("none-es256", Err(NotVerified)),
        ("packed-self-es256", Err(NotVerified)),
        ("android-key-es256", Err(NotVerified)),
        ("apple-es256", Err(NotVerified)),
        ("fido-u2f-es256", Err(NotVerified)),
        ("packed-eddsa", Err(NotVerified)),
        ("none-es256-crossOrigin", Err(CrossOrigin)),
        ("none-es256-topOrigin", Err(CrossOrigin)),
        ("none-es256-long-credential-id", Ok(())),
        ("packed-es256", Ok(())),
        ("tpm-es256", Ok(())),
    ] {
        let example = &examples[section];
        assert_eq!(answered(example, assertion(example)), expected, "{section}");
    }
}

#[test]
fn the_signatures_of_the_standard_verify_and_no_others() {
    let mut verified = 0;
    for (section, example) in examples() {
        let Ok(key) = key_of(&example) else {
            continue;
        };
        let Assertion {
            authenticator_data,
            client_data,
            signature,
        } = assertion(&example);
        let read = ClientData::parse(client_data).unwrap();
        assert_eq!(read.kind, GET, "{section}");
        let challenge = base64url::encode(&example["authentication.challenge"]);
        assert_eq!(read.challenge, challenge, "{section}");
        let signed = |client_data: &[u8]| {
            let hash = Sha256Digest::of(client_data);
            [authenticator_data, hash.as_bytes()].concat()
        };
        assert!(key.verifies(&signed(client_data), signature), "{section}");
        assert!(!key.verifies(&signed(b"{}"), signature), "{section}");
        let mut other = signature.to_vec();
        *other.last_mut().unwrap() ^= 1;
        assert!(!key.verifies(&signed(client_data), &other), "{section}");
        verified += 1;
    }
    assert_eq!(verified, 11);
}

#[test]
fn the_registrations_of_the_standard_are_read() {
    let examples = examples();
    for (section, format) in [
        ("none-es256", "none"),
        ("packed-es256", "packed"),
        ("packed-eddsa", "packed"),
        ("tpm-es256", "tpm"),
        ("android-key-es256", "android-key"),
        ("apple-es256", "apple"),
        ("fido-u2f-es256", "fido-u2f"),
    ] {
        let object = &examples[section]["registration.attestationObject"];
        let read = registration::of_attestation(object, None).unwrap();
        assert_eq!(read.format, format, "{section}");
        assert_ne!(read.aaguid, [0; 16], "{section}");
    }
    let refused = |section: &str| key_of(&examples[section]).err().unwrap();
    for section in ["packed-es384", "packed-es512", "packed-ed448"] {
        let error = RegistrationError::Key(PasskeyKeyError::Cose);
        assert_eq!(refused(section), error, "{section}");
    }
    // Its modulus has 3482 bits: a curiosity of the standard, which no authenticator makes.
    let why = refused("packed-rs256").to_string();
    assert!(why.contains("2048, 3072 or 4096 bits"), "{why}");

    // Registered for somebody else's page, or without the user.
    let example = &examples["packed-es256"];
    let read = |passkeys: &Passkeys, client: &[u8]| {
        let object = &example["registration.attestationObject"];
        registration::read(passkeys, client, object).map(drop)
    };
    let client = &example["registration.clientDataJSON"];
    assert_eq!(read(&relying_party(), client), Ok(()));
    let mut other = relying_party();
    other.rp_id = "example.com".to_owned();
    let rp_id = RegistrationError::Passkey(PasskeyError::RpId);
    assert_eq!(read(&other, client), Err(rp_id));
    other.origins = vec!["https://example.com".to_owned()];
    let origin = PasskeyError::Origin("https://example.org".to_owned());
    assert_eq!(
        read(&other, client),
        Err(RegistrationError::Passkey(origin))
    );
    let get = &example["authentication.clientDataJSON"];
    let kind = RegistrationError::Passkey(PasskeyError::Type(GET.to_owned()));
    assert_eq!(read(&relying_party(), get), Err(kind));
}

#[test]
fn each_part_of_an_assertion_is_checked() {
    let examples = examples();
    let example = &examples["packed-es256"];
    let good = assertion(example);
    let with_data = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut data = good.authenticator_data.to_vec();
        change(&mut data);
        answered(
            example,
            Assertion {
                authenticator_data: &data,
                ..good
            },
        )
    };
    let with_client = |from: &str, to: &str| {
        let client = std::str::from_utf8(good.client_data).unwrap();
        let changed = client.replace(from, to);
        assert_ne!(changed, client);
        answered(
            example,
            Assertion {
                client_data: changed.as_bytes(),
                ..good
            },
        )
    };
    use PasskeyError as E;
    assert_eq!(with_data(&|data| data[0] ^= 1), Err(E::RpId));
    assert_eq!(with_data(&|data| data[32] &= !1), Err(E::NotPresent));
    assert_eq!(with_data(&|data| data[32] &= !4), Err(E::NotVerified));
    let backed_up = |data: &mut Vec<u8>| data[32] = data[32] & !8 | 16;
    assert_eq!(with_data(&backed_up), Err(E::BackupState));
    assert_eq!(with_data(&|data| data[36] ^= 1), Err(E::Signature));
    for (length, change) in [(36, 36), (0, 0)] {
        let error = E::AuthenticatorData(AuthenticatorDataError::Length(length));
        assert_eq!(with_data(&|data| data.truncate(change)), Err(error));
    }
    let trailing = E::AuthenticatorData(AuthenticatorDataError::Trailing);
    assert_eq!(with_data(&|data| data.push(0)), Err(trailing));
    // Extensions that are announced and missing, there and not announced, and no map by names.
    let extended = |bytes: &'static [u8]| {
        move |data: &mut Vec<u8>| {
            data[32] |= 0x80;
            data.extend(bytes);
        }
    };
    assert_eq!(
        with_data(&extended(&[0xa1, 0x61, b'x', 1])),
        Err(E::Signature)
    );
    let cbor = |error| E::AuthenticatorData(AuthenticatorDataError::Cbor(error));
    assert_eq!(with_data(&extended(&[])), Err(cbor(CborError::Short)));
    let no_map = E::AuthenticatorData(AuthenticatorDataError::Extensions);
    assert_eq!(with_data(&extended(&[0x80])), Err(no_map.clone()));
    assert_eq!(with_data(&extended(&[0xa1, 1, 1])), Err(no_map));
    // A whole attested credential is no part of an assertion.
    let object = &example["registration.attestationObject"];
    let (object, _) = cbor::read(object).unwrap();
    let attested = object.get(&cbor::Value::Text("authData".to_owned()));
    let attested = attested.and_then(cbor::Value::bytes).unwrap();
    let attested = Assertion {
        authenticator_data: attested,
        ..good
    };
    assert_eq!(answered(example, attested), Err(E::Attested));

    assert_eq!(
        with_client(".get", ".create"),
        Err(E::Type("webauthn.create".to_owned()))
    );
    let origin = E::Origin("https://example.org.evil".to_owned());
    assert_eq!(with_client("example.org", "example.org.evil"), Err(origin));
    assert_eq!(with_client("false", "true"), Err(E::CrossOrigin));
    let framed = with_client(
        "\"crossOrigin\":false",
        "\"topOrigin\":\"https://a.example\"",
    );
    assert_eq!(framed, Err(E::CrossOrigin));
    assert_eq!(
        with_client("\"challenge\":\"", "\"challenge\":\"A"),
        Err(E::Challenge)
    );
    // Absent counts as false, and is another text.
    let absent = with_client(",\"crossOrigin\":false", "");
    assert_eq!(absent, Err(E::Signature));
    let twice = with_client("{\"type\"", "{\"origin\":\"x\",\"type\"");
    assert!(matches!(twice, Err(E::ClientData(_))));

    // ECDSA in its fixed form, and DER with a byte too many.
    let fixed = crate::signature::der_to_p1363(good.signature, 32).unwrap();
    let longer = [good.signature, &[0]].concat();
    for signature in [&fixed[..], &longer, &[]] {
        let error = answered(example, Assertion { signature, ..good });
        assert_eq!(error, Err(E::Signature));
    }
    // Another credential's key.
    let other = key_of(&examples["tpm-es256"]).unwrap();
    let challenge = &example["authentication.challenge"];
    let found = answers(&relying_party(), &other, challenge, good);
    assert_eq!(found.map(drop), Err(E::Signature));
}
