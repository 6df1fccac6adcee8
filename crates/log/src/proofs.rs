//! Receipts out: proofs that what was answered is in the tree, for whoever asks.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;
use trust::tlog::merkle::{leaf_hash, verify_inclusion};
use trust::tlog::note::Note;
use trust::tlog::policy::WitnessPolicy;
use trust::tlog::proof::TlogProof;
use trust::tlog::tile::Resource;
use trust::{Sha256Digest, Time};

use super::published::Published;
use super::tiles::{self, Tiles};
use store::{CheckpointRow, LeafRow, Store};
use trust::log_acts::CorrectedTimes;
use trust::log_clock::SKEW;

const NOT_IN_TIME: &str = "no checkpoint covered the leaf in time";

/// Checkpoints that are looked at for one with enough witnesses; at two a second, half a minute.
const LOOKED_AT: i64 = 64;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the log's database cannot be read")]
    Store(#[from] store::Error),
    #[error(transparent)]
    Tiles(#[from] tiles::Error),
    /// A leaf in the database is not the one in the tree, or a checkpoint is not of the tree.
    #[error("the log is inconsistent: {0}")]
    Broken(String),
    #[error(
        "leaf {0}: its body was pruned after the retention period; a receipt obtained earlier still verifies"
    )]
    Pruned(i64),
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Proofs {
    store: Store,
    tiles: Tiles,
    published: watch::Receiver<Published>,
    policy: Option<Arc<WitnessPolicy>>,
}

/// A leaf, and the proof that it is in the tree.
#[derive(Debug, Clone)]
pub struct Receipt {
    pub leaf: LeafRow,
    pub proof: TlogProof,
    /// Leaves under the checkpoint before, and the latest time that they tell: no leaf after them
    /// is older.
    pub before: Option<(u64, Time)>,
    /// The log's key that signed the checkpoint.
    pub log_kid: String,
}

/// When a leaf says that it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Existed {
    pub at: Time,
    /// Before the leaves of the checkpoint before it, by more than clocks differ: a row that was slipped in, or leaves
    /// of a clock that ran ahead and are not corrected yet. Its time proves nothing.
    pub backdated: bool,
}

fn existed(index: i64, time: i64, before: Option<(u64, Time)>, times: &CorrectedTimes) -> Existed {
    let at = times.of(index.unsigned_abs(), Time::from_millis(time));
    let floor = before.map(|(size, clock)| times.clock(size, clock));
    Existed {
        at,
        backdated: floor.is_some_and(|floor| floor > at + SKEW),
    }
}

impl Receipt {
    /// What its leaf says of its time.
    pub fn existed(&self, times: &CorrectedTimes) -> Existed {
        existed(self.leaf.index, self.leaf.time, self.before, times)
    }
}

impl Proofs {
    pub fn new(
        store: Store,
        tiles: Tiles,
        published: watch::Receiver<Published>,
        policy: Option<Arc<WitnessPolicy>>,
    ) -> Self {
        Self {
            store,
            tiles,
            published,
            policy,
        }
    }

    pub fn published(&self) -> Published {
        self.published.borrow().clone()
    }

    /// A file of the log, as it was written.
    pub async fn file(&self, resource: Resource) -> Result<Option<Arc<Vec<u8>>>, Error> {
        Ok(self.tiles.get(resource).await?)
    }

    /// Waits until a checkpoint covers the leaf; the reason if it did not come in time, or cannot come for now.
    pub async fn covered(&self, index: i64, deadline: Instant) -> Result<(), Arc<str>> {
        let mut published = self.published.clone();
        let covers = |published: &Published| {
            let row = published.checkpoint.as_ref();
            row.is_some_and(|row| row.size > index)
        };
        let waiting = published.wait_for(|it| covers(it) || it.late.is_some());
        match tokio::time::timeout_at(deadline.into(), waiting).await {
            Ok(Ok(now)) if covers(&now) => Ok(()),
            Ok(Ok(now)) => Err(now.late.clone().unwrap_or_else(|| NOT_IN_TIME.into())),
            Ok(Err(_)) | Err(_) => Err(NOT_IN_TIME.into()),
        }
    }

    /// The receipt of a leaf under the first checkpoint that covered it; but where a quorum of
    /// witnesses did not come to cosign that one, under the next that has it. None while there is
    /// no such leaf or checkpoint.
    pub async fn receipt(&self, index: i64) -> Result<Option<Receipt>, Error> {
        let Some(row) = self.best_checkpoint(index).await? else {
            return Ok(None);
        };
        let Some(leaf) = self.store.leaf(index).await? else {
            return Ok(None);
        };
        self.prove(leaf, &row).await.map(Some)
    }

    /// The receipts of these leaves under one checkpoint, the first that covers them all: for a file whose proofs have to be
    /// of one log, where a new origin began in between. Of the leaves that are there.
    pub async fn receipts_under_one(&self, indexes: &[i64]) -> Result<Vec<Receipt>, Error> {
        let last = indexes.iter().copied().max().unwrap_or_default();
        let Some(row) = self.best_checkpoint(last).await? else {
            return Ok(Vec::new());
        };
        let mut receipts = Vec::with_capacity(indexes.len());
        for index in indexes {
            if let Some(leaf) = self.store.leaf(*index).await? {
                receipts.push(self.prove(leaf, &row).await?);
            }
        }
        Ok(receipts)
    }

    /// A witness that was away does not go back, so what it missed stays as it is.
    async fn best_checkpoint(&self, index: i64) -> Result<Option<CheckpointRow>, Error> {
        let first = self.store.checkpoint_over(index).await?;
        let (Some(policy), Some(row)) = (&self.policy, &first) else {
            return Ok(first);
        };
        if is_witnessed(policy, row) {
            return Ok(first);
        }
        let later = self.store.checkpoints(row.size + 1, LOOKED_AT).await?;
        let witnessed = later.into_iter().find(|row| is_witnessed(policy, row));
        Ok(witnessed.or(first))
    }

    /// Since when the leaf exists, by its own time; proven by the tree as soon as a checkpoint covers it. What a
    /// wrong clock wrote is read as it was corrected.
    pub async fn existed_at(
        &self,
        index: i64,
        times: &CorrectedTimes,
    ) -> Result<Option<Existed>, Error> {
        let (time, before) = match self.receipt(index).await? {
            Some(receipt) => (receipt.leaf.time, receipt.before),
            None => {
                let Some(leaf) = self.store.leaf(index).await? else {
                    return Ok(None);
                };
                let before = self.store.checkpoint_before(index).await?;
                (leaf.time, before.map(clock))
            }
        };
        Ok(Some(existed(index, time, before, times)))
    }

    /// Holds the database's leaf against the tree: a row that was changed has no receipt.
    async fn prove(&self, leaf: LeafRow, row: &CheckpointRow) -> Result<Receipt, Error> {
        let broken = |what: &str| Error::Broken(format!("leaf {}: {what}", leaf.index));
        if leaf.body.is_empty() {
            let below = self.store.tree().await?.pruned;
            return Err(match leaf.kind == "sign" && leaf.index < below {
                true => Error::Pruned(leaf.index),
                false => broken("its body is missing from the database"),
            });
        }
        let (index, size) = (leaf.index as u64, row.size as u64);
        let now = self.now(row).await?;
        let hashes = self.tiles.inclusion(index, size, now).await?;
        verify_inclusion(
            index,
            size,
            leaf_hash(leaf.body.as_bytes()),
            &hashes,
            row.root,
        )
        .map_err(|_| broken("the database differs from the tree"))?;
        let note = Note::parse(row.signed().as_bytes())
            .map_err(|_| broken("its checkpoint cannot be read"))?;
        let before = self.store.checkpoint_before(leaf.index).await?;
        Ok(Receipt {
            before: before.map(clock),
            log_kid: row.kid.to_string(),
            proof: TlogProof {
                index,
                extra: None,
                hashes,
                checkpoint: note,
            },
            leaf,
        })
    }

    /// That the tree of `new` leaves begins with that of `old`; none if there is no such tree yet.
    pub async fn consistency(
        &self,
        old: u64,
        new: u64,
    ) -> Result<Option<Vec<Sha256Digest>>, Error> {
        let Some(last) = self.store.last_checkpoint().await? else {
            return Ok(None);
        };
        if new > last.size as u64 || old > new {
            return Ok(None);
        }
        let now = self.now(&last).await?;
        Ok(Some(self.tiles.consistency(old, new, now).await?))
    }

    /// A size whose tiles are all there: that of the newest checkpoint.
    async fn now(&self, at_least: &CheckpointRow) -> Result<u64, Error> {
        let known = self.published.borrow().checkpoint.clone();
        match known.filter(|row| row.size >= at_least.size) {
            Some(row) => Ok(row.size as u64),
            None => {
                let last = self.store.last_checkpoint().await?;
                let size = match last {
                    Some(row) => row.size,
                    // Of a new origin that has no checkpoint yet.
                    None => self.store.tree().await?.size,
                };
                Ok(size.max(at_least.size) as u64)
            }
        }
    }
}

/// How many leaves a checkpoint covers, and the latest time that they tell.
fn clock(row: CheckpointRow) -> (u64, Time) {
    (row.size.unsigned_abs(), row.clock)
}

/// Whether the quorum is complete on a checkpoint.
pub(super) fn is_witnessed(policy: &WitnessPolicy, row: &CheckpointRow) -> bool {
    let note = Note::parse(row.signed().as_bytes()).ok();
    let found = note.and_then(|note| policy.satisfied(&note).ok());
    found.is_some_and(|found| found.complete)
}
