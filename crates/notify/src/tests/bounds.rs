//! What does not grow, what does not leak, and conditions.

use std::time::Duration;

use store::DeliveryState;

use super::endpoint::{Answer, Endpoint, OK};
use super::world::{SECRET, World, webhook};

const HOUR: Duration = Duration::from_secs(3_600);

#[tokio::test]
async fn threat_a_receiver_that_is_away_keeps_64_messages_and_the_rest_is_counted() {
    let world = World::new().await;
    let endpoint = Endpoint::start().await;
    endpoint.answers(Answer::Status("503 Away", "", ""));
    let settings = format!("most_waiting = 64\n{}", webhook(&endpoint.address));
    let mut notifier = world.replica("a", &settings);
    for n in 0..70 {
        world.propose(&format!("ceremony {n}")).await;
    }
    notifier.round().await.unwrap();
    let store = &world.place.store;
    assert_eq!(store.waiting_for("ops").await.unwrap(), 64);
    let dropped = store.dropped().await.unwrap();
    assert_eq!((dropped.len(), dropped[0].dropped), (1, 6));
    // The first ones stay: what was proposed first ends first.
    endpoint.answers(OK);
    world.pass(2 * HOUR);
    notifier.round().await.unwrap();
    assert_eq!(store.waiting_for("ops").await.unwrap(), 0);
    world.propose("later").await;
    notifier.round().await.unwrap();
    assert_eq!(world.deliveries(DeliveryState::Delivered).await.len(), 65);
}

#[tokio::test]
async fn what_is_over_is_forgotten_after_its_time_and_what_waits_is_not() {
    let world = World::new().await;
    let endpoint = Endpoint::start().await;
    let settings = format!("retention = \"5d\"\n{}", webhook(&endpoint.address));
    let mut notifier = world.replica("a", &settings);
    world.propose("one").await;
    notifier.round().await.unwrap();
    assert_eq!(world.deliveries(DeliveryState::Delivered).await.len(), 1);
    world.pass(4 * 24 * HOUR);
    notifier.round().await.unwrap();
    assert!(!world.deliveries(DeliveryState::Delivered).await.is_empty());
    world.pass(8 * 24 * HOUR);
    notifier.round().await.unwrap();
    assert!(world.deliveries(DeliveryState::Delivered).await.is_empty());
    // It is not told again because it was forgotten.
    world.pass(HOUR);
    notifier.round().await.unwrap();
    let proposed = endpoint
        .seen()
        .into_iter()
        .filter(|one| one.body.contains("ceremony.proposed"));
    assert_eq!(proposed.count(), 1);
}

#[tokio::test]
async fn threat_a_secret_is_in_no_message_error_or_row() {
    let world = World::new().await;
    let endpoint = Endpoint::start().await;
    let mut notifier = world.replica("a", &webhook(&endpoint.address));
    // A receiver that repeats what it was sent, in its status and in its body.
    endpoint.answers(Answer::Status("500 whsec_AAECAwQF", "", SECRET));
    world.propose("one").await;
    notifier.round().await.unwrap();
    endpoint.answers(Answer::Closed);
    world.pass(HOUR);
    notifier.round().await.unwrap();
    let bare = SECRET.trim_start_matches("whsec_");
    let row = format!("{:?}", world.deliveries(DeliveryState::Waiting).await);
    let sent = format!("{:?}", endpoint.seen());
    for text in [row, sent] {
        assert!(!text.contains(bare) && !text.contains("whsec_"), "{text}");
    }
    let settings: crate::Settings = toml::from_str(&webhook(&endpoint.address)).unwrap();
    let shown = format!("{settings:?} {}", toml::to_string(&settings).unwrap());
    assert!(!shown.contains(bare), "{shown}");
}

#[tokio::test]
async fn threat_a_reason_that_hides_something_is_spelled_out() {
    let world = World::new().await;
    let endpoint = Endpoint::start().await;
    let mut notifier = world.replica("a", &webhook(&endpoint.address));
    let reason = "harmless\u{202e}\r\nBcc: eve@evil.example \"{{genesis}}\"";
    world.propose_because("one", reason, 72 * HOUR).await;
    notifier.round().await.unwrap();
    let body: serde_json::Value = serde_json::from_str(&endpoint.seen()[0].body).unwrap();
    let shown = body["data"]["facts"]["reason"].as_str().unwrap();
    assert_eq!(
        shown,
        "harmless\\u{202e}\\u{d}\\u{a}Bcc: eve@evil.example \"{{genesis}}\""
    );
}

#[tokio::test]
async fn a_deadline_that_is_near_is_told_once() {
    let world = World::new().await;
    let endpoint = Endpoint::start().await;
    let settings = webhook(&endpoint.address);
    let mut notifier = world.replica("a", &settings);
    world.propose_for("one", 9 * HOUR).await;
    let near = || {
        let seen = endpoint.seen();
        seen.iter()
            .filter(|one| one.body.contains("deadline-near"))
            .count()
    };
    world.pass(5 * HOUR);
    notifier.round().await.unwrap();
    assert_eq!(near(), 0, "a third of its time is not begun");
    world.pass(2 * HOUR);
    for _ in 0..3 {
        notifier.round().await.unwrap();
        world.pass(Duration::from_secs(30));
        // A new process knows nothing of it.
        notifier = world.replica("a", &settings);
    }
    assert_eq!(near(), 1);
}

#[tokio::test]
async fn an_approved_ceremony_without_an_executor_is_told_once_with_its_reason() {
    let world = World::new().await;
    let endpoint = Endpoint::start().await;
    let settings = webhook(&endpoint.address);
    let mut notifier = world.replica("a", &settings);
    let id = world.propose_for("one", 9 * HOUR).await;
    world.move_to(id, store::CeremonyState::Approved).await;
    let late = || {
        let seen = endpoint.seen();
        let late = seen.into_iter().map(|one| one.body);
        let late = late.filter(|body| body.contains("ceremony.executor-late"));
        late.collect::<Vec<_>>()
    };
    world.pass(crate::Settings::default().executor_late - Duration::from_secs(60));
    notifier.round().await.unwrap();
    assert!(late().is_empty());
    world.pass(Duration::from_secs(120));
    for _ in 0..3 {
        notifier.round().await.unwrap();
        world.pass(Duration::from_secs(30));
        // A new process knows nothing of it.
        notifier = world.replica("a", &settings);
    }
    assert_eq!(late().len(), 1);
    let body: serde_json::Value = serde_json::from_str(&late()[0]).unwrap();
    assert_eq!(body["data"]["facts"]["why"], "executor");
    assert_eq!(body["data"]["facts"]["ceremony"], id.to_string());
}

#[tokio::test]
async fn an_executor_is_late_when_the_settings_say_so_and_not_before() {
    let world = World::new().await;
    let endpoint = Endpoint::start().await;
    let settings = format!("executor_late = \"2h\"\n{}", webhook(&endpoint.address));
    let mut notifier = world.replica("a", &settings);
    let id = world.propose_for("one", 9 * HOUR).await;
    world.move_to(id, store::CeremonyState::Approved).await;
    let late = || {
        let seen = endpoint.seen();
        let late = seen.iter().map(|one| &one.body);
        late.filter(|body| body.contains("ceremony.executor-late"))
            .count()
    };
    // Longer than the default.
    world.pass(2 * HOUR - Duration::from_secs(60));
    notifier.round().await.unwrap();
    assert_eq!(late(), 0);
    world.pass(Duration::from_secs(120));
    notifier.round().await.unwrap();
    assert_eq!(late(), 1);
}

#[tokio::test]
async fn a_condition_is_told_each_minute_while_it_holds_and_once_when_it_ends() {
    let world = World::new().await;
    let endpoint = Endpoint::start().await;
    let settings = format!(
        "[receivers.am]\nkind = \"alertmanager\"\nurl = \"http://{}/am\"\nallow_private = true\ntimeout = \"300ms\"\n",
        endpoint.address
    );
    let mut notifier = world.replica("a", &settings);
    let id = world.propose_for("one", 9 * HOUR).await;
    notifier.round().await.unwrap();
    assert!(endpoint.seen().is_empty());
    world.pass(7 * HOUR);
    // Away at first: it is told as soon as it is back.
    endpoint.answers(Answer::Status("500 Internal Server Error", "", ""));
    notifier.round().await.unwrap();
    endpoint.answers(OK);
    world.pass(Duration::from_secs(30));
    for _ in 0..6 {
        notifier.round().await.unwrap();
        world.pass(Duration::from_secs(30));
    }
    let seen = endpoint.seen();
    assert_eq!(
        seen.len(),
        1 + 3,
        "half a minute apart, so each second time"
    );
    assert!(
        seen[0].head.starts_with("POST /am/api/v2/alerts "),
        "{}",
        seen[0].head
    );
    let alert = |at: usize| -> serde_json::Value {
        let body: serde_json::Value = serde_json::from_str(&endpoint.seen()[at].body).unwrap();
        body[0].clone()
    };
    assert_eq!(alert(0)["labels"], alert(3)["labels"], "labels name it");
    assert_eq!(alert(0)["startsAt"], alert(3)["startsAt"]);
    assert_eq!(alert(0)["labels"]["ceremony"], id.to_string());
    assert!(alert(3)["endsAt"].as_str() > alert(0)["endsAt"].as_str());

    // It ends while the Alertmanager is away, and over a restart.
    endpoint.answers(Answer::Status("503 Away", "", ""));
    world.move_to(id, store::CeremonyState::Expired).await;
    let ended = world.now();
    notifier.round().await.unwrap();
    notifier = world.replica("a", &settings);
    endpoint.answers(OK);
    for _ in 0..6 {
        world.pass(Duration::from_secs(30));
        notifier.round().await.unwrap();
    }
    let last = endpoint.seen().len() - 1;
    assert_eq!(alert(last)["endsAt"], ended.to_string());
    assert!(world.place.store.alerts("am", 10).await.unwrap().is_empty());
    assert_eq!(
        endpoint.seen().len(),
        4 + 1 + 1,
        "told once after it was away"
    );
}
