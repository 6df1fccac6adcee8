//! Keys by the kids that signatures name: those in memory, those that were read because the same question named them
//! before, and the kids that nobody has looked for yet.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use trust::Kid;

use crate::keys::{Key, Snapshot};

pub(super) struct Sought<'a> {
    snapshot: &'a Snapshot,
    others: &'a HashMap<Kid, Arc<Key>>,
    /// Of no key that was found.
    pub missing: BTreeSet<Kid>,
}

impl<'a> Sought<'a> {
    pub fn new(snapshot: &'a Snapshot, others: &'a HashMap<Kid, Arc<Key>>) -> Self {
        Self {
            snapshot,
            others,
            missing: BTreeSet::new(),
        }
    }

    pub fn find(&mut self, kid: &str) -> Option<Arc<Key>> {
        let kid = kid.parse::<Kid>().ok()?;
        let found = self
            .snapshot
            .keys
            .get(&kid)
            .or_else(|| self.others.get(&kid));
        if found.is_none() {
            self.missing.insert(kid);
        }
        found.cloned()
    }

    /// A good signature by a key that signs today counts whatever others there are.
    pub fn settle(&mut self, settled: bool) {
        if settled {
            self.missing.clear();
        }
    }
}
