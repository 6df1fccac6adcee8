//! What is read again after a change, over SQLite.

use std::sync::Arc;
use std::time::Duration;

use store::testing::place::Place;
use store::testing::world::{NOW, credential, san};
use store::{Change, DocumentKind, DocumentRow};
use trust::{Pin, Safety, Sha256Digest, Time};

use super::{Keys, Settings, Snapshot};

async fn keys(place: &Place) -> Arc<Keys> {
    let minute = Duration::from_secs(60);
    let settings = Settings {
        pin: Pin {
            genesis: Sha256Digest::of(b"genesis"),
            service: "chancery".parse().unwrap(),
            environment: "test".parse().unwrap(),
        },
        safety: Safety::new(minute * 2, minute * 2, minute, Duration::from_secs(1)).unwrap(),
        max_age: minute,
        budget_bytes: 65_536,
        okp_in_combined_set: true,
        newest: 64,
        archive_bytes: 1 << 20,
    };
    Keys::load(place.store.clone(), settings).await.unwrap()
}

fn same_keys(one: &Snapshot, other: &Snapshot) -> bool {
    Arc::ptr_eq(&one.rings["atp"], &other.rings["atp"])
}

#[tokio::test]
async fn a_credential_change_reads_no_key_again() {
    let place = Place::sqlite().await;
    place.ring("atp").await;
    let keys = keys(&place).await;
    let before = keys.current();

    let grant = Change::GrantCredential(credential(san("client.example")));
    place.change(grant).await.unwrap();
    keys.refresh().await;
    let granted = keys.current();
    assert!(granted.version > before.version);
    let name = ["client.example"];
    assert!(
        granted
            .credentials
            .by_sans(name, Time::from_millis(NOW))
            .is_ok()
    );
    assert!(
        before
            .credentials
            .by_sans(name, Time::from_millis(NOW))
            .is_err()
    );
    assert!(same_keys(&before, &granted), "the keys were read again");

    // Nor does a key's change read the credentials again.
    place.ring("other").await;
    keys.refresh().await;
    let added = keys.current();
    assert!(added.rings.contains_key("other"));
    assert!(!same_keys(&granted, &added));
    assert!(Arc::ptr_eq(&granted.credentials, &added.credentials));
}

/// Keys are tallied from the roster, so a new document reads them again.
#[tokio::test]
async fn a_trust_document_that_does_not_hold_keeps_the_old_keys() {
    let place = Place::sqlite().await;
    place.ring("atp").await;
    let keys = keys(&place).await;
    let before = keys.current();
    let genesis = DocumentRow {
        place: 0,
        kind: DocumentKind::Genesis,
        version: 1,
        body: b"no genesis".to_vec(),
        index: None,
    };
    let install = Change::InstallDocuments(vec![genesis]);
    place.change(install).await.unwrap();
    keys.refresh().await;
    // It does not hold, so the old snapshot stays in use and is not called current.
    assert_eq!(keys.current().version, before.version);
}

/// Rows that were changed by a hand, and the version of everything with them.
#[tokio::test]
async fn a_change_of_no_subject_reads_everything_again() {
    let place = Place::sqlite().await;
    place.ring("atp").await;
    let keys = keys(&place).await;
    let before = keys.current();
    place
        .raw("UPDATE log_head SET version = version + 1")
        .await
        .unwrap();
    keys.refresh().await;
    assert!(keys.current().version > before.version);
    assert!(!same_keys(&before, &keys.current()));
}

/// What it forgot may be a revocation.
#[tokio::test]
async fn case_l2_an_older_database_replaces_no_keys_in_use() {
    let place = Place::sqlite().await;
    place.ring("atp").await;
    let keys = keys(&place).await;
    let before = keys.current();
    place.raw("DROP TRIGGER log_head_grows").await.unwrap();
    place.raw("UPDATE log_head SET version = 0").await.unwrap();
    keys.refresh().await;
    assert_eq!(keys.current().version, before.version);
    assert!(same_keys(&before, &keys.current()));
}

/// One of two changes may have been made by a hand, around what tells of its subject.
#[tokio::test]
async fn two_changes_at_once_read_everything_again() {
    let place = Place::sqlite().await;
    place.ring("atp").await;
    let keys = keys(&place).await;
    let before = keys.current();
    for name in ["one.example", "two.example"] {
        let grant = Change::GrantCredential(credential(san(name)));
        place.change(grant).await.unwrap();
    }
    keys.refresh().await;
    assert!(!same_keys(&before, &keys.current()));
}

/// Where a key is stands in the row of its object.
#[tokio::test]
async fn a_change_of_ceremonies_and_objects_reads_the_keys_again() {
    let place = Place::sqlite().await;
    place.ring("atp").await;
    let keys = keys(&place).await;
    let before = keys.current();
    let moved = "UPDATE version SET value = value + 1 WHERE subject = 'ceremonies'";
    place.raw(moved).await.unwrap();
    place
        .raw("UPDATE log_head SET version = version + 1")
        .await
        .unwrap();
    keys.refresh().await;
    assert!(!same_keys(&before, &keys.current()));
}
