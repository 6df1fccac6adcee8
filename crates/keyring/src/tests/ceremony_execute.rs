//! What is carried out, and with what; revocations.

use trust::Time;

use super::installation::{Installation, LONG};
use crate::ceremony::{Error, Kind};
use crate::rotation::RingChange;

#[tokio::test]
async fn only_the_token_that_was_approved_is_touched() {
    for (serial, label) in [("other", "test"), ("0123456789abcdef", "other")] {
        let mut all = Installation::new().await;
        all.create_ring("records").await;
        let id = all.approved("records", Installation::generation()).await;
        all.token = testkit::token::SoftwareToken::new(serial, label);
        let refused = all.execute(&id).await.unwrap_err();
        assert!(
            refused
                .to_string()
                .starts_with("the request is for token test"),
            "{refused}"
        );
        assert_eq!(all.state().await, "generate approved | - | - | -");
    }
}

#[tokio::test]
async fn a_generation_needs_the_executor() {
    let all = Installation::new().await;
    all.create_ring("records").await;
    let id = all.approved("records", Installation::generation()).await;
    assert!(all.service().touches_token(&id).await.unwrap());
    let snapshot = all.snapshot().await;
    let refused = all
        .service()
        .execute(&id, None, &snapshot)
        .await
        .unwrap_err();
    assert!(matches!(refused, Error::NoExecutor), "{refused:?}");
    assert_eq!(all.state().await, "generate approved | - | - | -");
}

#[tokio::test]
async fn the_key_that_is_read_aloud_is_the_one_on_the_token() {
    let all = Installation::new().await;
    all.create_ring("records").await;
    let id = all.approved("records", Installation::generation()).await;
    let report = all.execute(&id).await.unwrap();
    assert_eq!(report.state, "executed");
    assert_eq!(report.standing, "waiting for 2 more acceptance(s)");
    let object = all
        .store
        .key_objects()
        .await
        .unwrap()
        .all()
        .unwrap()
        .remove(0);
    assert_eq!(object.kid.as_ref(), Some(&report.kids[0]));
    assert!(
        all.snapshot().await.keys.is_empty(),
        "nothing is published before it is accepted"
    );
    assert!(
        report
            .to_string()
            .contains(&format!("kid          {}", report.kids[0]))
    );
}

#[tokio::test]
async fn a_request_that_was_exchanged_in_the_database_is_not_carried_out() {
    let all = Installation::new().await;
    all.create_ring("records").await;
    let id = all.approved("records", Installation::generation()).await;
    let row = all.store.ceremony(&id).await.unwrap().unwrap();
    let text = String::from_utf8(row.request)
        .unwrap()
        .replace("a test", "A test");
    let sql = format!("UPDATE ceremony SET request = CAST('{text}' AS BLOB)");
    all.tamper("ceremony", &sql).await;
    let refused = all.execute(&id).await.unwrap_err().to_string();
    assert!(
        refused.contains("was changed after it was proposed"),
        "{refused}"
    );
    assert_eq!(
        all.last_act().await,
        "refusal ceremony: the request in the database does not match its id"
    );
    assert_eq!(all.state().await, "generate approved | - | - | -");
}

#[tokio::test]
async fn a_revocation_takes_effect_with_its_execution_and_without_the_token() {
    let (all, kid) = Installation::open("records").await;
    let id = all
        .approved("records", Installation::revocation(&kid))
        .await;
    assert!(!all.service().touches_token(&id).await.unwrap());
    let snapshot = all.snapshot().await;
    all.service().execute(&id, None, &snapshot).await.unwrap();
    assert_eq!(
        all.state().await,
        "generate closed, revoke executed | present | records/1 revoked | pair"
    );
    assert!(all.snapshot().await.rings["records"].primary.is_none());
    let again = all
        .service()
        .execute(&id, None, &snapshot)
        .await
        .unwrap_err();
    assert!(
        matches!(&again, Error::State { found, .. } if found == "executed"),
        "{again:?}"
    );
    for who in ["alice", "bob"] {
        all.accept(&id, who).await.unwrap();
    }
    assert_eq!(
        all.state().await,
        "generate closed, revoke closed | present | records/1 revoked | pair"
    );
}

#[tokio::test]
async fn a_standby_that_verifiers_have_takes_over_from_a_revoked_primary() {
    let (all, first) = Installation::open("records").await;
    let second = all.standby("records").await;
    let id = all
        .approved("records", Installation::revocation(&first))
        .await;
    // Not yet: verifiers may not have it.
    let ring = all.snapshot().await.rings["records"].clone();
    assert!(ring.successor(&all.settings.safety, all.now()).is_none());
    drop(id);
    all.wait(LONG);
    all.executed("records", Installation::revocation(&first))
        .await;
    let primary = all.snapshot().await.rings["records"].primary.clone();
    assert_eq!(primary.unwrap().kid, second);
    assert_eq!(
        all.state().await,
        "generate closed, generate closed, revoke approved, revoke executed | present, present | \
         records/1 revoked, records/2 primary | pair, pair"
    );
}

#[tokio::test]
async fn without_a_standby_the_key_before_takes_over() {
    let (all, first) = Installation::open("records").await;
    let second = all.next_primary("records").await;
    all.executed("records", Installation::revocation(&second))
        .await;
    let primary = all.snapshot().await.rings["records"].primary.clone();
    assert_eq!(primary.unwrap().kid, first);
}

#[tokio::test]
async fn a_revocation_that_was_planned_on_another_ring_changes_nothing() {
    let (all, first) = Installation::open("records").await;
    all.standby("records").await;
    all.wait(LONG);
    let id = all
        .approved("records", Installation::revocation(&first))
        .await;
    let stale = all.snapshot().await;
    all.change("records", &RingChange::Rotate).await;
    let before = all.state().await;
    let executor = all.token.executor();
    let conflict = all
        .service()
        .execute(&id, Some(&executor), &stale)
        .await
        .unwrap_err();
    assert!(
        matches!(&conflict, Error::Store(error) if error.is_conflict()),
        "{conflict:?}"
    );
    assert_eq!(conflict.kind(), Kind::Refused);
    assert_eq!(all.state().await, before);
    all.execute(&id).await.unwrap();
    let primary = all.snapshot().await.rings["records"].primary.clone();
    assert_ne!(primary.unwrap().kid, first);
}

#[tokio::test]
async fn a_revocation_that_the_database_did_not_take_is_executed_again() {
    let (all, kid) = Installation::open("records").await;
    let id = all
        .approved("records", Installation::revocation(&kid))
        .await;
    all.break_at("UPDATE ON signing_key", "NEW.state = 'revoked'")
        .await;
    let failed = all.execute(&id).await.unwrap_err();
    assert!(matches!(failed, Error::Store(_)), "{failed:?}");
    all.repair().await;
    assert_eq!(
        all.state().await,
        "generate closed, revoke approved | present | records/1 primary | pair"
    );
    all.execute(&id).await.unwrap();
    assert_eq!(
        all.state().await,
        "generate closed, revoke executed | present | records/1 revoked | pair"
    );
}

/// A clock that is behind does not write a life that runs backwards.
#[tokio::test]
async fn a_revocation_is_not_before_the_last_change_of_the_key() {
    let (all, kid) = Installation::open("records").await;
    let activated_at = all.now();
    let id = all
        .approved("records", Installation::revocation(&kid))
        .await;
    all.wait(-1);
    // The clock is before the request itself, which no quorum allows.
    let snapshot = all.snapshot().await;
    let early = all.service().execute(&id, None, &snapshot).await;
    let revoked_at = match early {
        Ok(_) => revoked_at(&all).await,
        Err(_) => {
            all.wait(1);
            all.execute(&id).await.unwrap();
            revoked_at(&all).await
        }
    };
    assert!(revoked_at >= activated_at);
}

async fn revoked_at(all: &Installation) -> Time {
    let keys = all.store.keys().await.unwrap().all().unwrap();
    keys[0].revocation.unwrap().revoked_at
}
