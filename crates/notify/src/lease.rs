//! That one replica does a piece of work at a time.

use std::time::Duration;

use store::Store;
use tokio::time::Instant;

/// What a lease has beyond the longest step under it. Whoever is slower still delivers a message once more, with the same
/// id; whoever dies is followed after so long.
const MARGIN: Duration = Duration::from_secs(5);

/// A lease is renewed when it has less than a step and this left.
const ENOUGH: Duration = Duration::from_secs(1);

/// Of one replica, for one piece of work.
pub struct Lease {
    store: Store,
    name: String,
    holder: String,
    /// The longest that is done without asking again.
    step: Duration,
    until: Option<Instant>,
}

impl Lease {
    pub fn new(store: Store, name: String, holder: String, step: Duration) -> Self {
        Self {
            store,
            name,
            holder,
            step,
            until: None,
        }
    }

    /// Whether it is ours for as long as a step may take.
    pub async fn is_held(&mut self) -> Result<bool, store::Error> {
        let now = Instant::now();
        if self
            .until
            .is_some_and(|until| until > now + self.step + ENOUGH)
        {
            return Ok(true);
        }
        self.until = None;
        let lasts = self.step + MARGIN;
        if self.store.lease(&self.name, &self.holder, lasts).await? {
            self.until = Some(now + lasts);
        }
        Ok(self.until.is_some())
    }
}
