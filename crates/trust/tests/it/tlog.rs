//! The log against implementations of other people: the Merkle tree of `ct-merkle`, and the tiles,
//! checkpoints and notes of `tlog_tiles` and `signed_note`, the crates of an operator of public logs.

use std::collections::HashMap;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use ct_merkle::mem_backed_tree::MemoryBackedTree;
use proptest::prelude::*;
use sha2::Sha256;
use tlog_tiles::{Hash, Tile, TileHashReader, TileReader};
use trust::tlog::checkpoint::{Checkpoint, open, signature_line};
use trust::tlog::merkle::{Frontier, leaf_hash, verify_consistency, verify_inclusion};
use trust::tlog::note::{Note, VerifierKey};
use trust::tlog::tile::{
    Builder, Resource, TileId, consistency_proof, decode_bundle, encode_bundle, inclusion_proof,
    tiles_between,
};
use trust::{PublicKey, Sha256Digest};

/// Tiles and bundles as files by their paths.
#[derive(Default)]
struct Files(HashMap<String, Vec<u8>>);

impl Files {
    /// A log that was integrated at each of these sizes.
    fn of(leaves: &[Vec<u8>], sizes: &[usize]) -> (Self, Builder) {
        let (mut files, mut builder) = (Self::default(), Builder::new());
        let mut from = 0;
        for size in sizes {
            let fresh = &leaves[from..*size];
            fresh.iter().for_each(|leaf| builder.push(leaf_hash(leaf)));
            for (tile, bytes) in builder.take_tiles() {
                files.0.insert(Resource::Tile(tile).path(), bytes);
                if tile.level == 0 {
                    let start = usize::try_from(tile.index).unwrap() * 256;
                    let entries = &leaves[start..start + usize::from(tile.width)];
                    let entries = encode_bundle(entries.iter().map(Vec::as_slice)).unwrap();
                    let (index, width) = (tile.index, tile.width);
                    files
                        .0
                        .insert(Resource::Entries { index, width }.path(), entries);
                }
            }
            from = *size;
        }
        (files, builder)
    }

    fn get(&self, path: &str) -> Result<Vec<u8>, String> {
        self.0.get(path).cloned().ok_or_else(|| path.to_owned())
    }

    fn tiles(&self) -> impl FnMut(TileId) -> Result<Vec<u8>, String> {
        |tile| self.get(&Resource::Tile(tile).path())
    }
}

/// Their path names the height of the tiles, which c2sp.org/tlog-tiles has fixed.
fn our_path(theirs: &Tile) -> String {
    theirs.path().replacen("tile/8/", "tile/", 1)
}

impl TileReader for Files {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[Tile]) -> Result<Vec<Vec<u8>>, tlog_tiles::Error> {
        let read = tiles.iter().map(|tile| self.get(&our_path(tile)));
        Ok(read.collect::<Result<_, _>>().unwrap())
    }

    fn save_tiles(&self, _: &[Tile], _: &[Vec<u8>]) {}
}

fn leaves(count: usize) -> Vec<Vec<u8>> {
    (0..count)
        .map(|n| format!("leaf {n}").into_bytes())
        .collect()
}

fn theirs(hash: Sha256Digest) -> Hash {
    Hash(*hash.as_bytes())
}

fn all_theirs(hashes: &[Sha256Digest]) -> Vec<Hash> {
    hashes.iter().copied().map(theirs).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// Roots and proofs are the same bytes as those of `ct-merkle`.
    #[test]
    fn ct_merkle_agrees(size in 1..800usize, index: prop::sample::Index, old: prop::sample::Index) {
        let leaves = leaves(size);
        let (files, builder) = Files::of(&leaves, &[size]);
        let mut tree = MemoryBackedTree::<Sha256, Vec<u8>>::new();
        let mut frontier = Frontier::new();
        let (index, old) = (index.index(size), 1 + old.index(size));
        let mut old_root = None;
        for leaf in &leaves {
            tree.push(leaf.clone());
            frontier.push(leaf_hash(leaf));
            if frontier.size() == old as u64 {
                prop_assert_eq!(tree.root().as_bytes().to_vec(), frontier.root().as_bytes().to_vec());
                old_root = Some(frontier.root());
            }
        }
        let root = builder.root();
        prop_assert_eq!(tree.root().as_bytes().to_vec(), root.as_bytes().to_vec());
        prop_assert_eq!(frontier.root(), root);

        let bytes = |proof: &[Sha256Digest]| proof.iter().flat_map(|h| *h.as_bytes()).collect::<Vec<u8>>();
        let size = size as u64;
        let proof = inclusion_proof(index as u64, size, &mut files.tiles()).unwrap();
        prop_assert_eq!(bytes(&proof), tree.prove_inclusion(index).as_bytes().to_vec());
        verify_inclusion(index as u64, size, leaf_hash(&leaves[index]), &proof, root).unwrap();
        let proof = consistency_proof(old as u64, size, &mut files.tiles()).unwrap();
        let by = leaves.len() - old;
        prop_assert_eq!(bytes(&proof), tree.prove_consistency(by).as_bytes().to_vec());
        verify_consistency(old as u64, size, old_root.unwrap(), root, &proof).unwrap();
    }

    #[test]
    fn tlog_tiles_names_the_same_tiles(old in 0..1u64 << 40, by in 0..200_000u64, index: u64) {
        let expected = Tile::new_tiles(8, old, old + by).iter().map(our_path).collect::<Vec<_>>();
        let tiles = tiles_between(old, old + by);
        prop_assert_eq!(tiles.map(|tile| Resource::Tile(tile).path()).collect::<Vec<_>>(), expected);
        let entries = Tile::new(8, 0, index >> 8, 256, true);
        let path = Resource::Entries { index: index >> 8, width: 256 }.path();
        prop_assert_eq!(path, our_path(&entries).replacen("data", "entries", 1));
    }
}

/// A client reads our files, authenticates them by the root alone and makes proofs that we accept; and
/// it accepts ours.
#[test]
fn tlog_tiles_reads_our_files() {
    let leaves = leaves(70_000);
    let (files, builder) = Files::of(&leaves, &[1, 255, 256, 257, 1000, 65_535, 65_537, 70_000]);
    let (size, root) = (builder.size(), builder.root());
    let reader = TileHashReader::new(size, theirs(root), &files);
    assert_eq!(tlog_tiles::tree_hash(size, &reader).unwrap(), theirs(root));
    for index in [0, 1, 255, 256, 65_535, 65_536, 65_791, 65_792, 69_999_u64] {
        let leaf = leaf_hash(&leaves[usize::try_from(index).unwrap()]);
        let proof = inclusion_proof(index, size, &mut files.tiles()).unwrap();
        verify_inclusion(index, size, leaf, &proof, root).unwrap();
        let proof = all_theirs(&proof);
        assert_eq!(
            tlog_tiles::prove_record(size, index, &reader).unwrap(),
            proof
        );
        tlog_tiles::check_record(&proof, size, theirs(root), index, theirs(leaf)).unwrap();
    }
    let mut earlier = Frontier::new();
    for (leaf, old) in leaves.iter().zip(1..) {
        earlier.push(leaf_hash(leaf));
        if [
            1, 2, 255, 256, 257, 1000, 65_535, 65_536, 65_537, 69_999, 70_000,
        ]
        .contains(&old)
        {
            let proof = consistency_proof(old, size, &mut files.tiles()).unwrap();
            verify_consistency(old, size, earlier.root(), root, &proof).unwrap();
            let proof = all_theirs(&proof);
            assert_eq!(tlog_tiles::prove_tree(size, old, &reader).unwrap(), proof);
            let old_root = theirs(earlier.root());
            tlog_tiles::check_tree(&proof, size, theirs(root), old, old_root).unwrap();
        }
    }
    let bundle = files.get("tile/entries/273.p/112").unwrap();
    assert_eq!(decode_bundle(&bundle).unwrap(), leaves[273 * 256..]);
    let other = TileHashReader::new(size, theirs(leaf_hash(b"")), &files);
    assert!(
        tlog_tiles::prove_record(size, 0, &other).is_err(),
        "it does authenticate"
    );
}

#[test]
fn signed_note_accepts_our_checkpoints_and_we_theirs() {
    let pair = Ed25519KeyPair::generate().unwrap();
    let public = PublicKey::ed25519(pair.public_key().as_ref()).unwrap();
    let key = VerifierKey::for_log("example.com/log", &public).unwrap();
    let verifier = signed_note::StandardVerifier::new(&key.to_string()).unwrap();
    let known = signed_note::VerifierList::new(vec![Box::new(verifier)]);
    let checkpoint = Checkpoint {
        origin: "example.com/log".to_owned(),
        size: 70_000,
        root: leaf_hash(b"root"),
    };
    let text = checkpoint.body();
    let read = tlog_tiles::Checkpoint::from_bytes(text.as_bytes()).unwrap();
    assert_eq!((read.origin(), read.size()), ("example.com/log", 70_000));
    assert_eq!(*read.hash(), theirs(checkpoint.root));
    assert_eq!(read.to_bytes(), text.as_bytes());

    let line = signature_line(&key, pair.sign(text.as_bytes()).as_ref()).unwrap();
    let mut note = Note {
        text,
        signatures: vec![line],
    };
    // A cosignature is a signature by an unknown key to them.
    let witness = VerifierKey::cosigner("witness", &[7; 32]).unwrap();
    let cosignature = trust::tlog::cosignature::build(&witness, 5, &[7; 64]).unwrap();
    note.signatures.push(cosignature);
    let written = note.to_string();
    let theirs = signed_note::Note::from_bytes(written.as_bytes()).unwrap();
    assert_eq!(theirs.to_bytes(), written.as_bytes());
    let (verified, unknown) = theirs.verify(&known).unwrap();
    assert_eq!((verified.len(), unknown.len()), (1, 1));
    assert_eq!(verified[0].id(), key.id());
    assert_eq!(unknown[0].name(), "witness");
    let ours = Note::parse(&theirs.to_bytes()).unwrap();
    assert_eq!(open(&ours, &[key]).unwrap(), checkpoint);

    let forged = written.replace("70000", "70001");
    let theirs = signed_note::Note::from_bytes(forged.as_bytes()).unwrap();
    assert!(theirs.verify(&known).is_err());
}
