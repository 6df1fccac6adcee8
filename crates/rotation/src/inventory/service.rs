//! Assets one by one: what one is, its versions, its description, a rotation that somebody reports, and its end.

use std::collections::BTreeMap;

use calendar::key_type::Storage;
use calendar::{AssetName, Word};
use log::{Event, Log};
use serde::Serialize;
use store::{
    AssetDescription, AssetState, Change, ExternalVersionRow, InventoryChange, InventoryRow,
    KeyStatus, Store, Subject,
};
use trust::leaf::ActKind;
use trust::{Sha256Digest, Time};

use super::document::{fits_a_ring, text_refusals};
use super::version::VersionView;
use crate::error::Error;
use crate::policies::{LONGEST_REASON, PolicyService, is_critical};

/// The kind of rings.
pub const SIGNING: &str = "signing";

/// The algorithm of rings whose keys wrap others.
const WRAPS: &str = "A256KW";

/// Versions of a page at most.
pub const VERSIONS_MAX: i64 = 100;

/// Reads and changes the inventory; cheap to clone.
#[derive(Clone)]
pub struct InventoryService {
    store: Store,
    log: Log,
    policies: PolicyService,
}

/// What is to be changed of an asset's description; what is `None` stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AssetChange {
    pub key_type: Option<Word>,
    pub purpose: Option<String>,
    /// `Some(None)`: the team of the key type's policy answers for it again.
    pub owner: Option<Option<Word>>,
    /// Not of a ring.
    pub storage: Option<Storage>,
    pub labels: Option<BTreeMap<String, String>>,
    /// Takes it out of use for good; not of a ring.
    pub retire: bool,
}

/// A rotation that was reported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reported {
    pub asset: AssetName,
    pub version: u32,
    pub rotated_at: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
    /// It had been reported before; nothing was written.
    pub repeated: bool,
    /// The leaf that tells of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_index: Option<i64>,
}

impl InventoryService {
    pub fn new(store: Store, policies: PolicyService) -> Self {
        Self {
            log: Log::new(store.clone()),
            store,
            policies,
        }
    }

    pub fn policies(&self) -> &PolicyService {
        &self.policies
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    pub(super) fn log(&self) -> &Log {
        &self.log
    }

    /// With the key type that it is planned by.
    pub async fn asset(&self, name: &AssetName) -> Result<InventoryRow, Error> {
        let row = self.told(name).await?;
        let held = self.policies.held(name.as_str(), &row.key_type).await?;
        Ok(InventoryRow {
            key_type: held.unwrap_or(row.key_type),
            ..row
        })
    }

    /// As its row says.
    async fn told(&self, name: &AssetName) -> Result<InventoryRow, Error> {
        let found = self.store.asset(name.as_str()).await?;
        found.ok_or(Error::UnknownAsset)
    }

    /// The versions of an asset below one, the highest first; at most a page.
    pub async fn versions(
        &self,
        name: &AssetName,
        below: Option<u32>,
        limit: i64,
    ) -> Result<Vec<VersionView>, Error> {
        self.asset(name).await?;
        let below = below.map_or(i64::MAX, i64::from);
        let limit = limit.clamp(1, VERSIONS_MAX);
        match ring_of(name) {
            None => {
                let rows = self.store.external_versions(name.as_str(), below, limit);
                let rows = rows.await?.all()?;
                Ok(rows.into_iter().map(VersionView::from).collect())
            }
            Some(ring) => {
                let rows = self.store.keys_before(ring, below, limit).await?.all()?;
                Ok(rows.into_iter().map(VersionView::from).collect())
            }
        }
    }

    /// A rotation that somebody else carried out: the next version is in use since `rotated_at`. The same report again
    /// changes nothing.
    pub async fn report(
        &self,
        name: &AssetName,
        (rotated_at, expires_at): (Time, Option<Time>),
        (actor, now): (&str, Time),
    ) -> Result<Reported, Error> {
        if rotated_at > now {
            let what = format!("rotated_at: {rotated_at} lies in the future");
            return Err(Error::Refused(vec![what]));
        }
        if expires_at.is_some_and(|end| end <= rotated_at) {
            let what = "expires_at: not after rotated_at".to_owned();
            return Err(Error::Refused(vec![what]));
        }
        // Of two reports at once the second looks again, and may find that it was the same one.
        match self
            .try_report(name, (rotated_at, expires_at), (actor, now))
            .await
        {
            Err(Error::Store(store::Error::Conflict {
                what: Subject::AssetVersion,
                ..
            })) => {
                self.try_report(name, (rotated_at, expires_at), (actor, now))
                    .await
            }
            outcome => outcome,
        }
    }

    async fn try_report(
        &self,
        name: &AssetName,
        (rotated_at, expires_at): (Time, Option<Time>),
        (actor, now): (&str, Time),
    ) -> Result<Reported, Error> {
        let row = self.asset(name).await?;
        expect_external(
            &row,
            "its rotations are its driver's, and nobody reports them",
        )?;
        let known = |version, repeated, log_index| Reported {
            asset: name.clone(),
            version,
            rotated_at,
            expires_at,
            repeated,
            log_index,
        };
        // Also of a version that was rolled back, or has ended.
        let reported = self
            .store
            .external_version_reported(name.as_str(), rotated_at);
        match reported.await? {
            Some(version) if version.expires_at == expires_at => {
                return Ok(known(version.number, true, None));
            }
            Some(_) => {
                let what =
                    format!("{name} was reported as rotated at {rotated_at} with another expiry");
                return Err(Error::State(what));
            }
            None => {}
        }
        if let Some(at) = row.rotated_at.filter(|at| *at > rotated_at) {
            let what = format!("{name} was rotated at {at}, which is later");
            return Err(Error::State(what));
        }
        let newest = self.store.external_versions(name.as_str(), i64::MAX, 1);
        let newest = newest.await?.all()?.first().map_or(0, |row| row.number);
        let number = newest.checked_add(1);
        let number = number.ok_or_else(|| Error::State(format!("{name} has no number left")))?;
        let version = ExternalVersionRow {
            asset: name.clone(),
            number,
            state: KeyStatus::Primary,
            since: rotated_at,
            created_at: rotated_at,
            rotated_at: Some(rotated_at),
            expires_at,
            reported_at: now,
            reported_by: actor.to_owned(),
        };
        let event = Event {
            asset: Some(name.as_str()),
            from: Some(rotated_at),
            previous_version: row.rotated_at.is_some().then_some(row.version.into()),
            until: expires_at,
            version: Some(number.into()),
            ..Event::new(ActKind::Rotation, "report", actor, now)
        };
        let change = Change::Inventory(Box::new(InventoryChange::Report(version)));
        let index = self.log.commit(&change, &event).await?;
        Ok(known(number, false, Some(index)))
    }

    /// Changes what is said of an asset, or takes it out of use. What is as it was already is no change and no leaf.
    pub async fn change(
        &self,
        name: &AssetName,
        change: &AssetChange,
        reason: &str,
        by: (&str, Time),
    ) -> Result<InventoryRow, Error> {
        // Of two changes at once the second looks again, so that neither takes the other back.
        match self.try_change(name, change, reason, by).await {
            Err(Error::Store(store::Error::Conflict {
                what: Subject::Asset,
                ..
            })) => self.try_change(name, change, reason, by).await,
            outcome => outcome,
        }
    }

    async fn try_change(
        &self,
        name: &AssetName,
        change: &AssetChange,
        reason: &str,
        (actor, now): (&str, Time),
    ) -> Result<InventoryRow, Error> {
        let row = self.told(name).await?;
        let description = AssetDescription {
            key_type: change.key_type.clone().unwrap_or(row.key_type.clone()),
            purpose: change.purpose.clone().unwrap_or(row.purpose.clone()),
            owner: change.owner.clone().unwrap_or(row.owner.clone()),
            labels: change.labels.clone().unwrap_or(row.labels.clone()),
        };
        self.check(&row, change, &description, reason).await?;
        let storage = change.storage.unwrap_or(row.storage);
        let same = description.key_type == row.key_type
            && description.purpose == row.purpose
            && description.owner == row.owner
            && description.labels == row.labels
            && storage == row.storage
            && !change.retire;
        if same {
            return Ok(row);
        }
        let said = trust::json::canonical(&serde_json::json!({
            "asset": name,
            "key_type": description.key_type,
            "labels": description.labels,
            "owner": description.owner,
            "purpose": description.purpose,
            "storage": storage,
        }))?;
        let action = match change.retire {
            true => "retire",
            false => "describe",
        };
        let event = Event {
            asset: Some(name.as_str()),
            digest: Some(Sha256Digest::of(&said)),
            reason: Some(reason),
            version: Some(row.version.into()),
            ..Event::new(ActKind::Rotation, action, actor, now)
        };
        // Each change has an instant of its own, by which the next one knows what it was made of.
        let was = row.changed_at.map(Time::millis);
        let at = was.map_or(now.millis(), |was| now.millis().max(was.saturating_add(1)));
        let change = match ring_of(name) {
            None => InventoryChange::Describe {
                asset: name.clone(),
                description,
                storage,
                retired_at: change.retire.then_some(now.millis()),
                was: was.unwrap_or_default(),
                at,
            },
            Some(ring) => InventoryChange::DescribeRing {
                ring: ring.parse().map_err(|_| Error::UnknownAsset)?,
                description,
                by: actor.to_owned(),
                was,
                at,
            },
        };
        let change = Change::Inventory(Box::new(change));
        self.log.commit(&change, &event).await?;
        self.asset(name).await
    }

    /// All that is wrong with a change, at once.
    async fn check(
        &self,
        row: &InventoryRow,
        change: &AssetChange,
        description: &AssetDescription,
        reason: &str,
    ) -> Result<(), Error> {
        let mut wrong = text_refusals(&description.purpose, &description.labels);
        if !trust::text::is_plain(reason, LONGEST_REASON) {
            wrong.push(format!(
                "reason: expected 1 to {LONGEST_REASON} characters of plain text"
            ));
        }
        let types = self.policies.types().await?;
        let key_type = types.get(description.key_type.as_str());
        let is_ring = ring_of(&row.asset).is_some();
        match key_type {
            None => wrong.push(format!(
                "key_type: no key type has the name {}",
                description.key_type
            )),
            Some(key_type) if is_ring => {
                let wraps = row.algorithm.as_deref() == Some(WRAPS);
                if !fits_a_ring(key_type, wraps) {
                    wrong.push(format!(
                        "key_type: the keys of a ring are not {key_type}",
                        key_type = key_type.name
                    ));
                }
            }
            Some(_) => {}
        }
        if is_ring && (change.retire || change.storage.is_some()) {
            wrong.push("a ring is not retired, and its keys stay where they are".to_owned());
        }
        if !is_ring && row.state == AssetState::Retired {
            return Err(Error::State(format!("{} is retired", row.asset)));
        }
        if !wrong.is_empty() {
            return Err(Error::Refused(wrong));
        }
        if description.key_type != row.key_type {
            // Whatever its row says now: a ring that is not routine has the one of its usage and no other.
            let asset = row.asset.as_str();
            let held = self.policies.held(asset, &description.key_type).await?;
            let critical = types.get(row.key_type.as_str()).is_some_and(is_critical);
            let stays = held.or_else(|| (critical && !is_ring).then(|| row.key_type.clone()));
            if let Some(key_type) = stays {
                return Err(Error::StaysCritical {
                    asset: row.asset.clone(),
                    key_type,
                });
            }
        }
        Ok(())
    }
}

/// The ring that an asset is.
pub fn ring_of(name: &AssetName) -> Option<&str> {
    let (kind, ring) = name.as_str().split_once('/')?;
    (kind == SIGNING).then_some(ring)
}

fn expect_external(row: &InventoryRow, why: &str) -> Result<(), Error> {
    if !row.asset.is_external() {
        return Err(Error::State(format!("{}: {why}", row.asset)));
    }
    match row.state {
        AssetState::Retired => Err(Error::State(format!("{} is retired", row.asset))),
        _ => Ok(()),
    }
}
