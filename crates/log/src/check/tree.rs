//! Bodies against tiles against checkpoints.
//!
//! Two trees grow side by side: one of the bodies in the database, one of the hashes in the tiles of
//! the lowest level. Which of them leads to a signed root says which of them was changed.

use std::collections::BTreeMap;

use trust::tlog::checkpoint::{self, Checkpoint};
use trust::tlog::merkle::{Frontier, leaf_hash};
use trust::tlog::note::{Note, VerifierKey};
use trust::tlog::tile::{Builder, HASH_LEN, Resource, TileId, WIDTH, decode_bundle};
use trust::{Kid, Sha256Digest, Time};

use super::files::Files;
use store::{CheckpointRow, LeafRow, TreeRow};
use trust::finding::Findings;

/// A run of leaves that one tile of the lowest level holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    index: u64,
    width: u16,
}

impl Block {
    /// The blocks of the tree of `size` leaves that hold leaves from `from` to before `to`; `from`
    /// begins a block.
    pub fn between(from: i64, to: i64, size: i64) -> impl Iterator<Item = Self> {
        let wide = u64::from(WIDTH);
        let end = to.min(size).max(from) as u64;
        let first = from as u64 / wide;
        (first..end.div_ceil(wide)).map(move |index| Self {
            index,
            width: (size as u64 - index * wide).min(wide) as u16,
        })
    }

    pub fn tile(self) -> Resource {
        Resource::Tile(TileId {
            level: 0,
            index: self.index,
            width: self.width,
        })
    }

    pub fn entries(self) -> Resource {
        Resource::Entries {
            index: self.index,
            width: self.width,
        }
    }
}

/// The keys that checkpoints of one origin are verified with.
pub struct OriginKeys {
    pub origin: String,
    /// Its checkpoints cover at most so many leaves: those that a later origin retained.
    pub until: i64,
    pub keys: BTreeMap<Kid, VerifierKey>,
}

pub struct Tree<'a> {
    row: &'a TreeRow,
    /// Of each origin, oldest first; the last is the present one.
    origins: &'a [OriginKeys],
    bodies: Frontier,
    tiles: Builder,
    /// Checkpoints by this key cover at most so many leaves.
    pub signed_up_to: BTreeMap<Kid, i64>,
    pub checkpoints: u64,
}

impl<'a> Tree<'a> {
    pub fn new(row: &'a TreeRow, origins: &'a [OriginKeys]) -> Self {
        Self {
            row,
            origins,
            bodies: Frontier::new(),
            tiles: Builder::new(),
            signed_up_to: BTreeMap::new(),
            checkpoints: 0,
        }
    }

    /// The tree as it was when so many leaves had gone in: its right edge comes out of the stored tiles. Whether they are
    /// those of the tree shows at the next checkpoint.
    pub fn resume(&mut self, size: i64, held: &Files) -> Result<(), String> {
        let get = |tile: TileId| held.get(&Resource::Tile(tile)).cloned().flatten();
        let size = size.unsigned_abs();
        self.tiles = Builder::resume(size, get).map_err(|error| error.to_string())?;
        self.bodies = self.tiles.frontier().clone();
        Ok(())
    }

    /// How many leaves went in.
    pub fn size(&self) -> i64 {
        self.bodies.size() as i64
    }

    pub fn root(&self) -> Sha256Digest {
        self.bodies.root()
    }

    /// The next leaf: its row (none if it is missing) with the hash of its body, and the block that it is in.
    pub fn leaf(
        &mut self,
        index: i64,
        row: Option<&LeafRow>,
        hash: Option<Sha256Digest>,
        block: &Opened<'_>,
        findings: &mut Findings,
    ) {
        let at = (index as u64 % u64::from(WIDTH)) as usize;
        let stored = block.hash(at);
        let body = row.filter(|row| !is_pruned(row, self.row));
        let body = body.map(|row| row.body.as_bytes());
        let hash = hash.filter(|_| body.is_some());
        if let (Some(hash), Some(stored)) = (hash, stored)
            && hash != stored
        {
            let what = "the leaf in the database differs from the one in the tree";
            findings.add("leaf", Some(index), what);
        }
        let entry = block.entry(at);
        let same = match (entry, body) {
            (Some(entry), Some(body)) => entry == body,
            (Some(entry), None) => stored.is_none_or(|stored| leaf_hash(entry) == stored),
            (None, _) => block.entries_gone(),
        };
        if !same {
            let what = "the leaf in the entry bundle differs from the one in the database";
            findings.add("bundle", Some(index), what);
        }
        // Where one of them is not there the other stands in, so that what comes after can be told.
        let nothing = Sha256Digest::of(b"");
        self.bodies.push(hash.or(stored).unwrap_or(nothing));
        self.tiles.push(stored.or(hash).unwrap_or(nothing));
    }

    /// A checkpoint of exactly the leaves that went in so far.
    pub fn checkpoint(&mut self, row: &CheckpointRow, clock: Time, findings: &mut Findings) {
        self.checkpoints += 1;
        self.roots(
            row.root,
            &format!("the checkpoint of {}", row.size),
            findings,
        );
        if row.clock != clock && !findings.has("clock") {
            let what = format!(
                "the time of the checkpoint of {} leaves is not that of its leaves",
                row.size
            );
            findings.add("clock", None, what);
        }
        if let Err(why) = self.signed(row) {
            let what = format!("the checkpoint of {} in the database: {why}", row.size);
            findings.add("checkpoint", None, what);
        }
        let most = self.signed_up_to.entry(row.kid.clone()).or_default();
        *most = row.size.max(*most);
    }

    /// The origin under which so many leaves were signed.
    fn origin_of(&self, size: i64) -> Option<&'a OriginKeys> {
        self.origins.iter().find(|origin| size <= origin.until)
    }

    /// Whether a checkpoint of so many leaves is of the present origin.
    pub fn is_present(&self, size: i64) -> bool {
        let ended = self
            .origins
            .split_last()
            .map_or(&[][..], |(_, ended)| ended);
        ended.iter().all(|origin| size > origin.until)
    }

    /// The checkpoint that a text is, by the keys of the present origin.
    pub fn open_present(&self, note: &str) -> Result<Checkpoint, String> {
        let keys = self.origins.last().map(|origin| origin.keys.values());
        let keys: Vec<VerifierKey> = keys.into_iter().flatten().cloned().collect();
        let note = Note::parse(note.as_bytes()).map_err(|error| error.to_string())?;
        checkpoint::open(&note, &keys).map_err(|error| error.to_string())
    }

    fn signed(&self, row: &CheckpointRow) -> Result<(), String> {
        let of = self.origin_of(row.size).ok_or("the log has no origin")?;
        let key = of.keys.get(&row.kid);
        let key = key.ok_or_else(|| format!("{} is not an accepted key of the log", row.kid))?;
        let note = Note::parse(row.signed().as_bytes()).map_err(|error| error.to_string())?;
        let said = checkpoint::open(&note, std::slice::from_ref(key)).map_err(|e| e.to_string())?;
        let agrees =
            said.size == row.size as u64 && said.root == row.root && said.origin == of.origin;
        match agrees {
            true => Ok(()),
            false => Err("its columns differ from its text".to_owned()),
        }
    }

    /// Only the first root that is wrong is told: all after it are.
    fn roots(&self, root: Sha256Digest, what: &str, findings: &mut Findings) {
        let size = self.size();
        for (code, ours, of) in [
            ("root", self.bodies.root(), "the leaves in the database"),
            ("tiles", self.tiles.root(), "the tiles"),
        ] {
            if ours != root && !findings.has(code) {
                let what = format!("the root of {what} differs from that of {of}");
                findings.add(code, size.checked_sub(1), what);
            }
        }
    }

    /// Tiles above the lowest level that are complete since the last call; at the end of the tree
    /// those that are not complete too.
    pub fn upper_tiles(&mut self, end: bool) -> Vec<(Resource, Vec<u8>)> {
        let tiles = self.tiles.take_tiles().into_iter();
        tiles
            .filter(|(tile, _)| tile.level > 0 && (end || tile.is_full()))
            .map(|(tile, bytes)| (Resource::Tile(tile), bytes))
            .collect()
    }

    /// The row of the tree, when all its leaves went in.
    pub fn end(&self, clock: Time, findings: &mut Findings) {
        self.roots(self.row.root, "the tree in the database", findings);
        if self.row.size > 0 && self.row.clock != clock && !findings.has("clock") {
            findings.add(
                "clock",
                None,
                "the recorded time of the tree is not that of its leaves",
            );
        }
    }
}

/// Whether the body may be gone after retention, and is.
pub fn is_pruned(row: &LeafRow, tree: &TreeRow) -> bool {
    row.index < tree.pruned && row.kind == "sign" && row.body.is_empty()
}

/// Stored tiles of the upper levels against what the lowest says they are.
pub fn compare_upper(expected: &[(Resource, Vec<u8>)], files: &Files, findings: &mut Findings) {
    for (resource, bytes) in expected {
        let stored = files.get(resource).and_then(Option::as_ref);
        let what = match stored {
            None => "is missing from the log's storage",
            Some(stored) if !stored.starts_with(bytes) => "does not match the tiles below it",
            Some(_) => continue,
        };
        findings.add("tile", None, format!("{} {what}", resource.path()));
    }
}

/// The files of a block, read.
pub struct Opened<'a> {
    hashes: Option<&'a [u8]>,
    entries: Option<Vec<&'a [u8]>>,
    /// All its bodies may be gone after retention.
    gone: bool,
}

impl<'a> Opened<'a> {
    pub fn new(block: Block, files: &'a Files, pruned: i64, findings: &mut Findings) -> Self {
        let first = block.index * u64::from(WIDTH);
        let end = first + u64::from(block.width);
        let gone = end as i64 <= pruned;
        let mut missing = |resource: Resource, why: &str| {
            let what = format!("{} {why}", resource.path());
            findings.add("tile", Some(first as i64), what);
        };
        let stored = |resource: Resource| files.get(&resource).and_then(Option::as_deref);
        let hashes = match stored(block.tile()) {
            None => {
                missing(block.tile(), "is missing from the log's storage");
                None
            }
            Some(bytes) if bytes.len() < usize::from(block.width) * HASH_LEN => {
                missing(block.tile(), "is too short");
                None
            }
            some => some,
        };
        let entries = match stored(block.entries()).map(decode_bundle) {
            Some(Ok(entries)) if entries.len() >= usize::from(block.width) => Some(entries),
            Some(_) => {
                missing(block.entries(), "cannot be read");
                None
            }
            None if gone => None,
            None => {
                missing(block.entries(), "is missing from the log's storage");
                None
            }
        };
        Self {
            hashes,
            entries,
            gone,
        }
    }

    /// The hashes of a block's tile; none where it is not there.
    pub fn hashes_of(block: Block, files: &Files) -> Vec<Sha256Digest> {
        let stored = files.get(&block.tile()).and_then(Option::as_deref);
        let (hashes, _) = stored.unwrap_or_default().as_chunks::<HASH_LEN>();
        hashes
            .iter()
            .copied()
            .map(Sha256Digest::from_bytes)
            .collect()
    }

    fn hash(&self, at: usize) -> Option<Sha256Digest> {
        let (hashes, _) = self.hashes?.as_chunks::<HASH_LEN>();
        hashes.get(at).copied().map(Sha256Digest::from_bytes)
    }

    /// The leaf out of the bundle, if it is the one in the tree.
    pub fn body(&self, index: i64) -> Option<&'a [u8]> {
        let at = (index as u64 % u64::from(WIDTH)) as usize;
        self.entry(at)
            .filter(|entry| self.hash(at) == Some(leaf_hash(entry)))
    }

    fn entry(&self, at: usize) -> Option<&'a [u8]> {
        self.entries.as_ref()?.get(at).copied()
    }

    /// Whether there is no bundle, which was told already or is right after retention.
    fn entries_gone(&self) -> bool {
        self.entries.is_none() || self.gone
    }
}
