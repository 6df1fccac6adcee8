//! The outbox: kept once, delivered once, bounded.

use trust::Time;

use super::super::*;
use super::place::Place;
use super::world::{NOW, leaf};

fn at(millis: i64) -> Time {
    Time::from_millis(NOW + millis)
}

fn to(receiver: &str, recipient: &str) -> Addressee {
    Addressee {
        receiver: receiver.to_owned(),
        recipient: recipient.to_owned(),
    }
}

fn message(name: &str, to: &[Addressee]) -> NewMessage {
    NewMessage {
        id: format!("msg_{name}"),
        dedup: name.to_owned(),
        kind: "test".to_owned(),
        subject: name.to_owned(),
        data: "{}".to_owned(),
        created_at: at(0),
        to: to.to_vec(),
    }
}

/// One act, so that the mark may move.
async fn act(place: &Place) {
    place
        .store
        .commit(&Change::Record, &leaf("key"))
        .await
        .unwrap();
}

pub async fn a_message_is_kept_once_and_delivered_once(place: Place) {
    act(&place).await;
    let store = &place.store;
    let from = store.told().await.unwrap();
    let both = [to("mail", "ada"), to("mail", "berta"), to("hook", "")];
    let messages = [message("a", &both)];
    let announced = store.announce(from, from + 1, &messages, 10).await.unwrap();
    assert_eq!((announced.first, announced.messages), (true, 1));
    // Whoever read the mark before does it no more, and the mark does not pass the log.
    let late = store.announce(from, from + 1, &messages, 10).await.unwrap();
    assert_eq!(late, Announced::default());
    let beyond = store.announce(from + 1, from + 2, &messages, 10).await;
    assert!(beyond.is_err());
    assert_eq!(store.told().await.unwrap(), from + 1);

    let due = store.due("mail", at(0), 10).await.unwrap();
    let who: Vec<_> = due.iter().map(|row| row.to.recipient.as_str()).collect();
    assert_eq!(who, ["ada", "berta"]);
    let [ada, berta] = [&due[0].to, &due[1].to];
    assert!(store.acknowledged("msg_a", ada, at(1)).await.unwrap());
    assert!(!store.acknowledged("msg_a", ada, at(2)).await.unwrap());
    let long = "x\u{1b}".repeat(400);
    assert!(store.put_off("msg_a", berta, at(10), &long).await.unwrap());
    assert!(store.due("mail", at(9), 10).await.unwrap().is_empty());
    let again = store.due("mail", at(10), 10).await.unwrap();
    assert_eq!((again.len(), again[0].attempts), (1, 1));
    let error = again[0].error.clone().unwrap();
    assert!(
        error.len() <= 200 && trust::text::is_plain(&error, 200),
        "{error}"
    );
    assert!(
        store
            .given_up("msg_a", berta, at(11), "gone")
            .await
            .unwrap()
    );
    let counts = async |state| store.count_deliveries(state).await.unwrap();
    assert_eq!(counts(DeliveryState::Waiting).await, 1);
    assert_eq!(counts(DeliveryState::Delivered).await, 1);
    assert_eq!(counts(DeliveryState::Dead).await, 1);
    assert_eq!(store.oldest_waiting().await.unwrap(), Some(at(0)));
    // Only the dead one waits again.
    assert_eq!(store.retry_message("msg_a", at(20)).await.unwrap(), 1);
    let again = store.due("mail", at(20), 10).await.unwrap();
    assert_eq!(
        (again.len(), again[0].attempts, again[0].since),
        (1, 0, at(20))
    );
    place
        .refuses("UPDATE outbox_delivery SET state = 'waiting', finished_at = NULL WHERE state = 'delivered'")
        .await;
    place.refuses("UPDATE outbox_told SET size = 0").await;
    place.refuses("DELETE FROM outbox_told").await;
}

pub async fn what_waits_for_a_receiver_is_bounded_and_the_rest_counted(place: Place) {
    act(&place).await;
    let store = &place.store;
    let from = store.told().await.unwrap();
    let messages: Vec<_> = (0..5)
        .map(|n| message(&format!("m{n}"), &[to("away", ""), to("there", "")]))
        .collect();
    let announced = store.announce(from, from + 1, &messages, 3).await.unwrap();
    assert_eq!((announced.messages, announced.dropped), (5, 4));
    assert_eq!(store.waiting_for("away").await.unwrap(), 3);
    let dropped = store.dropped().await.unwrap();
    let named: Vec<_> = dropped
        .iter()
        .map(|row| (row.receiver.as_str(), row.dropped))
        .collect();
    assert_eq!(named, [("away", 2), ("there", 2)]);
    // What a person decided is kept all the same, and it is known how far it is.
    let decided = NewMessage {
        kind: "notice".to_owned(),
        ..message("notice/1", &[to("away", "a"), to("away", "b")])
    };
    assert_eq!(store.delivery_of("notice/1").await.unwrap(), None);
    let decided = [decided];
    let at_once = store.announce(from + 1, from + 1, &decided, 3).await;
    assert_eq!(at_once.unwrap().dropped, 0);
    let state = async || store.delivery_of("notice/1").await.unwrap();
    assert_eq!(state().await, Some(DeliveryState::Waiting));
    let id = "msg_notice/1";
    for (recipient, expected) in [
        ("a", DeliveryState::Waiting),
        ("b", DeliveryState::Delivered),
    ] {
        let one = to("away", recipient);
        store.acknowledged(id, &one, at(9)).await.unwrap();
        assert_eq!(state().await, Some(expected));
    }
}

pub async fn old_messages_go_in_pages_and_what_waits_stays(place: Place) {
    act(&place).await;
    let store = &place.store;
    let from = store.told().await.unwrap();
    let messages: Vec<_> = (0..5)
        .map(|n| message(&format!("m{n}"), &[to("hook", "")]))
        .collect();
    store.announce(from, from + 1, &messages, 10).await.unwrap();
    for n in 0..4 {
        store
            .acknowledged(&format!("msg_m{n}"), &to("hook", ""), at(1))
            .await
            .unwrap();
    }
    // One was given up, and somebody lets it wait again.
    store
        .given_up("msg_m4", &to("hook", ""), at(2), "gone")
        .await
        .unwrap();
    store.retry_message("msg_m4", at(5)).await.unwrap();
    assert_eq!(store.forget_messages(at(0), 10).await.unwrap(), 0);
    assert_eq!(store.forget_messages(at(1), 3).await.unwrap(), 3);
    assert_eq!(store.forget_messages(at(1), 3).await.unwrap(), 1);
    assert_eq!(store.forget_messages(at(1), 3).await.unwrap(), 0);
    let left = store.deliveries(DeliveryState::Waiting, 10).await.unwrap();
    assert_eq!(left.len(), 1);
    assert!(
        store
            .deliveries(DeliveryState::Delivered, 10)
            .await
            .unwrap()
            .is_empty()
    );
    // Nobody serves this receiver any more.
    assert_eq!(store.forget_messages(at(6), 3).await.unwrap(), 1);
}

pub async fn a_condition_lasts_until_its_end_was_acknowledged(place: Place) {
    let store = &place.store;
    let row = AlertRow {
        receiver: "am".to_owned(),
        key: "deadline/a".to_owned(),
        kind: "test".to_owned(),
        subject: "a".to_owned(),
        data: "{}".to_owned(),
        started_at: at(0),
        ended_at: None,
        told_at: None,
    };
    let now = async || store.alerts("am", 10).await.unwrap();
    store.begin_alert(&row).await.unwrap();
    store.told_alert("am", &row.key, at(1)).await.unwrap();
    store.forget_alert("am", &row.key).await.unwrap();
    assert_eq!(now().await[0].told_at, Some(at(1)), "it holds, so it stays");
    store.end_alert("am", &row.key, at(2)).await.unwrap();
    store.end_alert("am", &row.key, at(3)).await.unwrap();
    assert_eq!(now().await[0].ended_at, Some(at(2)));
    // It begins again before anybody heard of its end: it never ended.
    store.begin_alert(&row).await.unwrap();
    assert_eq!(
        (now().await[0].ended_at, now().await[0].started_at),
        (None, at(0))
    );
    store.end_alert("am", &row.key, at(4)).await.unwrap();
    store.forget_alert("am", &row.key).await.unwrap();
    assert!(now().await.is_empty());
}
