//! Follows changes in the database.

use std::sync::Arc;
use std::time::Duration;

use base::Trouble;
use tracing::{error, info};
use trust::error_chain;

use super::load::Keys;

/// How often the database's version is asked for where it does not tell by itself.
const POLL: Duration = Duration::from_secs(5);

impl Keys {
    /// Follows the database until dropped by its caller.
    pub async fn follow(self: Arc<Self>) {
        let mut trouble = Trouble::default();
        loop {
            let seen = self.current.load().version;
            match self.store.wait_for_change(seen, POLL).await {
                Ok(version) if version == seen => {
                    followed(&mut trouble);
                    self.confirm();
                }
                Ok(_) => {
                    followed(&mut trouble);
                    self.refresh().await;
                    // What cannot be read now will not be readable at once: the change is still
                    // there, so without a pause it would be read in a circle.
                    if self.current.load().version == seen {
                        tokio::time::sleep(Duration::from_secs(1)).await;
                    }
                }
                Err(error) => {
                    let why = error_chain(&error);
                    if let Some(count) = trouble.is(&why) {
                        error!(error = why, count, "cannot follow changes in the database");
                    }
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }
}

fn followed(trouble: &mut Trouble) {
    if trouble.is_over() {
        info!("changes in the database are followed again");
    }
}
