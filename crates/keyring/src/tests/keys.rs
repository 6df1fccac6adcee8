//! From rows to keys: what a row says is believed only where its transcript says the same.

use std::sync::Arc;

use trust::Time;

use super::installation::{Installation, LONG};
use crate::keys::{Error, Keys, RejectedKey, Share};
use crate::rotation::RingChange;

async fn refused(keys: &Keys) -> Vec<RejectedKey> {
    keys.refresh().await;
    keys.current().refused.clone()
}

/// What a tampered row says must not be served until the version moves; the owner of the database moves it.
async fn touch(all: &Installation) {
    all.create_ring(&format!("touched-{}", all.store.version().await.unwrap()))
        .await;
}

#[tokio::test]
async fn a_row_that_contradicts_its_transcript_is_refused_by_name_and_the_others_stay() {
    for (table, sql, why) in [
        (
            "signing_key",
            "SET number = 9",
            "its number differs from its transcript",
        ),
        (
            "signing_key",
            "SET ring = 'other'",
            "its ring differs from its transcript",
        ),
        (
            "signing_key",
            "SET spki = x'30'",
            "its public key differs from its transcript",
        ),
        (
            "signing_key",
            "SET activate_at = activate_at + 1",
            "its activation differs from its transcript",
        ),
        (
            "signing_key",
            "SET state = 'retired', role = NULL, retired_at = activated_at - 1",
            "",
        ),
        ("signing_key", "SET activated_at = published_at - 1", ""),
        ("ceremony", "SET transcript = CAST('{}' AS BLOB)", ""),
        (
            "ceremony",
            "SET transcript = (SELECT transcript FROM ceremony c, signing_key k WHERE c.id = k.ceremony AND k.ring = 'other')",
            "",
        ),
    ] {
        let (all, kid) = Installation::open("records").await;
        let other = all.open_ring("other").await;
        let keys = all.keys().await;
        assert_eq!(keys.current().keys.len(), 2);
        let row = all.store.keys().await.unwrap().all().unwrap();
        let row = row.iter().find(|row| row.kid == kid).unwrap();
        let wanted = match table {
            "ceremony" => format!("UPDATE ceremony {sql} WHERE id = '{}'", row.ceremony),
            _ => format!("UPDATE signing_key {sql} WHERE kid = '{kid}'"),
        };
        // The other ring has a key of the same number.
        let wanted = match sql.contains("'other'") && table == "signing_key" {
            true => wanted.replace("SET ring", "SET role = 'secondary', number = 2, ring"),
            false => wanted,
        };
        all.tamper(table, &wanted).await;
        // A fresh process, and one whose cache knows the transcript.
        let fresh = all.keys().await.current();
        let [first] = &fresh.refused[..] else {
            panic!("{sql}: {:?}", fresh.refused)
        };
        assert_eq!(first.kid, kid.as_str(), "{sql}");
        assert!(
            first.why.contains(why) && !first.why.is_empty(),
            "{sql}: {}",
            first.why
        );
        assert_eq!(fresh.keys.keys().collect::<Vec<_>>(), [&other], "{sql}");
        assert!(fresh.rings["records"].primary.is_none(), "{sql}");
        assert!(fresh.rings["records"].jwks.is_empty);
        assert_eq!(fresh.rings["other"].primary.as_ref().unwrap().kid, other);
        if table == "signing_key" {
            touch(&all).await;
            assert_eq!(refused(&keys).await, fresh.refused, "{sql}");
        }
    }
}

#[tokio::test]
async fn a_key_without_a_transcript_is_refused() {
    let (all, kid) = Installation::open("records").await;
    all.tamper(
        "ceremony",
        "UPDATE ceremony SET state = 'executed', transcript = NULL",
    )
    .await;
    let snapshot = all.keys().await.current();
    let expected = RejectedKey {
        kid: kid.to_string(),
        why: "no transcript".to_owned(),
    };
    assert_eq!(snapshot.refused, [expected]);
    assert!(snapshot.keys.is_empty());
}

/// The ring's row is nobody's signature: where it contradicts its keys, it does not sign.
#[tokio::test]
async fn a_ring_that_contradicts_its_keys_does_not_sign() {
    let (all, kid) = Installation::open("records").await;
    all.tamper(
        "ring",
        "UPDATE ring SET usage = 'raw' WHERE name = 'records'",
    )
    .await;
    let snapshot = all.snapshot().await;
    assert!(snapshot.refused.is_empty());
    assert!(snapshot.keys.contains_key(&kid));
    assert!(snapshot.rings["records"].primary.is_none());
}

#[tokio::test]
async fn another_genesis_than_the_pinned_one_is_no_ground_to_start_on() {
    let (all, _) = Installation::open("records").await;
    let keys = all.keys().await;
    let mut settings = all.settings.clone();
    settings.pin.genesis = trust::Sha256Digest::of(b"another");
    let refused = Keys::load(all.store.clone(), settings).await.err();
    assert!(matches!(refused, Some(Error::Chain(_))), "{refused:?}");

    all.tamper(
        "trust_document",
        "UPDATE trust_document SET body = CAST('{}' AS BLOB)",
    )
    .await;
    let refused = Keys::load(all.store.clone(), all.settings.clone())
        .await
        .err();
    assert!(matches!(refused, Some(Error::Document(_))), "{refused:?}");
    // Who runs already keeps what was verified.
    let before = keys.current();
    touch(&all).await;
    keys.refresh().await;
    assert!(Arc::ptr_eq(&before, &keys.current()));
}

#[tokio::test]
async fn without_documents_no_key_is_believed() {
    let (all, kid) = Installation::open("records").await;
    all.place
        .raw("DROP TRIGGER trust_document_no_delete; DELETE FROM trust_document")
        .await
        .unwrap();
    // The log tells that there was a genesis.
    let refused = Keys::load(all.store.clone(), all.settings.clone()).await;
    let refused = refused.err().expect("no service begins");
    assert!(
        trust::error_chain(&refused).contains("tells of the installation"),
        "{refused:?}"
    );
    let recovering = Keys::load_for_recovery(all.store.clone(), all.settings.clone());
    let snapshot = recovering.await.unwrap().current();
    assert_eq!(snapshot.refused[0].kid, kid.as_str());
    assert!(
        snapshot.refused[0].why.starts_with("no roster"),
        "{:?}",
        snapshot.refused
    );
}

#[tokio::test]
async fn a_refresh_takes_what_changed_and_a_failure_keeps_what_was() {
    let (all, first) = Installation::open("records").await;
    let keys = all.keys().await;
    let before = keys.current();
    keys.refresh().await;
    assert!(Arc::ptr_eq(&before, &keys.current()), "nothing changed");
    let second = all.standby("records").await;
    keys.refresh().await;
    let now = keys.current();
    assert_eq!(now.rings["records"].keys.len(), 2);
    assert_eq!(now.rings["records"].primary.as_ref().unwrap().kid, first);
    assert!(now.keys[&second].log_index > now.keys[&first].log_index);
    assert!(now.version > before.version);

    let before = std::time::Instant::now();
    keys.refresh().await;
    assert!(keys.confirmed_ago() <= before.elapsed());
    all.store.close().await;
    let after = std::time::Instant::now();
    keys.refresh().await;
    assert!(Arc::ptr_eq(&now, &keys.current()));
    let elapsed = after.elapsed();
    assert!(keys.confirmed_ago() >= elapsed);
}

/// A proposal changes no key, and a revocation one.
#[tokio::test]
async fn case_s11_a_change_reads_only_the_keys_that_it_changes() {
    let (all, first) = Installation::open("records").await;
    let other = all.open_ring("others").await;
    let keys = all.keys().await;
    let before = keys.current();
    all.propose("records", Installation::generation()).await;
    keys.refresh().await;
    let proposed = keys.current();
    assert!(proposed.version > before.version);
    for kid in [&first, &other] {
        assert!(std::sync::Arc::ptr_eq(
            &before.keys[kid],
            &proposed.keys[kid]
        ));
    }
    all.executed("records", Installation::revocation(&first))
        .await;
    keys.refresh().await;
    let revoked = keys.current();
    assert!(std::sync::Arc::ptr_eq(
        &before.keys[&other],
        &revoked.keys[&other]
    ));
    assert!(!revoked.keys[&first].state.can_sign());
    assert!(revoked.keys[&first].revocation_log_index.is_some());
}

#[tokio::test]
async fn the_set_of_an_earlier_instant_has_the_keys_of_then() {
    let all = Installation::new().await;
    let before = all.now();
    all.wait(1);
    let first = all.open_ring("records").await;
    let alone = all.now();
    all.wait(1);
    let second = all.next_primary("records").await;
    let keys = all.keys().await;
    let set = async |ring: Option<&str>, at: Time| {
        keys.jwks_as_of(ring, at, Share::Stranger).await.unwrap()
    };
    let text = async |at: Time| {
        let set = set(Some("records"), at).await.unwrap();
        String::from_utf8(set.bytes.to_vec()).unwrap()
    };
    assert!(set(Some("records"), before).await.unwrap().is_empty);
    let then = text(alone).await;
    assert!(then.contains(first.as_str()) && !then.contains(second.as_str()));
    let now = text(all.now()).await;
    assert!(now.contains(first.as_str()) && now.contains(second.as_str()));
    assert!(set(Some("nothing"), all.now()).await.is_none());
    assert!(!set(None, all.now()).await.unwrap().is_empty);
}

#[tokio::test]
async fn the_combined_set_has_no_key_of_bare_digests() {
    let (all, structured) = Installation::open("records").await;
    let raw = all.open_ring("digests").await;
    let snapshot = all.snapshot().await;
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let combined = text(&snapshot.jwks.bytes);
    assert!(combined.contains(structured.as_str()) && !combined.contains(raw.as_str()));
    assert!(text(&snapshot.rings["digests"].jwks.bytes).contains(raw.as_str()));
}

#[tokio::test]
async fn the_log_tells_where_each_act_on_a_key_is() {
    let (all, first) = Installation::open("records").await;
    all.next_primary("records").await;
    all.wait(LONG);
    all.change("records", &RingChange::Retire(first.clone()))
        .await;
    all.closed("records", Installation::revocation(&first))
        .await;
    let keys = all.keys().await;
    let acts = keys.acts_of(&first, Share::Known).await.unwrap();
    let key = keys.current().keys[&first].clone();
    assert_eq!(acts.first(), key.log_index.as_ref());
    assert!(acts.contains(&key.revocation_log_index.unwrap()));
    assert!(acts.is_sorted() && acts.len() >= 4, "{acts:?}");
    assert!(keys.log_acts().await.unwrap().is_empty());
}
