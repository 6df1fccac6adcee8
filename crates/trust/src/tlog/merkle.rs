//! The Merkle tree of RFC 6962 section 2.1, over SHA-256, and the checking of its proofs.

use aws_lc_rs::digest;

use crate::digest::Sha256Digest;

#[cfg(test)]
pub mod tests;

/// The largest tree that is built here: what a database can count. Proofs are checked up to 2^64-1.
pub const MAX_SIZE: u64 = i64::MAX as u64;

/// Why a proof proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The leaf is not in a tree of that size.
    #[error("a tree of {size} leaves has no leaf {index}")]
    NoSuchLeaf {
        /// The leaf's index, from 0.
        index: u64,
        /// The size of the tree.
        size: u64,
    },
    /// A log only grows.
    #[error("a tree of {new} leaves cannot extend one of {old}")]
    Shrinks {
        /// The size of the earlier tree.
        old: u64,
        /// The size of the later tree.
        new: u64,
    },
    /// The proof has more or fewer hashes than the sizes call for.
    #[error("the proof has {0} hashes, which is wrong for these tree sizes")]
    Length(usize),
    /// The proof leads to another root.
    #[error("the proof does not yield the root hash")]
    Root,
}

/// The hash of a leaf: SHA-256 of a zero byte and the leaf's bytes.
pub fn leaf_hash(body: &[u8]) -> Sha256Digest {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(&[0]);
    context.update(body);
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    Sha256Digest::from_bytes(out)
}

/// The hash of an inner node: SHA-256 of a one byte and both children.
pub fn node_hash(left: Sha256Digest, right: Sha256Digest) -> Sha256Digest {
    let mut bytes = [1; 65];
    bytes[1..33].copy_from_slice(left.as_bytes());
    bytes[33..].copy_from_slice(right.as_bytes());
    Sha256Digest::of(&bytes)
}

/// The root of the tree without leaves: SHA-256 of nothing.
pub fn empty_root() -> Sha256Digest {
    Sha256Digest::of(&[])
}

/// The right edge of a growing tree: the roots of its perfect subtrees, largest first. All that is
/// needed to append and to know the root; at most 64 hashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    /// As many as `size` has one bits. Its capacity is never exceeded, so appending allocates nothing.
    hashes: Vec<Sha256Digest>,
}

/// The parts do not make a [`Frontier`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{hashes} hashes are not the right edge of a tree of {size} leaves")]
pub struct NotAFrontier {
    /// The size that was given.
    pub size: u64,
    /// How many hashes were given.
    pub hashes: usize,
}

impl Default for Frontier {
    fn default() -> Self {
        Self::new()
    }
}

impl Frontier {
    /// The tree without leaves.
    pub fn new() -> Self {
        Self {
            size: 0,
            hashes: Vec::with_capacity(64),
        }
    }

    /// The right edge as [`Self::size`] and [`Self::hashes`] gave it. The hashes themselves cannot be
    /// checked: compare [`Self::root`] with a root that is trusted.
    pub fn from_parts(size: u64, hashes: &[Sha256Digest]) -> Result<Self, NotAFrontier> {
        let expected = size.count_ones() as usize;
        if size > MAX_SIZE || hashes.len() != expected {
            return Err(NotAFrontier {
                size,
                hashes: hashes.len(),
            });
        }
        let mut frontier = Self::new();
        frontier.size = size;
        frontier.hashes.extend_from_slice(hashes);
        Ok(frontier)
    }

    /// Appends a leaf by its [`leaf_hash`].
    pub fn push(&mut self, leaf: Sha256Digest) {
        self.push_with(leaf, |_, _| ());
    }

    /// Appends a leaf and names every perfect subtree that it completes, from the leaf (height 0) up.
    pub(super) fn push_with(
        &mut self,
        leaf: Sha256Digest,
        mut done: impl FnMut(u32, Sha256Digest),
    ) {
        let mut hash = leaf;
        done(0, hash);
        // One bits at the end of the size are subtrees that the new leaf makes twice as large.
        for height in 1..=self.size.trailing_ones() {
            if let Some(left) = self.hashes.pop() {
                hash = node_hash(left, hash);
                done(height, hash);
            }
        }
        self.hashes.push(hash);
        self.size += 1;
    }

    /// The number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The roots of the perfect subtrees, largest first.
    pub fn hashes(&self) -> &[Sha256Digest] {
        &self.hashes
    }

    /// The root of the tree.
    pub fn root(&self) -> Sha256Digest {
        fold(&self.hashes).unwrap_or_else(empty_root)
    }
}

/// The root over perfect subtrees of falling size, side by side. `None` over none.
pub(super) fn fold(subtrees: &[Sha256Digest]) -> Option<Sha256Digest> {
    subtrees
        .iter()
        .rev()
        .copied()
        .reduce(|right, left| node_hash(left, right))
}

/// Checks that the leaf is number `index` (from 0) of the tree of `size` leaves with that root. The
/// proof runs from the leaf's sibling to the root's child (RFC 9162 section 2.1.3.2).
pub fn verify_inclusion(
    index: u64,
    size: u64,
    leaf: Sha256Digest,
    proof: &[Sha256Digest],
    root: Sha256Digest,
) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::NoSuchLeaf { index, size });
    }
    let (mut node, mut last) = (index, size - 1);
    let mut hash = leaf;
    for sibling in proof {
        if last == 0 {
            return Err(ProofError::Length(proof.len()));
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(*sibling, hash);
            // At the right edge a node without sibling is its own parent.
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(hash, *sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    if last != 0 {
        Err(ProofError::Length(proof.len()))
    } else if hash != root {
        Err(ProofError::Root)
    } else {
        Ok(())
    }
}

/// The root of the `index` leaves before a leaf whose inclusion in a tree of `size` leaves was
/// verified with this proof: what stands to the left on its way are their perfect subtrees.
pub fn root_before(index: u64, size: u64, proof: &[Sha256Digest]) -> Sha256Digest {
    let (mut node, mut last) = (index, size.saturating_sub(1));
    let mut before: Option<Sha256Digest> = None;
    for sibling in proof {
        if node & 1 == 1 || node == last {
            before = Some(before.map_or(*sibling, |right| node_hash(*sibling, right)));
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        }
        node >>= 1;
        last >>= 1;
    }
    before.unwrap_or_else(empty_root)
}

/// Checks that the tree of `new` leaves begins with the `old` leaves of the earlier tree
/// (RFC 9162 section 2.1.4.2). From the empty tree and between equal sizes the proof is empty.
pub fn verify_consistency(
    old: u64,
    new: u64,
    old_root: Sha256Digest,
    new_root: Sha256Digest,
    proof: &[Sha256Digest],
) -> Result<(), ProofError> {
    if old > new {
        return Err(ProofError::Shrinks { old, new });
    }
    if old == 0 || old == new {
        return consistency_without_proof(old, new, old_root, new_root, proof);
    }
    let length = || ProofError::Length(proof.len());
    // The earlier tree, where it is one perfect subtree of the later, is not repeated in the proof.
    let (seed, rest) = if old.is_power_of_two() {
        (old_root, proof)
    } else {
        let (first, rest) = proof.split_first().ok_or_else(length)?;
        (*first, rest)
    };
    let shared = (old - 1).trailing_ones();
    let (mut node, mut last) = ((old - 1) >> shared, (new - 1) >> shared);
    let (mut before, mut after) = (seed, seed);
    for sibling in rest {
        if last == 0 {
            return Err(length());
        }
        if node & 1 == 1 || node == last {
            before = node_hash(*sibling, before);
            after = node_hash(*sibling, after);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            after = node_hash(after, *sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    if last != 0 {
        Err(length())
    } else if before != old_root || after != new_root {
        Err(ProofError::Root)
    } else {
        Ok(())
    }
}

fn consistency_without_proof(
    old: u64,
    new: u64,
    old_root: Sha256Digest,
    new_root: Sha256Digest,
    proof: &[Sha256Digest],
) -> Result<(), ProofError> {
    if !proof.is_empty() {
        return Err(ProofError::Length(proof.len()));
    }
    let same = old != new || old_root == new_root;
    let begins_empty = old != 0 || old_root == empty_root();
    if same && begins_empty {
        Ok(())
    } else {
        Err(ProofError::Root)
    }
}
