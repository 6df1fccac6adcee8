//! Changes of the inventory: assets whose values somebody else keeps, and what is said of rings beside their keys.

use std::collections::BTreeMap;

use calendar::key_type::Storage;
use calendar::{AssetName, Word};
use trust::{Name, Time};

use crate::ceremonies;
use crate::decode::canonical;
use crate::engine::{Columns, Connection, Engine, Value, expect_rows, guarded, json};
use crate::error::{Error, Subject};
use crate::inventory::ExternalVersionRow;
use crate::keys::KeyStatus;
use crate::rotation_policies::{self, KeyTypeRow, PolicyRow};
use crate::rotation_reports;
use crate::rotation_steps::RotationReport;
use crate::statements::statements;

statements! {
    EXTERNAL_ASSET = "SELECT retired_at FROM external_asset WHERE id = $1";
    DESCRIBE = "UPDATE external_asset
        SET key_type = $2, purpose = $3, owner = $4, storage = $5, labels = $6, changed_at = $7, retired_at = $8
        WHERE id = $1 AND retired_at IS NULL AND changed_at = $9";
    DESCRIBE_RING = "INSERT INTO ring_asset (ring, key_type, purpose, owner, labels, changed_at, changed_by)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        ON CONFLICT (ring) DO UPDATE SET key_type = excluded.key_type, purpose = excluded.purpose,
            owner = excluded.owner, labels = excluded.labels, changed_at = excluded.changed_at,
            changed_by = excluded.changed_by
        WHERE ring_asset.changed_at = $8";
    NEWEST = "SELECT number FROM external_version WHERE asset = $1 ORDER BY number DESC LIMIT 1";
    PRIMARY_SINCE = "SELECT rotated_at FROM external_version WHERE asset = $1 AND state = 'primary'";
    RETIRE_SECONDARY = "UPDATE external_version SET state = 'retired', since = $2
        WHERE asset = $1 AND state = 'secondary'";
    DEMOTE_PRIMARY = "UPDATE external_version SET state = 'secondary', since = $2
        WHERE asset = $1 AND state = 'primary'";
    INSERT_PRIMARY = "INSERT INTO external_version
        (asset, number, state, since, created_at, rotated_at, expires_at, reported_at, reported_by)
        VALUES ($1, $2, 'primary', $3, $3, $3, $4, $5, $6)";
    /// In the words of the index of what is in use.
    RETIRE_VERSIONS = "UPDATE external_version SET state = 'retired', since = $2
        WHERE asset = $1 AND state IN ('prepared', 'primary', 'secondary')";
    TURN = "UPDATE external_version SET state = $4, since = $5 WHERE asset = $1 AND number = $2 AND state = $3";
}

/// Assets that are put in by one statement.
const TOGETHER: usize = 1_000;

/// What is said of an asset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssetDescription {
    pub key_type: Word,
    pub purpose: String,
    /// If not the team of the key type's policy.
    pub owner: Option<Word>,
    pub labels: BTreeMap<String, String>,
}

/// An asset that is registered, with the version that is its primary, or was that before the asset went out of use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAssetRow {
    pub asset: AssetName,
    pub description: AssetDescription,
    pub storage: Storage,
    /// The number of that version.
    pub version: u32,
    pub rotated_at: Time,
    pub expires_at: Option<Time>,
    pub registered_at: Time,
    pub registered_by: String,
    /// It is out of use already.
    pub retired_at: Option<Time>,
}

/// A version that leaves one state for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VersionTurn {
    pub number: u32,
    /// It is in this one, or nothing is changed.
    pub from: KeyStatus,
    pub to: KeyStatus,
}

/// A change of the inventory or of what assets rotate by.
#[derive(Debug, Clone)]
pub enum InventoryChange {
    /// All of them or none. While this is written nothing else is, so they are few.
    Register(Vec<NewAssetRow>),
    /// Of one that is not retired; retired from `retired_at` on, and then never changed again. A conflict unless its last change
    /// was at `was`.
    Describe {
        asset: AssetName,
        description: AssetDescription,
        storage: Storage,
        retired_at: Option<i64>,
        was: i64,
        at: i64,
    },
    /// A conflict unless the last change was at `was`, or there was none.
    DescribeRing {
        ring: Name,
        description: AssetDescription,
        by: String,
        was: Option<i64>,
        at: i64,
    },
    /// The next primary of an asset; the one before becomes secondary, and what was secondary retires.
    Report(ExternalVersionRow),
    /// Versions of an asset in this order, all or none.
    Turn {
        asset: AssetName,
        turns: Vec<VersionTurn>,
        at: i64,
    },
    /// Somebody says that a step of a rotation that happens elsewhere is done; a conflict unless it is waited for and nobody
    /// said so before.
    ReportStep {
        event: String,
        step: String,
        report: RotationReport,
    },
    /// Only as the next version of its key type.
    SetPolicy(Box<PolicyRow>),
    AddKeyType(Box<KeyTypeRow>),
    /// executed → closed, for a ceremony on the policy of a critical key type: the same as [`Self::SetPolicy`].
    DecidePolicy {
        ceremony: String,
        policy: Box<PolicyRow>,
        /// The last leaf on this policy that the decision was compared with: there is none after it.
        last: Option<i64>,
        transcript: Vec<u8>,
        at: i64,
    },
}

pub(crate) async fn apply<E: Engine>(
    tx: &mut E::Transaction,
    change: &InventoryChange,
    index: i64,
) -> Result<(), Error> {
    match change {
        InventoryChange::Register(assets) => register::<E>(tx, assets).await,
        InventoryChange::Describe {
            asset,
            description,
            storage,
            retired_at,
            was,
            at,
        } => {
            let times = (*was, *at);
            describe(tx, asset, description, (*storage, *retired_at), times).await
        }
        InventoryChange::DescribeRing {
            ring,
            description,
            by,
            was,
            at,
        } => describe_ring(tx, ring, description, by, (*was, *at)).await,
        InventoryChange::Report(version) => report(tx, version).await,
        InventoryChange::Turn { asset, turns, at } => turn(tx, asset, turns, *at).await,
        InventoryChange::ReportStep {
            event,
            step,
            report,
        } => rotation_reports::report(tx, event, step, report).await,
        InventoryChange::SetPolicy(policy) => rotation_policies::set(tx, policy, index).await,
        InventoryChange::AddKeyType(key_type) => rotation_policies::add_type(tx, key_type).await,
        InventoryChange::DecidePolicy {
            ceremony,
            policy,
            last,
            transcript,
            at,
        } => {
            ceremonies::close_policy(tx, ceremony, transcript, *at).await?;
            let decisions = E::DIALECT.decisions;
            rotation_policies::decide(tx, policy, decisions, (*last, index)).await
        }
    }
}

async fn register<E: Engine>(tx: &mut E::Transaction, assets: &[NewAssetRow]) -> Result<(), Error> {
    for some in assets.chunks(TOGETHER) {
        let mut rows = Vec::with_capacity(some.len());
        let mut versions = Vec::with_capacity(some.len());
        for new in some {
            let description = &new.description;
            let registered_at = new.registered_at.millis();
            let state = match new.retired_at {
                Some(_) => KeyStatus::Retired,
                None => KeyStatus::Primary,
            };
            rows.push(serde_json::json!([
                new.asset.as_str(),
                description.key_type.as_str(),
                description.purpose,
                description.owner.as_ref().map(Word::as_str),
                new.storage.as_str(),
                canonical(&description.labels)?,
                registered_at,
                new.registered_by,
                new.retired_at.map(Time::millis),
            ]));
            versions.push(serde_json::json!([
                new.asset.as_str(),
                new.version,
                new.rotated_at.millis(),
                new.expires_at.map(Time::millis),
                registered_at,
                new.registered_by,
                state.as_str(),
            ]));
        }
        let statements = E::DIALECT.assets;
        for (sql, rows) in [
            (statements.insert, json(&rows)?),
            (statements.insert_versions, json(&versions)?),
        ] {
            let written = tx.execute(sql, &[Value::Text(&rows)]).await;
            expect_rows(
                written.map_err(|error| error.about(Subject::Asset))?,
                some.len(),
            )?;
        }
    }
    Ok(())
}

/// It is there and in use.
async fn expect_in_use<C: Connection>(tx: &mut C, asset: &AssetName) -> Result<(), Error> {
    let asked = [Value::Text(asset.as_str())];
    match tx.fetch_optional(EXTERNAL_ASSET, &asked).await? {
        None => Err(Error::NotFound {
            what: Subject::Asset,
        }),
        Some(row) if row.maybe_int(0)?.is_some() => Err(Error::Already {
            what: Subject::Asset,
            why: "is retired",
        }),
        Some(_) => Ok(()),
    }
}

async fn describe<C: Connection>(
    tx: &mut C,
    asset: &AssetName,
    description: &AssetDescription,
    (storage, retired_at): (Storage, Option<i64>),
    (was, at): (i64, i64),
) -> Result<(), Error> {
    expect_in_use(tx, asset).await?;
    let labels = canonical(&description.labels)?;
    let values = [
        Value::Text(asset.as_str()),
        Value::Text(description.key_type.as_str()),
        Value::Text(&description.purpose),
        Value::MaybeText(description.owner.as_ref().map(Word::as_str)),
        Value::Text(storage.as_str()),
        Value::Text(&labels),
        Value::Int(at),
        Value::MaybeInt(retired_at),
        Value::Int(was),
    ];
    let described = guarded(tx, DESCRIBE, &values, Subject::Asset).await;
    described.map_err(|error| error.about(Subject::Asset))?;
    if let Some(since) = retired_at {
        tx.execute(RETIRE_VERSIONS, &[values[0], Value::Int(since)])
            .await?;
    }
    Ok(())
}

async fn describe_ring<C: Connection>(
    tx: &mut C,
    ring: &Name,
    description: &AssetDescription,
    by: &str,
    (was, at): (Option<i64>, i64),
) -> Result<(), Error> {
    // Fails where there is no such ring.
    crate::rings::ring_version(tx, ring.as_str()).await?;
    let labels = canonical(&description.labels)?;
    let values = [
        Value::Text(ring.as_str()),
        Value::Text(description.key_type.as_str()),
        Value::Text(&description.purpose),
        Value::MaybeText(description.owner.as_ref().map(Word::as_str)),
        Value::Text(&labels),
        Value::Int(at),
        Value::Text(by),
        Value::MaybeInt(was),
    ];
    let described = guarded(tx, DESCRIBE_RING, &values, Subject::Asset).await;
    described.map_err(|error| error.about(Subject::Asset))
}

async fn turn<C: Connection>(
    tx: &mut C,
    asset: &AssetName,
    turns: &[VersionTurn],
    at: i64,
) -> Result<(), Error> {
    expect_in_use(tx, asset).await?;
    for turn in turns {
        let values = [
            Value::Text(asset.as_str()),
            Value::Int(turn.number.into()),
            Value::Text(turn.from.as_str()),
            Value::Text(turn.to.as_str()),
            Value::Int(at),
        ];
        let turned = guarded(tx, TURN, &values, Subject::AssetVersion).await;
        turned.map_err(|error| error.about(Subject::AssetVersion))?;
    }
    Ok(())
}

/// Of two that report the same number one gets through here.
async fn report<C: Connection>(tx: &mut C, version: &ExternalVersionRow) -> Result<(), Error> {
    let Some(rotated_at) = version.rotated_at else {
        return Err(Error::Malformed {
            what: "a reported rotation without its time",
        });
    };
    expect_in_use(tx, &version.asset).await?;
    let asset = Value::Text(version.asset.as_str());
    let newest = tx.fetch_optional(NEWEST, &[asset]).await?;
    let newest = newest.map(|row| row.int(0)).transpose()?.unwrap_or(0);
    let since = tx.fetch_optional(PRIMARY_SINCE, &[asset]).await?;
    let since = since.map(|row| row.int(0)).transpose()?;
    let follows = i64::from(version.number) == newest + 1;
    if !follows || since.is_some_and(|since| since >= rotated_at.millis()) {
        return Err(Error::conflict(Subject::AssetVersion));
    }
    let at = [asset, Value::Int(rotated_at.millis())];
    tx.execute(RETIRE_SECONDARY, &at).await?;
    tx.execute(DEMOTE_PRIMARY, &at).await?;
    let values = [
        asset,
        Value::Int(version.number.into()),
        Value::Int(rotated_at.millis()),
        Value::MaybeInt(version.expires_at.map(Time::millis)),
        Value::Int(version.reported_at.millis()),
        Value::Text(&version.reported_by),
    ];
    let reported = guarded(tx, INSERT_PRIMARY, &values, Subject::AssetVersion).await;
    reported.map_err(|error| error.about(Subject::AssetVersion))?;
    rotation_reports::reported(tx, version.asset.as_str(), version.reported_at).await
}
