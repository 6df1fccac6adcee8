//! The scheduler of a fixture.

use std::sync::Arc;
use std::time::Duration;

use base::Env;
use calendar::alerts::escalation::Ladder;
use keyring::ceremony::CeremonyService;
use keyring::keys::{Keys, Settings};
use rotation::engine::{Clock, Propagation};
use rotation::jobs::{Environment, Installation, Scheduler};
use store::Store;

use crate::testing::Fixture;

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

impl Fixture {
    /// In an installation that says that it is not production.
    pub fn testing_rotation(self) -> Self {
        self.with_services(|services| {
            services.rotation = services.rotation.clone().with_environment(Environment {
                environment: "staging".to_owned(),
                tests: true,
            });
        })
    }
}
