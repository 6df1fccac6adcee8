//! Export: the documents that an import reads back to the same.

use std::collections::BTreeMap;

use calendar::{AssetName, Word};
use serde::Serialize;
use store::InventoryRow;

use super::document::AssetDocument;
use super::service::InventoryService;
use crate::error::Error;

/// A JSON document of assets.
#[derive(Debug, Serialize)]
pub struct AssetsFile {
    pub assets: Vec<AssetDocument>,
}

/// Rows that are read together.
const TOGETHER: i64 = 5_000;

/// The documents of these rows.
pub fn documents(rows: &[InventoryRow]) -> Vec<AssetDocument> {
    rows.iter().map(AssetDocument::from).collect()
}

impl InventoryService {
    /// All assets by their names, with the key types that they are planned by. A row that cannot be read ends it: an export that misses one would be a wrong answer.
    pub async fn rows(&self) -> Result<Vec<InventoryRow>, Error> {
        let reassigned = self.policies().reassigned().await?.into_iter();
        let held: BTreeMap<AssetName, Word> =
            reassigned.map(|ring| (ring.asset, ring.held)).collect();
        let mut all = Vec::new();
        let mut after = String::new();
        loop {
            let page = self.store().assets_after((None, false), &after, TOGETHER);
            let page = page.await?;
            for mut row in page.rows.all()? {
                if let Some(held) = held.get(&row.asset) {
                    row.key_type = held.clone();
                }
                all.push(row);
            }
            match page.next {
                Some(next) => after = next,
                None => return Ok(all),
            }
        }
    }
}
