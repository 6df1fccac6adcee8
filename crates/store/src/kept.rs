//! Leaves that this process committed, or answered with, until a published checkpoint covers them: a database that is
//! replaced by an older one can get them back from here (case L1).

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Bytes of bodies. Beyond it the oldest go: a storage that is full does not stop signing.
const MOST: usize = 64 << 20;

/// An index and the body of its leaf.
pub type KeptLeaf = (i64, String);

#[derive(Default)]
pub(crate) struct Kept(Mutex<Leaves>);

#[derive(Default)]
struct Leaves {
    leaves: BTreeMap<i64, String>,
    bytes: usize,
    /// Rises with every leaf.
    revision: u64,
    /// Below this index some are gone that no checkpoint covered.
    forgotten: i64,
    covered: i64,
    held_back: bool,
}

impl Kept {
    /// Whether the leaves may be answered with. While they are held back they may not: what is kept may have been
    /// written to a file already.
    pub fn keep(&self, leaves: impl Iterator<Item = KeptLeaf>) -> bool {
        let mut kept = self.lock();
        for (index, body) in leaves {
            if index >= kept.covered && !kept.leaves.contains_key(&index) {
                kept.bytes += body.len();
                kept.revision += 1;
                kept.leaves.insert(index, body);
            }
        }
        while kept.bytes > MOST
            && let Some((index, body)) = kept.leaves.pop_first()
        {
            kept.bytes -= body.len();
            kept.forgotten = kept.forgotten.max(index + 1);
        }
        !kept.held_back
    }

    /// From now on nothing is answered with, or everything again. Whatever was answered before is kept.
    pub fn hold_back(&self, held_back: bool) {
        self.lock().held_back = held_back;
    }

    pub fn is_held_back(&self) -> bool {
        self.lock().held_back
    }

    /// A published checkpoint has so many leaves.
    pub fn covered(&self, size: i64) {
        let mut kept = self.lock();
        kept.covered = kept.covered.max(size);
        while let Some(first) = kept.leaves.first_entry()
            && *first.key() < size
        {
            let bytes = first.remove().len();
            kept.bytes -= bytes;
        }
    }

    /// Leaves below this index need not be kept.
    pub fn covered_size(&self) -> i64 {
        self.lock().covered
    }

    /// What no published checkpoint covers yet, by index.
    pub fn leaves(&self) -> Vec<KeptLeaf> {
        let kept = self.lock();
        let leaves = kept.leaves.iter();
        leaves.map(|(index, body)| (*index, body.clone())).collect()
    }

    /// How many there are, and whether they are all.
    pub fn count(&self) -> (usize, bool) {
        let kept = self.lock();
        (kept.leaves.len(), kept.forgotten <= kept.covered)
    }

    pub fn revision(&self) -> u64 {
        self.lock().revision
    }

    fn lock(&self) -> MutexGuard<'_, Leaves> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_l1_leaves_are_kept_until_a_checkpoint_covers_them_and_in_bounds() {
        let kept = Kept::default();
        kept.keep((0..5).map(|index| (index, "body".to_owned())));
        kept.covered(3);
        assert_eq!(kept.count(), (2, true));
        let large = "x".repeat(MOST / 4);
        kept.keep((5..10).map(|index| (index, large.clone())));
        let (left, complete) = kept.count();
        assert!(left <= 4 && !complete, "{left} {complete}");
        kept.covered(10);
        assert_eq!(kept.count(), (0, true), "what is missing is published");
    }

    #[test]
    fn case_l1_what_is_held_back_is_kept_and_not_answered_with() {
        let kept = Kept::default();
        let leaf = |index| std::iter::once((index, "body".to_owned()));
        assert!(kept.keep(leaf(7)));
        assert!(kept.keep(leaf(7)), "another retry of the same");
        assert_eq!((kept.count(), kept.revision()), ((1, true), 1));
        kept.hold_back(true);
        let file = kept.leaves();
        assert!(!kept.keep(leaf(6)));
        assert_eq!(file.len(), 1, "what was answered is in the file");
        assert_eq!(kept.leaves()[0].0, 6, "and by index");
        assert_eq!(kept.revision(), 2);
        kept.hold_back(false);
        kept.covered(8);
        assert!(kept.keep(leaf(7)));
        assert_eq!(kept.count(), (0, true), "it is published");
    }
}
