//! Generations that are interrupted: at the token and at the database, before and after the act.

use testkit::token::Fault;
use token::Error as TokenError;

use super::installation::{Installation, SERIAL};
use crate::ceremony::Error;

const UNSETTLED: &str = "generate executing | intended | - | ";

async fn approved() -> (Installation, String) {
    let all = Installation::new().await;
    all.create_ring("records").await;
    let id = all.approved("records", Installation::generation()).await;
    (all, id)
}

/// What is not known is left alone for two minutes, and is not begun a second time.
async fn is_left_alone(all: &Installation, id: &str, on_token: &str) {
    let state = format!("{UNSETTLED}{on_token}");
    assert_eq!(all.state().await, state);
    let found = all.reconcile().await;
    assert!(
        found[0].starts_with("started less than two minutes ago"),
        "{found:?}"
    );
    let again = all.execute(id).await.unwrap_err();
    assert!(
        matches!(&again, Error::State { found, .. } if found == "executing"),
        "{again:?}"
    );
    assert_eq!(all.state().await, state);
    all.wait(3);
}

#[tokio::test]
async fn a_generation_that_did_not_happen_is_abandoned() {
    let (all, id) = approved().await;
    all.token.fail_generation(Fault::Before);
    let unknown = all.execute(&id).await.unwrap_err();
    assert!(
        matches!(&unknown, Error::Token(error) if error.is_outcome_unknown()),
        "{unknown:?}"
    );
    is_left_alone(&all, &id, "-").await;
    let found = all.reconcile().await;
    assert_eq!(
        found,
        ["planned but never generated -> abandoned; propose it again"]
    );
    let failed = "generate failed | abandoned | - | -";
    assert_eq!(all.state().await, failed);
    assert_eq!(
        all.last_act().await,
        "ceremony failed: planned but never generated"
    );
    assert!(all.reconcile().await.is_empty());
    assert!(all.execute(&id).await.is_err());
    assert_eq!(all.state().await, failed);
}

#[tokio::test]
async fn a_generation_whose_answer_was_lost_is_adopted() {
    let (all, id) = approved().await;
    let intended_at = all.now();
    all.token.fail_generation(Fault::After);
    all.execute(&id).await.unwrap_err();
    is_left_alone(&all, &id, "pair").await;
    let found = all.reconcile().await;
    assert_eq!(
        found,
        ["generated but not recorded -> adopted; custodians decide whether to accept it"]
    );
    let executed = "generate executed | present | - | pair";
    assert_eq!(all.state().await, executed);
    assert!(all.reconcile().await.is_empty());
    let again = all.execute(&id).await.unwrap_err();
    assert!(
        matches!(&again, Error::State { found, .. } if found == "executed"),
        "{again:?}"
    );
    assert_eq!(all.state().await, executed);
    for who in ["alice", "bob"] {
        all.accept(&id, who).await.unwrap();
    }
    assert_eq!(
        all.state().await,
        "generate closed | present | records/1 prepared | pair"
    );
    // The quorum held at the intent, and that is the instant of the birth.
    let key = all.snapshot().await.rings["records"].keys[0].clone();
    assert_eq!(key.state.life().prepared_at, intended_at);
}

#[tokio::test]
async fn a_generation_that_was_killed_leaves_a_public_half_which_is_removed() {
    let (all, id) = approved().await;
    all.token.fail_generation(Fault::After);
    all.execute(&id).await.unwrap_err();
    let half = all.token.executor().list().await.unwrap()[0].clone();
    all.token.lose_private_half(half.cka_id.try_into().unwrap());
    is_left_alone(&all, &id, "half").await;
    assert_eq!(
        all.reconcile().await,
        ["a public key without its private key -> removed from the token; propose it again"]
    );
    assert_eq!(all.state().await, "generate failed | abandoned | - | -");
    all.standby("records").await;
    assert_eq!(
        all.state().await,
        "generate failed, generate closed | abandoned, present | records/2 prepared | pair"
    );
}

#[tokio::test]
async fn a_birth_that_the_database_did_not_record_is_adopted_by_the_next_execution() {
    let (all, id) = approved().await;
    all.break_at("UPDATE ON key_object", "NEW.state = 'present'")
        .await;
    let failed = all.execute(&id).await.unwrap_err();
    assert!(matches!(failed, Error::Store(_)), "{failed:?}");
    all.repair().await;
    is_left_alone(&all, &id, "pair").await;
    let other = all.approved("records", Installation::generation()).await;
    // What is half done is settled first; then this one's place in the line is taken.
    let refused = all.execute(&other).await.unwrap_err();
    assert!(matches!(refused, Error::NotApproved(_)), "{refused:?}");
    assert_eq!(
        all.state().await,
        "generate executed, generate approved | present | - | pair"
    );
}

#[tokio::test]
async fn an_intent_that_the_database_did_not_take_touches_no_token() {
    let (all, id) = approved().await;
    all.break_at("INSERT ON key_object", "TRUE").await;
    all.execute(&id).await.unwrap_err();
    all.repair().await;
    assert_eq!(all.state().await, "generate approved | - | - | -");
    all.execute(&id).await.unwrap();
    assert_eq!(all.state().await, "generate executed | present | - | pair");
}

#[tokio::test]
async fn a_newborn_that_does_not_sign_is_never_accepted() {
    let (all, id) = approved().await;
    all.token.fail_signing(TokenError::Unsupported("no"));
    all.execute(&id).await.unwrap_err();
    assert_eq!(
        all.state().await,
        "generate executing | intended | - | pair"
    );
    all.wait(3);
    let found = all.reconcile().await;
    assert!(
        found[0].ends_with("abandoned; remove it from the token manually"),
        "{found:?}"
    );
    assert_eq!(all.state().await, "generate failed | abandoned | - | pair");
    all.token.heal();
    let found = all.reconcile().await;
    assert_eq!(
        found,
        ["recorded as destroyed but still on the token -> reported"]
    );
    assert_eq!(all.state().await, "generate failed | abandoned | - | pair");
}

#[tokio::test]
async fn nothing_is_concluded_while_the_token_is_away() {
    let (all, id) = approved().await;
    all.token.fail_generation(Fault::After);
    all.execute(&id).await.unwrap_err();
    all.wait(3);
    all.token.fail_signing(TokenError::Stopped);
    let found = all.reconcile().await;
    assert!(found[0].starts_with("cannot be resolved: "), "{found:?}");
    assert_eq!(
        all.state().await,
        "generate executing | intended | - | pair"
    );
    all.token.heal();
    all.reconcile().await;
    assert_eq!(all.state().await, "generate executed | present | - | pair");
}

#[tokio::test]
async fn objects_that_nobody_approved_are_reported_and_not_touched() {
    let (all, _) = Installation::open("records").await;
    let state = all.state().await;
    all.token.make([9; 16], "smuggled", trust::KeySpec::P256);
    assert_eq!(
        all.reconcile().await,
        [
            "on the token without a ceremony -> reported only; it is not trusted, published or changed"
        ]
    );
    assert_eq!(all.state().await, format!("{state}, pair"));
    assert_eq!(all.snapshot().await.keys.len(), 1);
}

#[tokio::test]
async fn a_key_whose_private_half_is_gone_is_reported() {
    let (all, _) = Installation::open("records").await;
    let found = all.token.executor().list().await.unwrap()[0].clone();
    all.token
        .lose_private_half(found.cka_id.try_into().unwrap());
    let critical = ["missing or incomplete on the token -> reported as CRITICAL"];
    assert_eq!(all.reconcile().await, critical);
    assert_eq!(
        all.state().await,
        "generate closed | present | records/1 primary | half"
    );
}

#[tokio::test]
async fn objects_of_another_token_are_left_to_its_own_executor() {
    let (mut all, id) = approved().await;
    all.token.fail_generation(Fault::Before);
    all.execute(&id).await.unwrap_err();
    all.wait(3);
    all.token = testkit::token::SoftwareToken::new("other", "other");
    assert!(all.reconcile().await.is_empty());
    assert_eq!(all.state().await, "generate executing | intended | - | -");
    assert!(
        all.store.key_objects().await.unwrap().read[0]
            .device
            .ends_with(SERIAL)
    );
}
