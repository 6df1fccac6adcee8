//! What is said of one asset, as it is registered, imported and exported; and what it has to be.

use std::collections::BTreeMap;

use calendar::key_type::{KeyClass, KeyType, Storage};
use calendar::{AssetName, KeyTypes, Time, Word};
use serde::{Deserialize, Serialize};
use store::{AssetState, InventoryRow};

/// Most characters of a purpose.
const LONGEST_PURPOSE: usize = 200;

/// Most labels of an asset.
const MOST_LABELS: usize = 16;

/// Most characters of the value of a label.
const LONGEST_LABEL: usize = 100;

/// The highest number of a version that an asset is registered with, so that there are numbers behind it.
const HIGHEST_FIRST: u32 = 1_000_000_000;

/// The state of an asset in documents.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StateWord {
    /// None of its versions was used yet.
    Prepared,
    /// It has a primary.
    #[default]
    Active,
    /// Its newest version is revoked, and it has no primary.
    Revoked,
    /// It is out of use.
    Retired,
}

impl StateWord {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Prepared, Self::Active, Self::Revoked, Self::Retired];

    /// Its spelling.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Prepared => "prepared",
            Self::Active => "active",
            Self::Revoked => "revoked",
            Self::Retired => "retired",
        }
    }
}

impl From<AssetState> for StateWord {
    fn from(state: AssetState) -> Self {
        match state {
            AssetState::Prepared => Self::Prepared,
            AssetState::Active => Self::Active,
            AssetState::Revoked => Self::Revoked,
            AssetState::Retired => Self::Retired,
        }
    }
}

/// One asset with its version in use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AssetDocument {
    pub asset: AssetName,
    pub key_type: Word,
    /// Up to 200 characters.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub purpose: String,
    /// If not the team of the key type's policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Word>,
    pub storage: Storage,
    /// The number of the version in use; 1 by default.
    #[serde(default = "first")]
    pub version: u32,
    /// When that version came into use. Required of what is registered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotated_at: Option<Time>,
    /// When it ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
    /// Up to 16, each of up to 100 characters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    #[serde(default)]
    pub state: StateWord,
}

fn first() -> u32 {
    1
}

/// A time of a row as the calendar has it.
pub fn calendar_time(time: trust::Time) -> Time {
    Time::from_millis(time.millis())
}

impl From<&InventoryRow> for AssetDocument {
    fn from(row: &InventoryRow) -> Self {
        Self {
            asset: row.asset.clone(),
            key_type: row.key_type.clone(),
            purpose: row.purpose.clone(),
            owner: row.owner.clone(),
            storage: row.storage,
            version: row.version,
            rotated_at: row.rotated_at.map(calendar_time),
            expires_at: row.expires_at.map(calendar_time),
            labels: row.labels.clone(),
            state: row.state.into(),
        }
    }
}

/// Whether a spreadsheet would take a text for a formula (OWASP, CSV injection).
pub fn is_formula(text: &str) -> bool {
    text.starts_with(['=', '+', '-', '@', '\t', '\r'])
}

/// A sheet loses them.
const BLANKS: &str = "blanks at the beginning or the end";

/// All that is wrong with purpose and labels.
pub fn text_refusals(purpose: &str, labels: &BTreeMap<String, String>) -> Vec<String> {
    let mut wrong = Vec::new();
    if !purpose.is_empty() && !trust::text::is_plain(purpose, LONGEST_PURPOSE) {
        wrong.push(format!(
            "purpose: expected up to {LONGEST_PURPOSE} characters of plain text"
        ));
    }
    if purpose.trim() != purpose {
        wrong.push(format!("purpose: {BLANKS}"));
    }
    if is_formula(purpose) {
        wrong.push("purpose: a spreadsheet would take it for a formula".to_owned());
    }
    if labels.len() > MOST_LABELS {
        wrong.push(format!("labels: more than {MOST_LABELS}"));
    }
    for (name, value) in labels {
        if name.parse::<Word>().is_err() {
            wrong.push(format!("labels: {name:?}: {}", calendar::name::NotAWord));
        }
        let plain = trust::text::is_plain(value, LONGEST_LABEL) && !value.contains([';', '=']);
        if !plain {
            wrong.push(format!(
                "labels.{name}: expected 1 to {LONGEST_LABEL} characters of plain text without ; and ="
            ));
        }
        if value.trim() != value {
            wrong.push(format!("labels.{name}: {BLANKS}"));
        }
    }
    wrong
}

impl AssetDocument {
    /// All that is wrong with it as something to register at `now`; empty if nothing is.
    pub fn refusals(&self, types: &KeyTypes, now: Time) -> Vec<String> {
        let mut wrong = Vec::new();
        if types.get(self.key_type.as_str()).is_none() {
            wrong.push(format!(
                "key_type: no key type has the name {}",
                self.key_type
            ));
        }
        wrong.extend(text_refusals(&self.purpose, &self.labels));
        if !(1..=HIGHEST_FIRST).contains(&self.version) {
            wrong.push(format!(
                "version: versions are numbered from 1, and the first here is {HIGHEST_FIRST} at most"
            ));
        }
        match self.rotated_at {
            None => wrong.push("rotated_at: when the version in use came into use".to_owned()),
            Some(at) if at > now => wrong.push(format!("rotated_at: {at} lies in the future")),
            Some(at) if self.expires_at.is_some_and(|end| end <= at) => {
                wrong.push("expires_at: not after rotated_at".to_owned());
            }
            Some(_) => {}
        }
        if !matches!(self.state, StateWord::Active | StateWord::Retired) {
            wrong.push("state: expected active or retired".to_owned());
        }
        wrong
    }
}

/// Whether the keys of a ring can be of a key type.
pub fn fits_a_ring(key_type: &KeyType, wraps: bool) -> bool {
    match key_type.class {
        KeyClass::PrivateSignature => !wraps,
        KeyClass::KeyWrapping => wraps,
        KeyClass::DataEncryption | KeyClass::Authentication | KeyClass::Certificate => false,
    }
}
