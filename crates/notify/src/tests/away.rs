//! Receivers that are down, slow, or say what is not so.

use std::time::Duration;

use store::DeliveryState;

use super::endpoint::{Answer, Endpoint, OK};
use super::world::{World, webhook};
use crate::retry::LONGEST_PAUSE;

const HOUR: Duration = Duration::from_secs(3_600);

/// Runs for a while, a step at a time.
async fn run(
    world: &World,
    notifier: &mut crate::Notifier,
    time: Duration,
    step: Duration,
) -> usize {
    let mut attempts = 0;
    let mut passed = Duration::ZERO;
    while passed < time {
        attempts += notifier.round().await.unwrap();
        world.pass(step);
        passed += step;
    }
    attempts
}

#[tokio::test]
async fn threat_a_receiver_is_down_for_a_day_and_gets_everything_once_under_the_same_id() {
    let world = World::new().await;
    let endpoint = Endpoint::start().await;
    let mut notifier = world.replica("a", &webhook(&endpoint.address));
    endpoint.answers(Answer::Status("503 Service Unavailable", "", ""));
    for name in ["one", "two", "three"] {
        world.propose(name).await;
    }
    let day = 24 * HOUR;
    let attempts = run(&world, &mut notifier, day, Duration::from_secs(300)).await;
    // Neither hammered nor forgotten.
    assert!((20..250).contains(&attempts), "{attempts}");
    assert_eq!(world.deliveries(DeliveryState::Waiting).await.len(), 3);
    endpoint.answers(OK);
    let before = endpoint.seen().len();
    run(
        &world,
        &mut notifier,
        LONGEST_PAUSE * 2,
        Duration::from_secs(60),
    )
    .await;
    assert_eq!(world.deliveries(DeliveryState::Delivered).await.len(), 3);
    let seen = endpoint.seen();
    let mut accepted: Vec<String> = seen[before..]
        .iter()
        .map(|one| one.header("webhook-id"))
        .collect();
    accepted.sort();
    accepted.dedup();
    assert_eq!((seen.len() - before, accepted.len()), (3, 3));
    // Every earlier attempt had one of these ids and the same body under it.
    for id in accepted {
        let same: Vec<_> = seen
            .iter()
            .filter(|one| one.header("webhook-id") == id)
            .collect();
        assert!(same.iter().all(|one| one.body == same[0].body));
    }
    assert!(
        seen.iter()
            .all(|one| one.header("webhook-id").starts_with("msg_"))
    );
}

#[tokio::test]
async fn threat_a_receiver_that_is_away_for_good_leaves_dead_letters_that_can_be_tried_again() {
    let world = World::new().await;
    let endpoint = Endpoint::start().await;
    let mut notifier = world.replica("a", &webhook(&endpoint.address));
    endpoint.answers(Answer::Closed);
    world.propose("one").await;
    run(&world, &mut notifier, 80 * HOUR, Duration::from_secs(600)).await;
    let dead = world.deliveries(DeliveryState::Dead).await;
    // The proposal, and the deadline that came near meanwhile.
    assert!(!dead.is_empty());
    let proposed = dead
        .iter()
        .find(|row| row.kind == "ceremony.proposed")
        .unwrap();
    assert!(proposed.error.as_deref().unwrap_or_default().len() > 3);
    endpoint.answers(OK);
    let again = world
        .place
        .store
        .retry_message(&proposed.message, world.now());
    assert_eq!(again.await.unwrap(), 1);
    run(&world, &mut notifier, HOUR, Duration::from_secs(60)).await;
    let delivered = world.deliveries(DeliveryState::Delivered).await;
    assert!(delivered.iter().any(|row| row.message == proposed.message));
}

#[tokio::test]
async fn threat_a_receiver_that_lies_or_stalls_neither_loses_nor_doubles_anything() {
    let world = World::new().await;
    let endpoint = Endpoint::start().await;
    let mut notifier = world.replica("a", &webhook(&endpoint.address));
    // 200 with garbage is an acknowledgement all the same.
    endpoint.answers(Answer::Status(
        "200 OK",
        "content-type: text/html\r\n",
        "<html>\u{1b}[2J",
    ));
    world.propose("garbage").await;
    notifier.round().await.unwrap();
    assert_eq!(world.deliveries(DeliveryState::Delivered).await.len(), 1);

    // It takes the message and does not answer in time: nobody knows, so it comes again under the same id.
    endpoint.answers(Answer::Silent);
    let silent = world.propose("silent").await.to_string();
    notifier.round().await.unwrap();
    let waiting = world.deliveries(DeliveryState::Waiting).await;
    assert_eq!(
        (waiting.len(), waiting[0].subject.as_str()),
        (1, silent.as_str())
    );
    endpoint.answers(OK);
    world.pass(HOUR);
    notifier.round().await.unwrap();
    let seen = endpoint.seen();
    assert_eq!(seen.len(), 3);
    assert_eq!(seen[1].header("webhook-id"), seen[2].header("webhook-id"));
    // But the time of the attempt is that of the attempt, or a receiver would refuse it as a replay.
    assert_ne!(
        seen[1].header("webhook-timestamp"),
        seen[2].header("webhook-timestamp")
    );

    // A redirect leads nowhere.
    let elsewhere = Endpoint::start().await;
    let location = format!("location: http://{}/\r\n", elsewhere.address);
    endpoint.answers(Answer::Status(
        "302 Found",
        Box::leak(location.into_boxed_str()),
        "",
    ));
    world.propose("redirect").await;
    notifier.round().await.unwrap();
    assert_eq!(world.deliveries(DeliveryState::Waiting).await.len(), 1);
    assert!(elsewhere.seen().is_empty());

    // 410: it never wants anything again.
    endpoint.answers(Answer::Status("410 Gone", "", ""));
    world.pass(HOUR);
    notifier.round().await.unwrap();
    let dead = world.deliveries(DeliveryState::Dead).await;
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].error.as_deref(), Some("the receiver answered 410"));
}

#[tokio::test]
async fn threat_a_receiver_that_asks_for_time_gets_it_within_bounds() {
    let world = World::new().await;
    let endpoint = Endpoint::start().await;
    let mut notifier = world.replica("a", &webhook(&endpoint.address));
    endpoint.answers(Answer::Status(
        "429 Too Many Requests",
        "retry-after: 120\r\n",
        "",
    ));
    world.propose("one").await;
    notifier.round().await.unwrap();
    let waiting = world.deliveries(DeliveryState::Waiting).await;
    assert_eq!(
        waiting[0].next_at.since(world.now()),
        Duration::from_secs(120)
    );
    world.pass(Duration::from_secs(119));
    assert_eq!(notifier.round().await.unwrap(), 0);
    endpoint.answers(Answer::Status(
        "429 Too Many Requests",
        "retry-after: 99999999\r\n",
        "",
    ));
    world.pass(Duration::from_secs(1));
    assert_eq!(notifier.round().await.unwrap(), 1);
    let waiting = world.deliveries(DeliveryState::Waiting).await;
    assert_eq!(waiting[0].next_at.since(world.now()), LONGEST_PAUSE);
}

#[tokio::test]
async fn a_receiver_that_is_away_holds_up_no_other() {
    let world = World::new().await;
    let (away, there) = (Endpoint::start().await, Endpoint::start().await);
    let second = webhook(&there.address).replace("receivers.ops", "receivers.other");
    let mut notifier = world.replica("a", &(webhook(&away.address) + &second));
    away.answers(Answer::Silent);
    world.propose("one").await;
    notifier.round().await.unwrap();
    assert_eq!(there.seen().len(), 1);
    assert_eq!(
        world.deliveries(DeliveryState::Waiting).await[0]
            .to
            .receiver,
        "ops"
    );
}

#[tokio::test]
async fn threat_a_private_address_is_refused_unless_it_is_listed() {
    let world = World::new().await;
    let endpoint = Endpoint::start().await;
    let named = endpoint.address.replace("127.0.0.1", "localhost");
    let settings = webhook(&named).replace("allow_private = true\n", "");
    let mut notifier = world.replica("a", &settings);
    world.propose("one").await;
    notifier.round().await.unwrap();
    assert!(endpoint.seen().is_empty());
    let error = world.deliveries(DeliveryState::Waiting).await[0]
        .error
        .clone();
    assert!(error.unwrap_or_default().contains("allow_private"));
}
