//! Export: the documents that an import reads back to the same.

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
    /// All assets by their names. A row that cannot be read ends it: an export that misses one would be a wrong answer.
    pub async fn rows(&self) -> Result<Vec<InventoryRow>, Error> {
        let mut all = Vec::new();
        let mut after = String::new();
        loop {
            let page = self.store().assets_after((None, false), &after, TOGETHER);
            let page = page.await?;
            all.extend(page.rows.all()?);
            match page.next {
                Some(next) => after = next,
                None => return Ok(all),
            }
        }
    }
}
