//! Where the log tells of keys, and how many there are.

use std::collections::BTreeMap;

use super::super::*;
use super::index::Numbers;
use super::place::Place;
use super::world::*;

async fn tell(place: &Place, kind: &'static str, action: &str, kid: &str, previous: Option<&str>) {
    let previous = previous.map_or(String::new(), |kid| format!(r#","previous_kid":"{kid}""#));
    let reason = match action {
        "revoke" => r#","reason":"superseded""#,
        _ => "",
    };
    let body = format!(
        r#"{{"action":"{action}","actor":"cli","kid":"{kid}","kind":"{kind}"{previous}{reason},"time":"2026-01-01T00:00:00.000Z","v":1}}"#
    );
    let leaf = Leaf {
        kid: Some(kid.to_owned()),
        body: sorted(&body),
        ..leaf(kind)
    };
    place.store.commit(&Change::Record, &leaf).await.unwrap();
}

/// Canonical, as leaves are.
fn sorted(body: &str) -> String {
    let value: BTreeMap<String, serde_json::Value> = serde_json::from_str(body).unwrap();
    serde_json::to_string(&value).unwrap()
}

pub async fn acts_are_found_wherever_their_index_stands(place: Place) {
    let kids: Vec<String> = (0..7).map(|number| kid(&format!("k{number}"))).collect();
    let mut numbers = Numbers(3);
    let mut expected: BTreeMap<String, Vec<(i64, ActWord)>> = BTreeMap::new();
    let mut accepted = Vec::new();
    for _ in 0..120 {
        let index = place.store.log_size().await.unwrap();
        let kid = &kids[numbers.below(7) as usize];
        let other = &kids[numbers.below(7) as usize];
        match numbers.below(5) {
            0 => {
                tell(&place, "ceremony", "accepted", kid, None).await;
                // The first alone is of the key.
                if !accepted.iter().any(|(_, known)| known == kid) {
                    accepted.push((index, kid.clone()));
                    let acts = expected.entry(kid.clone()).or_default();
                    acts.push((index, ActWord::Accepted));
                }
            }
            1 => {
                tell(&place, "key", "retire", kid, None).await;
                let acts = expected.entry(kid.clone()).or_default();
                acts.push((index, ActWord::Other));
            }
            2 if kid != other => {
                tell(&place, "key", "revoke", kid, Some(other)).await;
                let acts = expected.entry(kid.clone()).or_default();
                acts.push((index, ActWord::Other));
                let acts = expected.entry(other.clone()).or_default();
                acts.push((index, ActWord::Revoked));
            }
            3 => tell(&place, "ceremony", "propose", kid, None).await,
            _ => {
                place.change(Change::Record).await.unwrap();
            }
        }
        if numbers.below(4) == 0 {
            place
                .store
                .index_acts(1 + numbers.below(5) as i64)
                .await
                .unwrap();
        }
        let acted = place.store.acted().await.unwrap();
        assert!(acted.size <= acted.head);
        for kid in &kids {
            let found = place.store.acts_of(kid).await.unwrap();
            let found: Vec<_> = found.into_iter().map(|act| (act.index, act.word)).collect();
            let told = expected.get(kid).cloned().unwrap_or_default();
            let told: Vec<_> = told.into_iter().filter(|act| act.0 < acted.size).collect();
            assert_eq!(found, told, "{acted:?}");
        }
    }
    while place.store.index_acts(10).await.unwrap() {}
    let acted = place.store.acted().await.unwrap();
    assert_eq!(
        (acted.size, acted.accepted),
        (acted.head, accepted.len() as i64)
    );
    let all = place.store.acts_of_several(&kids).await.unwrap();
    assert_eq!(all.len(), expected.values().map(Vec::len).sum::<usize>());
    let rows = place.store.accepted_from(0, 100).await.unwrap();
    let rows: Vec<_> = rows.into_iter().map(|row| (row.index, row.kid)).collect();
    assert_eq!(rows, accepted);
    let (index, kid) = &accepted[3];
    let first = place.store.first_accepted(*index).await.unwrap().unwrap();
    assert_eq!((first.place, &first.kid), (3, kid));
    assert!(
        place
            .store
            .first_accepted(acted.head)
            .await
            .unwrap()
            .is_none()
    );
}

pub async fn keys_are_counted_by_ring_and_state(place: Place) {
    let retired = place.ring_with_a_retired_key("atp").await;
    place.open_ring("other").await;
    let counts = |counts: &KeyCounts| {
        let of = |ring: &str| {
            let states = counts[ring].iter().filter(|(_, keys)| **keys > 0);
            states
                .map(|(state, keys)| format!("{keys} {state}"))
                .collect::<Vec<_>>()
        };
        (of("atp"), of("other"))
    };
    let found = place.store.key_counts().await.unwrap();
    let expected = (
        vec!["1 active".to_owned(), "1 retired".to_owned()],
        vec!["1 active".to_owned()],
    );
    assert_eq!(counts(&found), expected);
    let change = place.revocation("r", "atp", &retired).await;
    place.change(change).await.unwrap();
    let found = place.store.key_counts().await.unwrap();
    assert_eq!(counts(&found).0, ["1 active", "1 revoked"]);
    let ended = place
        .store
        .ended_keys("atp", EndedBefore::EVER, 10)
        .await
        .unwrap();
    assert_eq!(ended.read.len(), 1);
    assert_eq!(place.store.keys_in_use().await.unwrap().read.len(), 2);
    assert_eq!(
        place.store.newest_keys("atp", 1).await.unwrap().read[0].number,
        2
    );
    let page = place.store.keys_after("atp", 1, 10).await.unwrap().read;
    let page: Vec<_> = page
        .iter()
        .map(|row| (row.ring.as_str(), row.number))
        .collect();
    assert_eq!(page, [("atp", 2), ("other", 1)]);
}
