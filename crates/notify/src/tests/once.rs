//! Once into the outbox, at least once out of it, and never again after an acknowledgement.

use std::time::Duration;

use store::{CeremonyState, DeliveryState};
use trust::leaf::ActKind;

use super::endpoint::{Answer, Endpoint, OK};
use super::world::{World, webhook};

#[tokio::test]
async fn an_event_is_announced_once_whichever_replica_does_it_and_whenever_it_dies() {
    let world = World::new().await;
    let endpoint = Endpoint::start().await;
    let settings = webhook(&endpoint.address);
    let (mut one, mut two) = (
        world.replica("one", &settings),
        world.replica("two", &settings),
    );
    let id = world.propose("a").await;
    world.reject(id).await;
    for _ in 0..3 {
        one.round().await.unwrap();
        two.round().await.unwrap();
    }
    // It died, and another process of the same name begins anew.
    drop(one);
    let mut again = world.replica("one", &settings);
    again.round().await.unwrap();
    let types: Vec<String> = endpoint
        .seen()
        .iter()
        .map(|one| {
            let body: serde_json::Value = serde_json::from_str(&one.body).unwrap();
            body["type"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(types, ["ceremony.proposed", "ceremony.rejected"]);
}

#[tokio::test]
async fn who_is_trusted_is_told_in_the_order_of_the_log_between_ceremonies() {
    let world = World::new().await;
    let endpoint = Endpoint::start().await;
    let mut one = world.replica("one", &webhook(&endpoint.address));
    let id = world.propose("a").await;
    for (kind, action) in [
        (ActKind::Roster, "install-genesis"),
        (ActKind::Roster, "propose"),
        (ActKind::Roster, "sign"),
        (ActKind::Roster, "install-roster"),
        (ActKind::Suspension, "suspend"),
        (ActKind::Roster, "announce-recovery"),
    ] {
        world.act(kind, action, id).await;
    }
    world.reject(id).await;
    for _ in 0..8 {
        one.round().await.unwrap();
    }
    let types = endpoint.seen().into_iter().map(|one| {
        let body: serde_json::Value = serde_json::from_str(&one.body).unwrap();
        body["type"].as_str().unwrap().to_owned()
    });
    let expected = [
        "ceremony.proposed",
        "trust.proposed",
        "trust.changed",
        "trust.suspended",
        "trust.recovery-announced",
        "ceremony.rejected",
    ];
    assert_eq!(types.collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn a_passkey_that_may_be_copied_is_told_of_once_an_hour() {
    let world = World::new().await;
    let endpoint = Endpoint::start().await;
    let mut one = world.replica("one", &webhook(&endpoint.address));
    let id = world.propose("a").await;
    let clone = async || {
        let action = trust::leaf::CLONED;
        world.act(ActKind::Refusal, action, id).await;
        world.act(ActKind::Refusal, "approve", id).await;
    };
    for _ in 0..3 {
        clone().await;
        one.round().await.unwrap();
    }
    world.pass(Duration::from_secs(3_600));
    clone().await;
    for _ in 0..4 {
        one.round().await.unwrap();
    }
    let types = endpoint.seen().into_iter().map(|one| {
        let body: serde_json::Value = serde_json::from_str(&one.body).unwrap();
        body["type"].as_str().unwrap().to_owned()
    });
    let expected = ["ceremony.proposed", "passkey.cloned", "passkey.cloned"];
    assert_eq!(types.collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn a_page_of_acts_is_announced_by_one_of_two_that_read_it() {
    let world = World::new().await;
    let id = world.propose("a").await;
    let store = &world.place.store;
    let from = store.told().await.unwrap();
    let message = store::NewMessage {
        id: "msg_1".to_owned(),
        dedup: "leaf/0".to_owned(),
        kind: "ceremony.proposed".to_owned(),
        subject: id.to_string(),
        data: "{}".to_owned(),
        created_at: world.now(),
        to: vec![store::Addressee {
            receiver: "ops".to_owned(),
            recipient: String::new(),
        }],
    };
    let announce = || store.announce(from, from + 1, std::slice::from_ref(&message), 10);
    let (first, second) = tokio::join!(announce(), announce());
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!(first.messages + second.messages, 1);
    assert_ne!(first.first, second.first);
    // And where the mark was moved by hand, the name of what happened still says that it was told.
    let third = store.announce(from + 1, from + 1, std::slice::from_ref(&message), 10);
    assert_eq!(third.await.unwrap().messages, 0);
}

#[tokio::test]
async fn nothing_is_sent_again_once_the_acknowledgement_is_recorded() {
    let world = World::new().await;
    let endpoint = Endpoint::start().await;
    let settings = webhook(&endpoint.address);
    let mut notifier = world.replica("a", &settings);
    world.propose("a").await;
    notifier.round().await.unwrap();
    assert_eq!(endpoint.seen().len(), 1);
    for _ in 0..5 {
        world.pass(Duration::from_secs(3_600));
        notifier.round().await.unwrap();
        notifier = world.replica("a", &settings);
    }
    assert_eq!(endpoint.seen().len(), 1);
    // Neither by a command nor by a hand in the database.
    let row = &world.deliveries(DeliveryState::Delivered).await[0];
    let again = world.place.store.retry_message(&row.message, world.now());
    assert_eq!(again.await.unwrap(), 0);
    world
        .place
        .refuses("UPDATE outbox_delivery SET state = 'waiting', finished_at = NULL")
        .await;
}

#[tokio::test]
async fn what_was_acknowledged_while_the_database_was_away_is_not_sent_again() {
    let world = World::new().await;
    let endpoint = Endpoint::start().await;
    let mut notifier = world.replica("a", &webhook(&endpoint.address));
    world.propose("a").await;
    // The acknowledgement cannot be written down.
    let trigger = "CREATE TRIGGER away BEFORE UPDATE ON outbox_delivery BEGIN SELECT RAISE(ABORT, 'away'); END";
    world.place.raw(trigger).await.unwrap();
    assert!(notifier.round().await.is_err());
    assert_eq!(endpoint.seen().len(), 1);
    assert!(notifier.round().await.is_err());
    world.place.raw("DROP TRIGGER away").await.unwrap();
    notifier.round().await.unwrap();
    assert_eq!(endpoint.seen().len(), 1);
    assert_eq!(world.deliveries(DeliveryState::Delivered).await.len(), 1);
}

#[tokio::test]
async fn a_process_that_died_before_the_acknowledgement_sends_it_again_under_the_same_id() {
    let world = World::new().await;
    let endpoint = Endpoint::start().await;
    let settings = webhook(&endpoint.address);
    let mut notifier = world.replica("a", &settings);
    world.propose("a").await;
    let trigger = "CREATE TRIGGER away BEFORE UPDATE ON outbox_delivery BEGIN SELECT RAISE(ABORT, 'away'); END";
    world.place.raw(trigger).await.unwrap();
    assert!(notifier.round().await.is_err());
    // Here it dies; what it knew is gone.
    drop(notifier);
    world.place.raw("DROP TRIGGER away").await.unwrap();
    world.replica("a", &settings).round().await.unwrap();
    let seen = endpoint.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0].header("webhook-id"), seen[1].header("webhook-id"));
    assert_eq!(seen[0].body, seen[1].body);
}

#[tokio::test]
async fn an_end_of_a_ceremony_is_told_by_its_reason_and_a_past_one_not_at_all() {
    let world = World::new().await;
    let endpoint = Endpoint::start().await;
    endpoint.answers(Answer::Closed);
    let old = world.propose("old").await;
    world.move_to(old, CeremonyState::Expired).await;
    world.pass(Duration::from_secs(4 * 86_400));
    endpoint.answers(OK);
    // Nobody was configured until now.
    let mut notifier = world.replica("a", &webhook(&endpoint.address));
    let new = world.propose("new").await;
    world.reject(new).await;
    notifier.round().await.unwrap();
    let bodies: Vec<serde_json::Value> = endpoint
        .seen()
        .iter()
        .map(|one| serde_json::from_str(&one.body).unwrap())
        .collect();
    assert_eq!(bodies.len(), 2, "{bodies:#?}");
    let facts = &bodies[1]["data"]["facts"];
    assert_eq!(
        (facts["by"].as_str(), facts["why"].as_str()),
        (Some("custodian:berta"), Some("not today"))
    );
    assert_eq!(facts["ceremony"], new.to_string());
}
