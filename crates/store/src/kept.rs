//! Leaves that this process committed and answered for, until a published checkpoint covers them: a database that is
//! replaced by an older one can get them back from here (case L1).

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// Bytes of bodies. Beyond it the oldest go: a storage that is full does not stop signing.
const MOST: usize = 64 << 20;

/// An index and the body of its leaf.
pub type KeptLeaf = (i64, String);

#[derive(Default)]
pub(crate) struct Kept(Mutex<Leaves>);

#[derive(Default)]
struct Leaves {
    leaves: VecDeque<KeptLeaf>,
    bytes: usize,
    /// Below this index some are gone that no checkpoint covered.
    forgotten: i64,
    covered: i64,
}

impl Kept {
    pub fn keep(&self, leaves: impl Iterator<Item = KeptLeaf>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (index, body) in leaves {
            kept.bytes += body.len();
            kept.leaves.push_back((index, body));
        }
        while kept.bytes > MOST
            && let Some((index, body)) = kept.leaves.pop_front()
        {
            kept.bytes -= body.len();
            kept.forgotten = kept.forgotten.max(index + 1);
        }
    }

    /// A published checkpoint has so many leaves.
    pub fn covered(&self, size: i64) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.covered = kept.covered.max(size);
        while let Some((_, body)) = kept.leaves.pop_front_if(|(index, _)| *index < size) {
            kept.bytes -= body.len();
        }
    }

    /// What no published checkpoint covers yet, by index.
    pub fn leaves(&self) -> Vec<KeptLeaf> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut leaves: Vec<KeptLeaf> = kept.leaves.iter().cloned().collect();
        // Two commits of one process may have come here in another order.
        leaves.sort_unstable();
        leaves
    }

    /// How many there are, and whether they are all.
    pub fn count(&self) -> (usize, bool) {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (kept.leaves.len(), kept.forgotten <= kept.covered)
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
}
