//! What the planner is told of the inventory. What is under way is the engine's and is handed in.

use std::collections::BTreeMap;

use calendar::facts::{AssetFacts, OpenEvent, Request, UsageFacts, VersionFacts};
use calendar::words::VersionState;
use calendar::{AssetName, Facts};
use store::{AssetState, ExternalVersionRow, InventoryRow, KeyRow, KeyStatus};
use trust::Time;

use super::document::calendar_time;
use super::service::{Inventory, ring_of};
use crate::error::Error;

/// Rows that are read together.
const TOGETHER: i64 = 10_000;

/// The newest keys of a ring that the planner is told of, besides those in use.
const NEWEST: i64 = 8;

/// What is known of an asset besides its versions.
#[derive(Debug, Clone, Default)]
pub struct AssetEvents {
    pub events: Vec<OpenEvent>,
    pub request: Option<Request>,
    pub usage: Option<UsageFacts>,
    pub held: bool,
}

impl Inventory {
    /// The facts of all assets that are in use, with what `under_way` says of them. An asset that cannot be read is not left
    /// out: a plan without it would look complete.
    pub async fn facts(
        &self,
        mut under_way: BTreeMap<AssetName, AssetEvents>,
    ) -> Result<Facts, Error> {
        let rows = self.rows().await?;
        let mut versions = self.versions_of_all(&rows).await?;
        let assets = rows
            .into_iter()
            .filter(|row| row.state != AssetState::Retired)
            .map(|row| {
                let known = under_way.remove(&row.asset).unwrap_or_default();
                AssetFacts {
                    versions: versions.remove(&row.asset).unwrap_or_default(),
                    name: row.asset,
                    key_type: row.key_type,
                    owner: row.owner,
                    usage: known.usage,
                    request: known.request,
                    events: known.events,
                    held: known.held,
                }
            });
        Ok(Facts {
            assets: assets.collect(),
            ..Facts::default()
        })
    }

    async fn versions_of_all(
        &self,
        rows: &[InventoryRow],
    ) -> Result<BTreeMap<AssetName, Vec<VersionFacts>>, Error> {
        let mut all: BTreeMap<AssetName, Vec<VersionFacts>> = BTreeMap::new();
        let mut after = (String::new(), 0);
        loop {
            let page = (after.0.as_str(), after.1);
            let read = self.store().external_versions_after(page, TOGETHER).await?;
            let read = read.all()?;
            let full = i64::try_from(read.len()).is_ok_and(|count| count == TOGETHER);
            if let Some(last) = read.last() {
                after = (last.asset.to_string(), last.number.into());
            }
            for row in read {
                let facts = of_external(&row);
                all.entry(row.asset).or_default().extend(facts);
            }
            if !full {
                break;
            }
        }
        let in_use = self.store().keys_in_use().await?.all()?;
        for row in rows {
            let Some(ring) = ring_of(&row.asset) else {
                continue;
            };
            let newest = self.store().newest_keys(ring, NEWEST).await?.all()?;
            let of_ring = in_use.iter().filter(|key| key.ring.as_str() == ring);
            let keys: BTreeMap<u32, &KeyRow> = of_ring
                .chain(&newest)
                .map(|key| (key.number, key))
                .collect();
            let facts = keys.values().filter_map(|key| of_key(key));
            all.insert(row.asset.clone(), facts.collect());
        }
        Ok(all)
    }
}

fn of_external(row: &ExternalVersionRow) -> Option<VersionFacts> {
    let since = calendar_time(row.since);
    Some(VersionFacts {
        number: row.number,
        created_at: calendar_time(row.created_at),
        expires_at: row.expires_at.map(calendar_time),
        state: state(row.state, since, Some(since)),
    })
}

/// None where the row lacks the time of its own state, which the schema excludes.
fn of_key(row: &KeyRow) -> Option<VersionFacts> {
    let published_at = calendar_time(row.published_at);
    let since: Option<Time> = match row.status {
        KeyStatus::Prepared => Some(row.published_at),
        KeyStatus::Primary => row.activated_at,
        KeyStatus::Secondary => row.demoted_at,
        KeyStatus::Retired => row.retired_at,
        KeyStatus::Archived => row.archived_at,
        KeyStatus::Revoked => row.revocation.map(|revocation| revocation.revoked_at),
    };
    Some(VersionFacts {
        number: row.number,
        created_at: published_at,
        expires_at: None,
        state: state(row.status, calendar_time(since?), Some(published_at)),
    })
}

fn state(
    status: KeyStatus,
    since: calendar::Time,
    published_at: Option<calendar::Time>,
) -> VersionState {
    match status {
        KeyStatus::Prepared => VersionState::Prepared { published_at },
        KeyStatus::Primary => VersionState::Primary { since },
        KeyStatus::Secondary => VersionState::Secondary { since },
        KeyStatus::Retired => VersionState::Retired { since },
        KeyStatus::Archived => VersionState::Archived { since },
        KeyStatus::Revoked => VersionState::Revoked { since },
    }
}
