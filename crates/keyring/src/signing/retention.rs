//! Stored answers are for retries, and how often a key signed in an hour is for people who look: neither is the record, which is
//! the audit trail.

use std::error::Error;
use std::time::Duration;

use tracing::{info, warn};

use base::Env;
use store::{ANSWERS, HOURS, Store};

/// How long an `Idempotency-Key` is remembered.
const REMEMBERED: Duration = Duration::from_secs(24 * 3_600);

/// How long it is remembered how often a key signed in an hour; the sum of each day stays.
pub const HOURS_REMEMBERED: Duration = Duration::from_secs(91 * 24 * 3_600);

/// How often the old ones are forgotten.
const EVERY: Duration = Duration::from_secs(3_600);

/// Between two pages of them, for whoever else writes.
const PAUSE: Duration = Duration::from_millis(20);

/// The one replica that does it.
const LEASE: &str = "answers";
const LEASE_FOR: Duration = Duration::from_secs(60);

/// Runs until its task is ended; of all replicas one at a time forgets.
pub async fn forget_old_answers(store: Store, env: Env, instance: String) {
    loop {
        match forget(&store, &env, &instance).await {
            Ok(0) => {}
            Ok(answers) => info!(answers, "expired idempotency records deleted"),
            Err(error) => warn!(
                error = &error as &dyn Error,
                "expired idempotency records were not deleted"
            ),
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// Page by page, as long as this replica has the lease; how many went.
pub(crate) async fn forget(store: &Store, env: &Env, instance: &str) -> Result<u64, store::Error> {
    let mut forgotten = 0;
    loop {
        if !store.lease(LEASE, instance, LEASE_FOR).await? {
            return Ok(forgotten);
        }
        let before = env.now() - REMEMBERED;
        let page = store.forget_answers(before.millis()).await?;
        forgotten += page;
        let before = env.now() - HOURS_REMEMBERED;
        let hours = store.forget_hours(before.millis()).await?;
        if page < ANSWERS.unsigned_abs() && hours < HOURS.unsigned_abs() {
            store.return_lease(LEASE, instance).await?;
            return Ok(forgotten);
        }
        tokio::time::sleep(PAUSE).await;
    }
}
