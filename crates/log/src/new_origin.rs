//! A log that lost published leaves for good goes on under another origin, with the leaves that are left: what the
//! proposal says of them, and their tiles and bundles at another place.
//!
//! The leaves are read from the database and held against its tree. Where retention let a body go, its hash is read from
//! the old place. Nothing is written before the root is the one that custodians signed.

use std::time::Duration;

use futures_util::TryStreamExt as _;
use trust::request::{LostLeaves, NewOrigin};
use trust::tlog::checkpoint::{self, Checkpoint};
use trust::tlog::merkle::leaf_hash;
use trust::tlog::note::{Note, VerifierKey};
use trust::tlog::tile::{self, Builder, HASH_LEN, Resource, TileId, WIDTH};
use trust::{Pin, Sha256Digest, Time};

use super::act_index::ActIndex;
use super::gap::{self, Revoked};
use super::same_database;
use super::storage::{self, Storage};
use super::tiles::{self, Tiles};
use super::tree_store::INTEGRATOR;
use store::{LeafRow, Store, TreeRow};

/// Leaves of one page: whole bundles.
const PAGE: u64 = 2_048;

/// Longer than a page takes.
const LEASE: Duration = Duration::from_secs(60);

/// Who holds the integrator's lease meanwhile.
const HOLDER: &str = "new origin";

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Storage(#[from] storage::Error),
    #[error("the log's tiles cannot be read or written")]
    Tiles(#[from] tiles::Error),
    #[error("the log has no checkpoint yet and needs no new origin")]
    NoLog,
    #[error("the previous checkpoint is not signed by this log ({origin}): {why}")]
    NotOurs { origin: String, why: String },
    #[error(
        "the previous checkpoint has {given} leaves, but one with {published} is published: give that one"
    )]
    NotTheLast { given: u64, published: u64 },
    #[error(
        "the previous checkpoint has {given} leaves, but the database has {known}: give the last checkpoint that was published"
    )]
    TooSmall { given: u64, known: u64 },
    #[error("the log had the origin {0:?} before: give another one")]
    UsedBefore(String),
    #[error(
        "the log's origin is {ours:?}, and the request replaces {replaced:?}: it is a request for another log"
    )]
    OtherLog { ours: String, replaced: String },
    #[error(
        "the request retains {ordered} leaves, but the database has {known}: something was written since; propose again"
    )]
    OtherSize { ordered: u64, known: u64 },
    #[error(
        "the leaves in the database are not those that the request retains: their root differs"
    )]
    OtherRoot,
    #[error(
        "the leaves in the database contradict its tree of {0} leaves: restore another database"
    )]
    Contradiction(u64),
    #[error("leaf {0} is missing from the database")]
    Gap(u64),
    #[error(
        "the body of leaf {0} was removed by retention: its hash stands in the tiles of the old place; give that place (--from)"
    )]
    Pruned(u64),
    #[error(
        "log.tiles holds a checkpoint of {0:?}: this origin was begun before, and what followed it would be lost; hold a ceremony for another name"
    )]
    BegunBefore(String),
    #[error(
        "log.tiles holds {0}, which is not of the retained leaves: it must name a new, empty place"
    )]
    Occupied(String),
    #[error("a replica runs and integrates: stop all replicas first")]
    Running,
}

/// First line of a note, unverified.
fn origin_of(note: &[u8]) -> Option<String> {
    let note = Note::parse(note).ok()?;
    note.text.lines().next().map(str::to_owned)
}

/// Leaves that are left, as the tree that begins with them knows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retained {
    pub root: Sha256Digest,
    /// The latest time that they tell.
    pub clock: Time,
}

/// How far a new origin is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OriginState {
    /// The leaves in the database are those that the request retains.
    Due(Retained),
    /// The log has this origin.
    Begun,
}

/// Compares what is left of a log with what is said of it, and copies it.
pub struct OriginChange {
    store: Store,
    /// Where the log was published until now.
    old: Option<Tiles>,
    /// The log's keys, under the origin that is replaced.
    keys: Vec<VerifierKey>,
}

impl OriginChange {
    pub fn new(store: Store, old: Option<Storage>, keys: Vec<VerifierKey>) -> Self {
        Self {
            store,
            old: old.map(Tiles::new),
            keys,
        }
    }

    /// What a proposal says. `note` is the last checkpoint that was published under the present origin.
    pub async fn draft(
        &self,
        origin: &str,
        note: &str,
        pin: &Pin,
        progress: impl FnMut(u64, u64),
    ) -> Result<NewOrigin, Error> {
        let tree = self.store.tree().await?;
        if tree.origin.is_empty() {
            return Err(Error::NoLog);
        }
        self.expect_new(origin, &tree.origin, pin).await?;
        if let Some(old) = &self.old
            && let Some(found) = old.storage().checkpoint().await?
            && origin_of(&found.bytes).as_deref() == Some(origin)
        {
            return Err(Error::UsedBefore(origin.to_owned()));
        }
        let last = self.open_checkpoint(note, &tree.origin)?;
        if let Some(published) = self.published(&tree.origin).await?
            && published.size > last.size
        {
            return Err(Error::NotTheLast {
                given: last.size,
                published: published.size,
            });
        }
        let size = self.store.log_size().await?.unsigned_abs();
        if size > last.size {
            return Err(Error::TooSmall {
                given: last.size,
                known: size,
            });
        }
        let retained = self.grow(size, None, progress).await?;
        Ok(NewOrigin {
            lost: (size < last.size).then(|| LostLeaves {
                first: size,
                last: last.size - 1,
            }),
            origin: origin.to_owned(),
            previous_checkpoint: note.to_owned(),
            previous_origin: tree.origin,
            root: retained.root,
            size,
        })
    }

    /// No origin comes twice.
    async fn expect_new(&self, origin: &str, present: &str, pin: &Pin) -> Result<(), Error> {
        let ended = ActIndex::of_log(&self.store, pin).await?.ended_origins();
        let before = ended.iter().any(|before| before.origin == origin);
        match origin == present || before {
            true => Err(Error::UsedBefore(origin.to_owned())),
            false => Ok(()),
        }
    }

    fn open_checkpoint(&self, note: &str, origin: &str) -> Result<Checkpoint, Error> {
        let not_ours = |why: &dyn std::fmt::Display| Error::NotOurs {
            origin: origin.to_owned(),
            why: why.to_string(),
        };
        let note = Note::parse(note.as_bytes()).map_err(|error| not_ours(&error))?;
        checkpoint::open(&note, &self.keys).map_err(|error| not_ours(&error))
    }

    /// What still stands at the old place, if it is the log's.
    async fn published(&self, origin: &str) -> Result<Option<Checkpoint>, Error> {
        let Some(old) = &self.old else {
            return Ok(None);
        };
        let present = old.storage().checkpoint().await?;
        let note = present.and_then(|present| String::from_utf8(present.bytes).ok());
        Ok(note.and_then(|note| self.open_checkpoint(&note, origin).ok()))
    }

    /// Holds the database against the request, and the request's last checkpoint against the log's keys.
    pub async fn compare(
        &self,
        order: &NewOrigin,
        progress: impl FnMut(u64, u64),
    ) -> Result<OriginState, Error> {
        let tree = self.store.tree().await?;
        if tree.origin == order.origin {
            return Ok(OriginState::Begun);
        }
        if tree.origin != order.previous_origin {
            return Err(Error::OtherLog {
                ours: tree.origin,
                replaced: order.previous_origin.clone(),
            });
        }
        self.open_checkpoint(&order.previous_checkpoint, &tree.origin)?;
        let known = self.store.log_size().await?.unsigned_abs();
        if known != order.size {
            return Err(Error::OtherSize {
                ordered: order.size,
                known,
            });
        }
        let retained = self.grow(known, None, progress).await?;
        match retained.root == order.root {
            true => Ok(OriginState::Due(retained)),
            false => Err(Error::OtherRoot),
        }
    }

    /// Keys that lost leaves revoke, as far as their bundles still stand at the old place: the database does not know of it.
    pub async fn revoked(&self, order: &NewOrigin) -> Revoked {
        let Some(lost) = &order.lost else {
            return Revoked::default();
        };
        let size = lost.last.saturating_add(1);
        match &self.old {
            Some(old) => gap::revoked(old, lost.first, size).await,
            None => Revoked {
                unread: vec![(lost.first, lost.last)],
                ..Revoked::default()
            },
        }
    }

    /// Refuses a place that holds anything but what an interrupted copy wrote.
    pub async fn expect_empty(&self, new: &Storage, order: &NewOrigin) -> Result<(), Error> {
        if let Some(found) = new.checkpoint().await? {
            return Err(match origin_of(&found.bytes) {
                Some(origin) if origin == order.origin => Error::BegunBefore(origin),
                _ => Error::Occupied("a checkpoint".to_owned()),
            });
        }
        let mut files = new.files("tile");
        while let Some(file) = files.try_next().await? {
            let resource = Resource::parse(&file).ok();
            if !resource.is_some_and(|resource| is_of(resource, order.size)) {
                return Err(Error::Occupied(file));
            }
        }
        Ok(())
    }

    /// Writes tiles and bundles of the retained leaves to the new place. Nobody integrates from here until
    /// [`Self::end`]. Safe to repeat. `progress` hears how many leaves of how many are written.
    pub async fn copy(
        &self,
        new: &Storage,
        order: &NewOrigin,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<Retained, Error> {
        let (_, word) = self.store.look().await?;
        self.lease().await?;
        let tiles = Tiles::new(new.clone());
        let mut at = 0;
        let retained = self
            .grow(order.size, Some(&tiles), |done, of| {
                at = done;
                progress(done, of);
            })
            .await?;
        if (at, retained.root) != (order.size, order.root) {
            return Err(Error::OtherRoot);
        }
        self.lease().await?;
        same_database::adopt(new, &word).await?;
        Ok(retained)
    }

    /// Others may integrate.
    pub async fn end(&self) -> Result<(), Error> {
        self.store.return_lease(INTEGRATOR, HOLDER).await?;
        Ok(())
    }

    async fn lease(&self) -> Result<(), Error> {
        match self.store.lease(INTEGRATOR, HOLDER, LEASE).await? {
            true => Ok(()),
            false => Err(Error::Running),
        }
    }

    /// The tree of the first `size` leaves, from the first one on. It has to pass through the database's own.
    async fn grow(
        &self,
        size: u64,
        to: Option<&Tiles>,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<Retained, Error> {
        let tree = self.store.tree().await?;
        let (known, width) = (tree.size.unsigned_abs(), u64::from(WIDTH));
        if size < known {
            return Err(Error::Contradiction(known));
        }
        let mut builder = Builder::new();
        let mut clock = tree.clock;
        let mut at = 0;
        let passes = |builder: &Builder| builder.size() != known || builder.root() == tree.root;
        if !passes(&builder) {
            return Err(Error::Contradiction(known));
        }
        while at < size {
            let end = size.min(at + PAGE);
            let rows = self.rows(at, end).await?;
            let mut files = Vec::new();
            for (number, rows) in (at / width..).zip(rows.chunks(usize::from(WIDTH))) {
                let block = self.block(number, rows, &tree).await?;
                for (hash, row) in block.hashes.iter().zip(rows) {
                    builder.push(*hash);
                    clock = clock.max(Time::from_millis(row.time));
                    if !passes(&builder) {
                        return Err(Error::Contradiction(known));
                    }
                }
                if to.is_some() {
                    let bundle = self.bundle(&block, rows).await?;
                    files.extend(bundle.map(|bytes| (block.entries(), bytes)));
                }
            }
            at = end;
            let grown = builder.take_tiles().into_iter();
            let due = grown.filter(|(tile, _)| tile.is_full() || at == size);
            files.extend(due.map(|(tile, bytes)| (Resource::Tile(tile), bytes)));
            if let Some(tiles) = to {
                self.lease().await?;
                tiles.write(files).await?;
            }
            progress(at, size);
        }
        Ok(Retained {
            root: builder.root(),
            clock,
        })
    }

    async fn rows(&self, from: u64, to: u64) -> Result<Vec<LeafRow>, Error> {
        let limit = (to - from).cast_signed();
        let rows = self.store.leaves(from.cast_signed(), limit).await?;
        let mut indexes = (from..to).zip(rows.iter().map(|row| row.index.unsigned_abs()));
        if let Some((index, _)) = indexes.find(|(index, found)| index != found) {
            return Err(Error::Gap(index));
        }
        match rows.len() as u64 == to - from {
            true => Ok(rows),
            false => Err(Error::Gap(from + rows.len() as u64)),
        }
    }

    /// What the tree has of a run of leaves; of those whose body retention removed, by the old place.
    async fn block(&self, number: u64, rows: &[LeafRow], tree: &TreeRow) -> Result<Block, Error> {
        let pruned =
            |row: &&LeafRow| row.body.is_empty() && row.kind == "sign" && row.index < tree.pruned;
        let mut block = Block {
            number,
            hashes: Vec::with_capacity(rows.len()),
            whole: true,
        };
        let stored = match rows.iter().find(pruned) {
            Some(row) => self.hashes(number, rows, row, tree).await?,
            None => Vec::new(),
        };
        for (place, row) in rows.iter().enumerate() {
            let gone = pruned(&row);
            if row.body.is_empty() && !gone {
                return Err(Error::Gap(row.index.unsigned_abs()));
            }
            block.whole &= !gone;
            block.hashes.push(match stored.get(place) {
                Some(hash) if gone => *hash,
                _ => leaf_hash(row.body.as_bytes()),
            });
        }
        Ok(block)
    }

    async fn hashes(
        &self,
        number: u64,
        rows: &[LeafRow],
        pruned: &LeafRow,
        tree: &TreeRow,
    ) -> Result<Vec<Sha256Digest>, Error> {
        let missing = || Error::Pruned(pruned.index.unsigned_abs());
        let old = self.old.as_ref().ok_or_else(missing)?;
        // Retention takes complete bundles only.
        let asked = TileId {
            level: 0,
            index: number,
            width: WIDTH.min(rows.len() as u16),
        };
        let held = match old.fetch(vec![asked], tree.size.unsigned_abs()).await {
            Err(error) if error.is_missing() => return Err(missing()),
            held => held?,
        };
        let bytes = held.get(&asked).ok_or_else(missing)?;
        let (hashes, _) = bytes.as_chunks::<HASH_LEN>();
        if hashes.len() < rows.len() {
            return Err(missing());
        }
        let hashes = hashes.iter().map(|hash| Sha256Digest::from_bytes(*hash));
        Ok(hashes.collect())
    }

    /// The published entries. Where bodies are gone the old place may still have them, and may not.
    async fn bundle(&self, block: &Block, rows: &[LeafRow]) -> Result<Option<Vec<u8>>, Error> {
        let garbled = |why: String| Error::Tiles(tiles::Error::Garbled(why));
        if block.whole {
            let bodies = rows.iter().map(|row| row.body.as_bytes());
            return tile::encode_bundle(bodies)
                .map(Some)
                .map_err(|error| garbled(error.to_string()));
        }
        let Some(old) = &self.old else {
            return Ok(None);
        };
        let Some(bytes) = old.get(block.entries()).await? else {
            return Ok(None);
        };
        let entries = tile::decode_bundle(&bytes).map_err(|error| garbled(error.to_string()))?;
        let same = entries.iter().map(|entry| leaf_hash(entry));
        match same.eq(block.hashes.iter().copied()) {
            true => Ok(Some(bytes.to_vec())),
            false => Err(garbled(format!(
                "{} differs from its tile",
                block.entries().path()
            ))),
        }
    }
}

/// Leaves of one tile of the lowest level.
struct Block {
    number: u64,
    hashes: Vec<Sha256Digest>,
    /// Whether the database has all their bodies.
    whole: bool,
}

impl Block {
    fn entries(&self) -> Resource {
        Resource::Entries {
            index: self.number,
            width: self.hashes.len() as u16,
        }
    }
}

/// Whether the tree of `size` leaves has this file, as wide as it is.
fn is_of(resource: Resource, size: u64) -> bool {
    let (level, index, width) = match resource {
        Resource::Tile(tile) => (tile.level, tile.index, tile.width),
        Resource::Entries { index, width } => (0, index, width),
    };
    let hashes = size.checked_shr(8 * u32::from(level)).unwrap_or(0);
    let there = hashes.saturating_sub(index.saturating_mul(u64::from(WIDTH)));
    there.min(u64::from(WIDTH)) == u64::from(width)
}
