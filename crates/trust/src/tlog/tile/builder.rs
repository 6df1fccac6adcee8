//! What the integrator holds: the right edge of the tree and the tile that grows on each level.

use std::mem;

use super::{HASH_LEN, TileId, WIDTH, tiles_for_root};
use crate::digest::Sha256Digest;
use crate::tlog::merkle::{Frontier, MAX_SIZE};

const FULL_LEN: usize = WIDTH as usize * HASH_LEN;

/// Grows a tree and cuts it into tiles. It holds at most 255 hashes for each level, and the full tiles
/// since the last [`Builder::take_tiles`].
#[derive(Clone, Debug)]
pub struct Builder {
    frontier: Frontier,
    levels: Vec<Level>,
    full: Vec<(TileId, Vec<u8>)>,
}

/// The tile of a level that is not full yet.
#[derive(Clone, Debug)]
struct Level {
    index: u64,
    hashes: Vec<u8>,
    /// Whether it has grown since it was last taken.
    grown: bool,
}

/// The tiles do not resume the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResumeError {
    /// A partial tile of that tree is not there.
    #[error("tile {} of level {} with width {} is missing", .0.index, .0.level, .0.width)]
    Missing(TileId),
    /// A tile is shorter than its width, longer than a full tile, or ends within a hash.
    #[error("tile {} of level {} with width {} has {len} bytes", .tile.index, .tile.level, .tile.width)]
    Length {
        /// The tile.
        tile: TileId,
        /// How many bytes it had.
        len: usize,
    },
    /// No tree of this log is that large.
    #[error("the tree size {0} exceeds 2^63-1")]
    TooLarge(u64),
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}

impl Builder {
    /// A tree without leaves.
    pub fn new() -> Self {
        Self {
            frontier: Frontier::new(),
            levels: Vec::new(),
            full: Vec::new(),
        }
    }

    /// The tree of `size` leaves out of its partial tiles, those of
    /// [`tiles_for_root`]. A wider tile of the same place will do. What the
    /// tiles hold cannot be checked here: compare [`Self::root`] with the root that was committed.
    pub fn resume(
        size: u64,
        mut get: impl FnMut(TileId) -> Option<Vec<u8>>,
    ) -> Result<Self, ResumeError> {
        if size > MAX_SIZE {
            return Err(ResumeError::TooLarge(size));
        }
        let mut levels: Vec<Level> = super::tiles_of(size)
            .map(|last| Level::empty(super::hashes_at(size, last.level) >> 8))
            .collect();
        for tile in tiles_for_root(size) {
            let bytes = get(tile).ok_or(ResumeError::Missing(tile))?;
            let len = bytes.len();
            let bytes = super::prove::cut(tile, &bytes).ok_or(ResumeError::Length { tile, len })?;
            if let Some(level) = levels.get_mut(usize::from(tile.level)) {
                level.hashes.extend_from_slice(bytes);
            }
        }
        // Highest level first: the order of a right edge.
        let mut subtrees = Vec::new();
        for level in levels.iter().rev() {
            let mut edge = Frontier::new();
            let (hashes, _) = level.hashes.as_chunks::<HASH_LEN>();
            hashes
                .iter()
                .for_each(|hash| edge.push(Sha256Digest::from_bytes(*hash)));
            subtrees.extend_from_slice(edge.hashes());
        }
        let frontier =
            Frontier::from_parts(size, &subtrees).map_err(|_| ResumeError::TooLarge(size))?;
        Ok(Self {
            frontier,
            levels,
            full: Vec::new(),
        })
    }

    /// Appends a leaf by its [`leaf_hash`](crate::tlog::merkle::leaf_hash).
    pub fn push(&mut self, leaf: Sha256Digest) {
        let Self {
            frontier,
            levels,
            full,
        } = self;
        frontier.push_with(leaf, |height, hash| {
            if height.is_multiple_of(8) {
                append(levels, full, (height / 8) as u8, hash);
            }
        });
    }

    /// The tiles that are new since the last call (or since the tree was resumed), as
    /// [`tiles_between`](super::tiles_between) names them: the full ones first, then those partial
    /// ones that have grown. What was taken is not given again: write it, or start anew from what is
    /// stored.
    pub fn take_tiles(&mut self) -> Vec<(TileId, Vec<u8>)> {
        let mut tiles = mem::take(&mut self.full);
        for (number, level) in (0..).zip(&mut self.levels) {
            let width = (level.hashes.len() / HASH_LEN) as u16;
            if mem::take(&mut level.grown) && width > 0 {
                let tile = TileId {
                    level: number,
                    index: level.index,
                    width,
                };
                tiles.push((tile, level.hashes.clone()));
            }
        }
        tiles
    }

    /// The number of leaves.
    pub fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// The right edge of the tree.
    pub fn frontier(&self) -> &Frontier {
        &self.frontier
    }

    /// The root of the tree.
    pub fn root(&self) -> Sha256Digest {
        self.frontier.root()
    }
}

impl Level {
    fn empty(index: u64) -> Self {
        Self {
            index,
            hashes: Vec::with_capacity(FULL_LEN),
            grown: false,
        }
    }
}

fn append(
    levels: &mut Vec<Level>,
    full: &mut Vec<(TileId, Vec<u8>)>,
    number: u8,
    hash: Sha256Digest,
) {
    let at = usize::from(number);
    if levels.len() <= at {
        levels.resize_with(at + 1, || Level::empty(0));
    }
    let level = &mut levels[at];
    level.hashes.extend_from_slice(hash.as_bytes());
    level.grown = true;
    if level.hashes.len() == FULL_LEN {
        let tile = TileId {
            level: number,
            index: level.index,
            width: WIDTH,
        };
        let done = mem::replace(level, Level::empty(tile.index + 1));
        full.push((tile, done.hashes));
    }
}
