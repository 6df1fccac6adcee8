//! `chancery log recover`: a database that lacks leaves gets them back, each at its own index.
//!
//! What was published is held against the signed root before anything is written. What was answered and not yet
//! published comes from the replicas, which keep it until a checkpoint covers it. What is nowhere is named, and its
//! place is taken by leaves that say so, only at a person's word.

mod leaf;

use std::collections::BTreeMap;
use std::time::Duration;

use trust::leaf::ActKind;
use trust::tlog::checkpoint::{self, Checkpoint};
use trust::tlog::merkle::leaf_hash;
use trust::tlog::note::{Note, VerifierKey};
use trust::tlog::tile::Builder;
use trust::{Kid, Time};

use super::leaf::Event;
use super::settings::Settings;
use super::storage::{self, Storage};
use super::tiles::{self, Tiles};
use super::tree_store::INTEGRATOR;
use super::{gap, same_database};
use store::{CheckpointRow, LostLeaf, Store, TreeRow};

/// Leaves of one transaction.
const PAGE: u64 = 2_048;

/// Longer than a page takes.
const LEASE: Duration = Duration::from_secs(60);

/// Places that may be taken by leaves that say that what stood there is lost.
const MOST_LOST: u64 = 100_000;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Storage(#[from] storage::Error),
    #[error("the published leaves cannot be read")]
    Tiles(#[from] tiles::Error),
    #[error("the published checkpoint is not signed by this log: {0}")]
    NotOurs(String),
    /// Somebody wrote to a database that lacked leaves, or it is of another log.
    #[error(
        "leaf {index} in the database is not the one that was {known}: the database was written to after it was replaced; restore another backup"
    )]
    Diverged { index: u64, known: &'static str },
    #[error("the database's tree and the published one differ: it is the database of another log")]
    Foreign,
    #[error("two files of kept leaves disagree about leaf {0}")]
    KeptDisagree(u64),
    #[error(
        "leaves were answered and are nowhere: give the replicas' files of kept leaves (--kept), all of them, or accept the loss ({})", ranges(.0)
    )]
    Lost(Vec<Range>),
    #[error("--lose {}-{}: some of these leaves are there, or do not follow what is there", .0.0, .0.1)]
    WrongRange(Range),
    #[error("the clock of this machine is wrong, or a leaf lies ahead of it: {0}")]
    Clock(std::sync::Arc<str>),
    #[error("leaf {index} cannot be put back: {why}")]
    Unreadable { index: u64, why: String },
    #[error("a replica runs and integrates: stop all replicas first")]
    Running,
}

/// The first and the last of some leaves.
pub type Range = (u64, u64);

fn ranges(all: &[Range]) -> String {
    let each = all
        .iter()
        .map(|(first, last)| format!("--lose {first}-{last}"));
    each.collect::<Vec<_>>().join(" ")
}

/// What stands behind the published leaves, in order and without a hole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    Kept(Vec<Vec<u8>>),
    /// Places that leaves take which say that what stood there is lost.
    Lost(Range),
}

/// What is missing, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Leaves in the database.
    pub known: u64,
    /// Leaves under the published checkpoint.
    pub published: u64,
    /// Beyond both, what replicas kept or an integrator wrote before it died.
    pub tail: Vec<Piece>,
    /// Whether the log is known to be written with another database.
    pub other_database: bool,
}

impl Plan {
    pub fn is_empty(&self) -> bool {
        self.size() == self.known && !self.other_database
    }

    /// Of the log afterwards.
    pub fn size(&self) -> u64 {
        self.published.max(self.known)
            + self.kept()
            + self.lost().map(|(a, b)| b - a + 1).sum::<u64>()
    }

    /// How many leaves come back from beyond what is published.
    pub fn kept(&self) -> u64 {
        let counts = self.tail.iter().map(|piece| match piece {
            Piece::Kept(leaves) => leaves.len() as u64,
            Piece::Lost(_) => 0,
        });
        counts.sum()
    }

    pub fn lost(&self) -> impl Iterator<Item = Range> {
        self.tail.iter().filter_map(|piece| match piece {
            Piece::Lost(range) => Some(*range),
            Piece::Kept(_) => None,
        })
    }
}

/// The leaves from `from` on: those that are held, and between them what is given up.
fn tail(from: u64, held: &BTreeMap<u64, &Vec<u8>>, lose: &[Range]) -> Result<Vec<Piece>, Error> {
    let mut lose: Vec<Range> = lose.to_vec();
    lose.sort_unstable();
    let mut lose = lose.into_iter().peekable();
    let (mut pieces, mut holes) = (Vec::new(), Vec::new());
    let mut next = from;
    let last = held.last_key_value().map(|(index, _)| *index);
    loop {
        let mut run = Vec::new();
        while let Some(body) = held.get(&next) {
            run.push((*body).clone());
            next += 1;
        }
        if !run.is_empty() {
            pieces.push(Piece::Kept(run));
        }
        let end = held.range(next..).next().map(|(index, _)| index - 1);
        match (end, lose.peek().copied()) {
            (_, Some((first, end_of))) if first == next => {
                let fits = end_of >= first
                    && end_of - first < MOST_LOST
                    && end.is_none_or(|end| end == end_of);
                if !fits {
                    return Err(Error::WrongRange((first, end_of)));
                }
                lose.next();
                pieces.push(Piece::Lost((first, end_of)));
                next = end_of + 1;
            }
            (Some(end), _) => {
                holes.push((next, end));
                next = end + 1;
            }
            (None, Some(range)) => return Err(Error::WrongRange(range)),
            (None, None) => break,
        }
        if last.is_none_or(|last| next > last) && lose.peek().is_none() {
            break;
        }
    }
    match holes.is_empty() {
        true => Ok(pieces),
        false => Err(Error::Lost(holes)),
    }
}

/// What a recovery did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovered {
    pub leaves: u64,
    /// Acts whose rows are still missing: ceremonies, documents, credentials, keys that the database has not got.
    pub by_hand: Vec<String>,
}

pub struct Recovery {
    store: Store,
    storage: Storage,
    tiles: Tiles,
    keys: Vec<(Kid, VerifierKey)>,
}

impl Recovery {
    /// `keys` are those that checkpoints of this log are verified with.
    pub fn open(
        settings: &Settings,
        variable: impl Fn(&str) -> Option<String>,
        store: Store,
        keys: Vec<(Kid, VerifierKey)>,
    ) -> Result<Self, Error> {
        Ok(Self::new(Storage::open(settings, variable)?, store, keys))
    }

    pub(super) fn new(storage: Storage, store: Store, keys: Vec<(Kid, VerifierKey)>) -> Self {
        Self {
            tiles: Tiles::new(storage.clone()),
            store,
            storage,
            keys,
        }
    }

    /// Finds what is missing; changes nothing. `kept` are the leaves of each file of a replica; `lose` is what
    /// a person gives up.
    pub async fn plan(&self, kept: &[Vec<(u64, Vec<u8>)>], lose: &[Range]) -> Result<Plan, Error> {
        let (_, word) = self.store.look().await?;
        let known = self.store.log_size().await?.unsigned_abs();
        let tree = self.store.tree().await?;
        let published = self.published().await?;
        let size = published.as_ref().map_or(0, |checkpoint| checkpoint.size);
        if let Some(checkpoint) = &published {
            self.hold_against(&tree, known, checkpoint).await?;
        }
        let beyond = gap::beyond(&self.tiles, size).await?;
        let mut held: BTreeMap<u64, &Vec<u8>> = BTreeMap::new();
        for (index, body) in kept.iter().flatten().chain(&beyond) {
            if *held.entry(*index).or_insert(body) != body {
                return Err(Error::KeptDisagree(*index));
            }
        }
        let from = size.max(known);
        for (index, body) in held.range(..from) {
            self.hold_kept_against(*index, body, known, size).await?;
        }
        Ok(Plan {
            known,
            published: size,
            tail: tail(from, &held, lose)?,
            other_database: !same_database::is_the_same(&self.storage, &word).await?,
        })
    }

    async fn published(&self) -> Result<Option<Checkpoint>, Error> {
        let Some(present) = self.storage.checkpoint().await? else {
            return Ok(None);
        };
        let not_ours = |error: &dyn std::fmt::Display| Error::NotOurs(error.to_string());
        let note = Note::parse(&present.bytes).map_err(|e| not_ours(&e))?;
        let keys: Vec<VerifierKey> = self.keys.iter().map(|(_, key)| key.clone()).collect();
        let checkpoint = checkpoint::open(&note, &keys).map_err(|e| not_ours(&e))?;
        Ok(Some(checkpoint))
    }

    /// What the database has, and what is published beyond it, gives the signed root.
    async fn hold_against(
        &self,
        tree: &TreeRow,
        known: u64,
        checkpoint: &Checkpoint,
    ) -> Result<(), Error> {
        let size = tree.size.unsigned_abs();
        if size >= checkpoint.size {
            let root = self.tiles.root_at(checkpoint.size, size).await?;
            return match root == checkpoint.root {
                true => Ok(()),
                false => Err(Error::Foreign),
            };
        }
        let asked = trust::tlog::tile::tiles_for_root(size);
        let held = self.tiles.fetch(asked, checkpoint.size).await?;
        let builder = Builder::resume(size, |tile| held.get(&tile).cloned());
        let mut builder = builder.map_err(|_| Error::Foreign)?;
        if builder.root() != tree.root {
            return Err(Error::Foreign);
        }
        let mut at = size;
        while at < checkpoint.size {
            let to = checkpoint.size.min(at + PAGE);
            let mut bodies = gap::published(&self.tiles, at, to, checkpoint.size).await?;
            // Rows that are here and no tree has yet, as they are here.
            if at < known {
                let rows = self.rows(at, to.min(known)).await?;
                for (place, (row, body)) in rows.iter().zip(&mut bodies).enumerate() {
                    if row != body {
                        return Err(Error::Diverged {
                            index: at + place as u64,
                            known: "published",
                        });
                    }
                }
            }
            for body in &bodies {
                builder.push(leaf_hash(body));
            }
            // Only the root is wanted.
            drop(builder.take_tiles());
            at = to;
        }
        match builder.root() == checkpoint.root {
            true => Ok(()),
            false => Err(Error::Foreign),
        }
    }

    async fn hold_kept_against(
        &self,
        index: u64,
        body: &[u8],
        known: u64,
        published: u64,
    ) -> Result<(), Error> {
        let there = match index < known {
            true => self.rows(index, index + 1).await?,
            false => gap::published(&self.tiles, index, index + 1, published).await?,
        };
        // Retention may have let its body go.
        match there.first() {
            Some(there) if !there.is_empty() && there != body => Err(Error::Diverged {
                index,
                known: "answered",
            }),
            _ => Ok(()),
        }
    }

    async fn rows(&self, from: u64, to: u64) -> Result<Vec<Vec<u8>>, Error> {
        let limit = (to - from).cast_signed();
        let rows = self.store.leaves(from.cast_signed(), limit).await?;
        Ok(rows.into_iter().map(|row| row.body.into_bytes()).collect())
    }

    /// Carries a plan out. Page by page: if we die, the next plan begins where this one ended. `progress` hears how
    /// many leaves the database has.
    pub async fn apply(
        &self,
        plan: &Plan,
        actor: &str,
        clock: impl Fn() -> Time,
        progress: impl Fn(u64),
    ) -> Result<Recovered, Error> {
        let (_, word) = self.store.look().await?;
        // Its own leaves have this machine's time.
        if let Some(halted) = self.store.halted().filter(|halted| !halted.incomplete) {
            return Err(Error::Clock(halted.why));
        }
        let mut done = Recovered::default();
        let mut at = plan.known;
        while at < plan.published {
            self.lease().await?;
            let to = plan.published.min(at + PAGE);
            let bodies = gap::published(&self.tiles, at, to, plan.published).await?;
            at = self.put_back(at, &bodies, &mut done).await?;
            progress(at);
        }
        at = at.max(plan.published);
        for piece in &plan.tail {
            match piece {
                Piece::Kept(leaves) => {
                    for page in leaves.chunks(PAGE as usize) {
                        self.lease().await?;
                        at = self.put_back(at, page, &mut done).await?;
                        progress(at);
                    }
                }
                Piece::Lost(range) => {
                    self.lease().await?;
                    at = self.say_lost(at, *range, actor, clock(), &mut done).await?;
                }
            }
        }
        self.lease().await?;
        // Last: until then whoever starts finds that leaves are missing.
        self.swap(plan.published).await?;
        let why = format!("{} leaves put back", done.leaves);
        let event = Event {
            leaves: (at > plan.known).then(|| (plan.known, at - 1)),
            reason: Some(&why),
            ..Event::new(ActKind::Admin, "recover", actor, clock())
        };
        self.store.commit_recovery(&event.leaf()).await?;
        same_database::adopt(&self.storage, &word).await?;
        self.store.return_lease(INTEGRATOR, HOLDER).await?;
        Ok(done)
    }

    /// Nobody integrates meanwhile.
    async fn lease(&self) -> Result<(), Error> {
        match self.store.lease(INTEGRATOR, HOLDER, LEASE).await? {
            true => Ok(()),
            false => Err(Error::Running),
        }
    }

    async fn put_back(
        &self,
        from: u64,
        bodies: &[Vec<u8>],
        done: &mut Recovered,
    ) -> Result<u64, Error> {
        let mut page = Vec::with_capacity(bodies.len());
        for (index, body) in (from..).zip(bodies) {
            let read = leaf::read(index, body);
            let (lost, by_hand) = read.map_err(|why| Error::Unreadable { index, why })?;
            page.push(lost);
            done.by_hand.extend(by_hand);
        }
        let not_taken = self.store.put_back(from.cast_signed(), &page).await?;
        for place in not_taken {
            let effect = page.get(place).and_then(|lost| lost.effect.as_ref());
            let index = from + place as u64;
            done.by_hand.push(format!(
                "leaf {index}: its key is not in the database ({effect:?})"
            ));
        }
        done.leaves += bodies.len() as u64;
        Ok(from + bodies.len() as u64)
    }

    /// The tree goes as far as what is published, so that whoever integrates next goes on from there.
    async fn swap(&self, published: u64) -> Result<(), Error> {
        let tree = self.store.tree().await?;
        if tree.size.unsigned_abs() >= published {
            return Ok(());
        }
        let mut clock = tree.clock;
        let mut at = tree.size;
        while at < published.cast_signed() {
            let to = published.cast_signed().min(at + PAGE.cast_signed());
            let latest = self.store.latest_time(at, to - 1).await?;
            clock = clock.max(Time::from_millis(latest.unwrap_or_default()));
            at = to;
        }
        let origin = match tree.origin.is_empty() {
            true => self
                .published()
                .await?
                .map_or(String::new(), |there| there.origin),
            false => tree.origin.clone(),
        };
        let new = TreeRow {
            size: published.cast_signed(),
            root: self.tiles.root_at(published, published).await?,
            clock,
            origin,
            ..tree.clone()
        };
        if !self.store.swap_tree(&tree, &new).await? {
            return Err(Error::Running);
        }
        // Witnesses are shown it first at the next start: they know it.
        match self.checkpoint_row(&new).await? {
            Some(row) => Ok(self.store.put_back_checkpoint(&row).await?),
            None => Ok(()),
        }
    }

    /// The published checkpoint as the row that it had; the instant of its signature is not in it.
    async fn checkpoint_row(&self, tree: &TreeRow) -> Result<Option<CheckpointRow>, Error> {
        let Some(present) = self.storage.checkpoint().await? else {
            return Ok(None);
        };
        let not_ours = |error: &dyn std::fmt::Display| Error::NotOurs(error.to_string());
        let note = Note::parse(&present.bytes).map_err(|e| not_ours(&e))?;
        let mut signed_by = self
            .keys
            .iter()
            .filter(|(_, key)| checkpoint::open(&note, std::slice::from_ref(key)).is_ok());
        let Some((kid, key)) = signed_by.next() else {
            return Ok(None);
        };
        let (own, others): (Vec<_>, Vec<_>) = note
            .signatures
            .iter()
            .cloned()
            .partition(|line| line.name == key.name() && line.id == key.id());
        let own = Note {
            text: note.text.clone(),
            signatures: own,
        };
        let row = CheckpointRow {
            size: tree.size,
            root: tree.root,
            time: tree.clock,
            clock: tree.clock,
            kid: kid.clone(),
            note: own.to_string(),
            cosignatures: others.iter().map(ToString::to_string).collect(),
        };
        Ok((row.signed().as_bytes() == present.bytes).then_some(row))
    }

    async fn say_lost(
        &self,
        mut at: u64,
        (first, last): (u64, u64),
        actor: &str,
        now: Time,
        done: &mut Recovered,
    ) -> Result<u64, Error> {
        while at <= last {
            let to = (last + 1).min(at + PAGE);
            let leaves = (at..to).map(|_| {
                let event = Event {
                    leaves: Some((first, last)),
                    reason: Some("answered and nowhere to be found"),
                    ..Event::new(ActKind::Admin, "lost", actor, now)
                };
                LostLeaf {
                    leaf: event.leaf(),
                    effect: None,
                }
            });
            let page: Vec<LostLeaf> = leaves.collect();
            self.store.put_back(at.cast_signed(), &page).await?;
            done.leaves += to - at;
            at = to;
        }
        Ok(at)
    }
}

/// Who holds the integrator's lease meanwhile.
const HOLDER: &str = "recovery";
