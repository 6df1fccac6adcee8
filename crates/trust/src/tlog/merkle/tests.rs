use proptest::prelude::*;

use super::*;
use crate::hex;

fn digest(text: &str) -> Sha256Digest {
    text.parse().unwrap()
}

/// The eight leaves of the test data of the certificate-transparency reference implementation, which
/// every implementation of RFC 6962 is tested with.
fn leaves() -> Vec<Vec<u8>> {
    [
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    ]
    .map(|leaf| hex::decode(leaf).unwrap())
    .to_vec()
}

/// The roots of the first 1 to 8 of those leaves.
const ROOTS: [&str; 8] = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

#[test]
fn the_roots_of_the_reference_tree() {
    // RFC 6962 section 2.1: the hash of an empty list is the hash of an empty string.
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(empty_root(), digest(empty));
    let mut frontier = Frontier::new();
    assert_eq!(frontier.root(), empty_root());
    for (leaf, root) in leaves().iter().zip(ROOTS) {
        frontier.push(leaf_hash(leaf));
        assert_eq!(frontier.root(), digest(root));
        let again = Frontier::from_parts(frontier.size(), frontier.hashes()).unwrap();
        assert_eq!(again, frontier);
    }
}

const LEFT: &str = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7";
const LEFT_PAIRS: &str = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e";
const RIGHT_HALF: &str = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4";
const FIFTH: &str = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b";
const LAST_PAIR: &str = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0";
const THIRD_PAIR: &str = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a";
const SEVENTH: &str = "b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f";

fn digests(texts: &[&str]) -> Vec<Sha256Digest> {
    texts.iter().map(|text| digest(text)).collect()
}

/// Index, size and path; the rest of the same test data.
#[test]
fn the_inclusion_proofs_of_the_reference_tree() {
    let cases: [(u64, u64, &[&str]); 5] = [
        (0, 1, &[]),
        (0, 8, &[LEFT, LEFT_PAIRS, RIGHT_HALF]),
        (5, 8, &[FIFTH, LAST_PAIR, ROOTS[3]]),
        (2, 3, &[ROOTS[1]]),
        (1, 5, &[ROOTS[0], LEFT_PAIRS, FIFTH]),
    ];
    for (index, size, proof) in cases {
        let leaf = leaf_hash(&leaves()[usize::try_from(index).unwrap()]);
        let root = digest(ROOTS[usize::try_from(size - 1).unwrap()]);
        verify_inclusion(index, size, leaf, &digests(proof), root).unwrap();
    }
}

#[test]
fn the_consistency_proofs_of_the_reference_tree() {
    let cases: [(usize, usize, &[&str]); 5] = [
        (1, 1, &[]),
        (1, 8, &[LEFT, LEFT_PAIRS, RIGHT_HALF]),
        (6, 8, &[THIRD_PAIR, LAST_PAIR, ROOTS[3]]),
        (2, 5, &[LEFT_PAIRS, FIFTH]),
        (6, 7, &[THIRD_PAIR, SEVENTH, ROOTS[3]]),
    ];
    for (old, new, proof) in cases {
        let (old_root, new_root) = (digest(ROOTS[old - 1]), digest(ROOTS[new - 1]));
        let (old, new) = (old as u64, new as u64);
        verify_consistency(old, new, old_root, new_root, &digests(proof)).unwrap();
    }
}

/// RFC 6962 section 2.1.3: seven leaves, their audit paths and consistency proofs, with the names of
/// the nodes in its drawing.
#[test]
fn the_example_of_rfc6962() {
    let leaf: Vec<Sha256Digest> = (0..7).map(|n: u8| leaf_hash(&[n])).collect();
    let [a, b, c, d, e, f, j] = leaf.clone().try_into().unwrap();
    let (g, h, i) = (node_hash(a, b), node_hash(c, d), node_hash(e, f));
    let (k, l) = (node_hash(g, h), node_hash(i, j));
    let hash = node_hash(k, l);
    let (hash0, hash1, hash2) = (node_hash(g, c), k, node_hash(k, i));
    for (index, path) in [
        (0, vec![b, h, l]),
        (3, vec![c, g, l]),
        (4, vec![f, j, k]),
        (6, vec![i, k]),
    ] {
        assert_eq!(naive::path(index, &leaf), path);
        verify_inclusion(index as u64, 7, leaf[index], &path, hash).unwrap();
    }
    for (old, root, proof) in [
        (3, hash0, vec![c, d, g, l]),
        (4, hash1, vec![l]),
        (6, hash2, vec![i, j, k]),
    ] {
        assert_eq!(naive::proof(old, &leaf), proof);
        verify_consistency(old as u64, 7, root, hash, &proof).unwrap();
    }
}

/// The definitions of RFC 6962 section 2.1, as they stand.
pub mod naive {
    use super::*;

    fn split(leaves: &[Sha256Digest]) -> (&[Sha256Digest], &[Sha256Digest]) {
        let mut k = 1;
        while 2 * k < leaves.len() {
            k *= 2;
        }
        leaves.split_at(k)
    }

    /// MTH(D\[n\]) over leaf hashes.
    pub fn root(leaves: &[Sha256Digest]) -> Sha256Digest {
        match leaves {
            [] => empty_root(),
            [leaf] => *leaf,
            _ => {
                let (left, right) = split(leaves);
                node_hash(root(left), root(right))
            }
        }
    }

    /// PATH(m, D\[n\]) of section 2.1.1.
    pub fn path(m: usize, leaves: &[Sha256Digest]) -> Vec<Sha256Digest> {
        if leaves.len() < 2 {
            return vec![];
        }
        let (left, right) = split(leaves);
        let (mut below, sibling) = if m < left.len() {
            (path(m, left), root(right))
        } else {
            (path(m - left.len(), right), root(left))
        };
        below.push(sibling);
        below
    }

    /// PROOF(m, D\[n\]) of section 2.1.2, for 0 < m.
    pub fn proof(m: usize, leaves: &[Sha256Digest]) -> Vec<Sha256Digest> {
        subproof(m, leaves, true)
    }

    fn subproof(m: usize, leaves: &[Sha256Digest], whole: bool) -> Vec<Sha256Digest> {
        if m == leaves.len() {
            return if whole { vec![] } else { vec![root(leaves)] };
        }
        let (left, right) = split(leaves);
        let (mut below, sibling) = if m <= left.len() {
            (subproof(m, left, whole), root(right))
        } else {
            (subproof(m - left.len(), right, false), root(left))
        };
        below.push(sibling);
        below
    }
}

fn numbered(size: usize) -> Vec<Sha256Digest> {
    (0..size).map(|n| leaf_hash(&n.to_be_bytes())).collect()
}

#[test]
fn every_proof_of_every_small_tree_and_no_other() {
    let leaves = numbered(40);
    let roots: Vec<Sha256Digest> = (0..=40).map(|size| naive::root(&leaves[..size])).collect();
    let mut frontier = Frontier::new();
    for (size, root) in roots.iter().enumerate() {
        assert_eq!(frontier.root(), *root);
        assert_eq!(frontier.size(), size as u64);
        for (index, before) in roots[..size].iter().enumerate() {
            let path = naive::path(index, &leaves[..size]);
            assert_eq!(root_before(index as u64, size as u64, &path), *before);
            for (other, leaf) in leaves[..size].iter().enumerate() {
                for claimed in 0..=size {
                    let right = (index, index) == (claimed, other);
                    let found = verify_inclusion(claimed as u64, size as u64, *leaf, &path, *root);
                    assert_eq!(
                        found.is_ok(),
                        right,
                        "{claimed} {other} by {index} in {size}"
                    );
                }
            }
        }
        for old in 1..=size {
            let proof = naive::proof(old, &leaves[..size]);
            for (claimed, old_root) in roots.iter().enumerate().take(size + 1) {
                let found =
                    verify_consistency(claimed as u64, size as u64, *old_root, *root, &proof);
                // The empty proof is good from nothing and between equal trees.
                let trivial = proof.is_empty() && claimed == 0;
                assert_eq!(
                    found.is_ok(),
                    claimed == old || trivial,
                    "{claimed} by {old} in {size}"
                );
            }
        }
        frontier.push(*leaves.get(size).unwrap_or(root));
    }
}

#[test]
fn what_cannot_be_proved() {
    let (zero, one) = (empty_root(), leaf_hash(b"one"));
    let no_such = ProofError::NoSuchLeaf { index: 1, size: 1 };
    assert_eq!(verify_inclusion(1, 1, one, &[], one), Err(no_such));
    assert_eq!(
        verify_inclusion(0, 1, one, &[one], one),
        Err(ProofError::Length(1))
    );
    assert_eq!(
        verify_inclusion(0, 2, one, &[], one),
        Err(ProofError::Length(0))
    );
    assert_eq!(
        verify_inclusion(0, 1, one, &[], zero),
        Err(ProofError::Root)
    );
    assert!(verify_inclusion(0, 0, one, &[], zero).is_err());

    let shrinks = ProofError::Shrinks { old: 2, new: 1 };
    assert_eq!(verify_consistency(2, 1, one, one, &[]), Err(shrinks));
    assert_eq!(verify_consistency(0, 0, zero, zero, &[]), Ok(()));
    assert_eq!(verify_consistency(0, 1, zero, one, &[]), Ok(()));
    assert_eq!(
        verify_consistency(0, 1, one, one, &[]),
        Err(ProofError::Root)
    );
    assert_eq!(
        verify_consistency(0, 1, zero, one, &[one]),
        Err(ProofError::Length(1))
    );
    assert_eq!(
        verify_consistency(0, 0, one, one, &[]),
        Err(ProofError::Root)
    );
    assert_eq!(
        verify_consistency(1, 1, one, zero, &[]),
        Err(ProofError::Root)
    );
    assert_eq!(
        verify_consistency(3, 4, one, one, &[]),
        Err(ProofError::Length(0))
    );
    let root = node_hash(one, one);
    let fork = node_hash(zero, one);
    assert_eq!(verify_consistency(1, 2, one, root, &[one]), Ok(()));
    assert_eq!(
        verify_consistency(1, 2, zero, root, &[one]),
        Err(ProofError::Root)
    );
    assert_eq!(
        verify_consistency(1, 2, one, fork, &[one]),
        Err(ProofError::Root)
    );
    assert_eq!(
        verify_consistency(1, 2, one, root, &[one, one]),
        Err(ProofError::Length(2))
    );
}

#[test]
fn parts_of_a_frontier_must_fit() {
    let hash = leaf_hash(b"");
    assert!(Frontier::from_parts(3, &[hash]).is_err());
    assert!(Frontier::from_parts(4, &[hash, hash]).is_err());
    assert!(Frontier::from_parts(0, &[hash]).is_err());
    assert_eq!(Frontier::from_parts(0, &[]), Ok(Frontier::new()));
    let most = vec![hash; 63];
    assert!(Frontier::from_parts(MAX_SIZE, &most).is_ok());
    assert!(Frontier::from_parts(u64::MAX, &vec![hash; 64]).is_err());
}

proptest! {
    #[test]
    fn changed_proofs_prove_nothing(
        size in 1..200usize, index: prop::sample::Index, old: prop::sample::Index,
        at: prop::sample::Index, bit in 0..256usize,
    ) {
        let leaves = numbered(size);
        let root = naive::root(&leaves);
        let (index, old) = (index.index(size), 1 + old.index(size));
        let path = naive::path(index, &leaves);
        let included = |leaf, path: &[Sha256Digest], root| {
            verify_inclusion(index as u64, size as u64, leaf, path, root).is_ok()
        };
        prop_assert!(included(leaves[index], &path, root));
        prop_assert!(!included(flip(leaves[index], bit), &path, root));
        prop_assert!(!included(leaves[index], &path, flip(root, bit)));
        for path in variations(&path, at, bit) {
            prop_assert!(!included(leaves[index], &path, root));
        }

        let (old_root, proof) = (naive::root(&leaves[..old]), naive::proof(old, &leaves));
        let consistent = |old_root, new_root, proof: &[Sha256Digest]| {
            verify_consistency(old as u64, size as u64, old_root, new_root, proof).is_ok()
        };
        prop_assert!(consistent(old_root, root, &proof));
        prop_assert!(!consistent(flip(old_root, bit), root, &proof));
        prop_assert!(!consistent(old_root, flip(root, bit), &proof));
        for proof in variations(&proof, at, bit) {
            prop_assert!(!consistent(old_root, root, &proof));
        }
    }

    #[test]
    fn no_proof_panics(
        index: u64, size: u64, old: u64, hashes in prop::collection::vec(any::<[u8; 32]>(), 0..70),
    ) {
        let proof: Vec<Sha256Digest> = hashes.into_iter().map(Sha256Digest::from_bytes).collect();
        let (root, other) = (empty_root(), leaf_hash(b""));
        for (index, size) in [(index, size), (index % 4, size % 4), (u64::MAX - 1, u64::MAX)] {
            prop_assert!(verify_inclusion(index, size, other, &proof, root).is_err());
        }
        for (old, new) in [(old, size), (old % 4, 1 + size % 4), (u64::MAX - 1, u64::MAX)] {
            prop_assert!(verify_consistency(old, new, other, root, &proof).is_err());
        }
    }
}

fn flip(hash: Sha256Digest, bit: usize) -> Sha256Digest {
    let mut bytes = *hash.as_bytes();
    bytes[bit / 8] ^= 1 << (bit % 8);
    Sha256Digest::from_bytes(bytes)
}

/// A proof with one hash changed, one more, one less and two in the wrong order.
fn variations(
    proof: &[Sha256Digest],
    at: prop::sample::Index,
    bit: usize,
) -> Vec<Vec<Sha256Digest>> {
    let mut longer = proof.to_vec();
    longer.insert(at.index(proof.len() + 1), leaf_hash(b"one more"));
    let mut all = vec![longer];
    if !proof.is_empty() {
        let at = at.index(proof.len());
        let (mut flipped, mut shorter) = (proof.to_vec(), proof.to_vec());
        flipped[at] = flip(flipped[at], bit);
        shorter.remove(at);
        all.extend([flipped, shorter]);
        if proof.len() > 1 {
            let mut swapped = proof.to_vec();
            swapped.swap(at, (at + 1) % proof.len());
            all.push(swapped);
        }
    }
    all
}
