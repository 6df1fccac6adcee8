//! The engine: one event, one lease. It asks the calendar what is next, writes that it begins, calls the driver, and writes
//! what happened, in that order; so any replica goes on with any event wherever the last one died.

mod ask;
mod clock;
mod declare;
pub mod error;
mod event_id;
mod facts;
pub mod inventory;
mod look;
mod planning;
mod propagation;
mod report;
mod run;

pub use ask::Simulation;
pub use clock::Clock;
pub(crate) use facts::{state_of, waits_of};
pub use look::Round;
pub use planning::Known;
pub use propagation::{HttpProbe, Probe, Propagation, Seen};
pub use report::{Adherence, EventReport, StepReport};
pub use run::Ran;

use std::sync::Arc;
use std::time::Duration;

use base::Env;
use calendar::alerts::escalation::Ladder;
use calendar::{AssetFacts, Policies};
use log::Log;
use store::Store;

use crate::drivers::Drivers;
use crate::key_type_labels::KeyTypeLabels;
use error::Error;
use inventory::Inventory;

/// How long a replica has an event without writing anything about it: longer than any step may take before it answers.
const LEASE: Duration = Duration::from_secs(150);

/// What an engine is made of.
pub struct Parts {
    /// Events, steps, jobs.
    pub store: Store,
    /// Randomness of ids; the time is the database's.
    pub env: Env,
    /// The time.
    pub clock: Clock,
    /// What makes versions.
    pub drivers: Drivers,
    /// What there is, under which policies and orders.
    pub inventory: Arc<dyn Inventory>,
    /// How it is found out that a version has arrived.
    pub propagation: Propagation,
    /// Who this is among the replicas.
    pub owner: String,
    /// Who acts, for the log.
    pub actor: String,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    parts: Parts,
    ladder: Ladder,
    log: Log,
    key_types: KeyTypeLabels,
}

impl Engine {
    /// Out of its parts; it does nothing by itself.
    pub fn new(parts: Parts) -> Self {
        Self::with_ladder(parts, Ladder::default())
    }

    /// With the times after which levels are told of an alert that nobody looks after.
    pub fn with_ladder(parts: Parts, ladder: Ladder) -> Self {
        let log = Log::new(parts.store.clone());
        let key_types = KeyTypeLabels::default();
        Self(Arc::new(Inner {
            parts,
            ladder,
            log,
            key_types,
        }))
    }

    /// Where events are.
    pub fn store(&self) -> &Store {
        &self.0.parts.store
    }

    /// The time, by the database's clock.
    pub async fn now(&self) -> Result<calendar::Time, store::Error> {
        self.0.parts.clock.now().await
    }

    /// The policies in force.
    pub(crate) async fn policies(&self, now: calendar::Time) -> Result<Arc<Policies>, Error> {
        self.parts().inventory.policies(now).await
    }

    /// All assets in use, without their rotations.
    pub(crate) async fn assets_in_use(&self) -> Result<Vec<AssetFacts>, Error> {
        self.parts().inventory.assets().await
    }

    /// Who this is among the replicas.
    pub fn owner(&self) -> &str {
        &self.0.parts.owner
    }

    pub(crate) fn parts(&self) -> &Parts {
        &self.0.parts
    }

    /// After which times levels are told of an alert that nobody looks after.
    pub(crate) fn ladder(&self) -> &Ladder {
        &self.0.ladder
    }

    /// By which key types metrics are told apart.
    pub(crate) fn key_types(&self) -> &KeyTypeLabels {
        &self.0.key_types
    }

    pub(crate) fn log(&self) -> &Log {
        &self.0.log
    }
}
