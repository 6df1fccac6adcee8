//! Verdicts, with the log and without it.

use trust::verdict::{Outcome, Reason};
use trust::{Kid, Time};

use super::installation::{Installation, LONG};
use super::serving::{Verifying, soon};
use crate::rotation::{self, RingChange};
use crate::signing::{Encoding, Format, Serialised};
use crate::verification::{Answer, Claim, Covered, Error, Question, RadiusQuestion};
use access::Principal;

async fn open() -> (Installation, Kid, Verifying) {
    let all = Installation::new().await;
    all.open_ring("log").await;
    let kid = all.open_ring("records").await;
    all.wait(1);
    let verifying = Verifying::over(&all).await;
    (all, kid, verifying)
}

fn about(compact: &str) -> Question {
    Question {
        claim: Claim::Jws {
            compact: compact.to_owned(),
            detached_payload: None,
        },
        timestamp: None,
        at: None,
    }
}

async fn asked(verifying: &Verifying, question: Question) -> Answer {
    verifying.verification.verify(question).await.unwrap()
}

async fn outcome(verifying: &Verifying, compact: &str) -> Outcome {
    asked(verifying, about(compact)).await.verdict.outcome
}

fn is_valid(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Valid | Outcome::ValidRetiredKey)
}

#[tokio::test]
async fn what_was_signed_is_valid_and_nothing_else() {
    let (all, kid, verifying) = open().await;
    let (compact, signed) = verifying.serving.jws("records", "payload").await;
    let answer = asked(&verifying, about(&compact)).await;
    assert_eq!(answer.verdict.outcome, Outcome::Valid, "{answer:?}");
    assert_eq!((answer.kid, answer.number), (Some(kid), Some(1)));
    assert_eq!(answer.index, Some(signed.index));
    assert_eq!(answer.existed_at, Some(signed.time));

    let (other, _) = verifying.serving.jws("records", "another").await;
    let mixed = {
        let (head, _) = other.rsplit_once('.').unwrap();
        let (_, signature) = compact.rsplit_once('.').unwrap();
        format!("{head}.{signature}")
    };
    let answer = asked(&verifying, about(&mixed)).await;
    assert_eq!(answer.verdict.outcome, Outcome::Invalid);
    assert_eq!((answer.index, answer.existed_at), (None, None));
    for nonsense in ["", "a.b", "a.b.c"] {
        let malformed = verifying.verification.verify(about(nonsense)).await;
        assert!(
            matches!(malformed, Err(Error::Malformed { .. })),
            "{nonsense}: {malformed:?}"
        );
    }
    assert_eq!(all.signatures_in_the_log().await, 2);
}

#[tokio::test]
async fn a_key_that_nobody_accepted_makes_nothing_valid() {
    let (_, _, verifying) = open().await;
    let other = Installation::new().await;
    other.token.make([1; 16], "x", trust::KeySpec::P256);
    other.open_ring("log").await;
    other.open_ring("records").await;
    let elsewhere = Verifying::over(&other).await;
    let (compact, _) = elsewhere.serving.jws("records", "payload").await;
    let answer = asked(&verifying, about(&compact)).await;
    assert!(!is_valid(answer.verdict.outcome));
    assert!(
        answer.explanation.starts_with("no key has the kid"),
        "{}",
        answer.explanation
    );
}

#[tokio::test]
async fn the_answers_of_a_batch_are_each_their_own() {
    let (_, _, verifying) = open().await;
    let (compact, _) = verifying.serving.jws("records", "payload").await;
    let questions = vec![about(&compact), about("nonsense"), about(&compact)];
    let answers = verifying.verification.verify_batch(questions).await;
    assert!(answers[0].is_ok() && answers[1].is_err() && answers[2].is_ok());
}

#[tokio::test]
async fn a_signature_in_another_form_than_the_ring_signs_is_not_valid() {
    let (all, _, verifying) = open().await;
    let raw = all.open_ring("digests").await;
    verifying.serving.keys.refresh().await;
    let digest = trust::Sha256Digest::of(b"message").as_bytes().to_vec();
    let format = Format::RawDigest {
        digest: digest.clone(),
        encoding: Encoding::Der,
    };
    let caller = Principal::signer("somebody", "digests");
    let signed = verifying
        .serving
        .signing
        .sign(&caller, "digests", format, None, None, soon());
    let Serialised::Raw(signature) = signed.await.unwrap().signature else {
        panic!("not raw")
    };
    let claim = |covered, der| Question {
        claim: Claim::Raw {
            kid: raw.to_string(),
            covered,
            signature: signature.clone(),
            der,
        },
        timestamp: None,
        at: None,
    };
    for (covered, der, valid) in [
        (Covered::Digest(digest.clone()), true, true),
        (Covered::Message(b"message".to_vec()), true, true),
        (Covered::Digest(digest), false, false),
        (Covered::Message(b"another".to_vec()), true, false),
    ] {
        let answer = asked(&verifying, claim(covered, der)).await;
        assert_eq!(
            answer.verdict.outcome == Outcome::Valid,
            valid,
            "{answer:?}"
        );
    }
}

/// With the log the time of a signature is proven, and a compromise takes only what came after it.
#[tokio::test]
async fn a_compromise_takes_what_is_not_proven_to_be_older() {
    let (all, kid, verifying) = open().await;
    let (before, signed) = verifying.serving.jws("records", "before").await;
    verifying.covered().await;
    all.wait(10);
    let since = all.now();
    all.wait(10);
    let (after, _) = verifying.serving.jws("records", "after").await;
    verifying.covered().await;
    all.executed("records", Installation::compromise(&kid, since))
        .await;
    verifying.serving.keys.refresh().await;
    verifying.covered().await;
    let answer = asked(&verifying, about(&before)).await;
    let older = Outcome::ValidRetiredKey;
    assert_eq!(answer.verdict.outcome, older, "{answer:?}");
    assert_eq!(answer.existed_at, Some(signed.time));
    assert_eq!(outcome(&verifying, &after).await, Outcome::Revoked);
    // As of an instant before the compromise was known both were valid.
    let then = Question {
        at: Some(all.now()),
        ..about(&before)
    };
    assert!(asked(&verifying, then).await.as_of.is_some());
}

/// The replica that signs is ahead of the machine that revokes: what was released before is not of after.
#[tokio::test]
async fn case_s10_a_revocation_by_a_slow_clock_is_after_what_was_signed() {
    let (all, kid, verifying) = open().await;
    let id = all
        .approved("records", Installation::revocation(&kid))
        .await;
    all.wait(1);
    let mut signed = Vec::new();
    for payload in ["one", "two", "three"] {
        signed.push(verifying.serving.jws("records", payload).await);
    }
    let snapshot = all.snapshot().await;
    let service = all.service_behind(5_000);
    service.execute(&id, None, &snapshot).await.unwrap();
    verifying.serving.keys.refresh().await;
    verifying.covered().await;
    let row = all.store.keys().await.unwrap().all().unwrap();
    let row = row.into_iter().find(|row| row.kid == kid).unwrap();
    let revoked_at = row.revocation.unwrap().revoked_at;
    for (compact, signed) in signed {
        assert!(signed.time < revoked_at, "{} {revoked_at}", signed.time);
        let answer = asked(&verifying, about(&compact)).await;
        let older = Outcome::ValidRetiredKey;
        assert_eq!(answer.verdict.outcome, older, "{answer:?}");
    }
}

/// The same of a switch and of a retirement: neither is before a leaf that stands already.
#[tokio::test]
async fn case_s10_a_switch_and_a_retirement_by_a_slow_clock_are_not_before_the_last_leaf() {
    let (all, first, verifying) = open().await;
    let second = all.standby("records").await;
    for change in [RingChange::Rotate, RingChange::Retire(first.clone())] {
        all.wait(LONG);
        verifying.serving.keys.refresh().await;
        let (_, signed) = verifying.serving.jws("records", change.word()).await;
        let ring = all.snapshot().await.rings["records"].clone();
        let slow = Time::from_millis(all.now().millis() - 5_000);
        let plan = rotation::plan(&ring, &change, &all.settings.safety, slow).unwrap();
        let log = log::Log::new(all.store.clone());
        let applied = rotation::apply(&plan, &log, "test", None, slow).await;
        let leaf = all.store.leaf(applied.unwrap()).await.unwrap().unwrap();
        assert_eq!(leaf.time, signed.time.millis());
        let rows = all.store.keys().await.unwrap().all().unwrap();
        let of = |kid: &Kid| rows.iter().find(|row| row.kid == *kid).unwrap();
        let at = match change {
            RingChange::Retire(_) => of(&first).retired_at,
            _ => of(&first).demoted_at.max(of(&second).activated_at),
        };
        assert_eq!(at, Some(signed.time));
    }
}

/// The twin of the test above without the log: nothing proves when it was made.
#[tokio::test]
async fn a_signature_by_a_compromised_key_that_is_not_in_the_log_is_not_valid() {
    let (all, kid, verifying) = open().await;
    let since = all.now();
    all.wait(10);
    let key = verifying.serving.keys.current().keys[&kid].clone();
    // By the token, past the service.
    let head =
        trust::base64url::Base64Url(format!(r#"{{"alg":"ES256","kid":"{kid}"}}"#).into_bytes());
    let text = |bytes: &trust::base64url::Base64Url| {
        serde_json::to_value(bytes)
            .unwrap()
            .as_str()
            .unwrap()
            .to_owned()
    };
    let payload = trust::base64url::Base64Url(b"smuggled".to_vec());
    let input = format!("{}.{}", text(&head), text(&payload));
    let executor = all.token.executor();
    let made = executor
        .prove(&key.handle, key.algorithm, input.as_bytes())
        .await
        .unwrap();
    let compact = format!("{input}.{}", text(&trust::base64url::Base64Url(made)));
    let answer = asked(&verifying, about(&compact)).await;
    assert!(
        answer.verdict.reasons.contains(&Reason::NotInLog),
        "{answer:?}"
    );
    all.executed("records", Installation::compromise(&kid, since))
        .await;
    verifying.serving.keys.refresh().await;
    let answer = asked(&verifying, about(&compact)).await;
    assert!(!is_valid(answer.verdict.outcome), "{answer:?}");
    assert_eq!(answer.index, None);
}

#[tokio::test]
async fn a_retired_key_still_verifies_what_it_signed() {
    let (all, first, verifying) = open().await;
    let (compact, _) = verifying.serving.jws("records", "payload").await;
    verifying.covered().await;
    all.next_primary("records").await;
    all.wait(LONG);
    all.change("records", &RingChange::Retire(first)).await;
    verifying.serving.keys.refresh().await;
    let retired = Outcome::ValidRetiredKey;
    assert_eq!(outcome(&verifying, &compact).await, retired);
}

/// A row that is dated back is not the leaf that was integrated.
#[tokio::test]
async fn a_row_that_was_changed_after_it_was_integrated_proves_nothing() {
    let (all, kid, verifying) = open().await;
    let since = all.now();
    all.wait(10);
    let (compact, signed) = verifying.serving.jws("records", "payload").await;
    verifying.covered().await;
    all.executed("records", Installation::compromise(&kid, since))
        .await;
    verifying.serving.keys.refresh().await;
    verifying.covered().await;
    assert!(!is_valid(outcome(&verifying, &compact).await));
    let earlier = since.millis() - 60_000;
    let body = all.store.leaf(signed.index).await.unwrap().unwrap().body;
    let text = |time: Time| time.to_string();
    let dated = body.replace(&text(signed.time), &text(Time::from_millis(earlier)));
    assert_ne!(body, dated);
    let sql = format!(
        "UPDATE log_leaf SET time = {earlier}, body = '{dated}' WHERE idx = {}",
        signed.index
    );
    all.tamper("log_leaf", &sql).await;
    let answer = asked(&verifying, about(&compact)).await;
    assert!(!is_valid(answer.verdict.outcome), "{answer:?}");
    assert!(
        answer
            .explanation
            .contains("differs from the leaf in the Merkle tree"),
        "{answer:?}"
    );
    assert_eq!(answer.index, None);
}

#[tokio::test]
async fn without_the_database_there_is_no_verdict() {
    let (all, _, verifying) = open().await;
    let (compact, _) = verifying.serving.jws("records", "payload").await;
    all.store.close().await;
    let away = verifying.verification.verify(about(&compact)).await;
    assert!(matches!(away, Err(Error::Log(_))), "{away:?}");
}

#[tokio::test]
async fn an_instant_that_is_still_to_come_is_not_asked_about() {
    let (all, _, verifying) = open().await;
    let (compact, _) = verifying.serving.jws("records", "payload").await;
    let later = Question {
        at: Some(Time::from_millis(all.now().millis() + 1)),
        ..about(&compact)
    };
    let refused = verifying.verification.verify(later).await;
    assert!(
        matches!(refused, Err(Error::Malformed { member: "at", .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn every_signature_since_an_instant_is_listed_once() {
    let (all, kid, verifying) = open().await;
    verifying.serving.jws("records", "before").await;
    all.wait(10);
    let since = all.now();
    let mut expected = Vec::new();
    for n in 0..7 {
        let (_, signed) = verifying.serving.jws("records", &n.to_string()).await;
        expected.push(signed.index);
        // Other leaves stand between them.
        all.wait(1);
        all.propose("records", Installation::generation()).await;
    }
    let question = |from| RadiusQuestion {
        kid: kid.clone(),
        since,
        from,
        limit: 3,
    };
    let mut found = Vec::new();
    let mut page = verifying.verification.radius(question(None)).await.unwrap();
    let days = page.by_day.take().unwrap();
    assert_eq!(days.iter().map(|day| day.signatures).sum::<i64>(), 7);
    loop {
        found.extend(page.signatures.iter().map(|signature| signature.index));
        let Some(next) = page.next else { break };
        page = verifying
            .verification
            .radius(question(Some(next)))
            .await
            .unwrap();
        assert!(page.by_day.is_none(), "only the first page counts");
    }
    assert_eq!(found, expected);
    let nothing = RadiusQuestion {
        since: Time::from_millis(all.now().millis() + 1),
        ..question(None)
    };
    let page = verifying.verification.radius(nothing).await.unwrap();
    assert!(page.signatures.is_empty() && page.next.is_none());
    all.store.close().await;
    let away = verifying.verification.radius(question(None)).await;
    assert!(matches!(away, Err(Error::Log(_))), "{away:?}");
}
