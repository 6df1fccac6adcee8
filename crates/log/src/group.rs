//! Group commit of signatures: one transaction for all that wait.
//!
//! A signature alone does not wait. When others are on their way ([`Expected`]), the group is
//! held open for them, two milliseconds at most. If we die before the commit, nothing was
//! released; if we die after it, the trail knows a signature that nobody got, which is harmless.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout_at};
use tracing::Span;

use super::{Error, Published};
use store::{MAX_BATCH, SignatureOutcome, SignatureRecord, Store};

/// Longest that the first of a group waits for the others.
const PATIENCE: Duration = Duration::from_millis(2);

/// Bytes of records of one transaction, unless a single record has more.
const MAX_BYTES: usize = 4 * 1_024 * 1_024;

/// Requests that may wait to be recorded before new ones are refused.
const QUEUE: usize = 4_096;

struct Waiting {
    expected: Expected,
    records: Vec<SignatureRecord>,
    done: oneshot::Sender<Result<Vec<SignatureOutcome>, Error>>,
    /// Told how many were committed together and how long that took.
    span: Span,
}

/// Where signatures are recorded; cheap to clone.
#[derive(Clone)]
pub struct Group {
    queue: mpsc::Sender<Waiting>,
    expected: Arc<AtomicUsize>,
    published: watch::Receiver<Published>,
}

/// Announces a signature that will be recorded soon; withdrawn when dropped.
pub struct Expected {
    expected: Arc<AtomicUsize>,
    count: usize,
}

impl Drop for Expected {
    fn drop(&mut self) {
        self.expected.fetch_sub(self.count, Ordering::Relaxed);
    }
}

impl Group {
    /// The queue, and what commits it: a task of its own. `published` says whether the log is halted.
    pub fn new(store: Store, published: watch::Receiver<Published>) -> (Self, GroupCommitter) {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let expected = Arc::new(AtomicUsize::new(0));
        let committer = GroupCommitter {
            store,
            waiting,
            expected: expected.clone(),
        };
        let group = Self {
            queue,
            expected,
            published,
        };
        (group, committer)
    }

    /// Says that `count` signatures are being made.
    pub fn expect(&self, count: usize) -> Expected {
        self.expected.fetch_add(count, Ordering::Relaxed);
        Expected {
            expected: self.expected.clone(),
            count,
        }
    }

    /// Records the signatures and waits until they are durable. `expected` is what announced
    /// them: it counts until they are in the database.
    pub async fn record(
        &self,
        records: Vec<SignatureRecord>,
        expected: Expected,
    ) -> Result<Vec<SignatureOutcome>, Error> {
        if let Some(why) = &self.published.borrow().refused {
            return Err(Error::Halted(why.clone()));
        }
        let (done, outcome) = oneshot::channel();
        let gone = |_| Error::Store(Arc::new(store::Error::closed()));
        self.queue
            .send(Waiting {
                expected,
                records,
                done,
                span: Span::current(),
            })
            .await
            .map_err(|_| Error::Store(Arc::new(store::Error::closed())))?;
        outcome.await.map_err(gone)?
    }
}

/// Commits what waits in the queue of a [`Group`].
pub struct GroupCommitter {
    store: Store,
    waiting: mpsc::Receiver<Waiting>,
    expected: Arc<AtomicUsize>,
}

impl GroupCommitter {
    /// Until the last clone of the group is dropped and its queue is empty.
    pub async fn run(&mut self) {
        while let Some(first) = self.waiting.recv().await {
            let close = Instant::now() + PATIENCE;
            let mut size = first.records.len();
            let mut bytes = bytes(&first.records);
            let mut group = vec![first];
            while size < MAX_BATCH && bytes < MAX_BYTES {
                let next = match self.waiting.try_recv() {
                    Ok(next) => Some(next),
                    // Everybody who was announced is here: nothing to wait for.
                    Err(_) if size >= self.expected.load(Ordering::Relaxed) => None,
                    Err(_) => timeout_at(close, self.waiting.recv()).await.ok().flatten(),
                };
                let Some(next) = next else { break };
                size += next.records.len();
                bytes += self::bytes(&next.records);
                group.push(next);
            }
            commit(&self.store, group).await;
        }
    }
}

fn bytes(records: &[SignatureRecord]) -> usize {
    records.iter().map(SignatureRecord::bytes).sum()
}

/// How many of the first records make one transaction: at least one of them.
fn part(records: &[SignatureRecord]) -> usize {
    let mut bytes = 0;
    let fits = records.iter().take(MAX_BATCH).take_while(|record| {
        bytes += record.bytes();
        bytes <= MAX_BYTES
    });
    fits.count().max(1).min(records.len())
}

/// One group, in transactions of [`MAX_BATCH`] records and [`MAX_BYTES`] at most.
async fn commit(store: &Store, group: Vec<Waiting>) {
    let mut records = Vec::new();
    let mut shares = Vec::with_capacity(group.len());
    for waiting in group {
        let share = (waiting.records.len(), waiting.expected, waiting.done);
        shares.push((share, waiting.span));
        records.extend(waiting.records);
    }
    metrics::histogram!(base::names::GROUP_COMMIT_LEAVES).record(records.len() as f64);
    let (together, began) = (records.len(), Instant::now());
    let mut outcomes = Vec::with_capacity(records.len());
    let mut failed = None;
    let mut left = records.as_slice();
    while !left.is_empty() {
        let (part, rest) = left.split_at(part(left));
        left = rest;
        match store.commit_signatures(part).await {
            Ok(done) => outcomes.extend(done.into_iter().map(Some)),
            Err(error) => {
                // Parts before this one are durable and are released; these are not.
                failed = Some(Error::Store(Arc::new(error)));
                outcomes.extend(part.iter().map(|_| None));
            }
        }
    }
    let mut outcomes = outcomes.into_iter();
    let took = began.elapsed().as_secs_f64() * 1e3;
    for ((count, expected, done), span) in shares {
        span.record(
            "chancery.group",
            i64::try_from(together).unwrap_or(i64::MAX),
        );
        span.record("chancery.transaction_ms", took);
        // Ended before the answer, which ends the request's.
        drop(span);
        // Before the answer, so that the next group does not wait for what is done.
        drop(expected);
        let mine: Option<Vec<_>> = outcomes.by_ref().take(count).collect();
        let answer = match (mine, &failed) {
            (Some(mine), _) => Ok(mine),
            (None, Some(error)) => Err(error.clone()),
            (None, None) => Err(Error::Store(Arc::new(store::Error::closed()))),
        };
        // A caller that is gone does not mind.
        let _ = done.send(answer);
    }
}

#[cfg(test)]
mod tests {
    use store::Idempotency;
    use store::testing::world::signature;

    use super::*;

    fn record(response: usize) -> SignatureRecord {
        let asked = Idempotency {
            principal: "integrity".to_owned(),
            key: "k".to_owned(),
            request_hash: "0".repeat(64),
            response: "r".repeat(response),
        };
        SignatureRecord {
            idempotency: Some(asked),
            ..signature(&"A".repeat(43), "records", "one")
        }
    }

    #[test]
    fn case_s8_a_transaction_is_bounded_in_records_and_in_bytes() {
        let small = vec![record(10); MAX_BATCH + 5];
        assert_eq!(part(&small), MAX_BATCH);
        assert_eq!(part(&small[..7]), 7);
        let large = vec![record(1_024 * 1_024); 20];
        assert_eq!(part(&large), 3);
        assert_eq!(part(&[record(2 * MAX_BYTES), record(1)]), 1);
    }
}
