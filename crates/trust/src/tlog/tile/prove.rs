//! Proofs out of tiles. The caller says what is in a tile; which tiles it will be asked for can be had
//! before, so that it can fetch them at once.

use std::collections::BTreeMap;

use super::{HASH_LEN, TileId, hash_at, tile_in};
use crate::digest::Sha256Digest;
use crate::tlog::merkle::{self, ProofError};

/// A proof that could not be read out of the tiles.
#[derive(Debug, thiserror::Error)]
pub enum ReadError<E> {
    /// The caller could not give a tile.
    #[error("tile {} of level {} with width {}", .tile.index, .tile.level, .tile.width)]
    Get {
        /// The tile that was asked for.
        tile: TileId,
        /// Why there is none.
        source: E,
    },
    /// A tile is shorter than its width, longer than a full tile, or ends within a hash.
    #[error("tile {} of level {} with width {} has {len} bytes", .tile.index, .tile.level, .tile.width)]
    Length {
        /// The tile that was asked for.
        tile: TileId,
        /// How many bytes it had.
        len: usize,
    },
    /// There is no such leaf or no such pair of trees.
    #[error("the tree is empty")]
    Impossible(#[source] ProofError),
}

/// The leaves from `start` to before `end`, a node of some tree.
#[derive(Clone, Copy)]
struct Range {
    start: u64,
    end: u64,
}

/// A perfect subtree: 2^height leaves from `index * 2^height`.
struct Subtree {
    height: u32,
    index: u64,
}

impl Range {
    fn leaves(self) -> u64 {
        self.end - self.start
    }

    /// Both children, the left one as large a power of two as possible (RFC 6962 section 2.1).
    fn split(self) -> Option<(Self, Self)> {
        let left = 1_u64 << self.leaves().checked_sub(1)?.checked_ilog2()?;
        let middle = self.start + left;
        let halves = (self.start, middle, self.end);
        Some((
            Self {
                start: halves.0,
                end: halves.1,
            },
            Self {
                start: halves.1,
                end: halves.2,
            },
        ))
    }

    /// The perfect subtrees side by side, largest first.
    fn subtrees(self) -> impl Iterator<Item = Subtree> {
        let mut rest = self;
        std::iter::from_fn(move || {
            let height = rest
                .leaves()
                .checked_ilog2()?
                .min(rest.start.trailing_zeros());
            let subtree = Subtree {
                height,
                index: rest.start >> height,
            };
            rest.start += 1 << height;
            Some(subtree)
        })
    }
}

impl Subtree {
    /// The tile of a tree of `size` leaves that spells it out, its first hash there and how many.
    fn place(&self, size: u64) -> (TileId, usize, usize) {
        let level = (self.height / 8) as u8;
        let within = self.height % 8;
        let first = self.index << within;
        let tile = tile_in(size, level, first >> 8);
        (tile, (first & 0xff) as usize, 1 << within)
    }
}

/// The nodes of an inclusion proof, from the leaf's sibling to the root's child.
fn inclusion_nodes(index: u64, size: u64) -> Vec<Range> {
    let mut nodes = Vec::new();
    let mut at = Range {
        start: 0,
        end: size,
    };
    while let Some((left, right)) = at.split() {
        let goes_left = index < left.end;
        nodes.push(if goes_left { right } else { left });
        at = if goes_left { left } else { right };
    }
    nodes.reverse();
    nodes
}

/// The nodes of a consistency proof (RFC 6962 section 2.1.2).
fn consistency_nodes(old: u64, new: u64) -> Vec<Range> {
    let mut nodes = Vec::new();
    if old == 0 {
        return nodes;
    }
    let mut at = Range { start: 0, end: new };
    while at.end != old {
        let Some((left, right)) = at.split() else {
            break;
        };
        let goes_left = old <= left.end;
        nodes.push(if goes_left { right } else { left });
        at = if goes_left { left } else { right };
    }
    // A subtree that begins the tree is the earlier tree itself, whose root the verifier has.
    if at.start != 0 {
        nodes.push(at);
    }
    nodes.reverse();
    nodes
}

fn tiles_for(nodes: &[Range], size: u64) -> Vec<TileId> {
    let mut tiles: Vec<TileId> = nodes
        .iter()
        .flat_map(|node| node.subtrees())
        .map(|subtree| subtree.place(size).0)
        .collect();
    tiles.sort_unstable();
    tiles.dedup();
    tiles
}

/// The tiles that [`inclusion_proof`] will ask for, each once. None where there is no such leaf.
pub fn tiles_for_inclusion(index: u64, size: u64) -> Vec<TileId> {
    if index < size {
        tiles_for(&inclusion_nodes(index, size), size)
    } else {
        Vec::new()
    }
}

/// The tiles that [`consistency_proof`] will ask for, each once. None where `old` is beyond `new`.
pub fn tiles_for_consistency(old: u64, new: u64) -> Vec<TileId> {
    if old <= new {
        tiles_for(&consistency_nodes(old, new), new)
    } else {
        Vec::new()
    }
}

/// The tiles that [`root_at`] will ask for: the partial tiles of the tree.
pub fn tiles_for_root(size: u64) -> Vec<TileId> {
    let whole = Range {
        start: 0,
        end: size,
    };
    tiles_for(&[whole], size)
}

/// The proof that leaf `index` (from 0) is in the tree of `size` leaves, from the leaf's sibling to
/// the root's child. `get` is asked for tiles as they are in that tree; it may give a wider one of the
/// same place. Tiles are not authenticated: verify the proof against a root that is trusted.
pub fn inclusion_proof<E>(
    index: u64,
    size: u64,
    get: &mut impl FnMut(TileId) -> Result<Vec<u8>, E>,
) -> Result<Vec<Sha256Digest>, ReadError<E>> {
    if index >= size {
        let none = ProofError::NoSuchLeaf { index, size };
        return Err(ReadError::Impossible(none));
    }
    read(&inclusion_nodes(index, size), size, get)
}

/// The proof that the tree of `new` leaves begins with the tree of `old` leaves. `get` as for
/// [`inclusion_proof`], with tiles of the tree of `new` leaves.
pub fn consistency_proof<E>(
    old: u64,
    new: u64,
    get: &mut impl FnMut(TileId) -> Result<Vec<u8>, E>,
) -> Result<Vec<Sha256Digest>, ReadError<E>> {
    if old > new {
        return Err(ReadError::Impossible(ProofError::Shrinks { old, new }));
    }
    read(&consistency_nodes(old, new), new, get)
}

/// The root of the tree of `size` leaves. `get` as for [`inclusion_proof`].
pub fn root_at<E>(
    size: u64,
    get: &mut impl FnMut(TileId) -> Result<Vec<u8>, E>,
) -> Result<Sha256Digest, ReadError<E>> {
    let whole = Range {
        start: 0,
        end: size,
    };
    let roots = read(&[whole], size, get)?;
    Ok(roots.first().copied().unwrap_or_else(merkle::empty_root))
}

/// The hashes of the nodes. Each tile is asked for once.
fn read<E>(
    nodes: &[Range],
    size: u64,
    get: &mut impl FnMut(TileId) -> Result<Vec<u8>, E>,
) -> Result<Vec<Sha256Digest>, ReadError<E>> {
    let mut tiles = BTreeMap::new();
    for tile in tiles_for(nodes, size) {
        let bytes = get(tile).map_err(|source| ReadError::Get { tile, source })?;
        let len = bytes.len();
        if cut(tile, &bytes).is_none() {
            return Err(ReadError::Length { tile, len });
        }
        tiles.insert(tile, bytes);
    }
    let mut hashes = Vec::with_capacity(nodes.len());
    for node in nodes {
        let mut parts = Vec::new();
        for subtree in node.subtrees() {
            let (tile, first, count) = subtree.place(size);
            let bytes = tiles.get(&tile).map_or(&[][..], Vec::as_slice);
            let root = subtree_root(bytes, first, count);
            let len = bytes.len();
            parts.push(root.ok_or(ReadError::Length { tile, len })?);
        }
        hashes.extend(merkle::fold(&parts));
    }
    Ok(hashes)
}

/// The bytes of a tile out of those of the same or a wider one. `None` if they are too few, too many
/// for a full tile, or no whole number of hashes.
pub fn cut(tile: TileId, bytes: &[u8]) -> Option<&[u8]> {
    let whole = bytes.len().is_multiple_of(HASH_LEN) && bytes.len() <= tile.full().len();
    bytes.get(..tile.len()).filter(|_| whole)
}

/// The root over `count` hashes of a tile, a power of two.
fn subtree_root(tile: &[u8], first: usize, count: usize) -> Option<Sha256Digest> {
    let mut hashes: Vec<Sha256Digest> = (first..first + count)
        .map(|at| hash_at(tile, at))
        .collect::<Option<_>>()?;
    while hashes.len() > 1 {
        hashes = hashes
            .chunks_exact(2)
            .map(|pair| merkle::node_hash(pair[0], pair[1]))
            .collect();
    }
    hashes.pop()
}
