//! Tiles, read and written. What is read is checked by whoever computes with it: a tile proves
//! nothing until its hashes lead to a signed root.

use std::collections::HashMap;
use std::sync::Arc;

use moka::future::Cache;
use tokio::task::JoinSet;
use trust::Sha256Digest;
use trust::tlog::tile::{self, Resource, TileId};

use super::storage::{self, Storage};

/// Bytes of tiles that are kept in memory. The levels above the lowest of a log of ten million
/// leaves are 1.3 MB.
const KEPT: u64 = 32 << 20;

/// Files under way at once.
const AT_ONCE: usize = 16;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Storage(#[from] storage::Error),
    #[error("{0} is missing from the log's storage")]
    Missing(String),
    #[error("the log's tiles are inconsistent: {0}")]
    Garbled(String),
}

impl Error {
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Missing(_))
    }

    pub fn is_fatal(&self) -> bool {
        match self {
            Self::Storage(error) => matches!(error, storage::Error::Differs { .. }),
            Self::Missing(_) | Self::Garbled(_) => true,
        }
    }
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Tiles {
    storage: Storage,
    kept: Cache<Resource, Arc<Vec<u8>>>,
}

/// Tiles by what was asked for; one of them may be wider than asked.
pub type TileBodies = HashMap<TileId, Vec<u8>>;

impl Tiles {
    pub fn new(storage: Storage) -> Self {
        let weight =
            |_: &Resource, bytes: &Arc<Vec<u8>>| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let kept = Cache::builder().max_capacity(KEPT).weigher(weight).build();
        Self { storage, kept }
    }

    pub fn storage(&self) -> &Storage {
        &self.storage
    }

    /// One file of the log, from memory if it was read before: it never changes.
    pub async fn get(&self, resource: Resource) -> Result<Option<Arc<Vec<u8>>>, Error> {
        if let Some(bytes) = self.kept.get(&resource).await {
            return Ok(Some(bytes));
        }
        let Some(bytes) = self.storage.get(&resource.path()).await? else {
            return Ok(None);
        };
        let bytes = Arc::new(bytes);
        self.kept.insert(resource, bytes.clone()).await;
        Ok(Some(bytes))
    }

    /// Tiles as the tree of `size` leaves has them or wider; all tiles of that tree or a later one
    /// are in the storage, a partial one perhaps only as its full one.
    pub async fn fetch(&self, asked: Vec<TileId>, size: u64) -> Result<TileBodies, Error> {
        let mut held = TileBodies::with_capacity(asked.len());
        for tile in asked {
            held.insert(tile, self.one(tile, size).await?);
        }
        Ok(held)
    }

    async fn one(&self, tile: TileId, size: u64) -> Result<Vec<u8>, Error> {
        let hashes = size.checked_shr(8 * u32::from(tile.level)).unwrap_or(0);
        let there = hashes.saturating_sub(tile.index * u64::from(tile::WIDTH));
        let widest = TileId {
            width: u16::try_from(there).unwrap_or(tile::WIDTH).min(tile::WIDTH),
            ..tile
        };
        for candidate in [widest, tile.full(), tile] {
            if candidate.width < tile.width {
                continue;
            }
            if let Some(bytes) = self.get(Resource::Tile(candidate)).await? {
                return Ok(bytes.to_vec());
            }
        }
        Err(Error::Missing(Resource::Tile(tile).path()))
    }

    /// The root that the tree of `size` leaves had, by the tiles of the tree of `now` leaves.
    pub async fn root_at(&self, size: u64, now: u64) -> Result<Sha256Digest, Error> {
        let held = self.fetch(tile::tiles_for_root(size), now).await?;
        tile::root_at(size, &mut from(&held)).map_err(garbled)
    }

    /// Leaf `index` in the tree of `size` leaves, by the tiles of the tree of `now` leaves.
    pub async fn inclusion(
        &self,
        index: u64,
        size: u64,
        now: u64,
    ) -> Result<Vec<Sha256Digest>, Error> {
        let held = self
            .fetch(tile::tiles_for_inclusion(index, size), now)
            .await?;
        tile::inclusion_proof(index, size, &mut from(&held)).map_err(garbled)
    }

    /// That the tree of `new` leaves begins with that of `old`.
    pub async fn consistency(
        &self,
        old: u64,
        new: u64,
        now: u64,
    ) -> Result<Vec<Sha256Digest>, Error> {
        let held = self
            .fetch(tile::tiles_for_consistency(old, new), now)
            .await?;
        tile::consistency_proof(old, new, &mut from(&held)).map_err(garbled)
    }

    /// Writes what is new, several files at a time; safe to repeat.
    pub async fn write(&self, files: Vec<(Resource, Vec<u8>)>) -> Result<(), Error> {
        let mut under_way = JoinSet::new();
        for (resource, bytes) in files {
            if under_way.len() == AT_ONCE {
                finish(under_way.join_next().await)?;
            }
            let tiles = self.clone();
            under_way.spawn(async move {
                tiles
                    .storage
                    .put_immutable(&resource.path(), &bytes)
                    .await?;
                if matches!(resource, Resource::Tile(_)) {
                    tiles.kept.insert(resource, Arc::new(bytes)).await;
                }
                Ok(())
            });
        }
        while let Some(done) = under_way.join_next().await {
            finish(Some(done))?;
        }
        Ok(())
    }
}

fn finish(
    done: Option<Result<Result<(), storage::Error>, tokio::task::JoinError>>,
) -> Result<(), Error> {
    match done {
        Some(Ok(written)) => Ok(written?),
        Some(Err(error)) => Err(Error::Garbled(error.to_string())),
        None => Ok(()),
    }
}

fn from(held: &TileBodies) -> impl FnMut(TileId) -> Result<Vec<u8>, Error> {
    |tile| {
        held.get(&tile)
            .cloned()
            .ok_or_else(|| Error::Missing(Resource::Tile(tile).path()))
    }
}

fn garbled(error: tile::ReadError<Error>) -> Error {
    match error {
        tile::ReadError::Get { source, .. } => source,
        other => Error::Garbled(other.to_string()),
    }
}
