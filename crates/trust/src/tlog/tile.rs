//! Tiles and entry bundles (c2sp.org/tlog-tiles): how the tree is stored, and what is read out of it.
//!
//! A tile holds up to 256 hashes of one level; a level is 8 heights of the tree. A tile is immutable:
//! a partial one keeps its width in its name.

use crate::digest::Sha256Digest;

mod builder;
mod bundle;
mod path;
mod prove;
#[cfg(test)]
mod tests;

pub use builder::{Builder, ResumeError};
pub use bundle::{BundleError, decode_bundle, encode_bundle};
pub use path::{NotAResource, Resource};
pub use prove::{
    ReadError, consistency_proof, inclusion_proof, root_at, tiles_for_consistency,
    tiles_for_inclusion, tiles_for_root,
};

/// Hashes in a full tile and entries in a full bundle.
pub const WIDTH: u16 = 256;

/// Bytes of a hash.
pub const HASH_LEN: usize = 32;

/// The highest level a tree of 2^64-1 leaves reaches. The format itself would allow 63.
pub const MAX_LEVEL: u8 = 7;

/// One tile of one tree size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TileId {
    /// 0 holds leaf hashes; each hash above is the root of a full tile of the level below.
    pub level: u8,
    /// Number of the tile in its level, from 0.
    pub index: u64,
    /// Number of hashes, 1 to 256; 256 is a full tile.
    pub width: u16,
}

impl TileId {
    /// Bytes of the tile.
    pub fn len(self) -> usize {
        usize::from(self.width) * HASH_LEN
    }

    /// Whether it has no hashes; there is no such tile.
    pub fn is_empty(self) -> bool {
        self.width == 0
    }

    /// Whether it has all of its 256 hashes.
    pub fn is_full(self) -> bool {
        self.width == WIDTH
    }

    /// The full tile of the same place. A log may delete a partial tile once that exists.
    pub fn full(self) -> Self {
        Self {
            width: WIDTH,
            ..self
        }
    }
}

/// Number of hashes in all tiles of a level.
fn hashes_at(size: u64, level: u8) -> u64 {
    size.checked_shr(8 * u32::from(level)).unwrap_or(0)
}

/// The tile number `index` of a level as it is in a tree of `size` leaves. Its width is 0 where the
/// tree has no such tile.
fn tile_in(size: u64, level: u8, index: u64) -> TileId {
    let hashes = hashes_at(size, level);
    let width = match index.cmp(&(hashes >> 8)) {
        std::cmp::Ordering::Less => WIDTH,
        std::cmp::Ordering::Equal => (hashes & 0xff) as u16,
        std::cmp::Ordering::Greater => 0,
    };
    TileId {
        level,
        index,
        width,
    }
}

/// The last tile of each level of a tree, lowest level first, be it full or partial.
pub fn tiles_of(size: u64) -> impl Iterator<Item = TileId> {
    (0..=MAX_LEVEL).map_while(move |level| {
        let last = hashes_at(size, level).checked_sub(1)?;
        Some(tile_in(size, level, last >> 8))
    })
}

/// The tiles of a tree of `new` leaves that one of `old` leaves does not have, lowest level first.
/// None if it has not grown. Lazy: there are about `(new - old) / 256` of them.
pub fn tiles_between(old: u64, new: u64) -> impl Iterator<Item = TileId> {
    (0..=MAX_LEVEL).flat_map(move |level| {
        let (before, after) = (hashes_at(old, level), hashes_at(new, level));
        let end = if before < after {
            ((after - 1) >> 8) + 1
        } else {
            0
        };
        (before >> 8..end).map(move |index| tile_in(new, level, index))
    })
}

/// Hash number `at` of a tile's bytes.
fn hash_at(bytes: &[u8], at: usize) -> Option<Sha256Digest> {
    let (hashes, _) = bytes.as_chunks::<HASH_LEN>();
    hashes.get(at).copied().map(Sha256Digest::from_bytes)
}
