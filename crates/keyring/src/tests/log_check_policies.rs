//! Rotation policies and key types of an installation, compared with the log: each row with its leaf, and the other way
//! round. A superuser edits the tables.

use calendar::key_type::KeyType;
use calendar::{KeyTypes, PolicyDocument, Span};
use log::{Event, Log};
use store::{Change, InventoryChange, KeyTypeRow, PolicyRow};
use trust::leaf::ActKind;

use super::installation::Installation;
use super::log_check::Checked;
use crate::ceremony::Draft;

fn standard(name: &str) -> KeyType {
    let types = KeyTypes::standard();
    types.get(name).unwrap().clone()
}

fn document(name: &str, days: u64) -> PolicyDocument {
    PolicyDocument {
        interval: Span::days(days),
        version: 2,
        ..PolicyDocument::standard(&standard(name))
    }
}

/// As an administrator sets it.
async fn set(all: &Installation) {
    let row = PolicyRow {
        document: document("api_key", 20),
        reason: "faster".to_owned(),
        changed_by: "test".to_owned(),
        changed_at: all.now(),
        index: 0,
    };
    let event = Event {
        asset: Some("policy/api_key"),
        digest: Some(row.digest().unwrap()),
        version: Some(2),
        ..Event::new(ActKind::Policy, "set", "test", all.now())
    };
    let change = Change::Inventory(Box::new(InventoryChange::SetPolicy(Box::new(row))));
    let log = Log::new(all.store.clone());
    log.commit(&change, &event).await.unwrap();
}

/// A key type of this installation.
async fn add(all: &Installation) {
    let row = KeyTypeRow {
        key_type: KeyType {
            name: "launch_code".parse().unwrap(),
            ..standard("api_key")
        },
        added_at: all.now(),
        added_by: "test".to_owned(),
    };
    let event = Event {
        asset: Some("policy/launch_code"),
        digest: Some(row.digest().unwrap()),
        version: Some(1),
        ..Event::new(ActKind::Policy, "add-type", "test", all.now())
    };
    let change = Change::Inventory(Box::new(InventoryChange::AddKeyType(Box::new(row))));
    let log = Log::new(all.store.clone());
    log.commit(&change, &event).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn threat_a_superuser_changes_policies_and_key_types() {
    let checked = Checked::new().await;
    let all = &checked.all;
    set(all).await;
    add(all).await;
    let signing = Draft::RotationPolicy(Box::new(document("signing", 60)));
    all.closed("none", signing).await;
    checked.grow(10).await;
    checked.clean(true).await;
    for guard in [
        "rotation_policy_no_update",
        "rotation_policy_no_delete",
        "rotation_policy_follows",
        "key_type_no_update",
        "key_type_no_delete",
        "key_type_no_replace",
    ] {
        let sql = format!("DROP TRIGGER {guard}");
        all.place.raw(&sql).await.unwrap();
    }
    let longer = |of: &str, from: &str, to: &str| {
        format!(
            "UPDATE rotation_policy SET document = replace(document, '{from}', '{to}') WHERE key_type = '{of}'"
        )
    };
    let placed = |of: &str, by: i64| {
        format!("UPDATE rotation_policy SET idx = idx + {by} WHERE key_type = '{of}'")
    };
    let typed = |from: &str, to: &str| {
        format!(
            "UPDATE key_type SET document = replace(document, '{from}', '{to}') WHERE word = 'launch_code'"
        )
    };
    let [high, medium, none] =
        ["high", "medium", "no"].map(|word| format!(r#""priority":"{word}""#));
    for (sql, back, expected) in [
        (
            longer("api_key", "20d", "90d"),
            longer("api_key", "90d", "20d"),
            &["policy_unlogged"][..],
        ),
        (
            placed("api_key", 1_000),
            placed("api_key", -1_000),
            &["policy_unlogged", "policy_missing"],
        ),
        (
            longer("signing", "60d", "720d"),
            longer("signing", "720d", "60d"),
            &["policy_unlogged", "policy_undecided"],
        ),
        (
            placed("signing", 1_000),
            placed("signing", -1_000),
            &["policy_unlogged", "policy_missing", "policy_undecided"],
        ),
        (
            typed(&high, &medium),
            typed(&medium, &high),
            &["key_type_unlogged", "key_type_missing"],
        ),
        (
            typed(&high, &none),
            typed(&none, &high),
            &["unreadable_row"],
        ),
    ] {
        assert_eq!(all.place.raw(&sql).await.unwrap(), 1, "{sql}");
        assert_eq!(checked.codes(true).await, expected, "{sql}");
        assert_eq!(all.place.raw(&back).await.unwrap(), 1, "{back}");
        checked.clean(true).await;
    }
    // Only the quorum changes it, whatever its leaf says.
    let sql = "DELETE FROM rotation_policy WHERE key_type = 'signing'";
    all.place.raw(sql).await.unwrap();
    let codes = checked.codes(true).await;
    assert_eq!(codes, ["policy_missing", "policy_undecided"]);
}
