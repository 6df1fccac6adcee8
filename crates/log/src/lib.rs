//! Leaves in; tiles, checkpoints and receipts out. The one place where the audit trail is written:
//! signatures in group commits, every other act in one transaction with its effect. Behind it the
//! integrator makes a Merkle tree of the rows, in the forms of C2SP (docs/LOG.md).

mod act_index;
mod check;
mod emergency;
mod gap;
mod group;
mod integrator;
pub mod kept;
mod late;
mod leaf;
mod new_origin;
mod open;
mod partial;
mod probe;
mod proofs;
mod prune;
mod published;
mod recover;
mod rotation_policies;
mod rows;
mod runner;
mod same_database;
mod settings;
mod signer;
mod storage;
mod suspects;
mod suspended;
#[cfg(test)]
mod tests;
mod tiles;
mod tree_store;
mod witnesses;

use std::sync::Arc;

use store::{AfterLatest, Change, Store};

pub use act_index::{ActIndex, EndedOrigin, HeldAcceptances, HeldActs, KeyActs, VerifiedLogAct};
pub use check::{Auditor, Error as CheckError, Report};
pub use emergency::{Cost as EmergencyCost, EmergencyReading, EmergencyState, fault_of_decision};
pub use group::{Group, GroupCommitter};
pub use integrator::Error as IntegrationError;
pub use leaf::{Event, SignatureLeaf};
pub use new_origin::{Error as NewOriginError, OriginChange, OriginState, Retained};
pub use open::{OpenError, open};
pub use probe::{Asked, ask_witnesses, inspect};
pub use proofs::{Error as ProofError, Existed, Proofs, Receipt};
pub use prune::{Error as PruneError, Plan as PrunePlan, Pruner};
pub use published::Published;
pub use recover::{Error as RecoverError, Plan as RecoveryPlan, Recovered, Recovery};
pub use rotation_policies::{
    PolicyError, PolicyInForce, decided_version, key_types, policy_in_force,
};
pub use rows::{
    BoundKey, Certified, ChainRowError, bind_key, document_rows, unverified_chains,
    verify_transcript,
};
pub use same_database::confirm as confirm_database;
pub use settings::Settings;
pub use signer::{CheckpointNotSigned, CheckpointSignature, CheckpointSigner, Later};
pub use storage::{Error as StorageError, Storage};
pub use suspects::{Suspects, suspects};
pub use suspended::{SuspensionsError, suspended, suspended_by_log, suspensions};
pub use tree_store::INTEGRATOR;

/// Why nothing was recorded, and so nothing happened.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// With `OutcomeUnknown` inside it may have been recorded, and must be looked for before it
    /// is repeated.
    #[error("the audit trail could not be written")]
    Store(#[source] Arc<store::Error>),
    /// What is written to a log that is halted would never be in its tree.
    #[error("the log is halted: {0}")]
    Halted(Arc<str>),
}

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

    /// The same at an instant that is decided under the log head: no earlier leaf is later.
    pub async fn commit_at<'a>(
        &self,
        when: &AfterLatest,
        make: &(dyn Fn(trust::Time) -> (Change, Event<'a>) + Send + Sync),
    ) -> Result<i64, store::Error> {
        let make = |at: i64| {
            let (change, event) = make(trust::Time::from_millis(at));
            (change, event.leaf())
        };
        self.store.commit_at(when, &make).await
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
            ring,
            reason: Some(reason),
            ..Event::new(trust::leaf::ActKind::Refusal, action, actor, time)
        };
        self.commit(&Change::Record, &event).await
    }
}
