//! Partial tiles and bundles: which of them a published tree makes superfluous, and those that an
//! earlier process left.

use futures_util::TryStreamExt as _;
use trust::error_chain;
use trust::tlog::tile::{Resource, WIDTH};

use super::storage::Storage;

/// Whether a published tree of so many leaves has the full one.
pub fn is_covered(resource: &Resource, published: u64) -> bool {
    let (level, index) = match resource {
        Resource::Tile(tile) => (tile.level, tile.index),
        Resource::Entries { index, .. } => (0, *index),
    };
    let shift = 8 * (u32::from(level) + 1);
    published.checked_shr(shift).unwrap_or(0) > index
}

pub fn is_partial(resource: &Resource) -> bool {
    match resource {
        Resource::Tile(tile) => !tile.is_full(),
        Resource::Entries { width, .. } => *width != WIDTH,
    }
}

/// Removes every covered partial file that is stored. A process remembers only those that it
/// wrote itself; this finds the others, once after it first published.
pub async fn remove_all(storage: Storage, published: u64) {
    let mut removed = 0_u64;
    let mut files = storage.files("tile");
    loop {
        match files.try_next().await {
            Ok(Some(path)) => {
                let resource = Resource::parse(&path);
                if resource.is_ok_and(|it| is_partial(&it) && is_covered(&it, published)) {
                    storage.remove(&path).await;
                    removed += 1;
                }
            }
            Ok(None) => break,
            Err(error) => {
                let error = error_chain(&error);
                tracing::warn!(
                    error,
                    "partial tiles of earlier processes were not all found"
                );
                break;
            }
        }
    }
    if removed > 0 {
        tracing::info!(removed, "partial tiles of earlier processes were removed");
    }
}
