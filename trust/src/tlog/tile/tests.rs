use std::collections::BTreeMap;

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
fn paths_of_the_specification() {
    let tile = TileId {
        level: 0,
        index: 1_234_067,
        width: 256,
    };
    assert_eq!(Resource::Tile(tile).path(), "tile/0/x001/x234/067");
}

#[test]
fn every_proof_of_a_tree_that_was_stored_at_every_size() {
    const LAST: u64 = 700;
    let mut builder = Builder::new();
    let mut stored = Stored::default();
    let mut roots = vec![builder.root()];
    for number in 0..LAST {
        builder.push(leaf(number));
        stored.write(&mut builder);
        roots.push(builder.root());
    }
    let root = |size: u64| roots[usize::try_from(size).unwrap()];
    for size in (0..=LAST).step_by(37).chain(250..=260).chain([512, LAST]) {
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
