//! Levels of escalation: each is told once, and of the end who heard of the beginning.

use std::time::Duration;

use calendar::alerts::AlertName;
use calendar::alerts::escalation::Escalation;
use calendar::alerts::machine::{Acknowledged, News};
use store::{AlertRecord, DeliveryState};

use super::alerts::{bodies, id, kinds};
use super::endpoint::{Answer, Endpoint};
use super::world::{SECRET, World, webhook};

const MINUTE: Duration = Duration::from_secs(60);

/// Operations and security, each with its webhook, beside the one that is told of everything.
fn settings(all: &Endpoint, operations: &Endpoint, security: &Endpoint) -> String {
    let hook = |name: &str, endpoint: &Endpoint| {
        format!(
            "[receivers.{name}]\nkind = \"webhook\"\nurl = \"http://{}/hook\"\nallow_private = true\ntimeout = \"300ms\"\nevents = [\"alert.escalated\"]\nsecrets = [\"{SECRET}\"]\n",
            endpoint.address
        )
    };
    format!(
        "{}{}{}[escalation.operations]\nto = [\"operations\"]\n[escalation.security]\nto = [\"security\"]\n",
        webhook(&all.address),
        hook("operations", operations),
        hook("security", security)
    )
}

struct Levels {
    world: World,
    all: Endpoint,
    operations: Endpoint,
    security: Endpoint,
}

impl Levels {
    async fn new() -> Self {
        Self {
            world: World::new().await,
            all: Endpoint::start().await,
            operations: Endpoint::start().await,
            security: Endpoint::start().await,
        }
    }

    fn settings(&self) -> String {
        settings(&self.all, &self.operations, &self.security)
    }

    fn critical(&self, number: usize) -> AlertRecord {
        let mut record = self.world.alert(AlertName::KeyStoreUnavailable, number);
        record.alert.escalation.reached = 1;
        record
    }

    /// It has climbed to so many levels.
    async fn climbs(&self, number: usize, reached: u8) {
        let store = &self.world.place.store;
        let was = store.alert(&id(number)).await.unwrap().unwrap();
        let mut alert = was.alert.clone();
        alert.escalation.reached = reached;
        self.world.put(&[AlertRecord { alert, ..was }]).await;
    }

    async fn acknowledge(&self, number: usize) {
        let at = calendar::Time::from_millis(self.world.now().millis());
        let by = "olga".to_owned();
        self.world
            .becomes(number, News::Acknowledged, |alert| {
                alert.acknowledged = Some(Acknowledged { by: by.clone(), at });
            })
            .await;
    }
}

#[tokio::test]
async fn each_level_is_told_once_whichever_replica_does_it_and_whenever_it_dies() {
    let levels = Levels::new().await;
    let settings = levels.settings();
    let (mut one, mut two) = (
        levels.world.replica("one", &settings),
        levels.world.replica("two", &settings),
    );
    levels.world.put(&[levels.critical(1)]).await;
    for reached in [1, 1, 2, 2] {
        levels.climbs(1, reached).await;
        one.round().await.unwrap();
        two.round().await.unwrap();
        // Started anew between two levels.
        one = levels.world.replica("one", &settings);
        levels.world.pass(MINUTE);
    }
    // As it was before the mark.
    let undo = "UPDATE alert SET escalated_told = 0";
    levels.world.place.raw(undo).await.unwrap();
    one.round().await.unwrap();
    assert_eq!(kinds(&levels.all), ["alert.firing"]);
    assert_eq!(kinds(&levels.operations), ["alert.escalated"]);
    assert_eq!(kinds(&levels.security), ["alert.escalated"]);
    let [told] = &bodies(&levels.security)[..] else {
        panic!("one");
    };
    assert_eq!(told["data"]["facts"]["alert"]["level"], "security");
    assert_eq!(told["data"]["facts"]["reason"], "it is old");
    // The end is told to each that heard of it, once.
    levels.world.resolves(1).await;
    levels.world.pass(MINUTE);
    one.round().await.unwrap();
    for heard in [&levels.operations, &levels.security] {
        assert_eq!(kinds(heard), ["alert.escalated", "alert.resolved"]);
    }
    assert_eq!(kinds(&levels.all), ["alert.firing", "alert.resolved"]);
}

#[tokio::test]
async fn acknowledged_before_its_message_the_next_level_is_not_called_and_hears_nothing() {
    let levels = Levels::new().await;
    let mut one = levels.world.replica("one", &levels.settings());
    levels.world.put(&[levels.critical(1)]).await;
    one.round().await.unwrap();
    levels.climbs(1, 2).await;
    levels.acknowledge(1).await;
    levels.world.pass(MINUTE);
    one.round().await.unwrap();
    levels.world.resolves(1).await;
    levels.world.pass(MINUTE);
    one.round().await.unwrap();
    let all = ["alert.escalated", "alert.acknowledged", "alert.resolved"];
    assert_eq!(kinds(&levels.operations), all);
    assert_eq!(kinds(&levels.security), [""; 0]);
}

#[tokio::test]
async fn a_receiver_of_a_level_that_is_down_holds_up_no_other_and_gets_it_later() {
    let levels = Levels::new().await;
    let mut one = levels.world.replica("one", &levels.settings());
    levels.operations.answers(Answer::Closed);
    levels.world.put(&[levels.critical(1)]).await;
    levels.climbs(1, 2).await;
    one.round().await.unwrap();
    assert_eq!(kinds(&levels.security), ["alert.escalated"]);
    assert_eq!(kinds(&levels.operations), [""; 0]);
    levels.operations.answers(super::endpoint::OK);
    levels.world.pass(Duration::from_secs(300));
    one.round().await.unwrap();
    assert_eq!(kinds(&levels.operations), ["alert.escalated"]);
    assert_eq!(
        levels.world.deliveries(DeliveryState::Waiting).await.len(),
        0
    );
}

#[tokio::test]
async fn threat_ten_thousand_criticals_call_a_level_a_handful_of_times() {
    let levels = Levels::new().await;
    let mut one = levels.world.replica("one", &levels.settings());
    let records: Vec<AlertRecord> = (0..10_000)
        .map(|number| {
            let mut record = levels.critical(number);
            record.alert.escalation.reached = 2;
            record.alert.together = number >= 20;
            record
        })
        .collect();
    levels.world.put(&records).await;
    for _ in 0..3 {
        one.round().await.unwrap();
        levels.world.pass(MINUTE);
    }
    let told = bodies(&levels.security);
    assert_eq!(told.len(), 20 + 1);
    let many = told
        .iter()
        .find(|one| one["data"]["facts"]["alert"]["id"].is_null());
    let facts = &many.unwrap()["data"]["facts"];
    assert_eq!(facts["more_subjects"], 10_000 - 20 - 3);
    let store = &levels.world.place.store;
    let untold = store.untold_escalations(levels.world.now(), 10).await;
    assert!(untold.unwrap().is_empty());
}

#[tokio::test]
async fn without_contacts_nobody_is_told_of_a_level() {
    let levels = Levels::new().await;
    let settings = webhook(&levels.all.address);
    let mut one = levels.world.replica("one", &settings);
    let mut record = levels.critical(1);
    record.alert.escalation = Escalation {
        reached: 4,
        ..record.alert.escalation
    };
    levels.world.put(&[record]).await;
    one.round().await.unwrap();
    assert_eq!(kinds(&levels.all), ["alert.firing"]);
}
