//! What the planner is told of the inventory: all that is not retired. What is under way is the engine's to add.

use std::collections::{BTreeMap, BTreeSet};

use calendar::facts::{AssetFacts, VersionFacts};
use calendar::words::VersionState;
use calendar::{AssetName, Word};
use store::{ExternalVersionRow, KeyStatus};

use super::document::calendar_time;
use super::service::InventoryService;
use crate::error::Error;

/// Rows that are read together.
const TOGETHER: i64 = 10_000;

impl InventoryService {
    /// The assets that are not retired, with the versions that are used or about to be. Those of a ring are its keys, of which
    /// the keyring knows more than rows say: they are left out here. An asset that cannot be read is an error: a plan without
    /// it would look complete. A ring that the quorum does not call routine has a critical key type, whatever its row says.
    pub async fn in_use(&self) -> Result<Vec<AssetFacts>, Error> {
        let mut versions = self.versions_in_use().await?;
        let reassigned = self.policies().reassigned().await?;
        let mut held: BTreeMap<AssetName, Word> = reassigned
            .into_iter()
            .map(|ring| (ring.asset, ring.held))
            .collect();
        let mut assets = Vec::new();
        // Key types and owners are few, and each is one text for all assets that have it.
        let mut words = BTreeSet::new();
        let mut after = String::new();
        loop {
            let page = self.store().asset_heads_after(&after, TOGETHER).await?;
            for row in page.rows.all()? {
                let key_type = held.remove(&row.asset).unwrap_or(row.key_type);
                assets.push(AssetFacts {
                    versions: versions.remove(&row.asset).unwrap_or_default(),
                    name: row.asset,
                    key_type: shared(&mut words, key_type),
                    owner: row.owner.map(|owner| shared(&mut words, owner)),
                    usage: None,
                    request: None,
                    events: Vec::new(),
                    held: false,
                });
            }
            match page.next {
                Some(next) => after = next,
                None => return Ok(assets),
            }
        }
    }

    async fn versions_in_use(&self) -> Result<BTreeMap<AssetName, Vec<VersionFacts>>, Error> {
        let mut all: BTreeMap<AssetName, Vec<VersionFacts>> = BTreeMap::new();
        let mut after = (String::new(), 0);
        loop {
            let page = (after.0.as_str(), after.1);
            let read = self.store().external_versions_in_use(page, TOGETHER);
            let read = read.await?.all()?;
            let full = i64::try_from(read.len()).is_ok_and(|count| count == TOGETHER);
            if let Some(last) = read.last() {
                after = (last.asset.to_string(), last.number.into());
            }
            for row in read {
                let facts = facts(&row);
                all.entry(row.asset).or_default().push(facts);
            }
            if !full {
                return Ok(all);
            }
        }
    }
}

fn shared(words: &mut BTreeSet<Word>, word: Word) -> Word {
    if let Some(known) = words.get(&word) {
        return known.clone();
    }
    words.insert(word.clone());
    word
}

fn facts(row: &ExternalVersionRow) -> VersionFacts {
    let since = calendar_time(row.since);
    let created_at = calendar_time(row.created_at);
    VersionFacts {
        number: row.number,
        created_at,
        expires_at: row.expires_at.map(calendar_time),
        state: match row.state {
            KeyStatus::Prepared => VersionState::Prepared {
                published_at: Some(since),
            },
            // After a roll-back it is the primary again, and as old as it was before.
            KeyStatus::Primary => VersionState::Primary {
                since: row.rotated_at.map_or(since, calendar_time),
            },
            KeyStatus::Secondary => VersionState::Secondary { since },
            KeyStatus::Retired => VersionState::Retired { since },
            KeyStatus::Archived => VersionState::Archived { since },
            KeyStatus::Revoked => VersionState::Revoked { since },
        },
    }
}
