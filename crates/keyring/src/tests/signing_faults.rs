//! Nothing leaves that the log does not have: the token and the database fail, before and after the act.

use log::Published;
use store::testing::place::Place;
use testkit::custodians::minute;
use token::Error as TokenError;

use super::installation::{Installation, LONG};
use super::serving::{Serving, asked};
use crate::signing::Error;

#[tokio::test]
async fn a_token_that_does_not_sign_leaves_no_trace() {
    let (all, _) = Installation::open("records").await;
    let serving = Serving::over(&all).await;
    all.token.fail_signing(TokenError::Stopped);
    let failed = serving
        .sign_as("key", "records", "payload")
        .await
        .unwrap_err();
    assert!(matches!(failed, Error::Token(_)), "{failed:?}");
    assert_eq!(all.signatures_in_the_log().await, 0);
    all.token.heal();
    serving.sign_as("key", "records", "payload").await.unwrap();
    assert_eq!(all.signatures_in_the_log().await, 1);
}

#[tokio::test]
async fn a_signature_that_the_log_did_not_take_is_not_released() {
    let (all, _) = Installation::open("records").await;
    let serving = Serving::over(&all).await;
    all.break_at("INSERT ON log_leaf", "NEW.kind = 'sign'")
        .await;
    let failed = serving
        .sign_as("key", "records", "payload")
        .await
        .unwrap_err();
    assert!(matches!(failed, Error::Log(_)), "{failed:?}");
    assert_eq!(serving.made(), 1, "the token has signed");
    all.repair().await;
    assert_eq!(all.signatures_in_the_log().await, 0);
    // It was never there, so it is made anew.
    serving.sign_as("key", "records", "payload").await.unwrap();
    assert_eq!((serving.made(), all.signatures_in_the_log().await), (2, 1));
}

/// The caller is gone, and with it the answer; the leaf and the stored answer are there.
#[tokio::test]
async fn a_signature_whose_answer_was_lost_is_answered_when_it_is_asked_for_again() {
    let (all, _) = Installation::open("records").await;
    let serving = Serving::over(&all).await;
    all.token.hold();
    let asking = {
        let serving = serving.clone();
        tokio::spawn(async move { serving.sign_as("key", "records", "payload").await })
    };
    asked(&all, 1).await;
    // The commit takes a while, and its caller goes meanwhile.
    all.slow_at("INSERT ON log_leaf", "NEW.kind = 'sign'").await;
    all.token.release();
    while serving.made() == 0 {
        tokio::task::yield_now().await;
    }
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    asking.abort();
    assert!(asking.await.unwrap_err().is_cancelled());
    while all.signatures_in_the_log().await == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    all.repair().await;
    let signed = serving.sign_as("key", "records", "payload").await.unwrap();
    assert_eq!((serving.made(), all.signatures_in_the_log().await), (1, 1));
    assert_eq!(
        all.store.leaf(signed.index).await.unwrap().unwrap().kind,
        "sign"
    );
}

/// The connection is lost in COMMIT: whether the leaf is there is not known, so the signature does not leave.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signature_whose_commit_is_unknown_is_not_released() {
    let all = Installation::over(Place::postgres().await);
    let genesis = all.custodians.genesis();
    all.service().install_genesis(&genesis).await.unwrap();
    all.open_ring("records").await;
    let serving = Serving::over(&all).await;
    all.place
        .raw(
            "CREATE FUNCTION cut() RETURNS trigger LANGUAGE plpgsql AS
             'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END'",
        )
        .await
        .unwrap();
    all.place
        .raw(
            "CREATE CONSTRAINT TRIGGER cut AFTER INSERT ON log_leaf
             DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION cut()",
        )
        .await
        .unwrap();
    let failed = serving
        .sign_as("key", "records", "payload")
        .await
        .unwrap_err();
    let Error::Log(log::Error::Store(error)) = &failed else {
        panic!("{failed:?}")
    };
    assert!(error.is_outcome_unknown(), "{error:?}");
    assert_eq!(serving.made(), 1);
    all.place.raw("DROP TRIGGER cut ON log_leaf").await.unwrap();
    // Asked for again, it is looked for first: here it was not written.
    serving.sign_as("key", "records", "payload").await.unwrap();
    assert_eq!(all.signatures_in_the_log().await, 1);
}

#[tokio::test]
async fn a_key_that_is_revoked_while_it_signs_does_not_release_its_signature() {
    let (all, kid) = Installation::open("records").await;
    let serving = Serving::over(&all).await;
    all.token.hold();
    let asking = {
        let serving = serving.clone();
        tokio::spawn(async move { serving.sign("records", "payload").await })
    };
    asked(&all, 1).await;
    let id = all
        .approved("records", Installation::revocation(&kid))
        .await;
    let snapshot = all.snapshot().await;
    all.service().execute(&id, None, &snapshot).await.unwrap();
    all.token.release();
    let refused = asking.await.unwrap().unwrap_err();
    // The second try is by the database's present word, which knows no key.
    assert!(matches!(refused, Error::NoActiveKey(_)), "{refused:?}");
    assert_eq!((serving.made(), all.signatures_in_the_log().await), (1, 0));
    assert!(serving.keys.current().rings["records"].primary.is_none());
}

#[tokio::test]
async fn no_caller_pays_for_a_revocation_where_another_key_takes_over() {
    let (all, first) = Installation::open("records").await;
    let second = all.standby("records").await;
    all.wait(LONG);
    let serving = Serving::over(&all).await;
    all.token.hold();
    let asking = {
        let serving = serving.clone();
        tokio::spawn(async move { serving.sign("records", "payload").await })
    };
    asked(&all, 1).await;
    let id = all
        .approved("records", Installation::revocation(&first))
        .await;
    let snapshot = all.snapshot().await;
    all.service().execute(&id, None, &snapshot).await.unwrap();
    all.token.release();
    let signed = asking.await.unwrap().unwrap();
    assert_eq!(signed.kid, second);
    assert_eq!((serving.made(), all.signatures_in_the_log().await), (2, 1));
}

#[tokio::test]
async fn while_the_log_does_not_go_on_nothing_is_released() {
    let (all, _) = Installation::open("records").await;
    let serving = Serving::over(&all).await;
    serving.published.send_replace(Published {
        refused: Some("because".into()),
        ..Published::default()
    });
    let failed = serving.sign("records", "payload").await.unwrap_err();
    assert!(matches!(failed, Error::Log(_)), "{failed:?}");
    assert_eq!(all.signatures_in_the_log().await, 0);
    serving.published.send_replace(Published::default());
    serving.sign("records", "payload").await.unwrap();
    assert!(all.now() > minute(0));
}

#[tokio::test]
async fn without_the_database_nothing_is_signed() {
    let (all, _) = Installation::open("records").await;
    let serving = Serving::over(&all).await;
    all.store.close().await;
    let failed = serving.sign("records", "payload").await.unwrap_err();
    assert!(matches!(failed, Error::Log(_)), "{failed:?}");
    let failed = serving
        .sign_as("key", "records", "payload")
        .await
        .unwrap_err();
    assert!(matches!(failed, Error::Log(_)), "{failed:?}");
}
