//! The inventory: assets of others, what is said of rings, policies, key types.

use std::collections::BTreeMap;

use calendar::key_type::{KeyTypes, Storage};
use calendar::{PolicyDocument, Word};
use trust::Time;

use super::super::*;
use super::conflicts::{conflicts, missing};
use super::place::Place;
use super::world::*;

fn word(text: &str) -> Word {
    text.parse().unwrap()
}

fn description(key_type: &str) -> AssetDescription {
    AssetDescription {
        key_type: word(key_type),
        purpose: "calls".to_owned(),
        owner: None,
        labels: BTreeMap::from([("env".to_owned(), "prod".to_owned())]),
    }
}

fn asset(name: &str, key_type: &str) -> NewAssetRow {
    NewAssetRow {
        asset: format!("external/{name}").parse().unwrap(),
        description: description(key_type),
        storage: Storage::Wrapped,
        version: 1,
        rotated_at: Time::from_millis(NOW),
        expires_at: None,
        registered_at: Time::from_millis(NOW),
        registered_by: "olga".to_owned(),
        retired_at: None,
    }
}

fn register(assets: &[NewAssetRow]) -> Change {
    inventory(InventoryChange::Register(assets.to_vec()))
}

fn inventory(change: InventoryChange) -> Change {
    Change::Inventory(Box::new(change))
}

fn describe(name: &str, key_type: &str, retired_at: Option<i64>, was: i64) -> Change {
    inventory(InventoryChange::Describe {
        asset: format!("external/{name}").parse().unwrap(),
        description: description(key_type),
        storage: Storage::Files,
        retired_at,
        was,
        at: was + 1,
    })
}

fn report(name: &str, number: u32, at: i64) -> Change {
    inventory(InventoryChange::Report(ExternalVersionRow {
        asset: format!("external/{name}").parse().unwrap(),
        number,
        state: KeyStatus::Primary,
        since: Time::from_millis(at),
        created_at: Time::from_millis(at),
        rotated_at: Some(Time::from_millis(at)),
        expires_at: None,
        reported_at: Time::from_millis(at),
        reported_by: "bot".to_owned(),
    }))
}

fn policy(key_type: &str, version: u32) -> Change {
    let types = KeyTypes::standard();
    let document = PolicyDocument {
        version,
        ..PolicyDocument::standard(types.get(key_type).unwrap())
    };
    inventory(InventoryChange::SetPolicy(Box::new(PolicyRow {
        document,
        reason: "review".to_owned(),
        changed_by: "olga".to_owned(),
        changed_at: Time::from_millis(NOW),
        index: 0,
    })))
}

async fn names(place: &Place, key_type: Option<&str>, after: &str, limit: i64) -> Vec<String> {
    let page = place
        .store
        .assets_after((key_type, false), after, limit)
        .await;
    let rows = page.unwrap().rows.all().unwrap();
    rows.iter().map(|row| row.asset.to_string()).collect()
}

pub async fn rings_and_assets_of_others_are_one_list(place: Place) {
    place.open_ring("atp").await;
    place.ring("oauth").await;
    let three = [
        asset("c", "api_key"),
        asset("a", "api_key"),
        asset("b/eu", "webhook_secret"),
    ];
    place.change(register(&three)).await.unwrap();
    let all = [
        "external/a",
        "external/b/eu",
        "external/c",
        "signing/atp",
        "signing/oauth",
    ];
    assert_eq!(names(&place, None, "", 10).await, all);
    assert_eq!(names(&place, None, "external/b/eu", 2).await, all[2..4]);
    assert_eq!(
        names(&place, Some("api_key"), "external/a", 10).await,
        [all[2]]
    );
    assert_eq!(names(&place, Some("signing"), "", 10).await, all[3..]);
    let atp = place.store.asset("signing/atp").await.unwrap().unwrap();
    assert_eq!(
        (atp.state, atp.version, atp.storage),
        (AssetState::Active, 1, Storage::Hsm)
    );
    assert!(atp.rotated_at.is_some() && atp.algorithm.as_deref() == Some("ES256"));
    let oauth = place.store.asset("signing/oauth").await.unwrap().unwrap();
    assert_eq!((oauth.state, oauth.version), (AssetState::Prepared, 0));
    let a = place.store.asset("external/a").await.unwrap().unwrap();
    assert_eq!(a.labels["env"], "prod");
    assert_eq!((a.state, a.version), (AssetState::Active, 1));
    let some = place
        .store
        .assets_of(&["external/a", "signing/atp", "external/x"])
        .await;
    assert_eq!(some.unwrap().read.len(), 2);

    let said = |was: Option<i64>| {
        inventory(InventoryChange::DescribeRing {
            ring: "oauth".parse().unwrap(),
            description: description("jwt_signing"),
            by: "olga".to_owned(),
            was,
            at: was.map_or(NOW, |was| was + 1),
        })
    };
    // Each is of what the one before said.
    place.change(said(None)).await.unwrap();
    place.change(said(Some(NOW))).await.unwrap();
    for was in [None, Some(NOW)] {
        conflicts(&place, said(was), Subject::Asset).await;
    }
    assert_eq!(names(&place, Some("jwt_signing"), "", 10).await, [all[4]]);
    let nobody = inventory(InventoryChange::DescribeRing {
        ring: "none".parse().unwrap(),
        description: description("jwt_signing"),
        by: "olga".to_owned(),
        was: None,
        at: NOW,
    });
    missing(&place, nobody, Subject::Ring).await;
}

pub async fn assets_are_registered_all_or_none(place: Place) {
    let many: Vec<_> = (0..2_500)
        .map(|n| asset(&format!("n{n}"), "api_key"))
        .collect();
    place.change(register(&many)).await.unwrap();
    assert_eq!(names(&place, None, "", 10_000).await.len(), 2_500);
    // One that is there already, behind others that are not.
    let mut again: Vec<_> = (0..1_500)
        .map(|n| asset(&format!("m{n}"), "api_key"))
        .collect();
    again.push(asset("n7", "api_key"));
    conflicts(&place, register(&again), Subject::Asset).await;
    conflicts(
        &place,
        register(&[asset("z", "launch_code")]),
        Subject::Asset,
    )
    .await;
    assert_eq!(names(&place, None, "", 10_000).await.len(), 2_500);
}

pub async fn a_report_makes_the_next_primary(place: Place) {
    place
        .change(register(&[asset("a", "api_key")]))
        .await
        .unwrap();
    missing(&place, report("nobody", 2, NOW + 1), Subject::Asset).await;
    let version = Subject::AssetVersion;
    conflicts(&place, report("a", 1, NOW + 1), version).await;
    conflicts(&place, report("a", 3, NOW + 1), version).await;
    conflicts(&place, report("a", 2, NOW), version).await;
    for number in 2..=4 {
        let at = NOW + i64::from(number);
        place.change(report("a", number, at)).await.unwrap();
    }
    let versions = place
        .store
        .external_versions("external/a", i64::MAX, 10)
        .await;
    let versions = versions.unwrap().all().unwrap();
    let states: Vec<_> = versions
        .iter()
        .map(|row| (row.number, row.state.as_str()))
        .collect();
    let expected = [
        (4, "primary"),
        (3, "secondary"),
        (2, "retired"),
        (1, "retired"),
    ];
    assert_eq!(states, expected);
    let in_use = async |number| {
        let read = place
            .store
            .external_versions_in_use(("external/a", number), 10);
        let rows = read.await.unwrap().all().unwrap();
        rows.iter().map(|row| row.number).collect::<Vec<_>>()
    };
    assert_eq!(in_use(0).await, [3, 4]);
    assert_eq!(in_use(3).await, [4]);
    // A roll-back, as a whole or not at all.
    let turn = |number, from, to| VersionTurn { number, from, to };
    use KeyStatus as S;
    let turned = |turns: &[VersionTurn]| {
        inventory(InventoryChange::Turn {
            asset: "external/a".parse().unwrap(),
            turns: turns.to_vec(),
            at: NOW + 5,
        })
    };
    let back = turn(4, S::Primary, S::Secondary);
    let wrong = turned(&[back, turn(2, S::Secondary, S::Primary)]);
    conflicts(&place, wrong, version).await;
    let right = turned(&[back, turn(3, S::Secondary, S::Primary)]);
    place.change(right).await.unwrap();
    let row = place.store.asset("external/a").await.unwrap().unwrap();
    assert_eq!(
        (row.version, row.rotated_at),
        (3, Some(Time::from_millis(NOW + 3)))
    );
    // The same rotation is not reported twice, though its version is the primary no more.
    conflicts(&place, report("a", 5, NOW + 4), version).await;
    let forth = [
        turn(3, S::Primary, S::Secondary),
        turn(4, S::Secondary, S::Primary),
    ];
    place.change(turned(&forth)).await.unwrap();
    let row = place.store.asset("external/a").await.unwrap().unwrap();
    assert_eq!(
        (row.version, row.rotated_at),
        (4, Some(Time::from_millis(NOW + 4)))
    );

    place
        .change(describe("a", "webhook_secret", None, NOW))
        .await
        .unwrap();
    for (key_type, was) in [("launch_code", NOW + 1), ("api_key", NOW)] {
        conflicts(&place, describe("a", key_type, None, was), Subject::Asset).await;
    }
    place
        .change(describe("a", "api_key", Some(NOW + 9), NOW + 1))
        .await
        .unwrap();
    let row = place.store.asset("external/a").await.unwrap().unwrap();
    assert_eq!(
        (row.state, row.storage),
        (AssetState::Retired, Storage::Files)
    );
    for change in [
        report("a", 5, NOW + 9),
        describe("a", "api_key", None, NOW + 2),
    ] {
        let refused = place.change(change).await.unwrap_err();
        assert!(refused.is_already(), "{refused:?}");
    }
}

pub async fn policies_follow_each_other(place: Place) {
    let conflict = Subject::Policy;
    let api_key = word("api_key");
    assert_eq!(place.store.rotation_policy(&api_key).await.unwrap(), None);
    for wrong in [1, 3] {
        conflicts(&place, policy("api_key", wrong), conflict).await;
    }
    let index = place.change(policy("api_key", 2)).await.unwrap();
    conflicts(&place, policy("api_key", 2), conflict).await;
    place.change(policy("api_key", 3)).await.unwrap();
    place.change(policy("webhook_secret", 2)).await.unwrap();
    let newest = place
        .store
        .rotation_policy(&api_key)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(newest.document.version, 3);
    let below = place.store.rotation_policy_versions(&api_key, 3, 10).await;
    let below = below.unwrap().all().unwrap();
    assert_eq!((below.len(), below[0].index), (1, index));
    let mut own = KeyTypes::standard().get("api_key").unwrap().clone();
    let add = |key_type| {
        inventory(InventoryChange::AddKeyType(Box::new(KeyTypeRow {
            key_type,
            added_at: Time::from_millis(NOW),
            added_by: "olga".to_owned(),
        })))
    };
    conflicts(&place, add(own.clone()), Subject::KeyType).await;
    own.name = word("license_key");
    place.change(add(own.clone())).await.unwrap();
    conflicts(&place, add(own), Subject::KeyType).await;
    assert_eq!(place.store.key_types().await.unwrap().read.len(), 1);
    place
        .change(register(&[asset("licence", "license_key")]))
        .await
        .unwrap();
}

/// Whoever decides next would come to the place, or to the number, that is taken.
pub async fn threat_a_row_takes_the_leaf_or_the_numbers_of_later_policies(place: Place) {
    place.ring("atp").await;
    place.change(policy("api_key", 2)).await.unwrap();
    place.ring("other").await;
    let size = place.store.log_size().await.unwrap();
    assert_eq!(size, 3);
    let row = |version: i64, index: i64| {
        format!(
            "INSERT INTO rotation_policy SELECT 'api_key', {version}, document, reason, changed_by, changed_at, {index}
                FROM rotation_policy WHERE version = 2"
        )
    };
    for (version, index) in [(3, 3), (3, 100_000), (5, 2), (3, -1)] {
        place.refuses(&row(version, index)).await;
    }
    // The head is raised for a moment.
    let head = |size: i64| format!("UPDATE log_head SET size = {size}");
    place.raw(&head(200_000)).await.unwrap();
    place.refuses(&row(3, 100_000)).await;
    place.raw(&head(size)).await.unwrap();
    // What comes behind a gap does not keep the next one away.
    assert_eq!(place.raw(&row(4, 2)).await.unwrap(), 1);
    conflicts(&place, policy("api_key", 4), Subject::Policy).await;
    place.change(policy("api_key", 5)).await.unwrap();
}

pub async fn no_hand_rewrites_the_inventory(place: Place) {
    place.ring("atp").await;
    place
        .change(register(&[asset("a", "api_key")]))
        .await
        .unwrap();
    place.change(report("a", 2, NOW + 1)).await.unwrap();
    place.change(policy("api_key", 2)).await.unwrap();
    for sql in [
        "DELETE FROM key_type WHERE word = 'mesh_certificate'",
        "UPDATE key_type SET added_by = 'x'",
        "DELETE FROM rotation_policy",
        "UPDATE rotation_policy SET document = '{}'",
        "INSERT INTO rotation_policy SELECT key_type, 2, document, reason, changed_by, changed_at, 1 FROM rotation_policy",
        "DELETE FROM external_asset",
        "UPDATE external_asset SET registered_by = 'x'",
        "UPDATE external_asset SET id = 'external/b'",
        "INSERT INTO external_asset SELECT 'signing/b', key_type, purpose, owner, storage, labels, registered_at,
            registered_by, changed_at, retired_at FROM external_asset",
        "DELETE FROM external_version",
        "UPDATE external_version SET number = 7 WHERE number = 1",
        "UPDATE external_version SET rotated_at = 1 WHERE number = 1",
        "UPDATE external_version SET state = 'primary'",
        "UPDATE external_version SET state = 'lost'",
        "DELETE FROM ring_asset WHERE ring = 'none' OR TRUE",
    ] {
        if sql.contains("ring_asset") {
            let said = inventory(InventoryChange::DescribeRing {
                ring: "atp".parse().unwrap(),
                description: description("jwt_signing"),
                by: "olga".to_owned(),
                was: None,
                at: NOW,
            });
            place.change(said).await.unwrap();
        }
        place.refuses(sql).await;
    }
}
