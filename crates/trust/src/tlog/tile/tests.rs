use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::tlog::merkle::{Frontier, leaf_hash, verify_consistency, verify_inclusion};

/// A log's storage, in which nothing is written twice.
#[derive(Default)]
struct Stored(BTreeMap<TileId, Vec<u8>>);

impl Stored {
    fn write(&mut self, builder: &mut Builder) {
        for (tile, bytes) in builder.take_tiles() {
            assert_eq!(bytes.len(), tile.len());
            assert!(self.0.insert(tile, bytes).is_none(), "{tile:?} twice");
        }
    }

    fn get(&self) -> impl FnMut(TileId) -> Result<Vec<u8>, TileId> {
        |tile| self.0.get(&tile).cloned().ok_or(tile)
    }
}

fn leaf(number: u64) -> Sha256Digest {
    leaf_hash(&number.to_be_bytes())
}

#[test]
fn every_proof_of_a_tree_that_was_stored_at_every_size() {
    const LAST: u64 = 600;
    let mut builder = Builder::new();
    let mut stored = Stored::default();
    let mut roots = vec![builder.root()];
    for number in 0..LAST {
        builder.push(leaf(number));
        stored.write(&mut builder);
        roots.push(builder.root());
    }
    let root = |size: u64| roots[usize::try_from(size).unwrap()];
    for size in [0, 1, 2, 3, 7, 100, 255, 256, 257, 511, 513, LAST] {
        assert_eq!(root_at(size, &mut stored.get()).unwrap(), root(size));
        for index in 0..size {
            let proof = inclusion_proof(index, size, &mut stored.get()).unwrap();
            verify_inclusion(index, size, leaf(index), &proof, root(size)).unwrap();
        }
        for old in 0..=size {
            let proof = consistency_proof(old, size, &mut stored.get()).unwrap();
            verify_consistency(old, size, root(old), root(size), &proof).unwrap();
        }
    }
}

#[test]
fn a_resumed_builder_goes_on_as_if_it_had_never_stopped() {
    let mut whole = Builder::new();
    let mut stored = Stored::default();
    let mut frontier = Frontier::new();
    for number in 0..66_000 {
        whole.push(leaf(number));
        frontier.push(leaf(number));
        let size = number + 1;
        if number % 997 == 0 || size % 65_536 < 3 || size % 8192 == 0 {
            stored.write(&mut whole);
            let mut resumed = Builder::resume(size, |tile| stored.0.get(&tile).cloned()).unwrap();
            assert_eq!(resumed.root(), frontier.root());
            assert_eq!(resumed.take_tiles(), vec![]);
            whole = resumed;
        }
        assert_eq!(whole.size(), size);
    }
    assert_eq!(whole.root(), frontier.root());
}

fn paths() -> Vec<(&'static str, Resource)> {
    let tile = |level, index, width| {
        Resource::Tile(TileId {
            level,
            index,
            width,
        })
    };
    let entries = |index, width| Resource::Entries { index, width };
    vec![
        ("tile/0/000", tile(0, 0, 256)),
        ("tile/0/000.p/1", tile(0, 0, 1)),
        ("tile/7/000.p/255", tile(7, 0, 255)),
        ("tile/0/x001/000", tile(0, 1000, 256)),
        ("tile/0/x001/234.p/5", tile(0, 1234, 5)),
        ("tile/1/x001/x234/067.p/8", tile(1, 1_234_067, 8)),
        (
            "tile/0/x072/x057/x594/x037/x927/935",
            tile(0, u64::MAX >> 8, 256),
        ),
        ("tile/entries/x001/x234/067", entries(1_234_067, 256)),
        ("tile/entries/999.p/17", entries(999, 17)),
    ]
}

#[test]
fn every_path_has_one_spelling() {
    for (path, resource) in paths() {
        assert_eq!(resource.path(), path);
        assert_eq!(Resource::parse(path), Ok(resource), "{path}");
    }
    for path in [
        "",
        "tile",
        "tile/0",
        "tile/0/",
        "tile//000",
        "/tile/0/000",
        "tile/0/000/",
        "tile/0/0",
        "tile/0/0000",
        "tile/00/000",
        "tile/+0/000",
        "tile/8/000",
        "tile/63/000",
        "tile/64/000",
        "tile/256/000",
        "tile/data/000",
        "tile/Entries/000",
        "tile/0/001/000",
        "tile/0/x001",
        "tile/0/x001/x000",
        "tile/0/x000/000",
        "tile/0/x000/x001/000",
        "tile/0/X001/000",
        "tile/0/x01/000",
        "tile/0/-01",
        "tile/0/000.p",
        "tile/0/000.p/",
        "tile/0/000.p/0",
        "tile/0/000.p/01",
        "tile/0/000.p/256",
        "tile/0/000.p/65537",
        "tile/0/000.p/1/",
        "tile/0/000.p/1.p/1",
        "tile/0/x000.p/1/000",
        "tile/0/../000",
        "tile/0/x001/234\n",
        "tile/7/001",
        "tile/0/x072/x057/x594/x037/x927/936",
        "tile/0/x999/x999/x999/x999/x999/x999/999",
        "tile/entries/x072/x057/x594/x037/x927/936",
    ] {
        assert!(Resource::parse(path).is_err(), "{path}");
    }
}

#[test]
fn the_tiles_of_the_specification() {
    // c2sp.org/tlog-tiles, section Partial Tiles.
    let tile = |level, index, width| TileId {
        level,
        index,
        width,
    };
    let all: Vec<TileId> = tiles_between(0, 70_000).collect();
    let full = |level| {
        all.iter()
            .filter(|t| t.level == level && t.is_full())
            .count()
    };
    assert_eq!((full(0), full(1), full(2)), (273, 1, 0));
    let partial: Vec<TileId> = all.iter().copied().filter(|t| !t.is_full()).collect();
    let expected = [tile(0, 273, 112), tile(1, 1, 17), tile(2, 0, 1)];
    assert_eq!(partial, expected);
    assert_eq!(tiles_of(70_000).collect::<Vec<_>>(), expected);
    assert_eq!(
        tiles_of(256).collect::<Vec<_>>(),
        [tile(0, 0, 256), tile(1, 0, 1)]
    );
    assert_eq!(tiles_of(0).count(), 0);
    assert_eq!(tiles_of(u64::MAX).count(), 8);
}

/// All tiles of a tree, by the specification's definition.
fn all_tiles(size: u64) -> Vec<TileId> {
    let mut tiles = Vec::new();
    let mut hashes = size;
    for level in 0.. {
        if hashes == 0 {
            return tiles;
        }
        for index in 0..hashes.div_ceil(256) {
            let width = u16::try_from((hashes - 256 * index).min(256)).unwrap();
            tiles.push(TileId {
                level,
                index,
                width,
            });
        }
        hashes /= 256;
    }
    tiles
}

/// A tree whose leaves are all alike, so that any tile of any size can be had without the leaves.
struct Uniform(Vec<Sha256Digest>);

impl Uniform {
    fn new() -> Self {
        let mut heights = vec![leaf_hash(b"")];
        while heights.len() < 64 {
            let below = heights[heights.len() - 1];
            heights.push(crate::tlog::merkle::node_hash(below, below));
        }
        Self(heights)
    }

    fn root(&self, size: u64) -> Sha256Digest {
        let subtrees: Vec<Sha256Digest> = (0..64)
            .rev()
            .filter(|height| size >> height & 1 == 1)
            .map(|height| self.0[height])
            .collect();
        crate::tlog::merkle::fold(&subtrees).unwrap_or_else(crate::tlog::merkle::empty_root)
    }

    /// Only what a tree of that size has.
    fn tile(&self, size: u64, tile: TileId) -> Result<Vec<u8>, TileId> {
        let hashes = size >> (8 * tile.level);
        let end = tile
            .index
            .checked_mul(256)
            .and_then(|start| start.checked_add(u64::from(tile.width)));
        if tile.width == 0 || end.is_none_or(|end| end > hashes) {
            return Err(tile);
        }
        let hash = self.0[usize::from(tile.level) * 8];
        Ok(hash.as_bytes().repeat(usize::from(tile.width)))
    }
}

/// Sizes of every magnitude, and those next to powers of two.
fn size() -> impl Strategy<Value = u64> {
    let near =
        (0..64u32, -2..=2i64).prop_map(|(height, by)| (1u64 << height).saturating_add_signed(by));
    let any = (any::<u64>(), 0..64u32).prop_map(|(bits, shift)| bits >> shift);
    prop_oneof![near, any, Just(u64::MAX)]
}

proptest! {
    #[test]
    fn trees_of_any_size_are_proved_from_their_tiles(
        new in size(), index: prop::sample::Index, old: prop::sample::Index,
    ) {
        let tree = Uniform::new();
        let mut asked = Vec::new();
        let mut get = |tile| {
            asked.push(tile);
            tree.tile(new, tile)
        };
        prop_assert_eq!(root_at(new, &mut get).unwrap(), tree.root(new));
        prop_assert_eq!(std::mem::take(&mut asked), tiles_for_root(new));
        // A partial tile for each group of eight bits that is not zero.
        let bytes = new.to_be_bytes();
        prop_assert_eq!(tiles_for_root(new).len(), bytes.iter().filter(|b| **b > 0).count());

        let near = |index: prop::sample::Index| (index.index(usize::MAX) as u64).checked_rem(new);
        if let Some(index) = near(index) {
            for index in [index, 0, new - 1] {
                let mut asked = Vec::new();
                let mut get = |tile| {
                    asked.push(tile);
                    tree.tile(new, tile)
                };
                let proof = inclusion_proof(index, new, &mut get).unwrap();
                prop_assert_eq!(asked, tiles_for_inclusion(index, new));
                verify_inclusion(index, new, tree.0[0], &proof, tree.root(new)).unwrap();
            }
        }
        for old in [near(old).unwrap_or(0), 0, new] {
            let mut asked = Vec::new();
            let mut get = |tile| {
                asked.push(tile);
                tree.tile(new, tile)
            };
            let proof = consistency_proof(old, new, &mut get).unwrap();
            prop_assert_eq!(asked, tiles_for_consistency(old, new));
            verify_consistency(old, new, tree.root(old), tree.root(new), &proof).unwrap();
        }
    }

    #[test]
    fn resumed_from_the_tiles_of_any_size(size in size()) {
        let tree = Uniform::new();
        let resumed = Builder::resume(size, |tile| tree.tile(size, tile).ok());
        if size > crate::tlog::merkle::MAX_SIZE {
            prop_assert_eq!(resumed.unwrap_err(), ResumeError::TooLarge(size));
        } else {
            let mut resumed = resumed.unwrap();
            prop_assert_eq!(resumed.root(), tree.root(size));
            if size < crate::tlog::merkle::MAX_SIZE {
                resumed.push(tree.0[0]);
                prop_assert_eq!(resumed.root(), tree.root(size + 1));
                let taken: Vec<TileId> = resumed.take_tiles().into_iter().map(|t| t.0).collect();
                let mut expected: Vec<TileId> = tiles_between(size, size + 1).collect();
                // Full ones first.
                expected.sort_by_key(|tile| (!tile.is_full(), tile.level));
                prop_assert_eq!(taken, expected);
            }
        }
    }

    #[test]
    fn new_tiles_are_those_that_the_old_tree_has_not(old in 0..200_000u64, by in 0..200_000u64) {
        let before: std::collections::BTreeSet<TileId> = all_tiles(old).into_iter().collect();
        let fresh: Vec<TileId> = all_tiles(old + by)
            .into_iter()
            .filter(|tile| !before.contains(tile))
            .collect();
        prop_assert_eq!(tiles_between(old, old + by).collect::<Vec<_>>(), fresh);
        prop_assert_eq!(tiles_between(old + by, old).count(), 0);
    }

    #[test]
    fn what_is_taken_are_the_new_tiles(cuts in prop::collection::vec(0..700u64, 0..12)) {
        let mut builder = Builder::new();
        let mut stored = Stored::default();
        for by in cuts {
            let old = builder.size();
            (old..old + by).for_each(|number| builder.push(leaf(number)));
            let before = stored.0.len();
            stored.write(&mut builder);
            let fresh = tiles_between(old, old + by);
            let mut count = 0;
            for tile in fresh {
                prop_assert!(stored.0.contains_key(&tile), "{:?}", tile);
                count += 1;
            }
            prop_assert_eq!(stored.0.len() - before, count);
            let root = root_at(builder.size(), &mut stored.get()).unwrap();
            prop_assert_eq!(root, builder.root());
        }
    }

    #[test]
    fn bundles_have_one_encoding(
        entries in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..=256),
    ) {
        let bytes = encode_bundle(entries.iter().map(Vec::as_slice)).unwrap();
        prop_assert_eq!(decode_bundle(&bytes).unwrap(), entries);
        prop_assert!(decode_bundle(&bytes[..bytes.len() - 1]).is_err());
        prop_assert!(decode_bundle(&[&bytes[..], &[0]].concat()).is_err());
    }
}

#[test]
fn bundles_that_are_none() {
    assert_eq!(decode_bundle(&[]), Err(BundleError::Count(0)));
    assert_eq!(encode_bundle([]), Err(BundleError::Count(0)));
    assert_eq!(decode_bundle(&[0, 0]).unwrap(), [b""]);
    assert_eq!(decode_bundle(&[0]), Err(BundleError::Truncated(0)));
    assert_eq!(
        decode_bundle(&[0, 1, 7, 0, 2, 7]),
        Err(BundleError::Truncated(1))
    );
    assert_eq!(decode_bundle(&[0; 514]), Err(BundleError::Count(257)));
    assert_eq!(encode_bundle([&b""[..]; 257]), Err(BundleError::Count(257)));
    let long = vec![0; 65_536];
    assert_eq!(
        encode_bundle([b"", &long[..]]),
        Err(BundleError::EntryTooLong(1))
    );
    assert_eq!(encode_bundle([&long[1..]]).unwrap().len(), 2 + 65_535);
}

#[test]
fn a_wider_tile_will_do_and_a_damaged_one_will_not() {
    let tree = Uniform::new();
    let wider = |tile: TileId| Some(tree.0[8 * usize::from(tile.level)].as_bytes().repeat(256));
    assert_eq!(
        Builder::resume(70_000, wider).unwrap().root(),
        tree.root(70_000)
    );
    let mut get = |tile| wider(tile).ok_or(tile);
    assert_eq!(root_at(70_000, &mut get).unwrap(), tree.root(70_000));
    let proof = inclusion_proof(69_999, 70_000, &mut get).unwrap();
    verify_inclusion(69_999, 70_000, tree.0[0], &proof, tree.root(70_000)).unwrap();

    let lengths: [fn(TileId) -> usize; 4] = [
        |tile| tile.len() - 1,
        |tile| tile.len() - 32,
        |tile| tile.len() + 1,
        |_| 257 * 32,
    ];
    for length in lengths {
        let mut bad = |tile| Ok::<_, TileId>(vec![0; length(tile)]);
        assert!(matches!(
            root_at(70_000, &mut bad),
            Err(ReadError::Length { .. })
        ));
        let resumed = Builder::resume(70_000, |tile| bad(tile).ok());
        assert!(matches!(resumed, Err(ResumeError::Length { .. })));
    }
    let missing = tiles_for_root(70_000)[0];
    let none = Builder::resume(70_000, |_| None);
    assert_eq!(none.unwrap_err(), ResumeError::Missing(missing));
    let absent = inclusion_proof(0, 70_000, &mut Err::<Vec<u8>, TileId>);
    assert!(matches!(absent, Err(ReadError::Get { tile, source }) if tile == source));
}

#[test]
fn what_cannot_be_proved() {
    let mut never = |tile| -> Result<Vec<u8>, TileId> { panic!("{tile:?}") };
    assert!(matches!(
        inclusion_proof(5, 5, &mut never),
        Err(ReadError::Impossible(_))
    ));
    assert!(matches!(
        consistency_proof(6, 5, &mut never),
        Err(ReadError::Impossible(_))
    ));
    assert_eq!(consistency_proof(0, 5, &mut never).unwrap(), []);
    assert_eq!(consistency_proof(5, 5, &mut never).unwrap(), []);
    assert_eq!(tiles_for_inclusion(5, 5), []);
    assert_eq!(tiles_for_consistency(6, 5), []);
}
