//! Wrapping keys: their birth and death, and data keys under them.

use aws_lc_rs::digest;
use hsm::{
    Administer, CkaId, Class, Dek, Error, GenerateWrapOrder, KeySpec, ObjectClass, ObjectWord,
    Sign, Wrap, WrapTemplate, WrappedDek,
};

use crate::support::*;
use crate::wrapping::*;

#[test]
fn a_newborn_wrapping_key_is_read_back_as_evidence() {
    let token = Token::fresh();
    let executor = token.executor();
    let order = wrap_order(&executor, 1);
    let born = executor.generate_wrap(Permitted(order.clone())).unwrap();
    let read = &born.attributes;
    for (what, value, expected) in [
        ("local", read.local, true),
        ("always_sensitive", read.always_sensitive, true),
        ("never_extractable", read.never_extractable, true),
        ("token", read.token, true),
        ("private", read.private, true),
        ("sensitive", read.sensitive, true),
        ("wrap", read.wrap, true),
        ("unwrap", read.unwrap, true),
        ("extractable", read.extractable, false),
        ("modifiable", read.modifiable, false),
        ("sign", read.sign, false),
        ("encrypt", read.encrypt, false),
        ("decrypt", read.decrypt, false),
        ("derive", read.derive, false),
    ] {
        assert_eq!(value, Some(expected), "{what}");
    }
    assert_eq!(read.key_gen_mechanism.as_deref(), Some("CKM_AES_KEY_GEN"));
    assert_eq!(born.value_len, Some(32));
    assert_eq!((&born.label, born.cka_id), (&order.label, order.cka_id));
    let again = executor.read_back_wrap(order.cka_id, order.challenge);
    assert_eq!(again.unwrap(), born, "the same again when asked later");
    let other = executor.read_back_wrap(order.cka_id, [9; 32]).unwrap();
    assert_ne!(
        other.check_value, born.check_value,
        "it is of the challenge"
    );

    assert!(matches!(
        executor.generate_wrap(Permitted(order.clone())),
        Err(Error::AlreadyExists { count: 1, .. })
    ));
    let mut pair = order_for(&executor, KeySpec::P256);
    pair.cka_id = order.cka_id;
    assert!(matches!(
        executor.generate(Permitted(pair)),
        Err(Error::AlreadyExists { count: 1, .. })
    ));
    let found = executor.find(order.cka_id).unwrap();
    assert!(matches!(found.as_slice(), [only] if only.class == ObjectClass::SecretKey));
    let listed = executor.list().unwrap();
    assert!(listed.iter().any(|object| object.cka_id == order.cka_id.0));
}

#[test]
fn a_wrapping_key_is_made_as_it_was_signed_or_not_at_all() {
    let token = Token::fresh();
    let executor = token.executor();
    let order = wrap_order(&executor, 1);
    let refused = |order: GenerateWrapOrder| executor.generate_wrap(Permitted(order)).unwrap_err();
    let mut extractable = order.clone();
    extractable.template.extractable = true;
    let mut decrypts = order.clone();
    decrypts.template = WrapTemplate {
        decrypt: true,
        ..WrapTemplate::WRAPPING
    };
    assert_eq!(refused(extractable), Error::TemplateRefused);
    assert_eq!(refused(decrypts), Error::TemplateRefused);
    let mut elsewhere = order.clone();
    elsewhere.token_serial = "another".to_owned();
    assert!(matches!(refused(elsewhere), Error::OtherToken { .. }));
    let signer = token.signer();
    assert_eq!(
        signer.generate_wrap(Permitted(order.clone())).unwrap_err(),
        Error::Powerless
    );
    assert_eq!(executor.find(order.cka_id).unwrap(), []);
}

/// What the token wraps is what software wraps: the value of its key is never known here, so a key is carried out of one
/// token by another key of known value.
#[test]
fn data_keys_come_back_in_order_and_each_has_its_own_result() {
    let token = Token::fresh();
    let executor = token.executor();
    let key = new_wrap_key(&executor);
    let other = new_wrap_key(&executor);
    let signer = token.signer();
    signer.check_wrap(&key, soon()).unwrap();
    let deks: Vec<[u8; 32]> = (0..100).map(dek).collect();
    let blobs = wrapped(&signer, &key, &deks);
    assert_eq!(blobs, wrapped(&signer, &key, &deks), "no randomness");
    let mut mixed = blobs.clone();
    let mut damaged = *mixed[41].as_bytes();
    damaged[17] ^= 4;
    mixed[41] = WrappedDek::new(damaged);
    mixed[77] = wrapped(&signer, &other, &deks)[77];
    let opened = opened(&signer, &key, &mixed);
    for (index, item) in opened.iter().enumerate() {
        match (index, item) {
            (41 | 77, outcome) => {
                let error = outcome.as_ref().unwrap_err();
                let cka_id = key.cka_id;
                assert_eq!(error, &Error::WrappedKeyInvalid { cka_id }, "{index}");
                assert_eq!(error.class(), Class::Integrity);
            }
            (_, outcome) => assert_eq!(outcome, &Ok(deks[index]), "{index}"),
        }
    }
    let health = signer.health();
    assert_eq!(health.counters.integrity_failures, 2);
    let recovered = (
        health.counters.reinitialised,
        health.counters.sessions_reopened,
        health.counters.processes_killed,
    );
    assert_eq!(recovered, (0, 0, 0), "a damaged blob starts no recovery");
    assert_eq!(health.wrap, Some(Ok(())));
}

#[test]
fn a_rewrapped_data_key_is_the_same_under_the_new_key_and_can_go_back() {
    let token = Token::fresh();
    let executor = token.executor();
    let (old, new) = (new_wrap_key(&executor), new_wrap_key(&executor));
    let signer = token.signer();
    let deks: Vec<[u8; 32]> = (0..60).map(dek).collect();
    let mut blobs = wrapped(&signer, &old, &deks);
    let moved = rewrapped(&signer, (&old, &new), &blobs);
    let moved: Vec<WrappedDek> = moved.into_iter().map(Result::unwrap).collect();
    assert_eq!(moved, wrapped(&signer, &new, &deks));
    let back = rewrapped(&signer, (&new, &old), &moved);
    let back: Vec<WrappedDek> = back.into_iter().map(Result::unwrap).collect();
    assert_eq!(back, blobs, "a roll-back gives the old blobs, to the byte");
    // A row that was moved already is no row of the old key.
    blobs[3] = moved[3];
    let outcome = rewrapped(&signer, (&old, &new), &blobs);
    assert_eq!(outcome[3].as_ref().unwrap_err().class(), Class::Integrity);
    assert_eq!(outcome.iter().filter(|item| item.is_err()).count(), 1);
    assert_eq!(signer.health().counters.reinitialised, 0);
}

#[test]
fn a_wrapping_key_that_does_not_give_its_check_value_is_not_used() {
    let token = Token::fresh();
    let executor = token.executor();
    let key = new_wrap_key(&executor);
    let signer = token.signer();
    let mut twisted = hsm::WrapRef::clone(&key);
    twisted.check_value[0] ^= 1;
    let twisted = std::sync::Arc::new(twisted);
    let cka_id = key.cka_id;
    assert_eq!(
        signer.check_wrap(&twisted, soon()),
        Err(Error::WrongCheckValue { cka_id })
    );
    let blob = wrapped(&signer, &key, &[dek(1)]);
    for (from, to) in [(&twisted, &key), (&key, &twisted)] {
        let outcome = rewrapped(&signer, (from, to), &blob);
        assert_eq!(outcome, [Err(Error::WrongCheckValue { cka_id })]);
    }
    assert_eq!(
        executor
            .destroy_wrap(Permitted(destroy_wrap_order(&executor, &twisted)))
            .unwrap_err(),
        Error::WrongCheckValue { cka_id }
    );
    let absent = std::sync::Arc::new(hsm::WrapRef {
        cka_id: new_id(),
        ..hsm::WrapRef::clone(&key)
    });
    let what = ObjectWord::SecretKey;
    let cka_id = absent.cka_id;
    assert_eq!(
        signer.check_wrap(&absent, soon()),
        Err(Error::NotFound { cka_id, what })
    );
    signer.check_wrap(&key, soon()).unwrap();
}

#[test]
fn a_destroyed_wrapping_key_is_gone_and_no_other() {
    let token = Token::fresh();
    let executor = token.executor();
    let (key, other) = (new_wrap_key(&executor), new_wrap_key(&executor));
    let order = destroy_wrap_order(&executor, &key);
    executor.destroy_wrap(Permitted(order.clone())).unwrap();
    assert_eq!(executor.find(key.cka_id).unwrap(), []);
    assert_eq!(executor.find(other.cka_id).unwrap().len(), 1);
    assert!(matches!(
        executor.destroy_wrap(Permitted(order)),
        Err(Error::NotFound { .. })
    ));
    // A pair and a wrapping key are not taken for each other.
    let pair = new_key(&executor, KeySpec::P256);
    let mut wrong = destroy_wrap_order(&executor, &other);
    wrong.key.cka_id = pair.cka_id;
    assert!(matches!(
        executor.destroy_wrap(Permitted(wrong)),
        Err(Error::Ambiguous { count: 2, .. })
    ));
    let mut wrong = destroy_order(&executor, &pair);
    wrong.cka_id = other.cka_id;
    assert!(matches!(
        executor.destroy(Permitted(wrong)),
        Err(Error::Ambiguous { count: 1, .. })
    ));
    assert_signs(&token.signer(), &pair, 1);
}

#[test]
fn a_batch_is_bounded() {
    let token = Token::fresh();
    let executor = token.executor();
    let key = new_wrap_key(&executor);
    let long: Vec<[u8; 32]> = (0..1001).map(dek).collect();
    let deks = long.iter().map(Dek::copy_of).collect();
    let work = hsm::WrapWork::Wrap {
        key: key.clone(),
        deks,
    };
    for item in carried(&executor, work, soon()) {
        let (limit, got) = (1000, 1001);
        assert_eq!(item, Err(Error::BatchTooLong { limit, got }));
    }
    assert_eq!(wrapped(&executor, &key, &long[..1000]).len(), 1000);
    assert!(WrappedDek::from_slice(&[0; 39]).is_none());
    assert!(WrappedDek::from_slice(&[0; 48]).is_none());
}

/// RFC 3394, section 4.6: 256 bits of key data with a 256-bit KEK.
#[test]
fn the_known_answer_of_rfc_3394_comes_out_of_the_token() {
    const KEK: &str = "000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F";
    const DATA: &str = "00112233445566778899AABBCCDDEEFF000102030405060708090A0B0C0D0E0F";
    const WRAPPED: &str =
        "28C9F404C4B810F4CBCCB35CFB87F8263F5786E2D80ED326CBC7F0E71A99F43BFB988B9B7A02DD21";
    let token = Token::fresh();
    let executor = token.executor();
    let value = token.dir.path().join("kek");
    std::fs::write(&value, hex(KEK)).unwrap();
    let cka_id = CkaId(*b"rfc 3394 sec 4.6");
    let id: String = cka_id.0.iter().map(|byte| format!("{byte:02x}")).collect();
    // A key of known value is brought in by a stranger's tool; nothing of ours can do that.
    token.tool(&[
        "--login",
        "--pin",
        PIN,
        "--write-object",
        &value.display().to_string(),
        "--type",
        "secrkey",
        "--key-type",
        "AES:32",
        "--id",
        &id,
        "--usage-wrap",
        "--private",
        "--sensitive",
    ]);
    let data: [u8; 32] = hex(DATA).try_into().unwrap();
    let expected = hex(WRAPPED);
    let mut check_value = [0; 32];
    check_value.copy_from_slice(digest::digest(&digest::SHA256, &expected).as_ref());
    let key = std::sync::Arc::new(hsm::WrapRef {
        cka_id,
        challenge: data,
        check_value,
    });
    // The check value is of the known answer: that the key shows itself is the test.
    executor.check_wrap(&key, soon()).unwrap();
    let blobs = wrapped(&executor, &key, &[data]);
    assert_eq!(blobs[0].as_bytes().as_slice(), expected);
    assert_eq!(opened(&executor, &key, &blobs), [Ok(data)]);
}

/// Software under a key of known value and the token open each other's blobs.
#[test]
fn what_software_wrapped_the_token_opens_and_the_other_way_round() {
    use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrap as _};
    let token = Token::fresh();
    let executor = token.executor();
    let value = [0x5a; 32];
    let path = token.dir.path().join("kek");
    std::fs::write(&path, value).unwrap();
    let cka_id = CkaId(*b"known in the ope");
    let id: String = cka_id.0.iter().map(|byte| format!("{byte:02x}")).collect();
    token.tool(&[
        "--login",
        "--pin",
        PIN,
        "--write-object",
        &path.display().to_string(),
        "--type",
        "secrkey",
        "--key-type",
        "AES:32",
        "--id",
        &id,
        "--usage-wrap",
        "--private",
        "--sensitive",
    ]);
    let software = || AesKek::new(&AES_256, &value).unwrap();
    let of = |dek: &[u8; 32]| {
        let mut blob = [0; 40];
        software().wrap(dek, &mut blob).unwrap();
        WrappedDek::new(blob)
    };
    let challenge = [1; 32];
    let mut check_value = [0; 32];
    check_value
        .copy_from_slice(digest::digest(&digest::SHA256, of(&challenge).as_bytes()).as_ref());
    let key = std::sync::Arc::new(hsm::WrapRef {
        cka_id,
        challenge,
        check_value,
    });
    let deks: Vec<[u8; 32]> = (0..20).map(dek).collect();
    let by_software: Vec<WrappedDek> = deks.iter().map(of).collect();
    assert_eq!(wrapped(&executor, &key, &deks), by_software);
    let by_token = opened(&executor, &key, &by_software);
    assert!(
        by_token
            .iter()
            .zip(&deks)
            .all(|(item, dek)| item == &Ok(*dek))
    );
}

#[test]
fn signatures_are_made_while_a_thousand_data_keys_are_rewrapped() {
    let token = Token::fresh();
    let executor = token.executor();
    let (old, new) = (new_wrap_key(&executor), new_wrap_key(&executor));
    let key = new_key(&executor, KeySpec::P256);
    let signer = token.signer();
    let deks: Vec<[u8; 32]> = (0..1000).map(dek).collect();
    let blobs = wrapped(&signer, &old, &deks);
    std::thread::scope(|scope| {
        let work = scope.spawn(|| rewrapped(&signer, (&old, &new), &blobs));
        let mut between = 0;
        while !work.is_finished() {
            between += 1;
            let input = input_for(key.scheme, between);
            signer.sign(&key, &input, soon()).unwrap();
        }
        assert!(work.join().unwrap().iter().all(Result::is_ok));
        assert!(between > 0);
    });
}
