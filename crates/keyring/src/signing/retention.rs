//! Stored answers are for retries, not for the record: the record is the audit trail.

use std::time::Duration;

use tracing::{info, warn};

use base::Env;
use store::Store;

/// How long an `Idempotency-Key` is remembered.
const REMEMBERED: Duration = Duration::from_secs(24 * 3_600);

/// How often the old ones are forgotten.
const EVERY: Duration = Duration::from_secs(3_600);

/// Runs until its task is ended. Any number of replicas may do this at once.
pub async fn forget_old_answers(store: Store, env: Env) {
    loop {
        let before = env.now() - REMEMBERED;
        match store.forget_answers(before.millis()).await {
            Ok(0) => {}
            Ok(answers) => info!(answers, "expired idempotency records deleted"),
            Err(error) => warn!(
                error = &error as &dyn std::error::Error,
                "expired idempotency records were not deleted"
            ),
        }
        tokio::time::sleep(EVERY).await;
    }
}
