//! Key types: classes of assets with a purpose, an owner and the figures that their policies begin with.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::name::Word;
use crate::time::{NotASpan, Span, spelled};
use crate::words::{ApprovalClass, Priority, words};

words! {
    /// What the key does, in the terms of NIST SP 800-57 part 1 rev. 5, table 1: what its floors are looked up by.
    KeyClass {
        /// Private half of a signature key.
        PrivateSignature = "private-signature",
        /// Symmetric key that encrypts data.
        DataEncryption = "data-encryption",
        /// Symmetric key that wraps others.
        KeyWrapping = "key-wrapping",
        /// Symmetric key that authenticates, or a password.
        Authentication = "authentication",
        /// Certificate with its key.
        Certificate = "certificate",
    }
}

words! {
    /// Where the private or secret part is.
    Storage {
        /// In an HSM.
        Hsm = "hsm",
        /// In the database, wrapped under a key of an HSM.
        Wrapped = "wrapped",
        /// In files, or in the hands of cert-manager.
        Files = "files",
        /// In a service mesh.
        Mesh = "mesh",
        /// With whom it was issued to.
        Issued = "issued",
    }
}

/// How long an old version can still be used after it was replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Grace {
    /// So long after its successor was promoted.
    For(Span),
    /// For ever: it verifies or decrypts. Its private half is destroyed by a ceremony that collects many.
    Forever,
}

impl fmt::Display for Grace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::For(span) => span.fmt(f),
            Self::Forever => f.pad("for-ever"),
        }
    }
}

impl FromStr for Grace {
    type Err = NotASpan;

    fn from_str(text: &str) -> Result<Self, NotASpan> {
        match text {
            "for-ever" => Ok(Self::Forever),
            span => span.parse().map(Self::For),
        }
    }
}

spelled!(Grace);

/// A class of assets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyType {
    /// Its name: `jwt_signing`.
    pub name: Word,
    /// What its keys are for, in a few words.
    pub purpose: String,
    /// What its floors are looked up by.
    pub class: KeyClass,
    /// Where its keys are.
    pub storage: Storage,
    /// Whether verifiers fetch a document with its public halves.
    pub published: bool,
    /// The team that answers for it.
    pub owner: Word,
    /// How much depends on it.
    pub priority: Priority,
    /// How often it rotates.
    pub interval: Span,
    /// How long an old version can still be used.
    pub grace: Grace,
    /// How long a version is published before it is used.
    pub publish_safety: Span,
    /// How long old and new both work, so that a roll-back is possible.
    pub overlap: Span,
    /// By how much at most a rotation begins before it has to.
    pub jitter: Span,
    /// Whose consent a rotation needs.
    pub approval: ApprovalClass,
}

impl KeyType {
    /// Whether a rotation is work of an HSM: of ours, unless somebody else keeps the values.
    pub fn uses_token(&self) -> bool {
        self.storage == Storage::Hsm
    }

    /// Whether only a quorum changes its policy.
    pub fn is_critical(&self) -> bool {
        self.priority == Priority::Critical
    }
}

use ApprovalClass::{Automatic, Ceremony, StandingOrder};
use Grace::Forever;
use KeyClass::{Authentication, Certificate, DataEncryption, KeyWrapping, PrivateSignature};
use Priority::{Critical, High, Medium};
use Storage::{Files, Hsm, Issued, Mesh, Wrapped};

/// A row of the table below: name, purpose, class, storage, owner, priority, approval, and the spans interval, grace,
/// publish safety, overlap, jitter.
type Row = (
    &'static str,
    &'static str,
    KeyClass,
    Storage,
    &'static str,
    Priority,
    ApprovalClass,
    Span,
    Grace,
    [Span; 3],
);

const fn d(days: u64) -> Span {
    Span::days(days)
}

const fn h(hours: u64) -> Span {
    Span::hours(hours)
}

const fn grace(days: u64) -> Grace {
    Grace::For(Span::days(days))
}

/// The sixteen that every installation begins with.
#[rustfmt::skip]
const STANDARD: [Row; 16] = [
    ("master_encryption", "wraps data-encryption keys", KeyWrapping, Hsm, "security", Critical, Ceremony, d(365), grace(180), [h(1), d(30), d(7)]),
    ("data_encryption", "encrypts a tenant's data", DataEncryption, Wrapped, "security", High, Automatic, d(90), Forever, [h(1), d(1), d(7)]),
    ("signing", "digital signatures", PrivateSignature, Hsm, "security", Critical, StandingOrder, d(90), Forever, [d(1), d(1), d(7)]),
    ("jwt_signing", "OAuth tokens", PrivateSignature, Hsm, "security", High, StandingOrder, d(90), grace(30), [d(1), d(1), d(7)]),
    ("api_signature", "signatures of requests and webhooks", PrivateSignature, Hsm, "integration", High, StandingOrder, d(90), grace(30), [d(1), d(1), d(7)]),
    ("token_encryption", "OAuth tokens, API keys and sessions at rest", DataEncryption, Wrapped, "security", High, Automatic, d(90), grace(30), [h(1), d(1), d(7)]),
    ("database_encryption", "sensitive fields", DataEncryption, Wrapped, "security", Critical, Automatic, d(180), grace(90), [h(1), d(1), d(7)]),
    ("file_encryption", "uploads, exports and backups", DataEncryption, Wrapped, "security", Medium, Automatic, d(365), grace(180), [h(1), d(1), d(7)]),
    ("session_encryption", "session data", DataEncryption, Wrapped, "platform", High, Automatic, d(30), grace(7), [h(1), d(1), d(3)]),
    ("tls_certificate", "HTTPS and mTLS", Certificate, Files, "platform", High, Automatic, d(90), grace(30), [h(1), d(1), d(7)]),
    ("mesh_certificate", "mTLS between pods", Certificate, Mesh, "platform", High, Automatic, d(1), Grace::For(h(12)), [Span::ZERO, h(1), h(4)]),
    ("client_certificate", "external clients", Certificate, Issued, "platform", Medium, Automatic, d(365), grace(30), [Span::ZERO, d(14), d(7)]),
    ("database_credential", "logins to databases", Authentication, Wrapped, "platform", High, Automatic, d(90), grace(7), [h(1), d(1), d(7)]),
    ("service_bus_key", "messaging and blobs", Authentication, Wrapped, "platform", Medium, Automatic, d(90), grace(7), [h(1), d(1), d(7)]),
    ("api_key", "external services", Authentication, Wrapped, "integration", High, Automatic, d(30), grace(7), [h(1), d(1), d(3)]),
    ("webhook_secret", "verification of webhooks", Authentication, Wrapped, "integration", High, Automatic, d(90), grace(1), [h(1), d(1), d(7)]),
];

/// The key types of an installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyTypes(BTreeMap<Word, KeyType>);

/// The name of a key type is taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is a key type {0} already")]
pub struct Taken(pub Word);

impl KeyTypes {
    /// The sixteen.
    pub fn standard() -> Self {
        let rows = STANDARD.iter().filter_map(|row| {
            let (name, purpose, class, storage, owner, priority, approval, interval, grace, rest) =
                row;
            let [publish_safety, overlap, jitter] = *rest;
            let name: Word = name.parse().ok()?;
            let key_type = KeyType {
                name: name.clone(),
                purpose: (*purpose).to_owned(),
                class: *class,
                storage: *storage,
                published: *class == PrivateSignature,
                owner: owner.parse().ok()?,
                priority: *priority,
                interval: *interval,
                grace: *grace,
                publish_safety,
                overlap,
                jitter,
                approval: *approval,
            };
            Some((name, key_type))
        });
        Self(rows.collect())
    }

    /// These and one more.
    pub fn with(mut self, key_type: KeyType) -> Result<Self, Taken> {
        match self.0.contains_key(&key_type.name) {
            true => Err(Taken(key_type.name)),
            false => {
                self.0.insert(key_type.name.clone(), key_type);
                Ok(self)
            }
        }
    }

    /// The type of this name.
    pub fn get(&self, name: &str) -> Option<&KeyType> {
        self.0.get(name)
    }

    /// All, by name.
    pub fn iter(&self) -> impl Iterator<Item = &KeyType> {
        self.0.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sixteen_are_there_with_their_figures() {
        let types = KeyTypes::standard();
        assert_eq!(types.iter().count(), 16);
        let figures = |name: &str| {
            let found = types.get(name).unwrap();
            (
                found.interval,
                found.grace,
                found.priority,
                found.owner.as_str().to_owned(),
            )
        };
        assert_eq!(
            figures("master_encryption"),
            (d(365), grace(180), Critical, "security".to_owned())
        );
        assert_eq!(
            figures("signing"),
            (d(90), Forever, Critical, "security".to_owned())
        );
        assert_eq!(
            figures("api_key"),
            (d(30), grace(7), High, "integration".to_owned())
        );
        assert_eq!(figures("mesh_certificate").0, d(1));
    }

    #[test]
    fn a_type_can_be_added_once() {
        let types = KeyTypes::standard();
        let mut own = types.get("api_key").unwrap().clone();
        assert!(types.clone().with(own.clone()).is_err());
        own.name = "license_key".parse().unwrap();
        let more = types.with(own.clone()).unwrap();
        assert_eq!(more.get("license_key"), Some(&own));
        assert!(more.with(own).is_err());
    }

    #[test]
    fn grace_has_one_spelling() {
        for text in ["30d", "for-ever"] {
            assert_eq!(text.parse::<Grace>().unwrap().to_string(), text);
        }
        assert!("forever".parse::<Grace>().is_err());
    }
}
