//! Runs the integrator in every replica; the lease decides which of them does anything.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::integrator::{Integrator, Step};
use super::{Event, Log};
use crate::ambient::Ambient;
use crate::store::{CheckpointRow, Store};
use crate::telemetry::chain;

/// Pause after an error that may pass by itself; a person's error is looked at again as often.
const PAUSE: Duration = Duration::from_secs(1);

/// Signatures that are put into the index together: the more of them, the fewer pages each one
/// costs; and the longer the others wait for the database meanwhile.
const TOGETHER: i64 = 16_384;

/// Fewer than that wait so long for others.
const TOGETHER_WITHIN: Duration = Duration::from_secs(20);

/// What this replica knows of the log.
#[derive(Debug, Clone, Default)]
pub struct Published {
    /// The newest checkpoint that was signed.
    pub checkpoint: Option<Arc<CheckpointRow>>,
    /// Why the log stands still, if a person has to look. While it does nothing is signed: what
    /// cannot be logged must not leave.
    pub refused: Option<Arc<str>>,
}

pub struct Keeper {
    pub integrator: Integrator<Store>,
    pub store: Store,
    pub ambient: Ambient,
    pub interval: Duration,
    pub heartbeat: Duration,
    pub published: watch::Sender<Published>,
}

impl Keeper {
    pub fn watch(&self) -> watch::Receiver<Published> {
        self.published.subscribe()
    }

    /// Until it is aborted.
    pub async fn run(mut self) {
        let mut indexed = Instant::now();
        loop {
            let step = self.integrator.step().await;
            let mut pause = match &step {
                Ok(Step::More) => Duration::ZERO,
                Ok(_) => self.interval,
                Err(_) => PAUSE.max(self.interval),
            };
            let refused = match &step {
                Err(error) if error.is_fatal() => Some(Arc::from(chain(error))),
                _ => None,
            };
            if let Err(error) = &step {
                metrics::counter!("chancery_log_errors").increment(1);
                match error.is_fatal() {
                    true => tracing::error!(error = chain(error), "the log stands still"),
                    false => tracing::warn!(error = chain(error), "the log waits"),
                }
            }
            self.tell(refused).await;
            // Whatever became of the tree; but one replica is enough.
            if !matches!(step, Ok(Step::Elsewhere)) && self.index(&mut indexed).await {
                pause = Duration::ZERO;
            }
            if matches!(step, Ok(Step::Done)) {
                self.beat().await;
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Those who wait for a receipt wake up when the checkpoint is another.
    async fn tell(&self, refused: Option<Arc<str>>) {
        let last = self.store.last_checkpoint().await;
        self.published.send_if_modified(|published| {
            let stopped = published.refused != refused;
            published.refused = refused;
            let Ok(last) = last else {
                return stopped;
            };
            let size = |row: Option<&CheckpointRow>| row.map(|row| row.size);
            let news = size(last.as_ref()) != size(published.checkpoint.as_deref());
            let cosigned = last.as_ref().map(|row| &row.cosignatures)
                != published.checkpoint.as_ref().map(|row| &row.cosignatures);
            if news || cosigned {
                published.checkpoint = last.map(Arc::new);
            }
            stopped || news || cosigned
        });
    }

    /// Fills the index of signatures in bulk, so that it costs next to nothing where they are
    /// made. True if there is more to do at once.
    async fn index(&self, last: &mut Instant) -> bool {
        let least = match last.elapsed() < TOGETHER_WITHIN {
            true => TOGETHER,
            false => 1,
        };
        match self.store.unindexed().await {
            Ok(waiting) if waiting < least => return false,
            Ok(_) => *last = Instant::now(),
            // The step has told of it.
            Err(_) => return false,
        }
        match self.store.index_signatures(TOGETHER).await {
            Ok(done) => done == TOGETHER,
            Err(error) => {
                tracing::warn!(error = chain(&error), "the index of signatures waits");
                false
            }
        }
    }

    /// A log that is silent because nothing happens looks like one that was stopped; so it says
    /// that nothing happened, in a leaf that a stranger can check.
    async fn beat(&self) {
        let now = self.ambient.now();
        let Ok(tree) = self.store.tree().await else {
            return;
        };
        let silent = now.millis() - tree.clock;
        if tree.size == 0 || silent < i64::try_from(self.heartbeat.as_millis()).unwrap_or(i64::MAX)
        {
            return;
        }
        let event = Event {
            kind: "admin",
            action: "heartbeat",
            actor: "chancery",
            time: now,
            ..Event::default()
        };
        if let Err(error) = Log::new(self.store.clone())
            .commit(&crate::store::Change::Record, &event)
            .await
        {
            tracing::warn!(error = chain(&error), "no heartbeat in the log");
        }
    }
}
