//! Leaves that are published and missing from the database: of a database that was restored from a
//! backup, or a standby that lacked the last seconds.
//!
//! Bundles are read as they stand. Who writes them back holds them against the signed root; who only
//! withholds a key because of them may believe them.

use std::collections::BTreeSet;

use trust::Kid;
use trust::leaf::{ActKind, Leaf};
use trust::tlog::note::Note;
use trust::tlog::tile::{self, Resource, decode_bundle};

use super::tiles::{self, Tiles};
use store::Store;

/// Bodies of published leaves from `from` (an index) to `to`, in order; `size` leaves are published.
pub async fn published(
    tiles: &Tiles,
    from: u64,
    to: u64,
    size: u64,
) -> Result<Vec<Vec<u8>>, tiles::Error> {
    let width = u64::from(tile::WIDTH);
    let mut bodies = Vec::new();
    let mut at = from;
    while at < to {
        let (index, skipped) = (at / width, at % width);
        let end = to.min((index + 1) * width);
        let bundle = bundle(tiles, index, width.min(size - index * width)).await?;
        let leaves = decode_bundle(&bundle).map_err(|e| tiles::Error::Garbled(e.to_string()))?;
        let wanted = leaves.into_iter().take((end - index * width) as usize);
        bodies.extend(wanted.skip(skipped as usize).map(<[u8]>::to_vec));
        if bodies.len() as u64 != end - from {
            let what = format!("the bundle at leaf {} is too short", index * width);
            return Err(tiles::Error::Garbled(what));
        }
        at = end;
    }
    Ok(bodies)
}

/// As it was at this width, or wider.
async fn bundle(tiles: &Tiles, index: u64, width: u64) -> Result<Vec<u8>, tiles::Error> {
    let full = Resource::Entries {
        index,
        width: tile::WIDTH,
    };
    let exact = u16::try_from(width).unwrap_or(tile::WIDTH);
    let exact = Resource::Entries {
        index,
        width: exact,
    };
    for resource in [exact, full] {
        if let Some(bytes) = tiles.get(resource).await? {
            return Ok(bytes.to_vec());
        }
    }
    Err(tiles::Error::Missing(exact.path()))
}

/// Keys that the missing leaves revoke. What cannot be read is left out: nothing is signed or said
/// about signatures meanwhile, and this only takes a stolen key out of the key set.
pub async fn revoked(store: &Store, tiles: &Tiles) -> BTreeSet<Kid> {
    let missing = async {
        let note = tiles.storage().checkpoint().await.ok()??;
        let note = Note::parse(&note.bytes).ok()?;
        let size = note.text.lines().nth(1)?.parse().ok()?;
        let head = store.log_size().await.ok()?.unsigned_abs();
        match published(tiles, head, size, size).await {
            Ok(bodies) => Some(bodies),
            Err(error) => {
                let error = trust::error_chain(&error);
                tracing::error!(error, "the missing leaves cannot be read");
                None
            }
        }
    };
    let revokes = |body: &Vec<u8>| match Leaf::parse(body) {
        Ok(Leaf::Act(act)) if act.kind == ActKind::Key && act.action == "revoke" => {
            act.previous_kid.or(act.kid)
        }
        _ => None,
    };
    missing
        .await
        .unwrap_or_default()
        .iter()
        .filter_map(revokes)
        .collect()
}
