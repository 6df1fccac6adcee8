//! A row that cannot be read is left out alone, and a change committed beside it is taken up.

use std::sync::Arc;

use log::{Event, Log};
use store::Change;
use store::testing::world::{credential, san};
use trust::leaf::ActKind;
use trust::{KeyState, Kid};

use super::installation::{Installation, LONG};
use super::serving::Serving;
use crate::ceremony::Alone;
use crate::keys::{Keys, Snapshot};
use crate::signing::Error;

/// Ring `records` with its primary and a standby, and ring `other` with the same.
struct Rings {
    all: Installation,
    serving: Serving,
    primary: Kid,
    standby: Kid,
    revoked: Kid,
    successor: Kid,
}

impl Rings {
    async fn new() -> Self {
        let (all, primary) = Installation::open("records").await;
        let standby = all.standby("records").await;
        let revoked = all.open_ring("other").await;
        let successor = all.standby("other").await;
        all.wait(LONG);
        let serving = Serving::over(&all).await;
        Self {
            all,
            serving,
            primary,
            standby,
            revoked,
            successor,
        }
    }

    /// The primary of `other` is revoked, after somebody wrote this into the database.
    async fn revoked_beside(&self, table: &str, sql: &str) -> Arc<Snapshot> {
        let everyone = [&self.primary, &self.standby, &self.revoked, &self.successor];
        let before = self.serving.keys.current();
        assert!(everyone.iter().all(|kid| publishes(&before, kid)));
        self.all.tamper(table, sql).await;
        let revocation = Installation::revocation(&self.revoked);
        self.all.closed("other", revocation).await;
        self.serving.keys.refresh().await;
        let now = self.serving.keys.current();
        assert!(now.version > before.version, "the change is not taken up");
        self.other_goes_on(&now).await;
        let fresh = Keys::load(self.all.store.clone(), self.all.settings.clone()).await;
        self.other_goes_on(&fresh.unwrap().current()).await;
        now
    }

    async fn other_goes_on(&self, now: &Snapshot) {
        let revoked = &now.keys[&self.revoked].state;
        assert!(matches!(revoked, KeyState::Revoked { .. }), "{revoked:?}");
        assert!(!publishes(now, &self.revoked));
        assert!(publishes(now, &self.successor));
        let primary = now.rings["other"].primary.as_ref();
        assert_eq!(primary.map(|key| &key.kid), Some(&self.successor));
        let signed = self.serving.sign("other", "payload").await.unwrap();
        assert_eq!(signed.kid, self.successor);
    }
}

fn publishes(snapshot: &Snapshot, kid: &Kid) -> bool {
    let has = |bytes: &[u8]| String::from_utf8_lossy(bytes).contains(kid.as_str());
    let of_ring = snapshot.jwks_by_ring().any(|(_, set)| has(&set.bytes));
    assert_eq!(of_ring, has(&snapshot.jwks.bytes));
    of_ring
}

fn left_out(snapshot: &Snapshot) -> Vec<String> {
    snapshot
        .unreadable
        .iter()
        .map(ToString::to_string)
        .collect()
}

const NEW_ALGORITHM: &str = "INSERT INTO algorithm (word) VALUES ('ML-DSA-65'); \
     UPDATE ring SET algorithm = 'ML-DSA-65' WHERE name = 'records'";

#[tokio::test]
async fn case_s9_an_unreadable_ring_row_leaves_out_that_ring_alone() {
    let rings = Rings::new().await;
    let now = rings.revoked_beside("ring", NEW_ALGORITHM).await;
    let expected = r#"row "records" of table ring is unreadable: ring.algorithm is "ML-DSA-65""#;
    assert_eq!(left_out(&now), [expected]);
    // Its keys rest on their transcripts, not on its row.
    assert_eq!(now.refused, []);
    assert!(publishes(&now, &rings.primary) && publishes(&now, &rings.standby));
    assert!(now.keys.contains_key(&rings.primary));
    // But it does not sign.
    assert!(!now.rings.contains_key("records"));
    let refused = rings.serving.sign("records", "payload").await.unwrap_err();
    assert!(matches!(refused, Error::UnreadableRing(_)), "{refused:?}");

    let back = "UPDATE ring SET algorithm = 'ES256' WHERE name = 'records'";
    rings.all.tamper("ring", back).await;
    rings.all.create_ring("later").await;
    rings.serving.keys.refresh().await;
    assert_eq!(left_out(&rings.serving.keys.current()), [""; 0]);
    rings.serving.sign("records", "payload").await.unwrap();
}

#[tokio::test]
async fn case_s9_an_unreadable_key_row_leaves_out_that_key_alone() {
    let rings = Rings::new().await;
    let Rings {
        primary, standby, ..
    } = &rings;
    let sql = format!("UPDATE signing_key SET retire_at = -1 WHERE kid = '{primary}'");
    let now = rings.revoked_beside("signing_key", &sql).await;
    let expected = format!(
        r#"row "{primary}" of table signing_key is unreadable: signing_key.retire_at is "-1""#
    );
    assert_eq!(left_out(&now), [expected]);
    assert_eq!(now.refused[0].kid, primary.as_str());
    assert!(!now.keys.contains_key(primary));
    assert!(!publishes(&now, primary) && publishes(&now, standby));
    let ring = &now.rings["records"];
    assert_eq!(ring.keys.len(), 1);
    // The standby does not sign in its place.
    assert!(ring.primary.is_none());
    let refused = rings.serving.sign("records", "payload").await.unwrap_err();
    assert!(matches!(refused, Error::NoActiveKey(_)), "{refused:?}");
}

/// Where the key is stands in the row of its object.
#[tokio::test]
async fn case_s9_an_unreadable_location_leaves_out_that_key_alone() {
    let rings = Rings::new().await;
    let sql = format!(
        "UPDATE key_object SET location = 'somewhere' WHERE kid = '{}'",
        rings.standby
    );
    let now = rings.revoked_beside("key_object", &sql).await;
    assert!(left_out(&now)[0].ends_with(r#"key_object.location is "somewhere""#));
    assert!(!publishes(&now, &rings.standby) && publishes(&now, &rings.primary));
    let signed = rings.serving.sign("records", "payload").await.unwrap();
    assert_eq!(signed.kid, rings.primary);
}

#[tokio::test]
async fn case_s9_an_unreadable_credential_row_authenticates_nobody_and_the_others_stay() {
    let rings = Rings::new().await;
    let log = Log::new(rings.all.store.clone());
    for name in ["spoilt.example", "good.example"] {
        let grant = Change::GrantCredential(credential(san(name)));
        let event = Event::new(ActKind::Access, "grant", "test", rings.all.now());
        log.commit(&grant, &event).await.unwrap();
    }
    let who = |now: &Snapshot, sans: &[&str]| {
        let found = now
            .credentials
            .by_sans(sans.iter().copied(), rings.all.now());
        found.ok().map(|principal| principal.name.to_string())
    };
    let integrity = Some("integrity".to_owned());
    let before = rings.all.snapshot().await;
    assert_eq!(who(&before, &["spoilt.example"]), integrity);

    let sql = r#"UPDATE credential SET roles = '["root"]' WHERE value = 'spoilt.example'"#;
    let now = rings.revoked_beside("credential", sql).await;
    let expected = "row \"mtls-san spoilt.example\" of table credential is unreadable: \
                    credential.roles is \"[\\\"root\\\"]\"";
    assert_eq!(left_out(&now), [expected]);
    assert_eq!(who(&now, &["spoilt.example"]), None);
    assert_eq!(who(&now, &["good.example"]), integrity);
    assert_eq!(who(&now, &["good.example", "spoilt.example"]), None);
    rings.serving.sign("records", "payload").await.unwrap();
}

/// An object whose row cannot be read is reported, and nothing is concluded of it; the others are
/// settled.
#[tokio::test]
async fn case_s9_an_unreadable_object_or_ceremony_row_does_not_stop_reconciliation() {
    let (all, kid) = Installation::open("records").await;
    let id = all.executed("records", Installation::generation()).await;
    let executor = all.token.executor();
    let reconcile = async || {
        let service = all.service();
        service.reconcile(&executor, Alone::Yes).await.unwrap()
    };
    assert_eq!(reconcile().await, []);
    let sql = format!("UPDATE key_object SET updated_at = -1 WHERE kid = '{kid}'");
    all.tamper("key_object", &sql).await;
    let sql = format!("UPDATE ceremony SET updated_at = -1 WHERE id = '{id}'");
    all.tamper("ceremony", &sql).await;
    let findings = reconcile().await;
    let told: Vec<&str> = findings.iter().map(|one| one.finding.as_str()).collect();
    // The third is the other ceremony's object, of which nobody knows whether it may still be accepted.
    let [ceremony, object, unresolved] = &told[..] else {
        panic!("{told:?}")
    };
    assert!(
        unresolved.starts_with("cannot be resolved: "),
        "{unresolved}"
    );
    assert!(ceremony.ends_with(r#"is unreadable: ceremony.updated_at is "-1""#));
    assert!(object.ends_with(r#"is unreadable: key_object.updated_at is "-1""#));
    // Its number is taken, and the next one is not kept from its birth.
    let next = all.open_ring("other").await;
    let second = all.standby("records").await;
    let keys = all.store.keys().await.unwrap().all().unwrap();
    let number = |kid| keys.iter().find(|key| key.kid == kid).unwrap().number;
    assert_eq!((number(next), number(second)), (1, 3));
}
