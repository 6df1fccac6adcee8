//! Standing orders over HTTP: for those who may read open ceremonies.

use std::time::Duration;

use keyring::ceremony::{Draft, OrderInput};
use serde_json::{Value, json};
use testkit::custodians::Custodians;
use trust::request::OrderWindow;

use super::service;
use crate::middleware::peer::Peer;
use crate::testing::{Fixture, LABEL, SERIAL};

const ORDERS: &str = "/v1/orders";

#[tokio::test]
async fn orders_are_read_by_members_and_by_nobody_else() {
    let fixture = service().await;
    let listed = fixture.read_as("alice", ORDERS).await;
    assert_eq!(listed.json(), serde_json::json!({"orders": []}));
    let one = format!("{ORDERS}/{}", "0".repeat(32));
    for path in [ORDERS, one.as_str()] {
        assert_eq!(fixture.get(path).await.code(), "unauthenticated");
        let stranger = fixture.read_as("mallory", path).await;
        assert_eq!(stranger.code(), "invalid_credentials");
    }
    for unknown in [one, format!("{ORDERS}/x")] {
        let answered = fixture.read_as("alice", &unknown).await;
        assert_eq!(
            (answered.status.as_u16(), answered.code()),
            (404, "unknown_order".to_owned())
        );
    }
    for (query, member) in [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("after=x", "after"),
    ] {
        let answered = fixture.read_as("alice", &format!("{ORDERS}?{query}")).await;
        assert_eq!(
            (answered.code(), answered.member()),
            ("bad_query".to_owned(), member.to_owned())
        );
    }
}

/// With a ring, and an order for its next keys; the order's id.
async fn ordered() -> (Fixture, String) {
    let mut settings = crate::testing::settings();
    settings.body_limit_bytes = 1 << 20;
    settings.request_timeout = Duration::from_secs(60);
    let custodians = Custodians::with_executors("production", &["records"]);
    let publication = keyring::keys::PublicationSettings::default();
    let fixture = Fixture::of(custodians, settings, publication, Peer::default()).await;
    let input = OrderInput {
        activate_after: Duration::from_secs(24 * 3_600),
        executor: "robot".parse().unwrap(),
        executor_key: None,
        interval: Duration::ZERO,
        lifetime: Duration::from_secs(90 * 86_400),
        not_after: fixture.now() + Duration::from_secs(300 * 86_400),
        not_before: fixture.now(),
        token_label: LABEL.to_owned(),
        token_serial: SERIAL.to_owned(),
        uses: 3,
        window: OrderWindow::always(),
    };
    fixture
        .ceremony("records", Draft::Order(Box::new(input)))
        .await;
    let (orders, _) = fixture
        .ceremonies()
        .orders((i64::MAX, ""), 1)
        .await
        .unwrap();
    let order = orders[0].order.clone();
    (fixture, order)
}

impl Fixture {
    async fn withdrawal(&self, who: &str, order: &str, reason: &str) -> Value {
        let payload = self.ceremonies().withdrawal_payload(order, reason).await;
        let signature = self.sign_as(who, &payload.unwrap());
        json!({"purpose": "withdraw", "reason": reason, "signature": signature})
    }

    async fn sign_order(&self, order: &str, body: &Value) -> crate::testing::Answered {
        let path = format!("{ORDERS}/{order}/signatures");
        self.post(&path, body.to_string()).await
    }
}

#[tokio::test]
async fn any_custodian_withdraws_an_order_by_a_signature_and_nothing_else() {
    let (fixture, order) = ordered().await;
    let read = fixture.read_as("alice", &format!("{ORDERS}/{order}")).await;
    assert_eq!(read.json()["state"], "active");
    let good = fixture.withdrawal("carol", &order, "enough").await;
    // Whoever is no custodian, another reason than the one that was signed, another order, and what is no order.
    let mut other_reason = good.clone();
    other_reason["reason"] = "more than enough".into();
    let robot = fixture.withdrawal("robot", &order, "enough").await;
    let mallory = fixture.withdrawal("mallory", &order, "enough").await;
    let nobody = "0".repeat(32);
    for (order, body) in [
        (&order, &other_reason),
        (&order, &robot),
        (&order, &mallory),
        (&nobody, &good),
        (&nobody, &mallory),
    ] {
        let before = fixture.world().await;
        let answered = fixture.sign_order(order, body).await;
        assert_eq!(answered.code(), "signature_not_counted", "{body}");
        assert_eq!(fixture.world().await, before, "{body}");
    }
    for (member, value) in [("reason", json!("")), ("purpose", json!("approve"))] {
        let mut bad = good.clone();
        bad[member] = value;
        let answered = fixture.sign_order(&order, &bad).await;
        assert_eq!(answered.status.as_u16() / 100, 4, "{bad}");
    }
    let done = fixture.sign_order(&order, &good).await.json();
    assert_eq!(done["state"], "withdrawn", "{done}");
    assert_eq!(done["withdrawn"]["by"], "carol");
    // Once more, by anybody who may, it is as good as done.
    let again = fixture.withdrawal("bob", &order, "enough").await;
    let again = fixture.sign_order(&order, &again).await.json();
    assert_eq!(again["withdrawn"]["by"], "carol");
    let listed = fixture.read_as("alice", ORDERS).await.json();
    assert_eq!(listed["orders"][0]["state"], "withdrawn");
}
