use super::*;
use crate::tlog::merkle::{Frontier, leaf_hash, node_hash};
use crate::tlog::tests::Signer;

#[test]
fn a_receipt_for_two_leaves() {
    let (left, right) = (leaf_hash(b"left"), leaf_hash(b"right"));
    let mut tree = Frontier::new();
    tree.push(left);
    tree.push(right);
    assert_eq!(tree.root(), node_hash(left, right));
    for log in [Signer::log("log"), Signer::ecdsa_log("log")] {
        let proof = TlogProof {
            index: 1,
            extra: Some(b"more".to_vec()),
            hashes: vec![left],
            checkpoint: log.checkpoint(2, tree.root()),
        };
        let read = TlogProof::parse(proof.to_string().as_bytes()).unwrap();
        assert_eq!(read, proof);
        let (logs, policy) = ([log.key], WitnessPolicy::none());
        let logged = read.verify(right, &logs, &policy).unwrap();
        assert_eq!((logged.index, logged.checkpoint.size), (1, 2));
        assert!(logged.witnessed.complete && logged.witnessed.at.is_none());
        assert!(read.verify(left, &logs, &policy).is_err());
    }
}
