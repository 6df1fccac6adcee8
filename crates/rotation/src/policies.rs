//! Policies: those in force, their versions, and how one is changed. `calendar` says what a policy has to be; here it is
//! kept, and each change has its leaf.
//!
//! A policy was right when it was set and may not be later: a deviation ends, a rule of a framework comes into force. It
//! stays in force, because assets without rules would not rotate at all, and what is wrong is told with it (`lapsed`).

use std::collections::BTreeMap;
use std::time::Duration;

use calendar::key_type::KeyType;
use calendar::policy::{Caches, Exception, PolicyError};
use calendar::words::Priority;
use calendar::{KeyTypes, Policies, Policy, PolicyDocument, Span, Word};
use log::{Event, Log};
use serde::Serialize;
use store::{Change, InventoryChange, KeyTypeRow, PolicyRow, Store};
use trust::Time;
use trust::leaf::ActKind;

use crate::error::{Error, policy_reasons};

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
    /// What is wrong with it today.
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
    pub document: PolicyDocument,
}

impl PolicyVersion {
    fn of(row: PolicyRow) -> Self {
        Self {
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
        Some(PolicyView {
            critical: is_critical(key_type),
            changed_at: row.map(|row| row.changed_at),
            changed_by: row.map(|row| row.changed_by.clone()),
            reason: row.map(|row| row.reason.clone()),
            document: self.document(key_type),
            exceptions: policy.map_or_else(Vec::new, |policy| policy.exceptions().to_vec()),
            lapsed: lapsed.map_or_else(Vec::new, |errors| policy_reasons(errors)),
        })
    }

    /// All, by key type.
    pub fn views(&self) -> Vec<PolicyView> {
        let names = self.types.iter().map(|key_type| key_type.name.as_str());
        names.filter_map(|name| self.view(name)).collect()
    }

    /// The team that answers for a key type's assets.
    pub fn team(&self, key_type: &Word) -> Option<&Word> {
        self.policies.get(key_type).map(Policy::owner)
    }
}

/// Everything hangs on it: only the quorum changes its policy (design: rotation policy of a critical type).
pub fn is_critical(key_type: &KeyType) -> bool {
    key_type.priority == Priority::Critical
}

/// Of an installation whose documents any cache serves at most so long, stale times included.
pub fn caches_of(longest: Duration) -> Caches {
    Caches {
        max_age: Span::seconds(longest.as_secs()),
        ..Caches::default()
    }
}

/// An instant as the calendar has it.
pub fn planned(time: Time) -> calendar::Time {
    calendar::Time::from_millis(time.millis())
}

impl PolicyService {
    /// `caches`: how long verifiers keep what this installation publishes.
    pub fn new(store: Store, caches: Caches) -> Self {
        Self {
            log: Log::new(store.clone()),
            store,
            caches,
        }
    }

    /// The sixteen, and those that this installation added.
    pub async fn types(&self) -> Result<KeyTypes, Error> {
        let mut types = KeyTypes::standard();
        for row in self.store.key_types().await?.all()? {
            let name = row.key_type.name.clone();
            // A program that is newer than the row may have brought a type of the same name: its own counts.
            types = match types.get(name.as_str()) {
                Some(_) => types,
                None => types
                    .with(row.key_type)
                    .map_err(|taken| Error::State(taken.to_string()))?,
            };
        }
        Ok(types)
    }

    /// All that assets rotate by, as of `now`.
    pub async fn current(&self, now: Time) -> Result<CurrentPolicies, Error> {
        let types = self.types().await?;
        let mut rows = BTreeMap::new();
        let mut checked = Vec::new();
        let mut lapsed = BTreeMap::new();
        for key_type in types.iter() {
            let row = self.store.rotation_policy(&key_type.name).await?;
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
        Ok(CurrentPolicies {
            policies: checked.into_iter().collect(),
            types,
            rows,
            lapsed,
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
        if versions.len() < limit && before > 1 {
            versions.push(PolicyVersion::first(key_type));
        }
        Ok(versions)
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
