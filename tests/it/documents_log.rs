//! The worked example of docs/LOG.md, line by line.

use trust::leaf::Leaf;
use trust::tlog::merkle::{Frontier, leaf_hash};
use trust::tlog::note::VerifierKey;
use trust::tlog::policy::WitnessPolicy;
use trust::tlog::proof::TlogProof;
use trust::tlog::tile::Builder;
use trust::{Sha256Digest, Time};

use crate::support::process::repository;

/// Indented blocks of the section, in their order.
fn blocks() -> Vec<String> {
    let text = std::fs::read_to_string(repository("docs/LOG.md")).expect("docs/LOG.md");
    let (_, section) = text.split_once("## A worked example").expect("the example");
    let mut blocks = Vec::new();
    let mut block = String::new();
    let mut lines = section.lines().peekable();
    while let Some(line) = lines.next() {
        let goes_on = lines.peek().is_some_and(|next| next.starts_with("    "));
        if let Some(line) = line.strip_prefix("    ") {
            block.push_str(line);
            block.push('\n');
        } else if line.is_empty() && !block.is_empty() && goes_on && block.contains("tlog-proof") {
            // Empty lines are part of a receipt.
            block.push('\n');
        } else if !block.is_empty() {
            blocks.push(std::mem::take(&mut block));
        }
    }
    blocks.extend((!block.is_empty()).then_some(block));
    blocks
}

#[test]
fn the_worked_example_of_the_log_holds() {
    let blocks = blocks();
    let [first, second, third, hashes, keys, receipt] = blocks.as_slice() else {
        panic!("{} blocks: {blocks:#?}", blocks.len());
    };
    let leaves = [first, second, third].map(|leaf| leaf.trim_end());
    let mut tree = Frontier::new();
    let mut builder = Builder::new();
    let mut told = String::new();
    for (number, leaf) in leaves.iter().enumerate() {
        Leaf::parse(leaf.as_bytes()).expect("a leaf");
        let hash = leaf_hash(leaf.as_bytes());
        tree.push(hash);
        builder.push(hash);
        told.push_str(&format!("h{number} {hash}\n"));
    }
    told.push_str(&format!("root {}\n", tree.root()));
    assert_eq!(*hashes, told);
    let Ok(Leaf::Signature(signature)) = Leaf::parse(leaves[1].as_bytes()) else {
        panic!("the second leaf is of a signature");
    };
    assert_eq!(signature.sig_hash, Sha256Digest::of(&[0; 64]));
    let salt: Vec<u8> = (0..16).collect();
    let opened = [salt.as_slice(), b"eyJhbGciOiJFUzI1NiJ9.cmVjb3Jk"].concat();
    assert_eq!(signature.input_commit, Sha256Digest::of(&opened));

    let (log, witness) = keys.trim_end().split_once('\n').expect("two keys");
    let log: VerifierKey = log.parse().expect("a vkey");
    let policy = format!("witness w1 {witness}\nquorum w1\n");
    let policy = WitnessPolicy::parse(&policy).expect("a policy");
    let proof = TlogProof::parse(receipt.as_bytes()).expect("a receipt");
    let logged = proof
        .verify(leaf_hash(leaves[1].as_bytes()), &[log], &policy)
        .expect("the receipt holds");
    assert_eq!((logged.index, logged.checkpoint.size), (1, 3));
    assert_eq!(logged.checkpoint.root, tree.root());
    let at: Time = "2026-11-22T09:10:02.999Z".parse().expect("an instant");
    assert_eq!(logged.witnessed.at, Some(at));

    let tiles = builder.take_tiles();
    let [(tile, bytes)] = tiles.as_slice() else {
        panic!("one tile");
    };
    let path = trust::tlog::tile::Resource::Tile(*tile).path();
    assert_eq!((path.as_str(), bytes.len()), ("tile/0/000.p/3", 96));
}
