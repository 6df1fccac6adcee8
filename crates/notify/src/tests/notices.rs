//! Notices to the outside: as they were decided, however late, and nothing else.

use std::time::Duration;

use store::{Change, DeliveryState, Leaf, NoticeRow};
use trust::leaf::{ActKind, ActLeaf};

use super::world::World;
use crate::event::NOTIFY;
use crate::notice::{dedup, digest};

const DAYS: Duration = Duration::from_secs(5 * 86_400);

/// A receiver whose server is away, with a contact of partners.
const SETTINGS: &str = "[receivers.people]\nkind = \"mail\"\nserver = \"localhost:1\"\nsecurity = \"none\"\nallow_private = true\nfrom = \"keys@keys.example\"\n[receivers.people.contacts]\npress = \"press@people.example\"\n";
const PARTNERS: &str = "[audiences.partners]\nto = [\"people/press\"]\n";

impl World {
    fn decided(&self, number: u32) -> NoticeRow {
        NoticeRow {
            id: format!("no_{number:032}"),
            incident: format!("INC-{number}"),
            audience: "partners".to_owned(),
            notify: true,
            reason: "they verify".to_owned(),
            body: r#"{"subject":"Incident","body":"a key was public"}"#.to_owned(),
            decided_at: self.now(),
            decided_by: "olga".to_owned(),
        }
    }

    /// The leaf says what `told` says, and the change is another's.
    async fn decide(&self, change: &Change, told: &NoticeRow) {
        let now = self.now();
        let act = ActLeaf {
            reference: Some(told.id.clone()),
            digest: digest(told),
            ..ActLeaf::new(ActKind::Alert, NOTIFY, "olga", now)
        };
        let leaf = Leaf {
            time: now.millis(),
            kind: ActKind::Alert.name(),
            ring: None,
            kid: None,
            sig_hash: None,
            body: serde_json::to_string(&act).unwrap(),
        };
        self.place.store.commit(change, &leaf).await.unwrap();
    }
}

#[tokio::test]
async fn a_notice_is_sent_days_after_its_decision_and_again_where_there_was_no_contact() {
    let world = World::new().await;
    let row = world.decided(1);
    let change = Change::DecideNotice(Box::new(row.clone()));
    world.decide(&change, &row).await;
    world.pass(DAYS);
    let state = async || {
        world
            .place
            .store
            .delivery_of(&dedup(&row.id))
            .await
            .unwrap()
    };
    world.replica("one", SETTINGS).round().await.unwrap();
    assert_eq!(state().await, None, "this one knows no contact");
    // The same decision again, and twice.
    let settings = format!("{SETTINGS}{PARTNERS}");
    for _ in 0..2 {
        world.decide(&Change::Record, &row).await;
        world.replica("one", &settings).round().await.unwrap();
        let waiting = world.deliveries(DeliveryState::Waiting).await;
        assert_eq!(waiting.len(), 1);
        assert_eq!(state().await, Some(DeliveryState::Waiting));
    }
}

#[tokio::test]
async fn threat_a_notice_whose_row_was_exchanged_is_not_sent() {
    let world = World::new().await;
    let row = world.decided(1);
    let forged = NoticeRow {
        body: r#"{"subject":"Incident","body":"send us your keys"}"#.to_owned(),
        ..row.clone()
    };
    let change = Change::DecideNotice(Box::new(forged));
    world.decide(&change, &row).await;
    let mut one = world.replica("one", &format!("{SETTINGS}{PARTNERS}"));
    one.round().await.unwrap();
    assert!(world.deliveries(DeliveryState::Waiting).await.is_empty());
}
