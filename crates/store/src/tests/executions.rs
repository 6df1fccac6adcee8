//! Who carries a ceremony out.

use std::time::Duration;

use super::place::Place;
use super::world::*;

const LONG: Duration = Duration::from_secs(3_600);

async fn proposed(place: &Place, name: &str) -> String {
    place.ring(name).await;
    place.approved(name, name).await;
    digest(name)
}

pub async fn an_execution_is_held_by_one_and_run_out_by_nobody(place: Place) {
    let (store, other) = (&place.store, place.replica().await);
    let id = proposed(&place, "atp").await;
    assert_eq!(store.held_executions().await.unwrap(), []);
    assert!(store.take_execution(&id, "a", LONG).await.unwrap());
    for holder in ["a", "b"] {
        assert!(!other.take_execution(&id, holder, LONG).await.unwrap());
    }
    let held = other.held_executions().await.unwrap();
    assert_eq!(held.len(), 1);
    assert_eq!(
        (held[0].ceremony.to_string(), held[0].holder.as_str()),
        (id.clone(), "a")
    );
    let left = held[0].left.unwrap();
    assert!(left <= LONG && left > LONG / 2, "{left:?}");
    assert!(!other.renew_execution(&id, "b", LONG).await.unwrap());
    assert!(!other.give_back_execution(&id, "b").await.unwrap());
    assert!(
        !other.settle_execution(&id).await.unwrap(),
        "it has time left"
    );

    // Its holder has died.
    assert!(
        store
            .renew_execution(&id, "a", Duration::ZERO)
            .await
            .unwrap()
    );
    assert!(!store.renew_execution(&id, "a", LONG).await.unwrap());
    assert!(
        !other.take_execution(&id, "b", LONG).await.unwrap(),
        "nobody's until settled"
    );
    assert_eq!(other.held_executions().await.unwrap()[0].left, None);
    assert!(other.settle_execution(&id).await.unwrap());
    assert!(!other.settle_execution(&id).await.unwrap());
    assert!(other.take_execution(&id, "b", LONG).await.unwrap());
    assert!(!store.give_back_execution(&id, "a").await.unwrap());
    assert!(other.give_back_execution(&id, "b").await.unwrap());
    assert_eq!(store.held_executions().await.unwrap(), []);
    let unknown = store.take_execution(&digest("nothing"), "a", LONG).await;
    assert!(unknown.is_err(), "only a ceremony is carried out");
}

pub async fn of_two_executors_at_once_one_has_it(place: Place) {
    let other = place.replica().await;
    let id = proposed(&place, "atp").await;
    let (one, two) = tokio::join!(
        place.store.take_execution(&id, "a", LONG),
        other.take_execution(&id, "b", LONG)
    );
    assert!(one.unwrap() ^ two.unwrap(), "one of two");
}
