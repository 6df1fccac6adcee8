use super::*;
use crate::tlog::merkle::{Frontier, leaf_hash};
use crate::tlog::tests::Signer;

#[test]
fn the_first_checkpoint_needs_no_proof() {
    let log = Signer::log("log");
    let mut tree = Frontier::new();
    tree.push(leaf_hash(b"leaf"));
    let request = AddCheckpoint {
        old: 0,
        proof: vec![],
        note: log.checkpoint(1, tree.root()),
    };
    assert_eq!(
        AddCheckpoint::parse(request.to_string().as_bytes()).unwrap(),
        request
    );
    let seen = Seen {
        size: 1,
        root: tree.root(),
    };
    assert_eq!(decide(None, &request, &[log.key.clone()]), Ok(seen));
    assert_eq!(
        decide(Some(&seen), &request, &[log.key]),
        Err(Refusal::Conflict { size: 1 })
    );
}
