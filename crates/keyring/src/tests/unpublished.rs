//! A key that has left the key sets: nobody finds it there, and what it signed is verified as before.

use log::Log;
use trust::plan::Blocked;
use trust::verdict::Outcome;

use super::installation::{Installation, LONG};
use super::log_check::Checked;
use super::serving::Verifying;
use crate::keys::Share;
use crate::rotation::{self, RingChange};
use crate::verification::{Claim, Question};

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

fn has(document: &[u8], kid: &trust::Kid) -> bool {
    let kid = kid.as_str().as_bytes();
    document.windows(kid.len()).any(|part| part == kid)
}

#[tokio::test]
async fn a_key_that_left_the_key_sets_is_in_the_archive_and_its_signatures_are_valid() {
    let all = Installation::new().await;
    all.open_ring("log").await;
    let first = all.open_ring("records").await;
    all.wait(1);
    let verifying = Verifying::over(&all).await;
    let (compact, _) = verifying.serving.jws("records", "payload").await;
    let second = all.next_primary("records").await;
    all.wait(LONG);
    let leaves = RingChange::Unpublish(first.clone());
    // As long as it may sign it stays; nor does a key leave that is about to.
    let third = all.standby("records").await;
    for (kid, found) in [
        (&first, "secondary"),
        (&second, "primary"),
        (&third, "prepared"),
    ] {
        let change = RingChange::Unpublish(kid.clone());
        let snapshot = all.snapshot().await;
        let ring = &snapshot.rings["records"];
        let blocked = rotation::plan(ring, &change, &all.settings.safety, all.now());
        assert!(
            matches!(&blocked, Err(Blocked::State { found: is, .. }) if *is == found),
            "{found}: {blocked:?}"
        );
    }
    all.change("records", &RingChange::Retire(first.clone()))
        .await;
    all.wait(1);
    let before = all.now();
    all.wait(1);
    all.change("records", &leaves).await;
    assert_eq!(all.last_act().await, "key unpublish: -");

    let keys = &verifying.serving.keys;
    keys.refresh().await;
    let snapshot = keys.current();
    let ring = &snapshot.rings["records"];
    for document in [&snapshot.jwks, &ring.jwks] {
        assert!(!has(&document.bytes, &first) && has(&document.bytes, &second));
        // It was taken out, and is not left out for want of room.
        assert_eq!(document.left_out, 0);
    }
    let at = async |at| {
        let made = keys.jwks_as_of(Some("records"), at, Share::Known).await;
        has(&made.unwrap().unwrap().bytes, &first)
    };
    assert!(at(before).await);
    assert!(!at(all.now()).await);
    let found = keys.find(&first, Share::Known).await.unwrap();
    assert_eq!(
        (found.status(), found.unpublished_at),
        ("retired", Some(all.now()))
    );
    let answer = verifying
        .verification
        .verify(about(&compact))
        .await
        .unwrap();
    assert_eq!(
        answer.verdict.outcome,
        Outcome::ValidRetiredKey,
        "{answer:?}"
    );
    // Once, and for good.
    let twice = rotation::plan(ring, &leaves, &all.settings.safety, all.now());
    assert!(matches!(twice, Err(Blocked::State { .. })), "{twice:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_check_of_the_log_finds_a_key_that_left_the_key_sets_without_an_act() {
    let checked = Checked::new().await;
    let all = &checked.all;
    let first = all.snapshot().await.rings["records"].keys[0].kid.clone();
    all.next_primary("records").await;
    all.wait(LONG);
    all.change("records", &RingChange::Retire(first.clone()))
        .await;
    all.change("records", &RingChange::Unpublish(first)).await;
    checked.grow(3).await;
    checked.clean(true).await;
    // And the other way about: a key whose leaf is there and whose row does not say so.
    for sql in [
        "UPDATE signing_key SET unpublished_at = unpublished_at + 1 WHERE unpublished_at IS NOT NULL",
        "UPDATE signing_key SET unpublished_at = NULL WHERE unpublished_at IS NOT NULL",
    ] {
        all.tamper("signing_key", sql).await;
        assert_eq!(checked.codes(true).await, ["key_state"], "{sql}");
    }
}

/// Of two replicas that planned the same at once.
#[tokio::test]
async fn a_key_leaves_the_key_sets_by_one_act() {
    let (all, first) = Installation::open("records").await;
    all.next_primary("records").await;
    all.wait(LONG);
    all.change("records", &RingChange::Retire(first.clone()))
        .await;
    let snapshot = all.snapshot().await;
    let (ring, log) = (&snapshot.rings["records"], Log::new(all.store.clone()));
    let leaves = RingChange::Unpublish(first);
    let plan = || rotation::plan(ring, &leaves, &all.settings.safety, all.now()).unwrap();
    let (one, two) = (plan(), plan());
    rotation::apply(&one, &log, "test", None, all.now())
        .await
        .unwrap();
    let size = all.store.log_size().await.unwrap();
    let conflict = rotation::apply(&two, &log, "test", None, all.now()).await;
    assert!(conflict.is_err_and(|error| error.is_conflict()));
    assert_eq!(all.store.log_size().await.unwrap(), size);
}
