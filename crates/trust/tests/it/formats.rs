//! What a later version may add, and what this one makes of it: words that are open are read and
//! give nothing; everything else that is unknown is refused by its name.

use serde_json::{Value, json};
use trust::leaf::{ActKind, Leaf};
use trust::*;

use crate::support::{NewKey, World, destroy, minute, name, revoke};

/// Whether a request that was changed as JSON is read, or what the refusal says.
fn read(request: &Request, change: impl FnOnce(&mut Value)) -> Result<(), String> {
    let mut value: Value = serde_json::from_slice(&request.encode().unwrap()).unwrap();
    change(&mut value);
    match Request::decode(&json::canonical(&value).unwrap()) {
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

fn renamed(value: &mut Value, path: &str, old: &str, new: &str) {
    let object = value.pointer_mut(path).unwrap().as_object_mut().unwrap();
    let member = object.remove(old).unwrap();
    object.insert(new.to_owned(), member);
}

#[test]
fn an_unknown_operation_is_refused_by_its_name() {
    let request = World::quick().request();
    assert_eq!(read(&request, |_| ()), Ok(()));
    let error = read(&request, |value| {
        renamed(value, "/operation", "generate", "ring-migration");
    });
    assert!(error.unwrap_err().contains("ring-migration"));
    // Two at once are none.
    let error = read(&request, |value| value["operation"]["revoke"] = json!({}));
    assert!(error.is_err());
}

#[test]
fn an_unknown_kind_of_place_or_location_is_refused_by_its_name() {
    let world = World::quick();
    let error = read(&world.request(), |value| {
        renamed(value, "/operation/generate/place", "pkcs11", "cloud-hsm");
    });
    assert!(error.unwrap_err().contains("cloud-hsm"));
    let kid = NewKey::generate().kid();
    let request = world.request_for(destroy(std::slice::from_ref(&kid)));
    let error = read(&request, |value| {
        renamed(
            value,
            "/operation/destroy/keys/0/locations/0",
            "pkcs11",
            "cloud-hsm",
        );
    });
    assert!(error.unwrap_err().contains("cloud-hsm"));
    // Nor is one kind read with the members of another.
    let error = read(&world.request(), |value| {
        renamed(value, "/operation/generate/place", "pkcs11", "key-vault");
    });
    assert!(error.is_err());
    // What a device told is read in the same way.
    let bytes = world.transcript().encode().unwrap();
    let transcript: Value = serde_json::from_slice(&bytes).unwrap();
    for member in ["location", "read_back"] {
        let mut changed = transcript.clone();
        let text = changed["acceptance"]["statement"].as_str().unwrap();
        let mut statement: Value = serde_json::from_str(text).unwrap();
        let path = format!("/outcome/generated/{member}");
        renamed(&mut statement, &path, "pkcs11", "cloud-hsm");
        let text = String::from_utf8(json::canonical(&statement).unwrap()).unwrap();
        changed["acceptance"]["statement"] = json!(text);
        let bytes = json::canonical(&changed).unwrap();
        match verify_transcript(&bytes, &world.pin).unwrap_err() {
            TranscriptError::Ceremony(tally::AcceptanceError::Unreadable(error)) => {
                assert!(error.to_string().contains("cloud-hsm"), "{error}");
            }
            other => panic!("{other}"),
        }
    }
}

#[test]
fn closed_words_of_a_request_are_refused_by_their_names() {
    let world = World::quick();
    for (path, word) in [
        ("/operation/generate/usage", "notary"),
        ("/operation/generate/purpose/sign/algorithm", "ML-DSA-65"),
        ("/operation/generate/purpose/sign/key_spec", "P-521"),
        ("/lines/0/subject", "asset/db"),
    ] {
        let error = read(&world.request(), |value| {
            *value.pointer_mut(path).unwrap() = json!(word);
        });
        let error = error.unwrap_err();
        let named = error.contains(word) || error.contains("ring/NAME");
        assert!(named, "{path}: {error}");
    }
    let kid = NewKey::generate().kid();
    let error = read(&world.request_for(revoke(&kid)), |value| {
        value["operation"]["revoke"]["reason"] = json!("ceased");
    });
    assert!(error.unwrap_err().contains("ceased"));
}

#[test]
fn an_unknown_kind_of_signature_is_refused_by_its_name() {
    let world = World::quick();
    let mut value: Value = serde_json::from_slice(&world.transcript().encode().unwrap()).unwrap();
    value["record"]["approvals"][0]["signature"]["kind"] = json!("fido-u2f");
    let bytes = json::canonical(&value).unwrap();
    match verify_transcript(&bytes, &world.pin).unwrap_err() {
        TranscriptError::Unreadable(error) => {
            assert!(error.to_string().contains("fido-u2f"), "{error}");
        }
        other => panic!("{other}"),
    }
    let signature = json!({"kind": "ssh", "signature": "x", "credential_id": "AAAA"});
    assert!(MemberSignature::decode(&json::canonical(&signature).unwrap()).is_err());
}

#[test]
fn a_member_signature_has_one_form_and_one_digest() {
    let world = World::quick();
    let ssh = world.approval(b"body", &world.alice).signature;
    let passkey = passkey();
    for signature in [ssh, passkey] {
        let bytes = signature.encode().unwrap();
        assert_eq!(MemberSignature::decode(&bytes).unwrap(), signature);
        assert_eq!(signature.digest().unwrap(), Sha256Digest::of(&bytes));
        assert!(MemberSignature::decode(&[&bytes[..], b" "].concat()).is_err());
    }
}

fn passkey() -> MemberSignature {
    let bytes = |text: &str| Base64Url(text.as_bytes().to_vec());
    MemberSignature::Webauthn {
        authenticator_data: bytes("authenticator data"),
        client_data: bytes(r#"{"type":"webauthn.get"}"#),
        credential_id: bytes("a credential's id"),
        signature: bytes("a signature"),
    }
}

#[test]
fn a_passkeys_signature_is_not_counted_wherever_it_stands_without_passkeys_on_the_roster() {
    use tally::{Obstacle, Standing, WhyNot};
    let world = World::quick();
    let request = crate::passkeys::rotation(&world);
    let not_used = WhyNot::Passkey(webauthn::PasskeyError::NotUsed);
    let mut ceremony = world.ceremony(&request, &[&world.alice, &world.bob]);
    ceremony.approvals[1].signature = passkey();
    let tally = world.tally(&ceremony);
    assert_eq!(tally.standing, Standing::Waiting { missing: 1 });
    assert_eq!(tally.not_counted[0].why, not_used);
    assert_eq!(tally.not_counted[0].member, None);

    let mut ceremony = world.ceremony(&request, &[&world.alice, &world.bob]);
    ceremony.proposal.as_mut().unwrap().signature = passkey();
    let unsigned = Obstacle::Proposal(world.carol.id.clone());
    let standing = world.tally(&ceremony).into_standing();
    assert_eq!(standing, Standing::Refused(vec![unsigned]));

    let mut ceremony = world.ceremony(&request, &[&world.alice, &world.bob]);
    let mut rejection = world.rejection(&request, &world.alice);
    rejection.signature = passkey();
    ceremony.rejections.push(rejection);
    assert_eq!(world.tally(&ceremony).standing, Standing::Approved);

    let mut transcript = world.transcript();
    transcript.acceptance.signatures[1] = passkey();
    let error = verify_transcript(&transcript.encode().unwrap(), &world.pin).unwrap_err();
    let expected = TranscriptError::Superfluous {
        index: 1,
        // The first key of a ring.
        why: WhyNot::Kind,
    };
    assert_eq!(error.to_string(), expected.to_string());

    let mut chains = world.chains.clone();
    chains.genesis.signatures[2] = passkey();
    let error = chain::walk(&chains, &world.pin).unwrap_err().to_string();
    assert!(error.contains("3 of 4 for all members"), "{error}");
}

#[test]
fn a_roster_with_a_passkey_and_no_relying_party_is_read_and_refused() {
    use chain::{ChainError, Change, walk};
    let world = World::quick();
    let with_passkey = |roster: &mut Roster| {
        roster.members[0].keys.push(MemberKey::Webauthn {
            algorithm: Algorithm::Es256,
            credential_id: Base64Url(vec![1; 16]),
            public_key: Base64Url(NewKey::generate().public().to_spki_der()),
        })
    };
    let document = world.next_roster(with_passkey, &[&world.alice, &world.bob]);
    let mut chains = world.chains.clone();
    chains.changes.push(Change::Roster(document));
    let source = roster::RosterError::Kind(world.alice.id.clone());
    let error = walk(&chains, &world.pin).unwrap_err();
    assert_eq!(error, ChainError::Roster { index: 1, source });
}

#[test]
fn a_passkey_has_an_algorithm_of_authenticators_and_an_id_of_16_to_1023_bytes() {
    let read = |algorithm: &str, length: usize| {
        let key = json!({
            "kind": "webauthn", "algorithm": algorithm, "public_key": "AAAA",
            "credential_id": Base64Url(vec![1; length]),
        });
        serde_json::from_value::<MemberKey>(key).is_ok()
    };
    for algorithm in Algorithm::ALL {
        let known = ["ES256", "Ed25519", "RS256"].contains(&algorithm.to_string().as_str());
        assert_eq!(read(&algorithm.to_string(), 16), known, "{algorithm}");
    }
    for (length, fits) in [(15, false), (16, true), (1023, true), (1024, false)] {
        assert_eq!(read("ES256", length), fits, "{length}");
    }
}

#[test]
fn a_use_of_an_order_has_a_number_from_one() {
    let request = World::quick().request();
    let with = |number: Value| {
        let order = json!({"id": "0".repeat(32), "use": number});
        read(&request, |value| value["order"] = order).is_ok()
    };
    assert!(with(json!(1)) && with(json!(u32::MAX)));
    assert!(!with(json!(0)) && !with(json!(u64::from(u32::MAX) + 1)));
}

#[test]
fn a_role_of_a_later_version_is_read_and_gives_no_power() {
    use chain::Change;
    use tally::{Standing, WhyNot};
    let mut world = World::quick();
    let role: Role = "recovery-lead".parse().unwrap();
    assert!(matches!(&role, Role::Other(word) if word.as_str() == "recovery-lead"));
    assert!("Recovery Lead".parse::<Role>().is_err());
    let document = world.next_roster(
        |roster| roster.members[3].roles = vec![role],
        &[&world.alice, &world.bob],
    );
    world.chains.changes.push(Change::Roster(document));
    let request = world.request();
    let tally = world.tally(&world.ceremony(&request, &[&world.alice, &world.dave]));
    assert_eq!(tally.standing, Standing::Waiting { missing: 1 });
    assert_eq!(tally.not_counted[0].why, WhyNot::Role);
    // The roster's reader writes it back as it was.
    let text = json::canonical(world.trusted().roster()).unwrap();
    assert!(String::from_utf8(text).unwrap().contains("recovery-lead"));
}

#[test]
fn a_leaf_of_an_unknown_kind_is_counted_and_nothing_else() {
    let leaf = |value: Value| Leaf::parse(&json::canonical(&value).unwrap());
    let unknown =
        json!({"kind": "tenant", "time": minute(3), "v": 1, "whatever": [1, {"a": null}]});
    match leaf(unknown.clone()).unwrap() {
        Leaf::Unknown(found) => {
            assert_eq!((found.kind.as_str(), found.time), ("tenant", minute(3)));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(leaf(unknown.clone()).unwrap().time(), minute(3));
    for (member, value) in [
        ("v", json!(2)),
        ("v", Value::Null),
        ("time", json!("yesterday")),
        ("time", json!(3)),
        ("kind", json!("Tenant")),
        ("kind", json!(1)),
        ("kind", Value::Null),
        // A known kind is read strictly: its members are known as well.
        ("kind", json!("key")),
        ("kind", json!("sign")),
    ] {
        let mut bad = unknown.clone();
        match value {
            Value::Null => _ = bad.as_object_mut().unwrap().remove(member),
            value => bad[member] = value,
        }
        assert!(leaf(bad.clone()).is_err(), "{bad}");
    }
    let text = String::from_utf8(json::canonical(&unknown).unwrap()).unwrap();
    for spelled in [
        format!("{text} "),
        text.replace(":1,", ": 1,"),
        text.replace("null", "1.5"),
        text.replace(r#""v":1"#, r#""v":1,"v":1"#),
        text.replace(r#""a":null"#, r#""a":null,"a":null"#),
    ] {
        assert_ne!(spelled, text);
        assert!(Leaf::parse(spelled.as_bytes()).is_err(), "{spelled}");
    }
}

#[test]
fn every_known_kind_of_act_has_every_optional_member_and_no_other() {
    let digest = Sha256Digest::of(b"x").to_string();
    let kid = NewKey::generate().kid();
    let members = [
        ("alg", json!("ES256")),
        ("asset", json!("db/payments")),
        ("bound", json!(minute(1))),
        ("compromised_since", json!(minute(1))),
        ("count", json!(3)),
        ("digest", json!(digest)),
        ("first", json!(0)),
        ("from", json!(minute(1))),
        ("kid", json!(kid)),
        ("last", json!(9)),
        ("origin", json!("seal.example/log")),
        ("previous_kid", json!(kid)),
        ("previous_version", json!(1)),
        ("reason", json!("words")),
        ("ref", json!("a reference")),
        ("ring", json!("jwt")),
        ("sig_hash", json!(digest)),
        ("input_commit", json!(digest)),
        ("use", json!(7)),
        ("until", json!(minute(1))),
        ("usage", json!("raw")),
        ("version", json!(2)),
    ];
    let read = |value: &Value| {
        let bytes = json::canonical(value).unwrap();
        match Leaf::parse(&bytes) {
            Ok(Leaf::Act(act)) => {
                assert_eq!(json::canonical(&*act).unwrap(), bytes);
                true
            }
            Ok(other) => panic!("{other:?}"),
            Err(_) => false,
        }
    };
    for kind in ActKind::ALL {
        let bare = json!({
            "action": "done", "actor": "somebody", "kind": kind.name(), "time": minute(0), "v": 1,
        });
        assert!(read(&bare), "{bare}");
        let mut whole = bare.clone();
        for (member, value) in &members {
            whole[*member] = value.clone();
            assert!(read(&whole), "{whole}");
        }
        for member in ["action", "actor", "time", "v"] {
            let mut without = whole.clone();
            without.as_object_mut().unwrap().remove(member);
            assert!(!read(&without), "{without}");
        }
        whole["comment"] = json!("");
        assert!(!read(&whole), "{whole}");
    }
}

#[test]
fn a_reader_that_does_not_know_an_algorithm_still_reads_the_leaf() {
    let digest = Sha256Digest::of(b"x").to_string();
    let leaf = |alg: &str| {
        let value = json!({
            "actor": "a service", "alg": alg, "input_commit": digest,
            "kid": NewKey::generate().kid(), "kind": "sign", "ring": name("jwt"),
            "sig_hash": digest, "time": minute(0), "v": 1,
        });
        Leaf::parse(&json::canonical(&value).unwrap())
    };
    for alg in ["ES256", "ML-DSA-65", &"a".repeat(40)] {
        match leaf(alg).unwrap() {
            Leaf::Signature(found) => assert_eq!(found.alg, alg),
            other => panic!("{other:?}"),
        }
    }
    for alg in ["", &"a".repeat(41)] {
        assert!(leaf(alg).is_err(), "{alg:?}");
    }
}
