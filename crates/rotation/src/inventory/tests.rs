//! The inventory over a real database.

mod files;
mod held;

use calendar::policy::Caches;
use calendar::{AssetName, Word};
use store::AssetState;
use store::testing::place::Place;
use trust::Time;

use super::*;
use crate::error::Error;
use crate::policies::PolicyService;

const NOW: i64 = 1_795_000_000_000;
const DAY: i64 = 86_400_000;
const HEADER: &str =
    "asset,key_type,purpose,owner,storage,version,rotated_at,expires_at,labels,state";

fn at(days: i64) -> Time {
    Time::from_millis(NOW + days * DAY)
}

fn name(text: &str) -> AssetName {
    text.parse().unwrap()
}

/// Of an installation without a genesis: no ceremony holds there.
fn pin() -> trust::Pin {
    trust::Pin {
        genesis: trust::Sha256Digest::of(b""),
        service: "chancery".parse().unwrap(),
        environment: "production".parse().unwrap(),
    }
}

async fn inventory() -> (Place, InventoryService) {
    let place = Place::sqlite().await;
    let inventory = over(&place);
    (place, inventory)
}

fn over(place: &Place) -> InventoryService {
    let store = place.store.clone();
    let policies = PolicyService::new(store.clone(), Caches::default(), pin());
    InventoryService::new(store, policies)
}

/// Rows of CSV under the header.
fn rows(lines: &[&str]) -> Vec<ImportRow> {
    let text = format!("{HEADER}\r\n{}\r\n", lines.join("\r\n"));
    read_csv(text.as_bytes()).unwrap()
}

async fn import(inventory: &InventoryService, rows: Vec<ImportRow>, apply: bool) -> ImportReport {
    let report = inventory.import(rows, apply, ("olga", at(0))).await;
    report.unwrap()
}

const PARTNER: &str = "external/partner-api/eu,api_key,\"calls, to the partner\",team-a,wrapped,3,2026-11-01T00:00:00.000Z,,env=prod;tier=1,active";
const SHOP: &str = "external/shop.example,tls_certificate,,,files,1,2026-10-01T00:00:00.000Z,2026-12-20T00:00:00.000Z,,";
const OLD: &str = "external/old,webhook_secret,,,wrapped,,2026-01-01T00:00:00.000Z,,,retired";

async fn names(inventory: &InventoryService, filter: &Filter) -> Vec<String> {
    let policies = inventory.policies().current(at(0)).await.unwrap();
    let page = inventory.page(filter, None, 100, &policies).await.unwrap();
    page.rows.iter().map(|row| row.asset.to_string()).collect()
}

#[tokio::test]
async fn a_report_moves_the_primary_once_and_says_so_in_the_log() {
    let (place, inventory) = inventory().await;
    import(&inventory, rows(&[PARTNER, OLD]), true).await;
    let partner = name("external/partner-api/eu");
    let report = async |asset: &AssetName, rotated: Time, expires: Option<Time>| {
        inventory
            .report(asset, (rotated, expires), ("partner-bot", at(0)))
            .await
    };
    let size = place.store.log_size().await.unwrap();
    let done = report(&partner, at(-1), Some(at(30))).await.unwrap();
    assert_eq!(
        (done.version, done.repeated, done.log_index),
        (4, false, Some(size))
    );
    let leaf = place.store.leaf(size).await.unwrap().unwrap();
    for part in [
        r#""asset":"external/partner-api/eu""#,
        r#""version":4"#,
        r#""previous_version":3"#,
        r#""actor":"partner-bot""#,
        r#""action":"report""#,
    ] {
        assert!(leaf.body.contains(part), "{part}: {}", leaf.body);
    }
    let again = report(&partner, at(-1), Some(at(30))).await.unwrap();
    assert_eq!((again.version, again.repeated), (4, true));
    for (rotated, expires, why) in [
        (at(-1), None, "another expiry"),
        (at(-2), None, "which is later"),
        (at(1), None, "in the future"),
        (at(0), Some(at(0)), "not after rotated_at"),
    ] {
        let refused = report(&partner, rotated, expires).await.unwrap_err();
        assert!(refused.to_string().contains(why), "{refused}");
    }
    let unknown = report(&name("external/nobody"), at(-1), None).await;
    assert!(matches!(unknown, Err(Error::UnknownAsset)), "{unknown:?}");
    let retired = report(&name("external/old"), at(-1), None)
        .await
        .unwrap_err();
    assert!(retired.to_string().contains("is retired"), "{retired}");
    assert_eq!(place.store.log_size().await.unwrap(), size + 1);
    let versions = inventory.versions(&partner, None, 10).await.unwrap();
    let states: Vec<_> = versions
        .iter()
        .map(|one| (one.version, one.state))
        .collect();
    assert_eq!(states, [(4, "primary"), (3, "secondary")]);
    report(&partner, at(0), None).await.unwrap();
    let versions = inventory.versions(&partner, Some(5), 1).await.unwrap();
    assert_eq!((versions[0].version, versions[0].state), (4, "secondary"));
}

#[tokio::test]
async fn reports_at_once_make_one_version() {
    let (_place, inventory) = inventory().await;
    import(&inventory, rows(&[PARTNER]), true).await;
    let partner = name("external/partner-api/eu");
    let one = inventory.report(&partner, (at(-1), None), ("a", at(0)));
    let other = inventory.report(&partner, (at(-1), None), ("b", at(0)));
    let (one, other) = tokio::join!(one, other);
    let (one, other) = (one.unwrap(), other.unwrap());
    assert_eq!((one.version, other.version), (4, 4));
    assert!(one.repeated != other.repeated);
}

#[tokio::test]
async fn a_page_has_what_its_filters_admit() {
    let (place, inventory) = inventory().await;
    place.open_ring("records").await;
    import(&inventory, rows(&[PARTNER, SHOP, OLD]), true).await;
    let all = Filter::default();
    let (partner, shop, old) = (
        "external/partner-api/eu",
        "external/shop.example",
        "external/old",
    );
    assert_eq!(
        names(&inventory, &all).await,
        [old, partner, shop, "signing/records"]
    );
    let word = |text: &str| Some(text.parse::<Word>().unwrap());
    for (filter, expected) in [
        (
            Filter {
                key_type: word("api_key"),
                ..all.clone()
            },
            vec![partner],
        ),
        (
            Filter {
                key_type: word("signing"),
                ..all.clone()
            },
            vec!["signing/records"],
        ),
        // Its own owner, and teams of policies.
        (
            Filter {
                owner: word("team-a"),
                ..all.clone()
            },
            vec![partner],
        ),
        (
            Filter {
                owner: word("platform"),
                ..all.clone()
            },
            vec![shop],
        ),
        (
            Filter {
                owner: word("security"),
                ..all.clone()
            },
            vec!["signing/records"],
        ),
        (
            Filter {
                state: Some(AssetState::Retired),
                ..all.clone()
            },
            vec![old],
        ),
        (
            Filter {
                text: Some("PARTNER".to_owned()),
                ..all.clone()
            },
            vec![partner],
        ),
        (
            Filter {
                text: Some("prod".to_owned()),
                ..all.clone()
            },
            vec![partner],
        ),
        (
            Filter {
                due_before: Some(at(20)),
                ..all.clone()
            },
            vec![partner, shop],
        ),
        (
            Filter {
                due_before: Some(at(-100)),
                ..all.clone()
            },
            vec![],
        ),
    ] {
        assert_eq!(names(&inventory, &filter).await, expected, "{filter:?}");
    }
    let policies = inventory.policies().current(at(0)).await.unwrap();
    let mut after = None;
    let mut by_age = Vec::new();
    loop {
        let page = inventory.oldest(&all, after, 1, &policies).await.unwrap();
        by_age.extend(page.rows.iter().map(|row| row.asset.to_string()));
        match page.next {
            Some(next) => after = Some(next.parse().unwrap()),
            None => break,
        }
    }
    // Without what is out of use.
    assert_eq!(by_age, [shop, partner, "signing/records"]);
    let mut after = None;
    let mut seen = Vec::new();
    loop {
        let page = inventory
            .page(&all, after.as_deref(), 1, &policies)
            .await
            .unwrap();
        seen.extend(page.rows.iter().map(|row| row.asset.to_string()));
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    assert_eq!(seen, [old, partner, shop, "signing/records"]);
}

/// What the quorum decides for a critical key type holds for its assets, or it held for nobody.
#[tokio::test]
async fn threat_an_administrator_gives_a_critical_asset_the_policy_of_another_key_type() {
    let (place, inventory) = inventory().await;
    place.open_ring("records").await;
    let critical = "external/vault,database_encryption,,,wrapped,,2026-01-01T00:00:00.000Z,,,";
    import(&inventory, rows(&[critical]), true).await;
    let size = place.store.log_size().await.unwrap();
    for (asset, key_type) in [
        ("signing/records", "jwt_signing"),
        ("external/vault", "file_encryption"),
        ("external/vault", "master_encryption"),
    ] {
        let change = AssetChange {
            key_type: Some(key_type.parse().unwrap()),
            ..AssetChange::default()
        };
        let by = ("olga", at(0));
        let refused = inventory.change(&name(asset), &change, "why", by).await;
        let refused = refused.unwrap_err();
        assert!(matches!(refused, Error::StaysCritical { .. }), "{refused}");
        assert!(refused.to_string().starts_with("ceremony required"));
    }
    assert_eq!(place.store.log_size().await.unwrap(), size);
    // What else is said of it anybody may change who could before.
    let owner = AssetChange {
        owner: Some(Some("vault-team".parse().unwrap())),
        ..AssetChange::default()
    };
    let (vault, by) = (name("external/vault"), ("olga", at(0)));
    let row = inventory.change(&vault, &owner, "why", by);
    assert_eq!(row.await.unwrap().key_type.as_str(), "database_encryption");
}

#[tokio::test]
async fn an_asset_is_described_and_retired_and_never_deleted() {
    let (place, inventory) = inventory().await;
    place.open_ring("records").await;
    import(&inventory, rows(&[SHOP]), true).await;
    let shop = name("external/shop.example");
    let rotated_at = inventory.asset(&shop).await.unwrap().rotated_at;
    let change = AssetChange {
        purpose: Some("the shop".to_owned()),
        owner: Some(Some("web-team".parse().unwrap())),
        ..AssetChange::default()
    };
    let by = ("olga", at(0));
    let size = place.store.log_size().await.unwrap();
    let row = inventory.change(&shop, &change, "moved", by).await.unwrap();
    assert_eq!(row.owner.unwrap().as_str(), "web-team");
    // As it was already: no leaf.
    inventory.change(&shop, &change, "moved", by).await.unwrap();
    assert_eq!(place.store.log_size().await.unwrap(), size + 1);
    let ring = name("signing/records");
    let as_jwt = AssetChange {
        key_type: Some("jwt_signing".parse().unwrap()),
        ..AssetChange::default()
    };
    let refused = inventory.change(&ring, &as_jwt, "tokens", by).await;
    assert!(matches!(refused, Err(Error::StaysCritical { .. })));
    for (asset, change, why) in [
        (
            &ring,
            AssetChange {
                key_type: Some("api_key".parse().unwrap()),
                ..AssetChange::default()
            },
            "are not api_key",
        ),
        (
            &ring,
            AssetChange {
                retire: true,
                ..AssetChange::default()
            },
            "is not retired",
        ),
        (
            &shop,
            AssetChange {
                key_type: Some("launch_code".parse().unwrap()),
                ..AssetChange::default()
            },
            "no key type",
        ),
        (
            &shop,
            AssetChange {
                purpose: Some("=1".to_owned()),
                ..AssetChange::default()
            },
            "formula",
        ),
    ] {
        let refused = inventory
            .change(asset, &change, "why", by)
            .await
            .unwrap_err();
        assert!(refused.to_string().contains(why), "{refused}");
    }
    let retire = AssetChange {
        retire: true,
        ..AssetChange::default()
    };
    let row = inventory
        .change(&shop, &retire, "closed", by)
        .await
        .unwrap();
    assert_eq!(row.state, AssetState::Retired);
    assert_eq!((row.version, row.rotated_at), (1, rotated_at));
    // With it its versions, so that no plan reads them.
    let versions = inventory.versions(&shop, None, 10).await.unwrap();
    assert_eq!((versions.len(), versions[0].state), (1, "retired"));
    let in_use = place.store.external_versions_in_use(("", 0), 10).await;
    assert_eq!(in_use.unwrap().read.len(), 0);
    let refused = inventory
        .change(&shop, &change, "back", by)
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("is retired"), "{refused}");
    place.refuses("DELETE FROM external_asset").await;
    place.refuses("DELETE FROM external_version").await;
    place
        .refuses("UPDATE external_asset SET purpose = 'x'")
        .await;
}

#[tokio::test]
async fn of_two_descriptions_at_once_none_is_lost() {
    let (place, inventory) = inventory().await;
    place.open_ring("records").await;
    import(&inventory, rows(&[SHOP]), true).await;
    let purpose = AssetChange {
        purpose: Some("the shop".to_owned()),
        ..AssetChange::default()
    };
    let owner = AssetChange {
        owner: Some(Some("web-team".parse().unwrap())),
        ..AssetChange::default()
    };
    for asset in ["external/shop.example", "signing/records"] {
        let asset = name(asset);
        let one = inventory.change(&asset, &purpose, "one", ("a", at(0)));
        let other = inventory.change(&asset, &owner, "other", ("b", at(0)));
        let (one, other) = tokio::join!(one, other);
        one.unwrap();
        other.unwrap();
        let row = inventory.asset(&asset).await.unwrap();
        assert_eq!(row.purpose, "the shop");
        assert_eq!(row.owner.unwrap().as_str(), "web-team");
    }
}

#[tokio::test]
async fn what_is_in_use_is_one_page_however_much_is_out_of_use() {
    let (place, inventory) = inventory().await;
    let row = |name: &str, state: &str| {
        serde_json::json!({
            "asset": format!("external/{name}"), "key_type": "api_key", "storage": "wrapped",
            "rotated_at": at(-1), "state": state,
        })
    };
    let mut rows: Vec<_> = (0..super::list::MOST_READ + 10)
        .map(|n| row(&format!("a{n}"), "retired"))
        .collect();
    rows.push(row("b", "active"));
    import(&inventory, rows_of(rows).unwrap(), true).await;
    let in_use = place.store.external_versions_in_use(("", 0), 10).await;
    assert_eq!(in_use.unwrap().read.len(), 1);
    let policies = inventory.policies().current(at(0)).await.unwrap();
    for key_type in [None, Some("api_key".parse().unwrap())] {
        let filter = Filter {
            state: Some(AssetState::Active),
            key_type,
            ..Filter::default()
        };
        let page = inventory.page(&filter, None, 10, &policies).await.unwrap();
        assert_eq!((page.rows.len(), page.next.as_deref()), (1, None));
        let page = inventory.oldest(&filter, None, 10, &policies).await;
        let page = page.unwrap();
        assert_eq!((page.rows.len(), page.next.as_deref()), (1, None));
    }
}

#[tokio::test]
async fn the_planner_is_told_of_what_is_in_use() {
    let (place, inventory) = inventory().await;
    place.open_ring("records").await;
    import(&inventory, rows(&[PARTNER, SHOP, OLD]), true).await;
    let partner = name("external/partner-api/eu");
    for days in [-3, -2, -1] {
        let report = inventory.report(&partner, (at(days), None), ("bot", at(0)));
        report.await.unwrap();
    }
    let assets = inventory.in_use().await.unwrap();
    let told: Vec<_> = assets.iter().map(|one| one.name.as_str()).collect();
    let expected = [
        "external/partner-api/eu",
        "external/shop.example",
        "signing/records",
    ];
    assert_eq!(told, expected);
    // What is retired costs nothing, however often it rotated.
    let states: Vec<_> = assets[0]
        .versions
        .iter()
        .map(|one| (one.number, one.state.word()))
        .collect();
    assert_eq!(states, [(5, "secondary"), (6, "primary")]);
    assert_eq!(assets[1].versions.len(), 1);
    assert_eq!(assets[2].versions, []);
}

#[tokio::test]
async fn a_rotation_is_rolled_back_and_its_old_version_ends() {
    let (place, inventory) = inventory().await;
    import(&inventory, rows(&[PARTNER, OLD]), true).await;
    let partner = name("external/partner-api/eu");
    let report = inventory.report(&partner, (at(-1), None), ("bot", at(0)));
    assert_eq!(report.await.unwrap().version, 4);
    let size = place.store.log_size().await.unwrap();
    let turn = async |change| {
        let by = ("bot", at(0));
        inventory.turn(&partner, change, "kr_1", by).await
    };
    let back = VersionChange::RollBack { from: 4, to: 3 };
    // The second time nothing is left to do.
    for _ in 0..2 {
        turn(back).await.unwrap();
    }
    let row = inventory.asset(&partner).await.unwrap();
    assert_eq!(row.version, 3);
    assert_eq!(
        row.rotated_at.unwrap().to_string(),
        "2026-11-01T00:00:00.000Z"
    );
    let leaf = place.store.leaf(size).await.unwrap().unwrap();
    for part in [
        r#""action":"restore-version""#,
        r#""ref":"kr_1""#,
        r#""version":3"#,
    ] {
        assert!(leaf.body.contains(part), "{part}: {}", leaf.body);
    }
    // What was rolled back is not reported anew, and neither is what was in use before it.
    for (rotated, version) in [(at(-1), 4), (row.rotated_at.unwrap(), 3)] {
        let again = inventory.report(&partner, (rotated, None), ("bot", at(0)));
        let again = again.await.unwrap();
        assert_eq!((again.version, again.repeated), (version, true));
    }
    assert_eq!(inventory.asset(&partner).await.unwrap().version, 3);
    // The next one is numbered behind what was rolled back, and replaces the one in use.
    let report = inventory.report(&partner, (at(0), None), ("bot", at(0)));
    assert_eq!(report.await.unwrap().version, 5);
    let leaf = place.store.leaf(size + 1).await.unwrap().unwrap();
    assert!(
        leaf.body.contains(r#""previous_version":3"#),
        "{}",
        leaf.body
    );
    for change in [VersionChange::Retire(3), VersionChange::Archive(3)] {
        for _ in 0..2 {
            turn(change).await.unwrap();
        }
    }
    let versions = inventory.versions(&partner, None, 10).await.unwrap();
    let states: Vec<_> = versions
        .iter()
        .map(|one| (one.version, one.state))
        .collect();
    assert_eq!(states, [(5, "primary"), (4, "retired"), (3, "archived")]);
    for (change, why) in [
        (
            VersionChange::Retire(5),
            "version 5 of external/partner-api/eu is primary",
        ),
        (VersionChange::Retire(9), "is not there"),
        (back, "version 4 of external/partner-api/eu is retired"),
    ] {
        let refused = turn(change).await.unwrap_err();
        assert!(refused.to_string().contains(why), "{refused}");
    }
    // Report, roll-back, report, retired, archived.
    assert_eq!(place.store.log_size().await.unwrap(), size + 4);
}
