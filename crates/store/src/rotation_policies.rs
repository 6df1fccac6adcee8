//! Key types that an installation added, and the policies of all key types, version by version. What a policy has to be is
//! checked above (`calendar`); here versions follow each other.

use calendar::key_type::KeyType;
use calendar::{PolicyDocument, Word};
use serde::Serialize;
use serde::de::DeserializeOwned;
use trust::{Sha256Digest, Time};

use crate::database::{Store, on};
use crate::decode::{Decode, canonical, unreadable};
use crate::engine::{Columns, Connection, Engine, Value, guarded};
use crate::error::{Error, Subject};
use crate::leaves::LeafRow;
use crate::reads::{self, FromColumns, MAX_PAGE};
use crate::rows::{self, Keyed, Rows};
use crate::statements::statements;

macro_rules! policy_columns {
    () => {
        "key_type, version, document, reason, changed_by, changed_at, idx"
    };
}

statements! {
    /// Those that an installation added, which are few.
    KEY_TYPES = "SELECT word, document, added_at, added_by FROM key_type WHERE document IS NOT NULL ORDER BY word";
    ADD_KEY_TYPE = "INSERT INTO key_type (word, document, added_at, added_by) VALUES ($1, $2, $3, $4)";
    POLICY = concat!("SELECT ", policy_columns!(), " FROM rotation_policy
        WHERE key_type = $1 ORDER BY version DESC LIMIT 1");
    POLICY_VERSIONS = concat!("SELECT ", policy_columns!(), " FROM rotation_policy
        WHERE key_type = $1 AND version < $2 ORDER BY version DESC LIMIT $3");
    POLICIES_FROM = concat!("SELECT ", policy_columns!(), " FROM rotation_policy
        WHERE idx >= $1 ORDER BY idx LIMIT $2");
    POLICY_VERSION = "SELECT version FROM rotation_policy WHERE key_type = $1 ORDER BY version DESC LIMIT 1";
    SET_POLICY = "INSERT INTO rotation_policy (key_type, version, document, reason, changed_by, changed_at, idx)
        VALUES ($1, $2, $3, $4, $5, $6, $7)";
}

/// A key type that an installation added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyTypeRow {
    pub key_type: KeyType,
    pub added_at: Time,
    pub added_by: String,
}

/// A version of the policy of a key type, from 2: the first has no row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyRow {
    pub document: PolicyDocument,
    pub reason: String,
    pub changed_by: String,
    pub changed_at: Time,
    /// The leaf that tells of it; what is given for a new one does not matter.
    pub index: i64,
}

impl KeyTypeRow {
    /// What the leaf of its addition says: of its canonical JSON.
    pub fn digest(&self) -> Result<Sha256Digest, Error> {
        Ok(Sha256Digest::of(canonical(&self.key_type)?.as_bytes()))
    }
}

impl PolicyRow {
    /// What the leaf of its change says: of its canonical JSON.
    pub fn digest(&self) -> Result<Sha256Digest, Error> {
        Ok(Sha256Digest::of(canonical(&self.document)?.as_bytes()))
    }
}

fn document<T: DeserializeOwned + Serialize>(
    row: &impl Columns,
    at: usize,
    column: &'static str,
) -> Result<T, Error> {
    row.maybe_json(at, column)?
        .ok_or_else(|| unreadable(column, ""))
}

impl Keyed for KeyTypeRow {
    const TABLE: &'static str = "key_type";
}

impl FromColumns for KeyTypeRow {
    fn read(row: &impl Columns) -> Result<Self, Error> {
        let key_type: KeyType = document(row, 1, "key_type.document")?;
        let word = row.text(0)?;
        match key_type.name.as_str() == word {
            true => Ok(Self {
                key_type,
                added_at: row.time(2, "key_type.added_at")?,
                added_by: row.text(3)?,
            }),
            false => Err(unreadable("key_type.word", &word)),
        }
    }
}

impl Keyed for PolicyRow {
    const TABLE: &'static str = "rotation_policy";

    fn key(row: &impl Columns) -> Result<String, Error> {
        Ok(format!("{} {}", row.text(0)?, row.int(1)?))
    }
}

impl FromColumns for PolicyRow {
    fn read(row: &impl Columns) -> Result<Self, Error> {
        let document: PolicyDocument = document(row, 2, "rotation_policy.document")?;
        let of = (document.key_type.as_str(), i64::from(document.version));
        let key_type = row.text(0)?;
        match of == (key_type.as_str(), row.int(1)?) {
            true => Ok(Self {
                document,
                reason: row.text(3)?,
                changed_by: row.text(4)?,
                changed_at: row.time(5, "rotation_policy.changed_at")?,
                index: row.int(6)?,
            }),
            false => Err(unreadable("rotation_policy.key_type", &key_type)),
        }
    }
}

/// The asset that leaves of policies of a key type name.
pub fn policy_asset(key_type: &str) -> String {
    format!("policy/{key_type}")
}

/// Of two that planned on the same version one gets through here.
pub(crate) async fn set<C: Connection>(
    tx: &mut C,
    policy: &PolicyRow,
    index: i64,
) -> Result<(), Error> {
    match i64::from(policy.document.version) == newest(tx, policy).await? + 1 {
        true => insert(tx, policy, index).await,
        false => Err(Error::conflict(Subject::Policy)),
    }
}

/// The same of a policy that a ceremony decided, after the last leaf on it that was looked at. Where rows were taken away it
/// comes behind a gap.
pub(crate) async fn decide<C: Connection>(
    tx: &mut C,
    policy: &PolicyRow,
    decisions: &'static str,
    (last, index): (Option<i64>, i64),
) -> Result<(), Error> {
    let asset = policy_asset(policy.document.key_type.as_str());
    let asked = [Value::Text(&asset), Value::Int(i64::MAX), Value::Int(1)];
    let told = tx.fetch_optional(decisions, &asked).await?;
    let told = told.map(|row| row.int(0)).transpose()?;
    let follows = i64::from(policy.document.version) > newest(tx, policy).await?;
    match follows && told == last {
        true => insert(tx, policy, index).await,
        false => Err(Error::conflict(Subject::Policy)),
    }
}

async fn newest<C: Connection>(tx: &mut C, policy: &PolicyRow) -> Result<i64, Error> {
    let asked = [Value::Text(policy.document.key_type.as_str())];
    let last = tx.fetch_optional(POLICY_VERSION, &asked).await?;
    Ok(last.map(|row| row.int(0)).transpose()?.unwrap_or(1))
}

async fn insert<C: Connection>(tx: &mut C, policy: &PolicyRow, index: i64) -> Result<(), Error> {
    let key_type = policy.document.key_type.as_str();
    let document = canonical(&policy.document)?;
    let values = [
        Value::Text(key_type),
        Value::Int(policy.document.version.into()),
        Value::Text(&document),
        Value::Text(&policy.reason),
        Value::Text(&policy.changed_by),
        Value::Int(policy.changed_at.millis()),
        Value::Int(index),
    ];
    let set = guarded(tx, SET_POLICY, &values, Subject::Policy).await;
    set.map_err(|error| error.about(Subject::Policy))
}

pub(crate) async fn add_type<C: Connection>(tx: &mut C, row: &KeyTypeRow) -> Result<(), Error> {
    let document = canonical(&row.key_type)?;
    let values = [
        Value::Text(row.key_type.name.as_str()),
        Value::Text(&document),
        Value::Int(row.added_at.millis()),
        Value::Text(&row.added_by),
    ];
    let added = guarded(tx, ADD_KEY_TYPE, &values, Subject::KeyType).await;
    added.map_err(|error| error.about(Subject::KeyType))
}

async fn newest_version<E: Engine>(engine: &E, key_type: &Word) -> Result<i64, Error> {
    let asked = [Value::Text(key_type.as_str())];
    let mut reader = engine.reader().await?;
    let last = reader.fetch_optional(POLICY_VERSION, &asked).await?;
    Ok(last.map(|row| row.int(0)).transpose()?.unwrap_or(1))
}

async fn decisions<E: Engine>(engine: &E, values: &[Value<'_>]) -> Result<Vec<LeafRow>, Error> {
    reads::all(engine, E::DIALECT.decisions, values).await
}

impl Store {
    /// The key types that this installation added.
    pub async fn key_types(&self) -> Result<Rows<KeyTypeRow>, Error> {
        on!(self, engine => rows::each(engine, KEY_TYPES, &[]))
    }

    /// The newest version of the policy of a key type, if it was ever changed.
    pub async fn rotation_policy(&self, key_type: &Word) -> Result<Option<PolicyRow>, Error> {
        let asked = [Value::Text(key_type.as_str())];
        on!(self, engine => reads::one(engine, POLICY, &asked))
    }

    /// The number of the newest version of the policy of a key type, which there is no row of while it is the first.
    pub async fn newest_policy_version(&self, key_type: &Word) -> Result<i64, Error> {
        on!(self, engine => newest_version(engine, key_type))
    }

    /// The leaves of ceremonies that tell of decisions on the policy of a key type before an index, the newest first; at
    /// most [`MAX_PAGE`].
    pub async fn policy_decisions(
        &self,
        key_type: &Word,
        before: i64,
        limit: i64,
    ) -> Result<Vec<LeafRow>, Error> {
        let asset = policy_asset(key_type.as_str());
        let limit = Value::Int(limit.clamp(1, MAX_PAGE));
        let values = [Value::Text(&asset), Value::Int(before), limit];
        on!(self, engine => decisions(engine, &values))
    }

    /// The versions of all policies in the order of the leaves that tell of them, from a leaf on; at most [`MAX_PAGE`].
    pub async fn rotation_policies_from(
        &self,
        index: i64,
        limit: i64,
    ) -> Result<Rows<PolicyRow>, Error> {
        let values = [index, limit.clamp(1, MAX_PAGE)].map(Value::Int);
        on!(self, engine => rows::each(engine, POLICIES_FROM, &values))
    }

    /// The versions of the policy of a key type below one, the highest first; at most [`MAX_PAGE`].
    pub async fn rotation_policy_versions(
        &self,
        key_type: &Word,
        below: i64,
        limit: i64,
    ) -> Result<Rows<PolicyRow>, Error> {
        let limit = Value::Int(limit.clamp(1, MAX_PAGE));
        let values = [Value::Text(key_type.as_str()), Value::Int(below), limit];
        on!(self, engine => rows::each(engine, POLICY_VERSIONS, &values))
    }
}
