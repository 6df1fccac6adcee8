//! Tiles that are missing from the storage, written again from the leaves of the database.

use trust::tlog::tile::{self, Builder, Resource};

use super::{Error, Growing, Integrator, STEP};
use crate::tiles;
use crate::tree_store::TreeStore;
use store::TreeRow;

impl<L: TreeStore> Integrator<L> {
    /// From the first leaf on; or, of a log whose old bodies are pruned, from what is published and there: a copy of
    /// the storage that is older than the database holds that much. Slow, and right or refused; leaves without bodies
    /// would give wrong tiles for ever.
    pub(super) async fn rebuild(&self, tree: &TreeRow, published: u64) -> Result<Builder, Error> {
        let from = match tree.pruned {
            0 => 0,
            _ => published - published % u64::from(tile::WIDTH),
        };
        let begun = match from < tree.pruned.unsigned_abs() {
            true => None,
            false => self.up_to(from).await?,
        };
        let Some(builder) = begun else {
            return Err(Error::Pruned {
                missing: self.missing(tree.size.unsigned_abs()).await?,
                below: tree.pruned,
            });
        };
        tracing::warn!(
            from,
            size = tree.size,
            "tiles are missing; rebuilding them from the leaves"
        );
        let mut growing = Growing {
            tree: tree.clone(),
            builder,
            bundle: Vec::new(),
            published: 0,
            cosignatures: String::new(),
        };
        let mut at = from.cast_signed();
        while at < tree.size {
            let to = (at + STEP).min(tree.size);
            self.write(&mut growing, at, to).await?;
            at = to;
        }
        match growing.builder.root() == tree.root {
            true => Ok(growing.builder),
            false => Err(Error::Forked {
                size: tree.size as u64,
                with: "the leaves in the database",
            }),
        }
    }

    /// The tree of the first leaves by its tiles, if they are there.
    async fn up_to(&self, size: u64) -> Result<Option<Builder>, Error> {
        let held = match self.tiles.fetch(tile::tiles_for_root(size), size).await {
            Err(error) if error.is_missing() => return Ok(None),
            held => held?,
        };
        let builder = Builder::resume(size, |tile| held.get(&tile).cloned())
            .map_err(|error| Error::Tiles(tiles::Error::Garbled(error.to_string())))?;
        Ok(Some(builder))
    }

    /// What the root of the tree needs and is not there, by name.
    async fn missing(&self, size: u64) -> Result<String, Error> {
        let mut missing = Vec::new();
        for tile in tile::tiles_for_root(size) {
            match self.tiles.fetch(vec![tile], size).await {
                Err(error) if error.is_missing() => missing.push(Resource::Tile(tile).path()),
                fetched => drop(fetched?),
            }
        }
        Ok(missing.join(", "))
    }
}
