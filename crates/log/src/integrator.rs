//! From rows to the tree: tiles, then the swap, then the checkpoint, then its publication.
//!
//! The order is the safety. Tiles are written before the database says that they are there. The
//! tree is swapped in before a checkpoint of it is signed, so of two integrators only one gets to
//! sign for a size. The checkpoint is recorded, under the fence of the key's state, before it is
//! published. Whoever comes after a crash finds how far it went and goes on from there: every step
//! may be repeated. What does not fit together is refused and stays refused: a log that stands
//! still can be mended, a log that forked cannot.

mod error;
mod rebuild;

use std::sync::Arc;
use std::time::{Duration, Instant};

use trust::Time;
use trust::tlog::checkpoint::{self, Checkpoint};
use trust::tlog::merkle::leaf_hash;
use trust::tlog::note::{Note, VerifierKey};
use trust::tlog::tile::{self, Builder, Resource, TileId};

use super::partial;
use super::same_database;
use super::signer::CheckpointSigner;
use super::storage::{Present, Storage};
use super::tiles::{self, Tiles};
use super::tree_store::TreeStore;
use base::Env;
use base::names;
use store::{CheckpointRow, LeafBody, TreeRow};

pub use error::Error;

/// Leaves between two swaps. Bounds the memory of a step and what a crash repeats.
const STEP: i64 = 8_192;

/// Leaves of one read.
const PAGE: i64 = 2_048;

/// How often a row that changes is read before the next round.
const READS: usize = 3;

/// How long receipts wait when the replica that integrates dies. A step that takes longer loses the
/// lease in its middle, and the swap decides.
const LEASE: Duration = Duration::from_secs(3);

/// The key may have to wait for a token that comes back.
const SIGNING: Duration = Duration::from_secs(5);

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Another replica integrates.
    Elsewhere,
    /// There is more to do at once.
    More,
    /// All that was there is in the tree.
    Done,
}

/// What one integrator is told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// First line of every checkpoint, for ever.
    pub origin: String,
    /// Names this process at the lease.
    pub holder: String,
    /// Whether partial tiles go when the full ones are there.
    pub remove_partial: bool,
}

pub struct Integrator<L> {
    tree_store: L,
    storage: Storage,
    tiles: Tiles,
    signer: Arc<dyn CheckpointSigner>,
    env: Env,
    origin: String,
    holder: String,
    /// Partial tiles that go when their full ones are covered by a published checkpoint; none are
    /// removed where the store keeps everything.
    partial: Option<Vec<Resource>>,
    /// Whether those of earlier processes were looked for.
    tidied: bool,
    growing: Option<Growing>,
}

/// The tree as it stands in the database, with its right edge.
struct Growing {
    tree: TreeRow,
    builder: Builder,
    /// Bodies of the bundle that is not full.
    bundle: Vec<String>,
    /// The last checkpoint that is known to be published, and the lines of witnesses under it.
    published: i64,
    cosignatures: String,
}

impl<L: TreeStore> Integrator<L> {
    pub fn new(
        tree_store: L,
        tiles: Tiles,
        signer: Arc<dyn CheckpointSigner>,
        env: Env,
        settings: Settings,
    ) -> Self {
        Self {
            tree_store,
            storage: tiles.storage().clone(),
            tiles,
            signer,
            env,
            origin: settings.origin,
            holder: settings.holder,
            partial: settings.remove_partial.then(Vec::new),
            tidied: false,
            growing: None,
        }
    }

    /// One that knows nothing yet, of the same log.
    pub fn another(&self) -> Self
    where
        L: Clone,
    {
        let settings = Settings {
            origin: self.origin.clone(),
            holder: self.holder.clone(),
            remove_partial: self.partial.is_some(),
        };
        Self::new(
            self.tree_store.clone(),
            self.tiles.clone(),
            self.signer.clone(),
            self.env.clone(),
            settings,
        )
    }

    /// Holds database, tiles and what is published against each other, without taking part.
    pub async fn inspect(&mut self) -> Result<(), Error> {
        self.resume().await.map(drop)
    }

    /// How many leaves the world sees.
    pub async fn published_size(&self) -> Result<u64, Error> {
        let published = self.published().await?;
        Ok(published.map_or(0, |checkpoint| checkpoint.size))
    }

    /// One round: take the lease, integrate, swap, sign, publish. After any error the next round
    /// starts from what is stored.
    pub async fn step(&mut self) -> Result<Step, Error> {
        let outcome = self.round().await;
        if outcome.is_err() {
            self.growing = None;
        }
        outcome
    }

    async fn round(&mut self) -> Result<Step, Error> {
        if !self.tree_store.lease(&self.holder, LEASE).await? {
            self.growing = None;
            return Ok(Step::Elsewhere);
        }
        let mut growing = match self.growing.take() {
            Some(growing) => growing,
            None => self.resume().await?,
        };
        let step = self.integrate(&mut growing).await?;
        self.publish(&mut growing).await?;
        self.growing = Some(growing);
        Ok(step)
    }

    /// Reads the right edge and holds what is stored in three places against each other. A process that was stopped
    /// in between compares an old row with newer files: what contradicts a row that has grown since is read again.
    async fn resume(&self) -> Result<Growing, Error> {
        for _ in 0..READS {
            let tree = self.tree_store.tree().await?;
            match self.resume_from(&tree).await {
                Err(error) if error.is_contradiction() && self.has_grown(&tree).await? => {}
                resumed => return resumed,
            }
        }
        Err(Error::Store(store::Error::conflict(store::Subject::Tree)))
    }

    async fn has_grown(&self, tree: &TreeRow) -> Result<bool, Error> {
        Ok(self.tree_store.tree().await?.size > tree.size)
    }

    async fn resume_from(&self, tree: &TreeRow) -> Result<Growing, Error> {
        if !tree.origin.is_empty() && tree.origin != self.origin {
            return Err(Error::Origin {
                ours: tree.origin.clone(),
                configured: self.origin.clone(),
            });
        }
        let size = tree.size as u64;
        let published = self.published().await?;
        if let Some(checkpoint) = &published
            && checkpoint.size > size
        {
            return Err(Error::Behind {
                published: checkpoint.size,
                known: size,
            });
        }
        let builder = match self.edge(tree).await {
            Ok(builder) => builder,
            Err(Error::Tiles(error)) if error.is_missing() && !self.has_grown(tree).await? => {
                let published = published.as_ref().map_or(0, |checkpoint| checkpoint.size);
                self.rebuild(tree, published).await?
            }
            Err(error) => return Err(error),
        };
        if let Some(checkpoint) = &published
            && self.tiles.root_at(checkpoint.size, size).await? != checkpoint.root
        {
            return Err(Error::Forked {
                size: checkpoint.size,
                with: "the published checkpoint",
            });
        }
        self.beyond(size).await?;
        let word = self.tree_store.database().await?;
        if !same_database::stays_the_same(&self.storage, &word).await? {
            return Err(Error::OtherDatabase);
        }
        let first = tree.size - tree.size % i64::from(tile::WIDTH);
        let bundle = self.leaves(first, tree.size).await?;
        Ok(Growing {
            builder,
            bundle: bundle.into_iter().map(|leaf| leaf.body).collect(),
            published: published.map_or(0, |checkpoint| checkpoint.size as i64),
            cosignatures: String::new(),
            tree: tree.clone(),
        })
    }

    /// Lowest tiles that go further than the tree. A step that died before its swap leaves such, and
    /// they are of the very rows that are here; any other are of another history, which this
    /// database does not know: a restored backup, even if what was published is lost with it.
    async fn beyond(&self, size: u64) -> Result<(), Error> {
        let width = u64::from(tile::WIDTH);
        let (index, known) = (size / width, size % width);
        let whole = Resource::Tile(TileId {
            level: 0,
            index,
            width: tile::WIDTH,
        });
        let mut stored = Vec::new();
        for name in self.storage.names(&format!("{}.p", whole.path())).await? {
            let wider = name.parse().is_ok_and(|width: u64| width > known);
            let path = format!("{}.p/{name}", whole.path());
            stored.extend(if wider {
                self.storage.get(&path).await?
            } else {
                None
            });
        }
        stored.extend(self.storage.get(&whole.path()).await?);
        // Rows after tiles: whoever integrates meanwhile writes tiles of rows that are there.
        let first = index * width;
        let rows = self.tree_store.leaves(first as i64, width as i64).await?;
        let hashes: Vec<u8> = rows
            .iter()
            .flat_map(|leaf| *leaf_hash(leaf.body.as_bytes()).as_bytes())
            .collect();
        for tile in stored {
            let common = tile.len().min(hashes.len());
            if tile[..common] != hashes[..common] {
                let with = "a tile in the log's storage";
                return Err(Error::Forked { size, with });
            }
            if tile.len() > hashes.len() {
                return Err(Error::Behind {
                    published: first + (tile.len() / tile::HASH_LEN) as u64,
                    known: first + rows.len() as u64,
                });
            }
        }
        Ok(())
    }

    /// The checkpoint that the world sees, verified with the log's keys.
    async fn published(&self) -> Result<Option<Checkpoint>, Error> {
        match self.storage.checkpoint().await? {
            Some(present) => self.read(&present).map(Some),
            None => Ok(None),
        }
    }

    fn read(&self, present: &Present) -> Result<Checkpoint, Error> {
        let not_ours = |error: &dyn std::fmt::Display| Error::NotOurs(error.to_string());
        let note = Note::parse(&present.bytes).map_err(|e| not_ours(&e))?;
        if let Ok(other) = Checkpoint::parse(&note.text)
            && other.origin != self.origin
        {
            return Err(Error::OtherPlace {
                ours: self.origin.clone(),
                there: other.origin,
            });
        }
        let keys = verifier_keys(&self.origin, self.signer.as_ref());
        checkpoint::open(&note, &keys).map_err(|e| not_ours(&e))
    }

    async fn edge(&self, tree: &TreeRow) -> Result<Builder, Error> {
        let size = tree.size as u64;
        let held = self.tiles.fetch(tile::tiles_for_root(size), size).await?;
        let builder = Builder::resume(size, |tile| held.get(&tile).cloned())
            .map_err(|error| Error::Tiles(tiles::Error::Garbled(error.to_string())))?;
        match builder.root() == tree.root {
            true => Ok(builder),
            false => Err(Error::Forked {
                size,
                with: "the tiles",
            }),
        }
    }

    async fn integrate(&mut self, growing: &mut Growing) -> Result<Step, Error> {
        let head = self.tree_store.size().await?;
        let old = growing.tree.clone();
        if head < old.size {
            return Err(Error::Behind {
                published: old.size as u64,
                known: head as u64,
            });
        }
        let to = head.min(old.size + STEP);
        if to == old.size {
            return Ok(Step::Done);
        }
        let started = Instant::now();
        let written = self.write(growing, old.size, to).await?;
        let new = TreeRow {
            size: to,
            root: growing.builder.root(),
            clock: old.clock.max(Time::from_millis(written.clock)),
            origin: self.origin.clone(),
            ..old.clone()
        };
        match self.tree_store.swap(&old, &new).await {
            Ok(true) => {}
            // Somebody else swapped, or our own swap of a moment ago did happen.
            Ok(false) => return self.after_swap(growing, new).await,
            Err(error) if error.is_outcome_unknown() => return self.after_swap(growing, new).await,
            Err(error) => return Err(error.into()),
        }
        growing.tree = new;
        if let Some(partial) = &mut self.partial {
            partial.extend(written.partial);
        }
        metrics::counter!(names::LOG_INTEGRATED).increment((to - old.size) as u64);
        metrics::gauge!(names::LOG_TREE_SIZE).set(to as f64);
        metrics::histogram!(names::LOG_INTEGRATION_SECONDS).record(started.elapsed());
        Ok(if to < head { Step::More } else { Step::Done })
    }

    /// What the database says now is what counts.
    async fn after_swap(&self, growing: &mut Growing, new: TreeRow) -> Result<Step, Error> {
        let stands = self.tree_store.tree().await?;
        if (stands.size, &stands.root) == (new.size, &new.root) {
            growing.tree = new;
            return Ok(Step::More);
        }
        // The lease ran out under us. The other one's tree is as good as ours, or the next round
        // finds that it is not.
        Err(Error::Store(store::Error::conflict(store::Subject::Tree)))
    }

    /// Reads leaves, grows the tree and writes what is new of it.
    async fn write(&self, growing: &mut Growing, from: i64, to: i64) -> Result<Written, Error> {
        let mut written = Written {
            clock: i64::MIN,
            partial: Vec::new(),
        };
        let mut files: Vec<(Resource, Vec<u8>)> = Vec::new();
        let mut at = from;
        while at < to {
            let page = self.leaves(at, to.min(at + PAGE)).await?;
            at += page.len() as i64;
            for leaf in page {
                written.clock = written.clock.max(leaf.time);
                growing.builder.push(leaf_hash(leaf.body.as_bytes()));
                growing.bundle.push(leaf.body);
                if growing.bundle.len() == usize::from(tile::WIDTH) {
                    files.push(bundle(&growing.bundle, growing.builder.size())?);
                    growing.bundle.clear();
                }
            }
        }
        if !growing.bundle.is_empty() {
            files.push(bundle(&growing.bundle, growing.builder.size())?);
        }
        let tiles = growing.builder.take_tiles().into_iter();
        files.extend(tiles.map(|(tile, bytes)| (Resource::Tile(tile), bytes)));
        let resources: Vec<Resource> = files.iter().map(|(resource, _)| *resource).collect();
        self.tiles.write(files).await?;
        written.partial = resources.into_iter().filter(partial::is_partial).collect();
        Ok(written)
    }

    async fn leaves(&self, from: i64, to: i64) -> Result<Vec<LeafBody>, Error> {
        let mut all = Vec::new();
        while from + (all.len() as i64) < to {
            let at = from + all.len() as i64;
            let page = self.tree_store.leaves(at, to - at).await?;
            let first = page.first().map(|leaf| leaf.index);
            let last = page.last().map(|leaf| leaf.index);
            let whole = last == Some(at + page.len() as i64 - 1);
            if first != Some(at) || !whole {
                return Err(Error::Gap(at));
            }
            all.extend(page);
        }
        Ok(all)
    }

    /// Signs a checkpoint of the tree if there is none, and shows the last one to the world.
    async fn publish(&mut self, growing: &mut Growing) -> Result<(), Error> {
        let last = self.tree_store.last_checkpoint().await?;
        let signed = last.as_ref().map_or(-1, |row| row.size);
        let row = if signed < growing.tree.size && growing.tree.size > 0 {
            if !self.signer.is_ready() {
                return Ok(());
            }
            self.sign(&growing.tree).await?
        } else {
            match last {
                Some(row) if row.size > growing.published => row,
                Some(row) if row.cosignatures != growing.cosignatures => row,
                _ => return Ok(()),
            }
        };
        self.show(&row).await?;
        growing.published = row.size;
        growing.cosignatures = row.cosignatures;
        self.tidy(row.size).await;
        Ok(())
    }

    async fn sign(&self, tree: &TreeRow) -> Result<CheckpointRow, Error> {
        let key_error = |error: &dyn std::fmt::Display| Error::Key(error.to_string());
        let text = Checkpoint {
            origin: self.origin.clone(),
            size: tree.size as u64,
            root: tree.root,
        }
        .body();
        let signed = self
            .signer
            .sign(text.clone(), Instant::now() + SIGNING)
            .await?;
        let key = VerifierKey::for_log(&self.origin, &signed.public).map_err(|e| key_error(&e))?;
        let line =
            checkpoint::signature_line(&key, &signed.signature).map_err(|e| key_error(&e))?;
        let note = Note {
            text,
            signatures: vec![line],
        };
        let row = CheckpointRow {
            size: tree.size,
            root: tree.root,
            time: self.env.now(),
            clock: tree.clock,
            kid: signed.kid,
            note: note.to_string(),
            cosignatures: String::new(),
        };
        let stands = self.tree_store.add_checkpoint(&row).await?;
        match stands.root == row.root {
            true => Ok(stands),
            false => Err(Error::Forked {
                size: tree.size as u64,
                with: "a signed checkpoint",
            }),
        }
    }

    /// Replaces what is published by something newer, or by the same with more signatures of
    /// witnesses, and by nothing else.
    pub(crate) async fn show(&self, row: &CheckpointRow) -> Result<(), Error> {
        let old = self.storage.checkpoint().await?;
        let note = row.signed();
        if let Some(present) = &old {
            if present.bytes == note.as_bytes() {
                return Ok(());
            }
            let there = self.read(present)?;
            if there.size > row.size as u64 {
                // Another replica went on since the row was read; or else nobody here knows that much.
                let last = self.tree_store.last_checkpoint().await?;
                if last.is_some_and(|last| last.size as u64 >= there.size) {
                    let other = store::Error::conflict(store::Subject::Tree);
                    return Err(Error::Store(other));
                }
                return Err(Error::Behind {
                    published: there.size,
                    known: row.size as u64,
                });
            }
            // Somebody else with a database of its own writes here.
            if self.tiles.root_at(there.size, row.size as u64).await? != there.root {
                return Err(Error::Forked {
                    size: there.size,
                    with: "the published checkpoint",
                });
            }
        }
        // A recovery took the log over for another database, under this process.
        let word = self.tree_store.database().await?;
        if !same_database::is_the_same(&self.storage, &word).await? {
            return Err(Error::OtherDatabase);
        }
        Ok(self.storage.put_checkpoint(old, &note).await?)
    }

    /// Removes partial tiles whose place is taken by full ones of a published tree.
    async fn tidy(&mut self, published: i64) {
        let Some(partial) = &mut self.partial else {
            return;
        };
        if !std::mem::replace(&mut self.tidied, true) {
            tokio::spawn(partial::remove_all(self.storage.clone(), published as u64));
        }
        let covered = |resource: &Resource| partial::is_covered(resource, published as u64);
        let (gone, stay) = std::mem::take(partial).into_iter().partition(covered);
        *partial = stay;
        let gone: Vec<Resource> = gone;
        for resource in gone {
            self.storage.remove(&resource.path()).await;
        }
    }
}

struct Written {
    clock: i64,
    partial: Vec<Resource>,
}

/// The keys that checkpoints of this origin are verified with.
pub(super) fn verifier_keys(origin: &str, signer: &dyn CheckpointSigner) -> Vec<VerifierKey> {
    let keys = signer.keys().into_iter();
    keys.filter_map(|key| VerifierKey::for_log(origin, &key).ok())
        .collect()
}

fn bundle(bodies: &[String], size: u64) -> Result<(Resource, Vec<u8>), Error> {
    let bytes = tile::encode_bundle(bodies.iter().map(String::as_bytes))
        .map_err(|error| Error::Tiles(tiles::Error::Garbled(error.to_string())))?;
    let width = bodies.len() as u16;
    let resource = Resource::Entries {
        index: (size - 1) / u64::from(tile::WIDTH),
        width,
    };
    Ok((resource, bytes))
}
