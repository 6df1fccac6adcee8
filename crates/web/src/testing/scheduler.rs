//! The scheduler of a fixture.

use std::sync::Arc;
use std::time::Duration;

use base::Env;
use calendar::alerts::escalation::Ladder;
use keyring::ceremony::CeremonyService;
use keyring::keys::{Keys, Settings};
use rotation::engine::{Clock, Propagation};
use rotation::jobs::{Installation, Scheduler};
use store::Store;

/// Rotations by the clock of the test.
pub fn scheduler(store: &Store, keys: &Arc<Keys>, env: &Env, settings: &Settings) -> Scheduler {
    Scheduler::of(Installation {
        store: store.clone(),
        keys: keys.clone(),
        ceremonies: CeremonyService::new(store.clone(), env.clone(), settings, "test".to_owned()),
        safety: settings.safety,
        env: env.clone(),
        clock: Clock::Given(env.clone()),
        propagation: Propagation::default(),
        owner: "test".to_owned(),
        every: Duration::from_secs(60),
        ladder: Ladder::default(),
    })
}
