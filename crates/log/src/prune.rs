//! What retention lets go: the bodies of old signatures, bundle by bundle. Hash tiles stay, and with
//! them every proof that was ever given out; acts stay whole.
//!
//! A body that is gone cannot be compared with anything any more. So each one that is to go is held
//! against the tree of the published checkpoint first: what was tampered with stays, as evidence.
//!
//! The order is mark with its leaf, then storage, then database. If we die in between, the next run begins
//! where bodies are known to be gone.

use tokio::task::JoinSet;
use trust::leaf::ActKind;
use trust::tlog::checkpoint::{self, Checkpoint};
use trust::tlog::merkle::{leaf_hash, verify_inclusion};
use trust::tlog::note::{Note, VerifierKey};
use trust::tlog::tile::{self, Resource, TileId};
use trust::{Sha256Digest, Time};

use super::settings::Settings;
use super::storage::{self, Storage};
use super::tiles::{self, Tiles};
use super::{Event, Log};
use store::{Change, LeafRow, Store};

/// Leaves of a bundle.
const BUNDLE: i64 = tile::WIDTH as i64;

/// Bundles of one read.
const PAGE: i64 = 16;

/// Bundles that are removed at once.
const AT_ONCE: usize = 16;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the log's database cannot be read or written")]
    Store(#[from] store::Error),
    #[error(transparent)]
    Storage(#[from] storage::Error),
    #[error(transparent)]
    Tiles(#[from] tiles::Error),
    /// Nothing may go by a checkpoint that is not the log's.
    #[error("the published checkpoint is not signed by this log: {0}")]
    NotOurs(String),
    /// Removing it would remove the evidence.
    #[error("leaf {index}: {why}; an inconsistent log is not pruned")]
    Broken { index: i64, why: &'static str },
}

/// What would go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Signatures of before this instant are beyond retention.
    pub before: Time,
    /// The first leaf that was looked at, and the first that stays.
    pub from: i64,
    pub below: i64,
    /// Bodies of signatures between them that are still in the database.
    pub bodies: u64,
    /// Bundles of signatures and of counts of strangers' refusals alone: their published files go too.
    pub bundles: Vec<u64>,
    /// Bundles that hold acts, and stay published as they are.
    pub with_acts: u64,
    /// Where an earlier run has set the mark.
    marked: i64,
}

pub struct Pruner {
    store: Store,
    storage: Storage,
    tiles: Tiles,
    keys: Vec<VerifierKey>,
}

impl Pruner {
    /// `keys` are those that checkpoints of this log are verified with.
    pub fn open(
        settings: &Settings,
        variable: impl Fn(&str) -> Option<String>,
        store: Store,
        keys: Vec<VerifierKey>,
    ) -> Result<Self, Error> {
        Ok(Self::new(Storage::open(settings, variable)?, store, keys))
    }

    pub(super) fn new(storage: Storage, store: Store, keys: Vec<VerifierKey>) -> Self {
        Self {
            tiles: Tiles::new(storage.clone()),
            store,
            storage,
            keys,
        }
    }

    /// What may go by now: whole bundles below the published checkpoint of which every leaf is older
    /// than `retention`, up to the first that is not.
    pub async fn plan(&self, now: Time, retention: std::time::Duration) -> Result<Plan, Error> {
        let tree = self.store.tree().await?;
        // A clock that runs ahead must not make everything old.
        let before = now.min(tree.clock) - retention;
        let from = tree.emptied - tree.emptied % BUNDLE;
        let mut plan = Plan {
            before,
            from,
            below: from,
            bodies: 0,
            bundles: Vec::new(),
            with_acts: 0,
            marked: tree.pruned,
        };
        let Some(published) = self.published().await? else {
            return Ok(plan);
        };
        let size = published.size as i64;
        while plan.below + BUNDLE <= size {
            let most = BUNDLE * PAGE.min((size - plan.below) / BUNDLE);
            let leaves = self.store.leaves(plan.below, most).await?;
            let mut bundles = leaves.chunks_exact(BUNDLE as usize).peekable();
            if bundles.peek().is_none() {
                return Err(broken(plan.below, "it is missing from the database"));
            }
            for bundle in bundles {
                let first = plan.below;
                if !plan.take(bundle) {
                    return Ok(plan);
                }
                self.hold_against_the_tree(first, bundle, &published, tree.pruned)
                    .await?;
            }
        }
        Ok(plan)
    }

    /// Carries a plan out; how many bodies went from the database.
    pub async fn apply(&self, plan: &Plan, actor: &str, now: Time) -> Result<u64, Error> {
        if plan.below > plan.marked {
            let what = format!("{}..{}", plan.marked, plan.below);
            let why = format!("bodies of signature leaves older than {}", plan.before);
            let event = Event {
                reason: Some(&why),
                reference: Some(&what),
                ..Event::new(ActKind::Admin, "prune", actor, now)
            };
            let mark = Change::Prune { below: plan.below };
            Log::new(self.store.clone()).commit(&mark, &event).await?;
        }
        for several in plan.bundles.chunks(AT_ONCE) {
            let mut under_way = JoinSet::new();
            for index in several {
                under_way.spawn(remove(self.storage.clone(), *index));
            }
            while let Some(removed) = under_way.join_next().await {
                removed.map_err(|_| storage::Error::unfinished("remove"))??;
            }
        }
        Ok(self.store.prune().await?)
    }

    async fn published(&self) -> Result<Option<Checkpoint>, Error> {
        let Some(present) = self.storage.checkpoint().await? else {
            return Ok(None);
        };
        let not_ours = |error: &dyn std::fmt::Display| Error::NotOurs(error.to_string());
        let note = Note::parse(&present.bytes).map_err(|e| not_ours(&e))?;
        let checkpoint = checkpoint::open(&note, &self.keys).map_err(|e| not_ours(&e))?;
        Ok(Some(checkpoint))
    }

    /// Every body is the one whose hash stands in its tile, and the tile is part of the tree.
    async fn hold_against_the_tree(
        &self,
        first: i64,
        bundle: &[LeafRow],
        published: &Checkpoint,
        pruned: i64,
    ) -> Result<(), Error> {
        let id = TileId {
            level: 0,
            index: (first / BUNDLE) as u64,
            width: tile::WIDTH,
        };
        let held = self.tiles.fetch(vec![id], published.size).await?;
        let hashes = held.get(&id).map(Vec::as_slice).unwrap_or_default();
        let (index, size) = (first as u64, published.size);
        let path = self.tiles.inclusion(index, size, size).await?;
        let mut hashes = hashes.chunks_exact(tile::HASH_LEN);
        for (leaf, expected) in bundle.iter().zip(first..) {
            if leaf.index != expected {
                return Err(broken(expected, "it is missing from the database"));
            }
            let hash = hashes.next().and_then(|hash| hash.try_into().ok());
            let hash = hash.ok_or(broken(leaf.index, "its hash is missing"))?;
            let hash = Sha256Digest::from_bytes(hash);
            // The path is made of the other hashes of the tile, so one holds for all.
            if leaf.index == first {
                verify_inclusion(index, size, hash, &path, published.root).map_err(|_| {
                    broken(leaf.index, "its tile is not part of the published tree")
                })?;
            }
            let gone = leaf.body.is_empty() && leaf.kind == "sign" && leaf.index < pruned;
            if !gone && leaf_hash(leaf.body.as_bytes()) != hash {
                return Err(broken(leaf.index, "the database differs from the tree"));
            }
        }
        Ok(())
    }
}

impl Plan {
    /// Whether there is anything to do.
    pub fn is_empty(&self) -> bool {
        self.bodies == 0
    }

    /// Takes a bundle in, if it may go. What an earlier run has marked goes, whatever a clock says.
    fn take(&mut self, bundle: &[LeafRow]) -> bool {
        let old = |leaf: &LeafRow| leaf.time < self.before.millis() || leaf.index < self.marked;
        if !bundle.iter().all(old) {
            return false;
        }
        let signatures = bundle.iter().filter(|leaf| leaf.kind == "sign");
        self.bodies += signatures.filter(|leaf| !leaf.body.is_empty()).count() as u64;
        let goes = |leaf: &LeafRow| matches!(leaf.kind.as_str(), "sign" | "refusals");
        match bundle.iter().all(goes) {
            true => self.bundles.push((self.below / BUNDLE) as u64),
            false => self.with_acts += 1,
        }
        self.below += BUNDLE;
        true
    }
}

/// The published bundle; and where partial ones are kept, they tell the same.
async fn remove(storage: Storage, index: u64) -> Result<(), storage::Error> {
    let width = tile::WIDTH;
    let whole = Resource::Entries { index, width }.path();
    storage.delete(&whole).await?;
    for partial in storage.list(&format!("{whole}.p")).await? {
        storage.delete(&partial).await?;
    }
    Ok(())
}

fn broken(index: i64, why: &'static str) -> Error {
    Error::Broken { index, why }
}
