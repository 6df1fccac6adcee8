//! A log in the hands of a test: proofs by the definition of RFC 6962, checkpoints by any key.

use trust::Sha256Digest;
use trust::tlog::checkpoint::{Checkpoint, signature_line};
use trust::tlog::merkle::{leaf_hash, node_hash};
use trust::tlog::note::{Note, VerifierKey};
use trust::tlog::proof::TlogProof;

use super::NewKey;

/// The checkpoint of a log with these leaves, signed.
pub fn checkpoint<T: AsRef<[u8]>>(origin: &str, key: &NewKey, leaves: &[T]) -> Note {
    let text = Checkpoint {
        origin: origin.to_owned(),
        size: leaves.len() as u64,
        root: root(leaves),
    }
    .body();
    let verifier = VerifierKey::for_log(origin, &key.public()).unwrap();
    let line = signature_line(&verifier, &key.sign(text.as_bytes())).unwrap();
    Note {
        text,
        signatures: vec![line],
    }
}

/// The proof of one of the leaves.
pub fn proof<T: AsRef<[u8]>>(origin: &str, key: &NewKey, leaves: &[T], index: usize) -> TlogProof {
    TlogProof {
        index: index as u64,
        extra: None,
        hashes: path(index, &hashes(leaves)),
        checkpoint: checkpoint(origin, key, leaves),
    }
}

fn hashes<T: AsRef<[u8]>>(leaves: &[T]) -> Vec<Sha256Digest> {
    leaves.iter().map(|leaf| leaf_hash(leaf.as_ref())).collect()
}

/// RFC 6962 section 2.1, by its definition.
/// The root of these leaves.
pub fn root<T: AsRef<[u8]>>(leaves: &[T]) -> Sha256Digest {
    match leaves {
        [] => Sha256Digest::of(b""),
        some => top(&hashes(some)),
    }
}

fn top(hashes: &[Sha256Digest]) -> Sha256Digest {
    match hashes {
        [one] => *one,
        more => {
            let (left, right) = more.split_at(half(more.len()));
            node_hash(top(left), top(right))
        }
    }
}

/// Section 2.1.1.
fn path(index: usize, hashes: &[Sha256Digest]) -> Vec<Sha256Digest> {
    if hashes.len() == 1 {
        return Vec::new();
    }
    let middle = half(hashes.len());
    let (left, right) = hashes.split_at(middle);
    let (mut below, beside) = match index < middle {
        true => (path(index, left), top(right)),
        false => (path(index - middle, right), top(left)),
    };
    below.push(beside);
    below
}

fn half(count: usize) -> usize {
    count.next_power_of_two() / 2
}
