//! Policies: those in force, their versions, and how one is changed. `calendar` says what a policy has to be; here it is
//! kept, and each change has its leaf.
//!
//! A policy was right when it was set and may not be later: a deviation ends, a rule of a framework comes into force. It
//! stays in force, because assets without rules would not rotate at all, and what is wrong is told with it (`lapsed`).
//!
//! Of a critical key type that policy is in force which a quorum decided last, whatever the rows say (`log`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use calendar::key_type::KeyType;
use calendar::policy::{Caches, Exception, PolicyError};
use calendar::{AssetName, KeyTypes, Policies, Policy, PolicyDocument, Word};
use log::{Event, Log, PolicyInForce, decided_version, key_types, policy_in_force};
use serde::Serialize;
use store::{Change, InventoryChange, InventoryRow, KeyTypeRow, PolicyRow, Store};
use trust::leaf::ActKind;
use trust::{Pin, Time};

use self::rings::Reassigned;
use crate::error::{Error, policy_reasons};

mod rings;

/// Most bytes of a policy as canonical JSON.
pub const LONGEST_DOCUMENT: usize = 16_384;

/// Most characters of the reason of a change.
pub const LONGEST_REASON: usize = 1_000;

/// Versions of a page at most.
pub const VERSIONS_MAX: usize = 100;

/// Reads and changes policies; cheap to clone.
#[derive(Clone)]
pub struct PolicyService {
    store: Store,
    log: Log,
    caches: Caches,
    pin: Pin,
    /// Of critical key types, what was proven last: as long as nothing is different, nothing is verified again.
    proven: Arc<Mutex<BTreeMap<Word, (Seen, PolicyInForce)>>>,
}

/// What a policy in force was found from.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    newest: Option<PolicyRow>,
    /// The newest leaf that tells of a decision.
    last: Option<i64>,
}

/// All that assets rotate by.
#[derive(Debug, Clone)]
pub struct CurrentPolicies {
    pub types: KeyTypes,
    /// Of every key type, but of those whose policy could not have been set as it is.
    pub policies: Policies,
    /// What is kept of those that were ever changed.
    rows: BTreeMap<Word, PolicyRow>,
    /// What is wrong today with a policy that was right when it was set.
    lapsed: BTreeMap<Word, Vec<PolicyError>>,
    /// What the database says of it that no quorum decided.
    unproven: BTreeMap<Word, Vec<String>>,
    /// The rings that are planned by another key type than their rows say.
    held: BTreeMap<AssetName, Word>,
}

/// A policy with what is known of it.
#[derive(Debug, Clone, Serialize)]
pub struct PolicyView {
    /// Whether only the quorum changes it.
    pub critical: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changed_at: Option<Time>,
    /// None for the figures that the key type begins with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changed_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub document: PolicyDocument,
    /// Rules that it is outside of and nevertheless in force.
    pub exceptions: Vec<Exception>,
    /// What is wrong with it today; of a critical key type also what the database says otherwise and is not followed.
    pub lapsed: Vec<String>,
}

/// One version of a policy.
#[derive(Debug, Clone, Serialize)]
pub struct PolicyVersion {
    pub version: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changed_at: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changed_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The leaf that tells of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_index: Option<i64>,
    /// Of a critical key type: no quorum decided what the row says, or the log does not tell so, and it is not followed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub undecided: bool,
    pub document: PolicyDocument,
}

impl PolicyVersion {
    fn of(row: PolicyRow) -> Self {
        Self {
            undecided: false,
            version: row.document.version,
            changed_at: Some(row.changed_at),
            changed_by: Some(row.changed_by),
            reason: Some(row.reason),
            log_index: Some(row.index),
            document: row.document,
        }
    }

    /// The figures that a key type begins with.
    fn first(key_type: &KeyType) -> Self {
        Self {
            version: 1,
            changed_at: None,
            changed_by: None,
            reason: None,
            log_index: None,
            undecided: false,
            document: PolicyDocument::standard(key_type),
        }
    }
}

impl CurrentPolicies {
    /// The document in force.
    fn document(&self, key_type: &KeyType) -> PolicyDocument {
        match self.rows.get(&key_type.name) {
            Some(row) => row.document.clone(),
            None => PolicyDocument::standard(key_type),
        }
    }

    /// The policy of a key type, if there is such a type.
    pub fn view(&self, name: &str) -> Option<PolicyView> {
        let key_type = self.types.get(name)?;
        let row = self.rows.get(&key_type.name);
        let policy = self.policies.get(&key_type.name);
        let lapsed = self.lapsed.get(&key_type.name);
        let mut wrong = lapsed.map_or_else(Vec::new, |errors| policy_reasons(errors));
        wrong.extend(
            self.unproven
                .get(&key_type.name)
                .into_iter()
                .flatten()
                .cloned(),
        );
        Some(PolicyView {
            critical: is_critical(key_type),
            changed_at: row.map(|row| row.changed_at),
            changed_by: row.map(|row| row.changed_by.clone()),
            reason: row.map(|row| row.reason.clone()),
            document: self.document(key_type),
            exceptions: policy.map_or_else(Vec::new, |policy| policy.exceptions().to_vec()),
            lapsed: wrong,
        })
    }

    /// All, by key type.
    pub fn views(&self) -> Vec<PolicyView> {
        let names = self.types.iter().map(|key_type| key_type.name.as_str());
        names.filter_map(|name| self.view(name)).collect()
    }

    /// Whether a ring is planned by another key type than its row says.
    pub(crate) fn holds_any(&self) -> bool {
        !self.held.is_empty()
    }

    /// A row with the key type that its asset is planned by.
    pub(crate) fn hold(&self, mut row: InventoryRow) -> InventoryRow {
        if let Some(held) = self.held.get(&row.asset) {
            row.key_type = held.clone();
        }
        row
    }

    /// The team that answers for a key type's assets.
    pub fn team(&self, key_type: &Word) -> Option<&Word> {
        self.policies.get(key_type).map(Policy::owner)
    }
}

/// Whether only the quorum changes its policy (design: rotation policy of a critical type).
pub fn is_critical(key_type: &KeyType) -> bool {
    key_type.is_critical()
}

/// Of an installation whose documents any cache serves at most so long, stale times included.
pub fn caches_of(longest: Duration) -> Caches {
    Caches::serving(longest)
}

/// An instant as the calendar has it.
pub fn planned(time: Time) -> calendar::Time {
    calendar::Time::from_millis(time.millis())
}

impl PolicyService {
    /// `caches`: how long verifiers keep what this installation publishes; `pin`: whose quorum decides policies of critical
    /// key types.
    pub fn new(store: Store, caches: Caches, pin: Pin) -> Self {
        Self {
            log: Log::new(store.clone()),
            store,
            caches,
            pin,
            proven: Arc::default(),
        }
    }

    /// The sixteen, and those that this installation added.
    pub async fn types(&self) -> Result<KeyTypes, Error> {
        Ok(key_types(&self.store).await?)
    }

    /// The policy of a critical key type that a quorum decided last. What has a fault is looked at again each time, because
    /// it may be repaired.
    async fn in_force(&self, name: &Word) -> Result<PolicyInForce, Error> {
        let newest = match self.store.rotation_policy(name).await {
            // What is wrong with it is said below.
            Err(error) if error.is_corrupt() => {
                return Ok(policy_in_force(&self.store, &self.pin, name).await?);
            }
            newest => newest?,
        };
        let last = self.store.policy_decisions(name, i64::MAX, 1).await?;
        let seen = Seen {
            newest,
            last: last.first().map(|leaf| leaf.index),
        };
        let lock = || self.proven.lock().unwrap_or_else(PoisonError::into_inner);
        let known = lock().get(name).cloned();
        if let Some((before, found)) = &known
            && (before, found.faults.is_empty()) == (&seen, true)
        {
            return Ok(found.clone());
        }
        let found = policy_in_force(&self.store, &self.pin, name).await?;
        if known.is_none_or(|(_, before)| before.faults != found.faults) {
            for fault in &found.faults {
                tracing::error!(key_type = %name, "{fault}");
            }
        }
        lock().insert(name.clone(), (seen, found.clone()));
        Ok(found)
    }

    /// What the database says of policies of critical key types, and of the rings that rotate by them, that no quorum decided,
    /// and that is not followed.
    pub async fn faults(&self) -> Result<Vec<String>, Error> {
        let types = self.types().await?;
        let mut faults = Vec::new();
        for key_type in types.iter().filter(|key_type| is_critical(key_type)) {
            faults.extend(self.in_force(&key_type.name).await?.faults);
        }
        let reassigned = self.reassigned().await?;
        faults.extend(reassigned.iter().map(Reassigned::fault));
        Ok(faults)
    }

    /// All that assets rotate by, as of `now`.
    pub async fn current(&self, now: Time) -> Result<CurrentPolicies, Error> {
        let types = self.types().await?;
        let mut rows = BTreeMap::new();
        let mut checked = Vec::new();
        let (mut lapsed, mut unproven) = (BTreeMap::new(), BTreeMap::new());
        for key_type in types.iter() {
            let row = match is_critical(key_type) {
                false => self.store.rotation_policy(&key_type.name).await?,
                true => {
                    let found = self.in_force(&key_type.name).await?;
                    if !found.faults.is_empty() {
                        unproven.insert(key_type.name.clone(), found.faults);
                    }
                    found.decided
                }
            };
            let (document, set_at) = match &row {
                Some(row) => (row.document.clone(), row.changed_at),
                None => (PolicyDocument::standard(key_type), Time::from_millis(0)),
            };
            match Policy::check(&types, document.clone(), self.caches, planned(now)) {
                Ok(policy) => checked.push(policy),
                Err(errors) => {
                    let then = Policy::check(&types, document, self.caches, planned(set_at));
                    checked.extend(then.ok());
                    lapsed.insert(key_type.name.clone(), errors);
                }
            }
            if let Some(row) = row {
                rows.insert(key_type.name.clone(), row);
            }
        }
        let mut held = BTreeMap::new();
        for ring in self.reassigned().await? {
            let faults: &mut Vec<String> = unproven.entry(ring.held.clone()).or_default();
            faults.push(ring.fault());
            held.insert(ring.asset, ring.held);
        }
        Ok(CurrentPolicies {
            policies: checked.into_iter().collect(),
            types,
            rows,
            lapsed,
            unproven,
            held,
        })
    }

    /// The versions of a policy below one, the highest first, at most [`VERSIONS_MAX`].
    pub async fn versions(
        &self,
        name: &str,
        below: Option<u32>,
        limit: usize,
    ) -> Result<Vec<PolicyVersion>, Error> {
        let types = self.types().await?;
        let Some(key_type) = types.get(name) else {
            return Err(Error::UnknownKeyType(name.to_owned()));
        };
        let limit = limit.clamp(1, VERSIONS_MAX);
        let before = below.map_or(i64::MAX, i64::from);
        let most = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = self
            .store
            .rotation_policy_versions(&key_type.name, before, most)
            .await?
            .all()?;
        let mut versions: Vec<_> = rows.into_iter().map(PolicyVersion::of).collect();
        if is_critical(key_type) {
            self.mark_undecided(&key_type.name, &mut versions).await?;
        }
        if versions.len() < limit && before > 1 {
            versions.push(PolicyVersion::first(key_type));
        }
        Ok(versions)
    }

    /// Marks what the log tells of no decision of, and what no ceremony that holds put in place of the one in force.
    async fn mark_undecided(
        &self,
        name: &Word,
        versions: &mut [PolicyVersion],
    ) -> Result<(), Error> {
        let decided = self.in_force(name).await?.decided;
        let in_force = decided.as_ref().map_or(1, |row| row.document.version);
        let indexes: Vec<i64> = versions.iter().filter_map(|row| row.log_index).collect();
        let leaves = self.store.leaves_at(&indexes).await?;
        let told: BTreeSet<(i64, u64)> = leaves
            .iter()
            .filter_map(|leaf| Some((leaf.index, decided_version(leaf, name)?)))
            .collect();
        for version in versions {
            let number = u64::from(version.version);
            let leaf = version.log_index.map(|index| (index, number));
            version.undecided = match &decided {
                Some(row) if row.document.version == version.version => {
                    (&row.document, Some(row.index)) != (&version.document, version.log_index)
                }
                _ => version.version > in_force || leaf.is_none_or(|leaf| !told.contains(&leaf)),
            };
        }
        Ok(())
    }

    /// Says all that is wrong with a document as of `now`, and changes nothing. A policy of a critical key type is checked
    /// like every other.
    pub async fn check(&self, document: PolicyDocument, now: Time) -> Result<Policy, Error> {
        let types = self.types().await?;
        let name = document.key_type.as_str().to_owned();
        if types.get(&name).is_none() {
            return Err(Error::UnknownKeyType(name));
        }
        Policy::check(&types, document, self.caches, planned(now)).map_err(Error::Policy)
    }

    /// Puts the next version in force. Of two changes at once the second is refused.
    pub async fn set(
        &self,
        document: PolicyDocument,
        reason: &str,
        (actor, now): (&str, Time),
    ) -> Result<PolicyVersion, Error> {
        if !trust::text::is_plain(reason, LONGEST_REASON) {
            let what = format!("reason: expected 1 to {LONGEST_REASON} characters of plain text");
            return Err(Error::Refused(vec![what]));
        }
        let types = self.types().await?;
        let Some(key_type) = types.get(document.key_type.as_str()) else {
            return Err(Error::UnknownKeyType(document.key_type.to_string()));
        };
        if is_critical(key_type) {
            return Err(Error::CeremonyRequired(key_type.name.clone()));
        }
        let last = self.store.rotation_policy(&key_type.name).await?;
        let next = last.map_or(1, |row| row.document.version).saturating_add(1);
        if document.version != next {
            return Err(Error::PolicyVersion {
                given: document.version,
                next,
            });
        }
        Policy::check(&types, document.clone(), self.caches, planned(now))
            .map_err(Error::Policy)?;
        if trust::json::canonical(&document)?.len() > LONGEST_DOCUMENT {
            let what = format!("a policy of more than {LONGEST_DOCUMENT} bytes");
            return Err(Error::Refused(vec![what]));
        }
        let mut row = PolicyRow {
            document,
            reason: reason.to_owned(),
            changed_by: actor.to_owned(),
            changed_at: now,
            index: 0,
        };
        let asset = format!("policy/{}", key_type.name);
        let event = Event {
            asset: Some(&asset),
            digest: Some(row.digest()?),
            previous_version: Some(u64::from(next) - 1),
            reason: Some(reason),
            version: Some(next.into()),
            ..Event::new(ActKind::Policy, "set", actor, now)
        };
        let change = InventoryChange::SetPolicy(Box::new(row.clone()));
        let change = Change::Inventory(Box::new(change));
        row.index = self.log.commit(&change, &event).await?;
        Ok(PolicyVersion::of(row))
    }

    /// Adds a key type with the policy that its figures make.
    pub async fn add_type(
        &self,
        key_type: KeyType,
        (actor, now): (&str, Time),
    ) -> Result<(), Error> {
        let types = self.types().await?;
        let name = key_type.name.clone();
        if !trust::text::is_plain(&key_type.purpose, 200) {
            let what = "purpose: expected 1 to 200 characters of plain text".to_owned();
            return Err(Error::Refused(vec![what]));
        }
        let with = types.with(key_type.clone());
        let with = with.map_err(|taken| Error::State(taken.to_string()))?;
        let document = PolicyDocument::standard(&key_type);
        Policy::check(&with, document, self.caches, planned(now)).map_err(Error::Policy)?;
        let row = KeyTypeRow {
            key_type,
            added_at: now,
            added_by: actor.to_owned(),
        };
        let asset = format!("policy/{name}");
        let event = Event {
            asset: Some(&asset),
            digest: Some(row.digest()?),
            version: Some(1),
            ..Event::new(ActKind::Policy, "add-type", actor, now)
        };
        let change = Change::Inventory(Box::new(InventoryChange::AddKeyType(Box::new(row))));
        self.log.commit(&change, &event).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
