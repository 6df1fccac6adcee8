//! Leaves in, and later tiles, checkpoints and receipts out. The one place where the audit trail
//! is written: signatures in group commits, every other act in one transaction with its effect.

mod group;
mod leaf;
mod storage;

use std::sync::Arc;

use crate::store::{self, Change, Store};

pub use group::Group;
pub use leaf::{Event, SignatureLeaf};

/// The act was not recorded, so it did not happen; or, with `OutcomeUnknown` inside, it may have
/// been recorded and must be looked for before it is repeated.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the audit trail could not be written")]
pub struct Error(#[source] pub Arc<store::Error>);

/// The write side of the trail; cheap to clone.
#[derive(Clone)]
pub struct Log {
    store: Store,
}

impl Log {
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// One act and the leaf that tells of it, in one transaction. Returns the leaf's index.
    pub async fn commit(&self, change: &Change, event: &Event<'_>) -> Result<i64, store::Error> {
        self.store.commit(change, &event.leaf()).await
    }

    /// A refusal: nothing changes, but that somebody was refused is written down.
    pub async fn record_refusal(
        &self,
        time: trust::Time,
        actor: &str,
        action: &str,
        ring: Option<&str>,
        reason: &str,
    ) -> Result<i64, store::Error> {
        let event = Event {
            kind: "refusal",
            action,
            time,
            actor,
            ring,
            reason: Some(reason),
            ..Event::default()
        };
        self.commit(&Change::Record, &event).await
    }
}
