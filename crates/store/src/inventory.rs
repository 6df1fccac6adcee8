//! All that rotates, read through the view `inventory`: rings with their keys, and assets whose values somebody else keeps.

use std::collections::BTreeMap;

use calendar::key_type::Storage;
use calendar::{AssetName, Word};
use trust::Time;

use crate::database::{Store, on};
use crate::decode::{Decode, unreadable};
use crate::engine::{Columns, Engine, Value, json};
use crate::error::Error;
use crate::inventory_statements::inventory_columns;
use crate::keys::KeyStatus;
use crate::reads::{self, FromColumns, MAX_PAGE, Word as _};
use crate::rows::{self, Keyed, PageStart, Rows};
use crate::statements::statements;

macro_rules! version_columns {
    () => {
        "asset, number, state, since, created_at, rotated_at, expires_at, reported_at, reported_by"
    };
}

statements! {
    INVENTORY = concat!("SELECT ", inventory_columns!(), " FROM inventory WHERE asset > $1 ORDER BY asset LIMIT $2");
    INVENTORY_OF_TYPE = concat!("SELECT ", inventory_columns!(), " FROM inventory
        WHERE key_type = $1 AND asset > $2 ORDER BY asset LIMIT $3");
    /// In the words of the indexes of what is in use.
    IN_USE = concat!("SELECT ", inventory_columns!(), " FROM inventory
        WHERE retired_at IS NULL AND asset > $1 ORDER BY asset LIMIT $2");
    IN_USE_OF_TYPE = concat!("SELECT ", inventory_columns!(), " FROM inventory
        WHERE retired_at IS NULL AND key_type = $1 AND asset > $2 ORDER BY asset LIMIT $3");
    ASSET = concat!("SELECT ", inventory_columns!(), " FROM inventory WHERE asset = $1");
    EXTERNAL_VERSIONS = concat!("SELECT ", version_columns!(), " FROM external_version
        WHERE asset = $1 AND number < $2 ORDER BY number DESC LIMIT $3");
    EXTERNAL_VERSION_REPORTED = concat!("SELECT ", version_columns!(), " FROM external_version
        WHERE asset = $1 AND rotated_at = $2");
    /// In the words of the index of what rotated longest ago.
    ROTATED_AFTER = "SELECT asset, rotated_at FROM external_version
        WHERE state = 'primary' AND (rotated_at, asset) > ($1, $2) ORDER BY rotated_at, asset LIMIT $3";
    /// What a plan needs of each asset that is not out of use.
    ASSET_HEADS = "SELECT asset, key_type, owner FROM inventory
        WHERE retired_at IS NULL AND asset > $1 ORDER BY asset LIMIT $2";
    /// In the words of the index of what is in use.
    EXTERNAL_VERSIONS_IN_USE = concat!("SELECT ", version_columns!(), " FROM external_version
        WHERE state IN ('prepared', 'primary', 'secondary') AND (asset, number) > ($1, $2)
        ORDER BY asset, number LIMIT $3");
}

/// How far an asset is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AssetState {
    /// None of its versions was used yet.
    Prepared,
    /// It has a primary.
    Active,
    /// It has no primary, and its newest version is revoked.
    Revoked,
    /// It is out of use.
    Retired,
}

impl AssetState {
    /// As the view writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Prepared => "prepared",
            Self::Active => "active",
            Self::Revoked => "revoked",
            Self::Retired => "retired",
        }
    }

    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|one| one.as_str() == word)
    }
}

impl reads::Word for AssetState {
    const COLUMN: &'static str = "inventory.state";
    const ALL: &'static [Self] = &[Self::Prepared, Self::Active, Self::Revoked, Self::Retired];

    fn word(self) -> &'static str {
        self.as_str()
    }
}

/// One asset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InventoryRow {
    pub asset: AssetName,
    pub key_type: Word,
    /// If not the team of the key type's policy.
    pub owner: Option<Word>,
    pub state: AssetState,
    pub storage: Storage,
    /// Of a ring.
    pub algorithm: Option<String>,
    /// The primary, or the newest where none is; 0 where there is none at all.
    pub version: u32,
    pub created_at: Time,
    /// Since when the version is the primary, or since when it was that in an asset that is out of use.
    pub rotated_at: Option<Time>,
    /// When the same ends by itself.
    pub expires_at: Option<Time>,
    pub purpose: String,
    pub labels: BTreeMap<String, String>,
    /// When what is said of it changed last; none of a ring of which nothing was said.
    pub changed_at: Option<Time>,
}

impl Keyed for InventoryRow {
    const TABLE: &'static str = "inventory";
}

impl FromColumns for InventoryRow {
    fn read(row: &impl Columns) -> Result<Self, Error> {
        let labels = row.maybe_json(11, "inventory.labels")?;
        Ok(Self {
            asset: row.parsed(0, "inventory.asset")?,
            key_type: row.parsed(1, "inventory.key_type")?,
            owner: row.maybe_parsed(2, "inventory.owner")?,
            state: AssetState::read_word(row, 3)?,
            storage: storage(&row.text(4)?)?,
            algorithm: row.maybe_text(5)?,
            version: row.number(6, "inventory.version")?,
            created_at: row.time(7, "inventory.created_at")?,
            rotated_at: row.maybe_time(8, "inventory.rotated_at")?,
            expires_at: row.maybe_time(9, "inventory.expires_at")?,
            purpose: row.text(10)?,
            labels: labels.unwrap_or_default(),
            changed_at: row.maybe_time(12, "inventory.changed_at")?,
        })
    }
}

/// What a plan needs of an asset beside its versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssetHeadRow {
    pub asset: AssetName,
    pub key_type: Word,
    /// If not the team of the key type's policy.
    pub owner: Option<Word>,
}

impl Keyed for AssetHeadRow {
    const TABLE: &'static str = "inventory";
}

impl FromColumns for AssetHeadRow {
    fn read(row: &impl Columns) -> Result<Self, Error> {
        Ok(Self {
            asset: row.parsed(0, "inventory.asset")?,
            key_type: row.parsed(1, "inventory.key_type")?,
            owner: row.maybe_parsed(2, "inventory.owner")?,
        })
    }
}

fn storage(word: &str) -> Result<Storage, Error> {
    let known = Storage::ALL.iter().find(|one| one.as_str() == word);
    known
        .copied()
        .ok_or_else(|| unreadable("inventory.storage", word))
}

/// One version of an asset whose values somebody else keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalVersionRow {
    pub asset: AssetName,
    /// From 1.
    pub number: u32,
    pub state: KeyStatus,
    /// Since when it has this state.
    pub since: Time,
    pub created_at: Time,
    /// When it became the primary.
    pub rotated_at: Option<Time>,
    /// When it ends by itself.
    pub expires_at: Option<Time>,
    pub reported_at: Time,
    /// Who said so.
    pub reported_by: String,
}

impl Keyed for ExternalVersionRow {
    const TABLE: &'static str = "external_version";
}

impl FromColumns for ExternalVersionRow {
    fn read(row: &impl Columns) -> Result<Self, Error> {
        let state = row.text(2)?;
        Ok(Self {
            asset: row.parsed(0, "external_version.asset")?,
            number: row.number(1, "external_version.number")?,
            state: KeyStatus::of(&state)
                .ok_or_else(|| unreadable("external_version.state", &state))?,
            since: row.time(3, "external_version.since")?,
            created_at: row.time(4, "external_version.created_at")?,
            rotated_at: row.maybe_time(5, "external_version.rotated_at")?,
            expires_at: row.maybe_time(6, "external_version.expires_at")?,
            reported_at: row.time(7, "external_version.reported_at")?,
            reported_by: row.text(8)?,
        })
    }
}

/// An asset whose values somebody else keeps, by when its primary became that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RotatedRow {
    pub asset: String,
    pub rotated_at: i64,
}

impl FromColumns for RotatedRow {
    fn read(row: &impl Columns) -> Result<Self, Error> {
        Ok(Self {
            asset: row.text(0)?,
            rotated_at: row.int(1)?,
        })
    }
}

/// Assets in the order of their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssetPage<T = InventoryRow> {
    pub rows: Rows<T>,
    /// The name of the last row, if there may be more behind it.
    pub next: Option<String>,
}

async fn page<E: Engine, T: Keyed>(
    engine: &E,
    (sql, values): (&'static str, &[Value<'_>]),
    limit: i64,
) -> Result<AssetPage<T>, Error> {
    let start = PageStart::default();
    let page = rows::page(engine, sql, values, (&start, limit)).await?;
    Ok(AssetPage {
        rows: page.rows,
        next: page.next.map(|next| next.key),
    })
}

async fn assets_of<E: Engine>(engine: &E, asked: &str) -> Result<Rows<InventoryRow>, Error> {
    rows::each(engine, E::DIALECT.assets.of, &[Value::Text(asked)]).await
}

impl Store {
    /// The assets behind a name in their order, of one key type or of all, at most [`MAX_PAGE`]; with `in_use` those that are
    /// not out of use.
    pub async fn assets_after(
        &self,
        (key_type, in_use): (Option<&str>, bool),
        after: &str,
        limit: i64,
    ) -> Result<AssetPage, Error> {
        let limit = limit.clamp(1, MAX_PAGE);
        let sql = match (key_type, in_use) {
            (Some(_), false) => INVENTORY_OF_TYPE,
            (Some(_), true) => IN_USE_OF_TYPE,
            (None, false) => INVENTORY,
            (None, true) => IN_USE,
        };
        let mut values: Vec<Value<'_>> = key_type.map(Value::Text).into_iter().collect();
        values.extend([Value::Text(after), Value::Int(limit)]);
        on!(self, engine => page(engine, (sql, &values), limit))
    }

    /// What a plan needs of the assets behind a name that are not out of use, in their order; at most [`MAX_PAGE`].
    pub async fn asset_heads_after(
        &self,
        after: &str,
        limit: i64,
    ) -> Result<AssetPage<AssetHeadRow>, Error> {
        let limit = limit.clamp(1, MAX_PAGE);
        let values = [Value::Text(after), Value::Int(limit)];
        on!(self, engine => page(engine, (ASSET_HEADS, &values), limit))
    }

    pub async fn asset(&self, name: &str) -> Result<Option<InventoryRow>, Error> {
        on!(self, engine => reads::one(engine, ASSET, &[Value::Text(name)]))
    }

    /// Those of these assets that there are.
    pub async fn assets_of(&self, names: &[&str]) -> Result<Rows<InventoryRow>, Error> {
        let asked = json(&names)?;
        on!(self, engine => assets_of(engine, &asked))
    }

    /// The assets of others that have a primary, by when it became that, behind an instant and a name; at most [`MAX_PAGE`].
    pub async fn rotated_after(
        &self,
        (rotated_at, asset): (i64, &str),
        limit: i64,
    ) -> Result<Vec<RotatedRow>, Error> {
        let limit = Value::Int(limit.clamp(1, MAX_PAGE));
        let values = [Value::Int(rotated_at), Value::Text(asset), limit];
        on!(self, engine => reads::all(engine, ROTATED_AFTER, &values))
    }

    /// The versions of an asset below a number, the highest first; at most [`MAX_PAGE`].
    pub async fn external_versions(
        &self,
        asset: &str,
        below: i64,
        limit: i64,
    ) -> Result<Rows<ExternalVersionRow>, Error> {
        let limit = Value::Int(limit.clamp(1, MAX_PAGE));
        let values = [Value::Text(asset), Value::Int(below), limit];
        on!(self, engine => rows::each(engine, EXTERNAL_VERSIONS, &values))
    }

    /// The version of an asset that became its primary at this instant, whatever became of it since.
    pub async fn external_version_reported(
        &self,
        asset: &str,
        rotated_at: Time,
    ) -> Result<Option<ExternalVersionRow>, Error> {
        let values = [Value::Text(asset), Value::Int(rotated_at.millis())];
        on!(self, engine => reads::one(engine, EXTERNAL_VERSION_REPORTED, &values))
    }

    /// The versions that are used or about to be, behind an asset and a number, in this order; at most [`MAX_PAGE`].
    pub async fn external_versions_in_use(
        &self,
        (asset, number): (&str, i64),
        limit: i64,
    ) -> Result<Rows<ExternalVersionRow>, Error> {
        let limit = Value::Int(limit.clamp(1, MAX_PAGE));
        let values = [Value::Text(asset), Value::Int(number), limit];
        on!(self, engine => rows::each(engine, EXTERNAL_VERSIONS_IN_USE, &values))
    }
}
