//! Standing orders: used as often as they say, by one executor at a time, until somebody withdraws them.

use super::super::*;
use super::conflicts::{conflicts, missing};
use super::place::Place;
use super::world::*;

async fn withdrawn(place: &Place, change: Change) {
    let size = place.store.log_size().await.unwrap();
    match place.change(change.clone()).await {
        Err(Error::Already {
            what: Subject::Order,
            ..
        }) => {}
        other => panic!("{change:?}: {other:?}"),
    }
    assert_eq!(place.store.log_size().await.unwrap(), size);
}

pub async fn an_order_is_accepted_once_and_found_with_its_uses(place: Place) {
    place.ring("atp").await;
    place.ring("oauth").await;
    let subjects = [format!("order/{}", nonce("order"))];
    place
        .approved_of("order", "order", Some("atp"), &subjects)
        .await;
    let state = Subject::CeremonyState;
    conflicts(&place, accept_order("order", "atp", 2), state).await;
    place.change(execute("order")).await.unwrap();
    // Nor by the way of other ceremonies, or for another ring.
    conflicts(&place, close("order"), Subject::Ceremony).await;
    conflicts(&place, accept_order("order", "oauth", 2), Subject::Order).await;
    place.change(accept_order("order", "atp", 2)).await.unwrap();
    conflicts(&place, accept_order("order", "atp", 2), state).await;
    let order = place.store.order(&nonce("order")).await.unwrap().unwrap();
    assert_eq!((order.uses, order.withdrawal), (2, None));
    assert_eq!(place.ceremony("order").await.state, CeremonyState::Closed);

    place
        .change(birth_under("order", 1, "a", 1, "atp"))
        .await
        .unwrap();
    let uses = place.store.uses_of(&nonce("order")).await.unwrap();
    assert_eq!(uses.len(), 1);
    assert_eq!(uses[0].number, 1);
    assert_eq!(uses[0].state, CeremonyState::Proposed);
    assert_eq!(uses[0].kid, None);
    let of = place.store.order_of(&digest("a")).await.unwrap();
    assert_eq!(of, Some((nonce("order").parse().unwrap(), 1)));
    assert_eq!(place.store.order_of(&digest("order")).await.unwrap(), None);
    place.order("later", "oauth", 1).await;
    let before = (i64::MAX, "");
    let page = place.store.orders_before(before, 10).await.unwrap();
    assert_eq!(page.rows.all().unwrap().len(), 2);
}

pub async fn an_order_is_used_as_often_as_it_says(place: Place) {
    place.ring("atp").await;
    missing(
        &place,
        birth_under("order", 1, "a", 1, "atp"),
        Subject::Order,
    )
    .await;
    place.order("order", "atp", 2).await;
    assert_eq!(place.store.last_use(&nonce("order")).await.unwrap(), 0);
    for (number, name) in [(1, "a"), (2, "b")] {
        let change = birth_under("order", number, name, 1, "atp");
        place.change(change).await.unwrap();
    }
    assert_eq!(place.store.last_use(&nonce("order")).await.unwrap(), 2);
    for number in [0, 1, 2, 3] {
        let change = birth_under("order", number, "c", 1, "atp");
        conflicts(&place, change, Subject::OrderUse).await;
    }
    // The schema has the last word.
    place.change(birth("c", 1, "atp")).await.unwrap();
    let sql = format!(
        "INSERT INTO order_use (order_id, use_number, ceremony) VALUES ('{}', 3, '{}')",
        nonce("order"),
        digest("c")
    );
    place.refuses(&sql).await;
}

pub async fn a_withdrawn_order_permits_nothing_more(place: Place) {
    use CeremonyState as S;
    place.ring("atp").await;
    missing(&place, withdraw("order"), Subject::Order).await;
    place.order("order", "atp", 9).await;
    for (number, name) in [(1, "a"), (2, "b"), (3, "c"), (4, "d")] {
        let change = birth_under("order", number, name, 1, "atp");
        place.change(change).await.unwrap();
        if number > 1 {
            place
                .move_ceremony(name, S::Proposed, S::Approved)
                .await
                .unwrap();
        }
    }
    // One was made, one waits to be made, one is approved and one proposed.
    place.change(intend(object("d", "atp", 1))).await.unwrap();
    place.change(record("d")).await.unwrap();
    let index = place.change(withdraw("order")).await.unwrap();
    let order = place.store.order(&nonce("order")).await.unwrap().unwrap();
    assert_eq!(order.withdrawal.map(|told| told.index), Some(index));
    for (name, state) in [
        ("a", S::Cancelled),
        ("b", S::Cancelled),
        ("c", S::Cancelled),
        ("d", S::Executed),
    ] {
        assert_eq!(place.ceremony(name).await.state, state, "{name}");
    }
    withdrawn(&place, withdraw("order")).await;
    withdrawn(&place, birth_under("order", 5, "e", 2, "atp")).await;
    withdrawn(&place, place.accept("d", "atp", 1)).await;
    // Whatever hand wrote the state back: the next step asks again.
    place.order("another", "atp", 1).await;
    let change = birth_under("another", 1, "f", 2, "atp");
    place.change(change).await.unwrap();
    place
        .move_ceremony("f", S::Proposed, S::Approved)
        .await
        .unwrap();
    assert_eq!(place.ceremony("f").await.state, S::Approved);
    place.change(intend(object("f", "atp", 2))).await.unwrap();
    place.change(withdraw("another")).await.unwrap();
    // What is on the token already is written down, and not accepted.
    place.change(record("f")).await.unwrap();
    withdrawn(&place, place.accept("f", "atp", 2)).await;
    // Given up, it gives its place in the line back.
    place
        .move_ceremony("f", S::Executed, S::Failed)
        .await
        .unwrap();
    // The schema has the last word.
    let sql = format!(
        "INSERT INTO order_use (order_id, use_number, ceremony) VALUES ('{}', 8, '{}')",
        nonce("order"),
        digest("order")
    );
    place.refuses(&sql).await;
}

pub async fn two_executors_at_once_do_not_use_one_number(place: Place) {
    place.ring("atp").await;
    place.order("order", "atp", 9).await;
    let mut executors = Vec::new();
    for executor in 0..4 {
        let store = place.replica().await;
        executors.push(tokio::spawn(async move {
            let name = format!("of {executor}");
            let change = birth_under("order", 1, &name, 1, "atp");
            match store.commit(&change, &leaf("order")).await {
                Ok(_) => 1,
                Err(Error::Conflict {
                    what: Subject::OrderUse,
                    ..
                }) => 0,
                other => panic!("{other:?}"),
            }
        }));
    }
    let mut taken = 0;
    for executor in executors {
        taken += executor.await.unwrap();
    }
    assert_eq!(taken, 1);
    assert_eq!(place.store.uses_of(&nonce("order")).await.unwrap().len(), 1);
}

pub async fn what_the_log_tells_of_an_order_is_found(place: Place) {
    let told = |order: &str, number: i64| Leaf {
        body: format!(
            r#"{{"action":"use","kind":"order","ref":"{}","use":{number},"v":1}}"#,
            nonce(order)
        ),
        ..leaf("order")
    };
    for (order, number) in [("a", 1), ("b", 1), ("a", 2)] {
        let leaf = told(order, number);
        place.store.commit(&Change::Record, &leaf).await.unwrap();
        place.change(Change::Record).await.unwrap();
    }
    let indexes = |leaves: Vec<LeafRow>| -> Vec<i64> {
        let indexes = leaves.into_iter().map(|leaf| leaf.index);
        indexes.collect()
    };
    let of = async |order: &str, from, limit| {
        let leaves = place
            .store
            .leaves_of_order(&nonce(order), from, limit)
            .await;
        indexes(leaves.unwrap())
    };
    assert_eq!(of("a", 0, 10).await, [0, 4]);
    assert_eq!(of("a", 0, 1).await, [0]);
    assert_eq!(of("a", 1, 10).await, [4]);
    assert_eq!(of("b", 0, 10).await, [2]);
    assert_eq!(of("c", 0, 10).await, [0; 0]);

    // Of a ceremony, and of suspensions that took effect; and whatever stands at some places.
    for (kind, body) in [
        (
            "ceremony",
            r#"{"action":"approve","kind":"ceremony","ref":"x","v":1}"#,
        ),
        ("key", r#"{"action":"revoke","kind":"key","ref":"x","v":1}"#),
        (
            "ceremony",
            r#"{"action":"accepted","kind":"ceremony","ref":"y","v":1}"#,
        ),
        (
            "suspension",
            r#"{"action":"propose","kind":"suspension","ref":"x","v":1}"#,
        ),
        (
            "suspension",
            r#"{"action":"suspend","actor":"a","kind":"suspension","ref":"x","v":1}"#,
        ),
        (
            "ceremony",
            r#"{"action":"accepted","kind":"ceremony","ref":"x","v":1}"#,
        ),
    ] {
        let leaf = Leaf {
            body: body.to_owned(),
            ..leaf(kind)
        };
        place.store.commit(&Change::Record, &leaf).await.unwrap();
    }
    let of = async |ceremony: &str, from, limit| {
        let leaves = place.store.leaves_of_ceremony(ceremony, from, limit).await;
        indexes(leaves.unwrap())
    };
    assert_eq!(of("x", 0, 10).await, [6, 11]);
    assert_eq!(of("x", 7, 10).await, [11]);
    assert_eq!(of("x", 0, 1).await, [6]);
    assert_eq!(of("z", 0, 10).await, [0; 0]);
    let suspended = async |from| indexes(place.store.leaves_of_suspensions(from).await.unwrap());
    assert_eq!(suspended(0).await, [10]);
    assert_eq!(suspended(11).await, [0; 0]);
    let at = async |places: &[i64]| indexes(place.store.leaves_at(places).await.unwrap());
    assert_eq!(at(&[11, 4, 999]).await, [4, 11]);
    assert_eq!(at(&[]).await, [0; 0]);
}
