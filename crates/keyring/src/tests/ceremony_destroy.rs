//! Destructions that are interrupted: at the token and at the database, before and after the act.

use testkit::token::Fault;
use trust::Kid;

use super::installation::{Installation, LONG};
use crate::ceremony::{Draft, Error};
use crate::rotation::RingChange;

/// A ring whose first key is retired, and the approved destruction of it.
async fn approved() -> (Installation, Kid, String) {
    let (all, first) = Installation::open("records").await;
    all.next_primary("records").await;
    all.wait(LONG);
    all.change("records", &RingChange::Retire(first.clone()))
        .await;
    let draft = Draft::Destroy { kid: first.clone() };
    let id = all.approved("records", draft).await;
    assert_eq!(
        all.state().await,
        state("approved", "present", "retired", "pair, pair")
    );
    (all, first, id)
}

fn state(ceremony: &str, object: &str, key: &str, on_token: &str) -> String {
    format!(
        "generate closed, generate closed, destroy {ceremony} | {object}, present | \
         records/1 {key}, records/2 primary | {on_token}"
    )
}

#[tokio::test]
async fn a_destroyed_key_is_archived_and_still_published_for_verifiers() {
    let (all, kid, id) = approved().await;
    all.execute(&id).await.unwrap();
    assert_eq!(
        all.state().await,
        state("executed", "destroyed", "archived", "pair")
    );
    for who in ["alice", "bob"] {
        all.accept(&id, who).await.unwrap();
    }
    assert_eq!(
        all.state().await,
        state("closed", "destroyed", "archived", "pair")
    );
    assert!(all.snapshot().await.keys.contains_key(&kid));
    assert!(all.reconcile().await.is_empty());
}

#[tokio::test]
async fn a_destruction_that_did_not_happen_leaves_the_key_where_it_was() {
    let (all, _, id) = approved().await;
    all.token.fail_destruction(Fault::Before);
    let unknown = all.execute(&id).await.unwrap_err();
    assert!(
        matches!(&unknown, Error::Token(error) if error.is_outcome_unknown()),
        "{unknown:?}"
    );
    let unsettled = state("executing", "destroying", "retired", "pair, pair");
    assert_eq!(all.state().await, unsettled);
    let found = all.reconcile().await;
    assert!(
        found[0].starts_with("started less than two minutes ago"),
        "{found:?}"
    );
    assert_eq!(all.state().await, unsettled);
    all.wait(3);
    let found = all.reconcile().await;
    assert!(
        found[0].starts_with("should have been destroyed but still exists"),
        "{found:?}"
    );
    assert_eq!(
        all.state().await,
        state("failed", "present", "retired", "pair, pair")
    );
}

#[tokio::test]
async fn a_destruction_whose_answer_was_lost_is_recorded() {
    let (all, _, id) = approved().await;
    all.token.fail_destruction(Fault::After);
    all.execute(&id).await.unwrap_err();
    assert_eq!(
        all.state().await,
        state("executing", "destroying", "retired", "pair")
    );
    let again = all.execute(&id).await.unwrap_err();
    assert!(
        matches!(&again, Error::State { found, .. } if found == "executing"),
        "{again:?}"
    );
    all.wait(3);
    assert_eq!(
        all.reconcile().await,
        ["destroyed but not recorded -> recorded"]
    );
    assert_eq!(
        all.state().await,
        state("executed", "destroyed", "archived", "pair")
    );
    for who in ["alice", "bob"] {
        all.accept(&id, who).await.unwrap();
    }
    assert_eq!(
        all.state().await,
        state("closed", "destroyed", "archived", "pair")
    );
}

/// The pair is gone, and neither its end nor the statement was written down.
#[tokio::test]
async fn a_destruction_that_the_database_did_not_record_is_recorded_later() {
    for event in ["signing_key", "ceremony"] {
        let (all, _, id) = approved().await;
        let when = match event {
            "signing_key" => "NEW.state = 'archived'",
            _ => "NEW.state = 'executed'",
        };
        all.break_at(&format!("UPDATE ON {event}"), when).await;
        let failed = all.execute(&id).await.unwrap_err();
        assert!(matches!(failed, Error::Store(_)), "{failed:?}");
        all.repair().await;
        all.wait(3);
        if event == "signing_key" {
            assert_eq!(
                all.state().await,
                state("executing", "destroying", "retired", "pair")
            );
            assert_eq!(
                all.reconcile().await,
                ["destroyed but not recorded -> recorded"]
            );
            assert_eq!(
                all.state().await,
                state("executed", "destroyed", "archived", "pair")
            );
        } else {
            // Every key is gone, and the statement of all of them is missing: it says the instant of the intent.
            assert_eq!(
                all.state().await,
                state("executing", "destroyed", "archived", "pair")
            );
            let intended_at = all.store.ceremony(&id).await.unwrap().unwrap().updated_at;
            let found = all.reconcile().await;
            assert_eq!(
                found,
                [format!(
                    "ceremony {id}: destroyed, and not stated -> recorded"
                )]
            );
            let row = all.store.ceremony(&id).await.unwrap().unwrap();
            let draft = trust::Transcript::decode(&row.execution.unwrap()).unwrap();
            let statement = draft.acceptance.statement;
            let told = format!("\"executed_at\":\"{intended_at}\"");
            assert!(statement.contains(&told), "{statement}");
        }
        assert_eq!(
            all.state().await,
            state("executed", "destroyed", "archived", "pair")
        );
        for who in ["alice", "bob"] {
            all.accept(&id, who).await.unwrap();
        }
    }
}

#[tokio::test]
async fn an_object_that_is_not_the_approved_key_is_not_destroyed() {
    let (all, kid, id) = approved().await;
    let key = all.snapshot().await.keys[&kid].clone();
    all.token
        .make(key.handle.cka_id(), "exchanged", trust::KeySpec::P256);
    let refused = all.execute(&id).await.unwrap_err();
    assert!(
        matches!(&refused, Error::Token(error) if !error.is_outcome_unknown()),
        "{refused:?}"
    );
    assert_eq!(
        all.state().await,
        state("failed", "present", "retired", "pair, pair")
    );
}

#[tokio::test]
async fn an_intent_that_the_database_did_not_take_destroys_nothing() {
    let (all, _, id) = approved().await;
    all.break_at("UPDATE ON key_object", "NEW.state = 'destroying'")
        .await;
    all.execute(&id).await.unwrap_err();
    all.repair().await;
    assert_eq!(
        all.state().await,
        state("approved", "present", "retired", "pair, pair")
    );
    all.execute(&id).await.unwrap();
    assert_eq!(
        all.state().await,
        state("executed", "destroyed", "archived", "pair")
    );
}

#[tokio::test]
async fn a_key_that_signs_is_not_destroyed_whatever_was_approved() {
    let (all, first) = Installation::open("records").await;
    let second = all.next_primary("records").await;
    all.wait(LONG);
    all.change("records", &RingChange::Retire(first.clone()))
        .await;
    let stale = all.snapshot().await;
    let draft = Draft::Destroy { kid: second };
    let refused = all.try_propose(all.proposal("records", draft)).await;
    assert!(matches!(refused, Err(Error::Plan(_))), "{refused:?}");
    assert_eq!(stale.rings["records"].keys.len(), 2);
}
