//! Policies: what an installation wants of a key type, checked as a whole before anything is planned by it.

mod check;
mod documents;

pub use check::{Caches, PolicyError};
pub use documents::{Alerts, PolicyDocument, VERSION};

use std::collections::BTreeMap;

use serde::Serialize;

use crate::floors::{Deviation, Framework, Outside};
use crate::key_type::{Grace, KeyType, KeyTypes};
use crate::name::Word;
use crate::time::{Span, Time};
use crate::windows::OpenHours;
use crate::words::{ApprovalClass, Priority, Trigger};

/// A document that was checked, with its key type. Nothing else can be planned by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    document: PolicyDocument,
    key_type: KeyType,
    open: OpenHours,
    reported: Vec<Exception>,
}

/// A rule that a policy is outside of and nevertheless in force: by a deviation, or because the rule is only reported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Exception {
    /// The policy's key type.
    pub key_type: Word,
    /// Whose rule.
    pub framework: Framework,
    /// Which paragraph.
    pub paragraph: String,
    /// By how much.
    #[serde(flatten)]
    pub outside: Outside,
    /// The deviation, where one was needed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deviation: Option<Deviation>,
}

impl Policy {
    /// The document.
    pub fn document(&self) -> &PolicyDocument {
        &self.document
    }

    /// Its key type.
    pub fn key_type(&self) -> &KeyType {
        &self.key_type
    }

    /// How often its assets rotate.
    pub fn interval(&self) -> Span {
        self.document.interval
    }

    /// How long an old version can still be used.
    pub fn grace(&self) -> Grace {
        self.document.grace
    }

    /// How long a version is published before it is used.
    pub fn publish_safety(&self) -> Span {
        self.document.publish_safety
    }

    /// How long old and new both work.
    pub fn overlap(&self) -> Span {
        self.document.overlap
    }

    /// By how much at most a rotation begins before it has to.
    pub fn jitter(&self) -> Span {
        self.document.jitter
    }

    /// The team that answers for it.
    pub fn owner(&self) -> &Word {
        &self.document.owner
    }

    /// How much depends on it.
    pub fn priority(&self) -> Priority {
        self.document.priority
    }

    /// Whose consent a rotation needs.
    pub fn approval(&self) -> ApprovalClass {
        self.document.approval
    }

    /// Whether this makes its assets rotate.
    pub fn has(&self, trigger: Trigger) -> bool {
        self.document.triggers.contains(&trigger)
    }

    /// When a rotation may begin, and a version be promoted.
    pub fn open_hours(&self) -> &OpenHours {
        &self.open
    }

    /// The rules that it is outside of and nevertheless in force.
    pub fn exceptions(&self) -> &[Exception] {
        &self.reported
    }

    /// How long before its expiry a version of this lifetime is replaced: as the policy says, and at most a third.
    pub fn renew_before(&self, lifetime: Span) -> Span {
        let wanted = self.document.renew_before.unwrap_or(Span::days(30));
        wanted.min(lifetime.divided(3))
    }

    /// When each of the three warnings of an expiry comes, for a version of this lifetime.
    pub fn expiry_alerts(&self, expires_at: Time, lifetime: Span) -> [Time; 3] {
        self.document
            .alerts
            .capped(lifetime)
            .map(|before| expires_at - before)
    }

    /// From the beginning of a rotation until its version can be promoted.
    pub fn lead(&self) -> Span {
        self.document.publish_safety
    }
}

/// The policies of an installation: one for each key type that has assets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policies(BTreeMap<Word, Policy>);

/// What is wrong with the policy of a key type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The key type that the document names.
    pub key_type: Word,
    /// All that is wrong.
    pub errors: Vec<PolicyError>,
}

/// Of policies that were checked one by one, each perhaps as of another time. Of two for one key type the later counts.
impl FromIterator<Policy> for Policies {
    fn from_iter<I: IntoIterator<Item = Policy>>(policies: I) -> Self {
        let named = policies.into_iter();
        Self(
            named
                .map(|policy| (policy.document.key_type.clone(), policy))
                .collect(),
        )
    }
}

impl Policies {
    /// Checks each document as of `now`. All that is wrong is told at once; nothing is in force unless all of it is right.
    pub fn check(
        types: &KeyTypes,
        documents: Vec<PolicyDocument>,
        caches: Caches,
        now: Time,
    ) -> Result<Self, Vec<Refused>> {
        let mut policies = BTreeMap::new();
        let mut refused = Vec::new();
        for document in documents {
            let key_type = document.key_type.clone();
            let outcome = match policies.contains_key(&key_type) {
                true => Err(vec![PolicyError::TwoForOneType]),
                false => Policy::check(types, document, caches, now),
            };
            match outcome {
                Ok(policy) => {
                    policies.insert(key_type, policy);
                }
                Err(errors) => refused.push(Refused { key_type, errors }),
            }
        }
        match refused.is_empty() {
            true => Ok(Self(policies)),
            false => Err(refused),
        }
    }

    /// The policies that every installation begins with: the figures of the key types.
    pub fn standard(types: &KeyTypes, caches: Caches, now: Time) -> Result<Self, Vec<Refused>> {
        let documents = types.iter().map(PolicyDocument::standard).collect();
        Self::check(types, documents, caches, now)
    }

    /// The policy of a key type.
    pub fn get(&self, key_type: &Word) -> Option<&Policy> {
        self.0.get(key_type)
    }

    /// All, by key type.
    pub fn iter(&self) -> impl Iterator<Item = &Policy> {
        self.0.values()
    }

    /// All rules that a policy is outside of: they appear in every report.
    pub fn exceptions(&self) -> Vec<Exception> {
        self.iter()
            .flat_map(|policy| policy.exceptions().to_vec())
            .collect()
    }
}
