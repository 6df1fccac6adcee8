//! Rings that the quorum does not call routine keep to their critical key type, whatever their rows say.

use calendar::key_type::KeyType;
use calendar::{KeyTypes, Span};

use super::*;

/// Critical as well, of the same class, and one person says how long its interval is.
fn lazy() -> KeyType {
    KeyType {
        name: "lazy".parse().unwrap(),
        interval: Span::days(1_000),
        ..KeyTypes::standard().get("signing").unwrap().clone()
    }
}

fn to(key_type: &str) -> AssetChange {
    AssetChange {
        key_type: Some(key_type.parse().unwrap()),
        ..AssetChange::default()
    }
}

async fn planned(inventory: &InventoryService) -> Vec<(String, String)> {
    let assets = inventory.in_use().await.unwrap();
    let told = assets
        .iter()
        .map(|asset| (asset.name.to_string(), asset.key_type.to_string()));
    told.collect()
}

fn both_signing() -> Vec<(String, String)> {
    let all = ["signing/others", "signing/records"];
    all.map(|name| (name.to_owned(), "signing".to_owned()))
        .to_vec()
}

/// With the rights of the service alone.
#[tokio::test]
async fn threat_a_superuser_gives_a_critical_ring_another_key_type() {
    for told in ["jwt_signing", "lazy"] {
        let (place, inventory) = inventory().await;
        place.open_ring("records").await;
        place.open_ring("others").await;
        let policies = inventory.policies();
        policies.add_type(lazy(), ("olga", at(0))).await.unwrap();
        assert_eq!(policies.faults().await.unwrap(), [""; 0]);
        let row = format!(
            "INSERT INTO ring_asset VALUES ('records', '{told}', '', NULL, '{{}}', 0, 'mallory')"
        );
        place.raw(&row).await.unwrap();
        assert_eq!(planned(&inventory).await, both_signing(), "{told}");
        let faults = policies.faults().await.unwrap();
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(faults[0].contains("signing/records"), "{faults:?}");
        assert!(faults[0].contains(told), "{faults:?}");
        let current = policies.current(at(0)).await.unwrap();
        assert_eq!(current.view("signing").unwrap().lapsed, faults);
        // Nobody makes one out of the other, and what else is said of the ring may be changed.
        let (records, by) = (name("signing/records"), ("olga", at(0)));
        for other in ["api_signature", "lazy", "jwt_signing"] {
            if other == told {
                continue;
            }
            let refused = inventory.change(&records, &to(other), "why", by).await;
            let refused = refused.unwrap_err();
            assert!(matches!(refused, Error::StaysCritical { .. }), "{refused}");
        }
        let owner = AssetChange {
            owner: Some(Some("team".parse().unwrap())),
            ..AssetChange::default()
        };
        let changed = inventory.change(&records, &owner, "why", by).await.unwrap();
        assert_eq!(changed.key_type.as_str(), "signing");
        assert_eq!(policies.faults().await.unwrap().len(), 1);
        // It is described as what it is again.
        let signing = to("signing");
        let changed = inventory.change(&records, &signing, "a mistake", by);
        changed.await.unwrap();
        assert_eq!(policies.faults().await.unwrap(), [""; 0]);
    }
}

/// A ring without any row is no other: `asset describe` alone would have taken it off the quorum's policy.
#[tokio::test]
async fn threat_an_administrator_gives_a_critical_ring_a_critical_key_type_of_ones_own() {
    let (place, inventory) = inventory().await;
    place.open_ring("records").await;
    let by = ("olga", at(0));
    inventory.policies().add_type(lazy(), by).await.unwrap();
    let size = place.store.log_size().await.unwrap();
    let records = name("signing/records");
    let refused = inventory.change(&records, &to("lazy"), "why", by).await;
    let refused = refused.unwrap_err();
    assert!(matches!(refused, Error::StaysCritical { .. }), "{refused}");
    assert_eq!(place.store.log_size().await.unwrap(), size);
}

/// What is planned is what is shown, found, exported and counted.
#[tokio::test]
async fn a_ring_whose_row_does_not_hold_is_shown_as_it_is_planned() {
    let (place, inventory) = inventory().await;
    place.open_ring("records").await;
    place.open_ring("others").await;
    let row =
        "INSERT INTO ring_asset VALUES ('records', 'jwt_signing', '', NULL, '{}', 0, 'mallory')";
    place.raw(row).await.unwrap();
    let of = |key_type: &str| Filter {
        key_type: Some(key_type.parse().unwrap()),
        ..Filter::default()
    };
    let both = ["signing/others", "signing/records"];
    assert_eq!(names(&inventory, &of("signing")).await, both);
    assert_eq!(names(&inventory, &of("jwt_signing")).await, [""; 0]);
    let (records, now) = (name("signing/records"), at(0));
    let policies = inventory.policies().current(now).await.unwrap();
    let row = inventory.asset(&records).await.unwrap();
    let team = policies.team(&"signing".parse().unwrap()).cloned();
    let view = AssetView::of(&row, &policies, now);
    assert_eq!((view.key_type.as_str(), view.owner), ("signing", team));
    let aged = Filter::default();
    let mut shown = inventory.oldest(&aged, None, 10, &policies).await.unwrap();
    shown.rows.extend(inventory.rows().await.unwrap());
    let types: Vec<&str> = shown.rows.iter().map(|row| row.key_type.as_str()).collect();
    assert_eq!(types, ["signing"; 4]);
}
