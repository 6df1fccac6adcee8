//! Who may have what signed, and what comes back.

use std::collections::BTreeMap;

use super::installation::Installation;
use super::serving::{Serving, asked, jws, soon};
use crate::signing::{Encoding, Error, Format, IdempotencyKey, Serialised};
use access::Principal;

#[tokio::test]
async fn a_signature_leaves_with_its_leaf() {
    let (all, kid) = Installation::open("records").await;
    let serving = Serving::over(&all).await;
    let signed = serving.sign("records", "payload").await.unwrap();
    assert_eq!((&signed.kid, signed.number), (&kid, 1));
    let leaf = all.store.leaf(signed.index).await.unwrap().unwrap();
    assert_eq!(
        (leaf.kind.as_str(), leaf.kid.as_deref()),
        ("sign", Some(kid.as_str()))
    );
    assert_eq!(all.signatures_in_the_log().await, 1);
    // The leaf commits to the input under the salt, and to nothing that could be guessed.
    let Serialised::Jws(text) = &signed.signature else {
        panic!("{signed:?}")
    };
    let input = text.rsplit_once('.').unwrap().0;
    let mut opened = signed.salt.to_vec();
    opened.extend_from_slice(input.as_bytes());
    let body: BTreeMap<String, serde_json::Value> = serde_json::from_str(&leaf.body).unwrap();
    let commitment = trust::Sha256Digest::of(&opened).to_string();
    assert_eq!(body["input_commit"], commitment);
    assert!(!leaf.body.contains("payload"));
}

#[tokio::test]
async fn what_a_caller_may_not_have_is_not_signed() {
    let (all, _) = Installation::open("records").await;
    all.open_ring("digests").await;
    all.open_ring("log").await;
    all.create_ring("empty").await;
    let serving = Serving::over(&all).await;
    let signer = |ring: &str| Principal::signer("somebody", ring);
    let digest = Format::RawDigest {
        digest: vec![7; 32],
        encoding: Encoding::P1363,
    };
    let short = Format::RawDigest {
        digest: vec![7; 31],
        encoding: Encoding::P1363,
    };
    for (caller, ring, format, algorithm, expected) in [
        (
            signer("other"),
            "records",
            jws("x"),
            None,
            "is not permitted to sign with ring",
        ),
        // Whether it exists is nobody's to know who may not sign on it.
        (
            signer("other"),
            "nothing",
            jws("x"),
            None,
            "is not permitted to sign with ring",
        ),
        (signer("nothing"), "nothing", jws("x"), None, "unknown ring"),
        (
            signer("log"),
            "log",
            jws("x"),
            None,
            "signs only checkpoints",
        ),
        (
            signer("empty"),
            "empty",
            jws("x"),
            None,
            "has no active key",
        ),
        (
            signer("records"),
            "records",
            digest.clone(),
            None,
            "signs only structured formats",
        ),
        (
            signer("digests"),
            "digests",
            jws("x"),
            None,
            "signs only raw digests",
        ),
        (
            signer("records"),
            "records",
            jws("x"),
            Some("ES384"),
            "asks for ES384",
        ),
        (signer("digests"), "digests", short, None, "invalid input"),
    ] {
        let signed = serving
            .signing
            .sign(&caller, ring, format, algorithm, None, soon())
            .await;
        let why = signed.unwrap_err().to_string();
        assert!(why.contains(expected), "{ring}: {why}");
    }
    assert_eq!(serving.signatures().await, 0);
    let caller = signer("digests");
    let signed = serving
        .signing
        .sign(&caller, "digests", digest, Some("ES256"), None, soon());
    assert!(matches!(
        signed.await.unwrap().signature,
        Serialised::Raw(_)
    ));
    assert_eq!(serving.signatures().await, 1);
}

#[tokio::test]
async fn one_bad_item_does_not_stop_the_others_of_its_batch() {
    let (all, _) = Installation::open("records").await;
    let serving = Serving::over(&all).await;
    let caller = Principal::signer("somebody", "records");
    let items = (0..300).map(|n| match n {
        7 => Err("not a payload".to_owned()),
        _ => Ok(jws(&n.to_string())),
    });
    let signed = serving
        .signing
        .sign_batch(&caller, "records", items.collect(), None, None, soon())
        .await
        .unwrap();
    assert_eq!(signed.len(), 300);
    for (n, signed) in signed.iter().enumerate() {
        match n {
            7 => assert!(matches!(signed, Err(Error::BadInput(_))), "{signed:?}"),
            _ => assert!(signed.is_ok(), "{n}: {signed:?}"),
        }
    }
    assert_eq!(all.signatures_in_the_log().await, 299);
}

#[tokio::test]
async fn a_repeated_request_has_the_answer_that_it_had() {
    let (all, _) = Installation::open("records").await;
    all.open_ring("other").await;
    let serving = Serving::over(&all).await;
    let first = serving.sign_as("key", "records", "payload").await.unwrap();
    let again = serving.sign_as("key", "records", "payload").await.unwrap();
    assert_eq!(first, again);
    assert_eq!(serving.signatures().await, 1);
    for (ring, payload) in [("records", "another"), ("other", "payload")] {
        let refused = serving.sign_as("key", ring, payload).await.unwrap_err();
        assert!(matches!(refused, Error::IdempotencyMismatch), "{refused:?}");
    }
    // Another principal's key is another key.
    let other = Principal::signer("another", "records");
    let key = Some(IdempotencyKey("key".to_owned()));
    let signed = serving
        .signing
        .sign(&other, "records", jws("payload"), None, key, soon());
    assert_ne!(signed.await.unwrap().index, first.index);
    assert_eq!(serving.signatures().await, 2);
}

#[tokio::test]
async fn of_two_equal_requests_at_once_one_is_signed_and_both_are_answered() {
    let (all, _) = Installation::open("records").await;
    let serving = Serving::over(&all).await;
    all.token.hold();
    let ask = || {
        let serving = serving.clone();
        tokio::spawn(async move { serving.sign_as("key", "records", "payload").await })
    };
    let (one, two) = (ask(), ask());
    // Both have found no answer yet, and wait for the token.
    asked(&all, 2).await;
    all.token.release();
    let (one, two) = (one.await.unwrap().unwrap(), two.await.unwrap().unwrap());
    assert_eq!(one, two);
    assert_eq!(all.signatures_in_the_log().await, 1);
}

#[tokio::test]
async fn the_history_is_signed_on_the_services_own_account() {
    let (all, _) = Installation::open("records").await;
    let serving = Serving::over(&all).await;
    let text = serving.signing.sign_history("records", b"{}", soon()).await;
    assert_eq!(text.unwrap().split('.').count(), 3);
    assert_eq!(all.signatures_in_the_log().await, 1);
}
