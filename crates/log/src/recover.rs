//! `chancery log recover`: a database that lacks leaves gets them back, each at its own index.
//!
//! What was published is held against the signed root before anything is written. What was answered and not yet
//! published comes from the replicas, which keep it until a checkpoint covers it. What is nowhere is named, and its
//! place is taken by leaves that say so, only at a person's word.

mod leaf;
mod plan;
mod tail;

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
use store::{CheckpointRow, Corrected, LostLeaf, Store, TreeRow};

pub use plan::{Plan, Recovered};
pub use tail::{Lost, Piece, Range};

/// Leaves of one transaction.
const PAGE: u64 = if cfg!(test) { 64 } else { 2_048 };

/// Longer than a page takes.
const LEASE: Duration = Duration::from_secs(60);

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Storage(#[from] storage::Error),
    #[error("the published leaves cannot be read")]
    Tiles(#[from] tiles::Error),
    #[error(
        "the published checkpoint is not signed by a key of the log that the database has ({0}); if the log's key was rotated since the dump give its verifier key (--log-key)"
    )]
    NotOurs(String),
    /// Somebody wrote to a database that lacked leaves, or it is of another log.
    #[error(
        "leaf {index} in the database is not the one that was {known}: the database was written to after it was replaced; restore another backup"
    )]
    Diverged { index: u64, known: &'static str },
    #[error("the database's tree and the published one differ: it is the database of another log")]
    Foreign,
    #[error(
        "the database is from before the new origin {published:?} (it has {database:?}): restore a backup from after it, or hold a ceremony for another origin"
    )]
    AcrossOrigin { database: String, published: String },
    #[error("two files of kept leaves disagree about leaf {0}")]
    KeptDisagree(u64),
    #[error(
        "leaves were answered and are nowhere: give the replicas' files of kept leaves (--kept), all of them, or accept the loss ({})", ranges(.0)
    )]
    Lost(Vec<Range>),
    #[error("--lose {}-{}: some of these leaves are there, or do not follow what is there", .0.0, .0.1)]
    WrongRange(Range),
    #[error(
        "no leaf that is published and missing from the database tells of the acceptance of the log's key {0}: it is not the key of this log, or another one"
    )]
    UnknownLogKey(String),
    #[error("the clock of this machine is wrong, or a leaf lies ahead of it: {0}")]
    Clock(std::sync::Arc<str>),
    #[error("leaf {index} cannot be put back: {why}")]
    Unreadable { index: u64, why: String },
    #[error("a replica runs and integrates: stop all replicas first")]
    Running,
}

fn ranges(all: &[Range]) -> String {
    let each = all
        .iter()
        .map(|(first, last)| format!("--lose {first}-{last}"));
    each.collect::<Vec<_>>().join(" ")
}

pub struct Recovery {
    store: Store,
    storage: Storage,
    tiles: Tiles,
    keys: Vec<(Kid, VerifierKey)>,
    /// One that the database may lack, at a person's word.
    log_key: Option<(Kid, VerifierKey)>,
}

/// What missing leaves tell beside their effects.
#[derive(Default)]
struct Found {
    corrections: Vec<Corrected>,
    /// Keys of the log that they accept, with the leaf.
    accepted: BTreeMap<Kid, u64>,
}

impl Found {
    fn note(&mut self, index: u64, body: &[u8]) {
        let correction = Corrected::told_by(index.cast_signed(), body);
        self.corrections.extend(correction);
        self.accepted
            .extend(leaf::accepted_log_key(body).map(|kid| (kid, index)));
    }
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
            log_key: None,
        }
    }

    /// The log's key may have been rotated since the dump. Believed only if the published leaves that the database
    /// lacks tell of its ceremony, and give the root of what the database has.
    pub fn with_log_key(self, key: VerifierKey) -> Self {
        let kid = key.public().kid();
        Self {
            log_key: Some((kid, key)),
            ..self
        }
    }

    fn verifiers(&self) -> impl Iterator<Item = &(Kid, VerifierKey)> {
        self.keys.iter().chain(&self.log_key)
    }

    /// Finds what is missing; changes nothing. `kept` are the leaves of each file of a replica; `lose` is what
    /// a person gives up.
    pub async fn plan(&self, kept: &[Vec<(u64, Vec<u8>)>], lose: &[Range]) -> Result<Plan, Error> {
        let (_, word) = self.store.look().await?;
        let known = self.store.log_size().await?.unsigned_abs();
        let tree = self.store.tree().await?;
        let published = self.published().await?;
        let size = published.as_ref().map_or(0, |checkpoint| checkpoint.size);
        let mut found = Found {
            corrections: self.store.corrections().await?,
            ..Found::default()
        };
        if let Some(checkpoint) = &published {
            if !tree.origin.is_empty() && tree.origin != checkpoint.origin {
                return Err(Error::AcrossOrigin {
                    database: tree.origin,
                    published: checkpoint.origin.clone(),
                });
            }
            self.hold_against(&tree, known, checkpoint, &mut found)
                .await?;
        }
        let log_key = self.log_key.as_ref().filter(|key| {
            published.is_some() && {
                // One that the database has needs no word of a person.
                self.keys.iter().all(|(kid, _)| *kid != key.0)
            }
        });
        let log_key = match log_key {
            Some((kid, _)) => {
                let leaf = found.accepted.get(kid).copied();
                let unknown = || Error::UnknownLogKey(kid.as_str().to_owned());
                Some((kid.clone(), leaf.ok_or_else(unknown)?))
            }
            None => None,
        };
        let beyond = gap::beyond(&self.tiles, size).await?;
        let mut held: BTreeMap<u64, &Vec<u8>> = BTreeMap::new();
        for (index, body) in kept.iter().flatten().chain(&beyond) {
            if *held.entry(*index).or_insert(body) != body {
                return Err(Error::KeptDisagree(*index));
            }
        }
        let from = size.max(known);
        self.hold_kept_against(&held, known, size).await?;
        for (index, body) in held.range(from..) {
            found.note(*index, body);
        }
        let lose = self.still_to_lose(lose, known, size).await?;
        Ok(Plan {
            known,
            published: size,
            tail: tail::tail(from, &held, lose)?,
            other_database: !same_database::is_the_same(&self.storage, &word).await?,
            corrections: found.corrections,
            log_key,
        })
    }

    /// Of ranges that an interrupted recovery has begun with, the rest.
    async fn still_to_lose(
        &self,
        lose: &[Range],
        known: u64,
        published: u64,
    ) -> Result<Vec<Lost>, Error> {
        let from = published.max(known);
        let mut rest = Vec::new();
        for range @ (first, last) in lose.iter().copied() {
            let mut at = first;
            while at < from.min(last.saturating_add(1)) {
                let to = from.min(last + 1).min(at + PAGE);
                let there = self.there(at, to, known, published).await?;
                if !there.iter().all(|body| leaf::says_lost(body, range)) {
                    return Err(Error::WrongRange(range));
                }
                at = to;
            }
            if at <= last {
                rest.push(Lost { from: at, range });
            }
        }
        Ok(rest)
    }

    async fn published(&self) -> Result<Option<Checkpoint>, Error> {
        let Some(present) = self.storage.checkpoint().await? else {
            return Ok(None);
        };
        let not_ours = |error: &dyn std::fmt::Display| Error::NotOurs(error.to_string());
        let note = Note::parse(&present.bytes).map_err(|e| not_ours(&e))?;
        let keys: Vec<VerifierKey> = self.verifiers().map(|(_, key)| key.clone()).collect();
        let checkpoint = checkpoint::open(&note, &keys).map_err(|e| not_ours(&e))?;
        Ok(Some(checkpoint))
    }

    /// What the database has, and what is published beyond it, gives the signed root.
    async fn hold_against(
        &self,
        tree: &TreeRow,
        known: u64,
        checkpoint: &Checkpoint,
        found: &mut Found,
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
            for (index, body) in (at..).zip(&bodies) {
                builder.push(leaf_hash(body));
                if index >= known {
                    found.note(index, body);
                }
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

    /// Kept leaves whose places are taken already, page by page.
    async fn hold_kept_against(
        &self,
        held: &BTreeMap<u64, &Vec<u8>>,
        known: u64,
        published: u64,
    ) -> Result<(), Error> {
        let from = published.max(known);
        let mut next = 0;
        while let Some((first, _)) = held.range(next..from).next() {
            let (first, to) = (*first, from.min(*first + PAGE));
            let there = self.there(first, to, known, published).await?;
            for (index, body) in held.range(first..to) {
                // Retention may have let its body go.
                let there = there.get((*index - first) as usize);
                if there.is_some_and(|there| !there.is_empty() && there != *body) {
                    return Err(Error::Diverged {
                        index: *index,
                        known: "answered",
                    });
                }
            }
            next = to;
        }
        Ok(())
    }

    /// Bodies from the database as far as it goes, then from what is published.
    async fn there(
        &self,
        from: u64,
        to: u64,
        known: u64,
        published: u64,
    ) -> Result<Vec<Vec<u8>>, Error> {
        let mut bodies = Vec::new();
        if from < known {
            bodies = self.rows(from, to.min(known)).await?;
        }
        if to > known {
            let rest = gap::published(&self.tiles, from.max(known), to, published);
            bodies.extend(rest.await?);
        }
        Ok(bodies)
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
        self.lease().await?;
        let done = self.carry_out(plan, actor, clock, progress).await;
        // Also where it failed: others need not wait for it to run out. Why it failed is what counts.
        let returned = self.store.return_lease(INTEGRATOR, HOLDER).await;
        let done = done?;
        returned?;
        Ok(done)
    }

    async fn carry_out(
        &self,
        plan: &Plan,
        actor: &str,
        clock: impl Fn() -> Time,
        progress: impl Fn(u64),
    ) -> Result<Recovered, Error> {
        // Leaves of a wrong clock stop nothing where a ceremony has corrected them, though the database lacks it.
        if !plan.corrections.is_empty() {
            self.store.correct_clock(&plan.corrections).await?;
        }
        let (_, word) = self.store.look().await?;
        // Its own leaves have this machine's time.
        if let Some(halted) = self.store.halted().filter(|halted| !halted.incomplete) {
            return Err(Error::Clock(halted.why));
        }
        let mut done = Recovered::default();
        if let Some((kid, leaf)) = &plan.log_key {
            done.by_hand.push(format!(
                "the log's key {kid}, whose ceremony is leaf {leaf}: the database has neither its transcript nor its row"
            ));
        }
        let mut at = plan.known;
        while at < plan.published {
            self.lease().await?;
            let to = plan.published.min(at + PAGE);
            let bodies = gap::published(&self.tiles, at, to, plan.published).await?;
            at = self.put_back(at, &bodies, plan, &mut done).await?;
            progress(at);
        }
        at = at.max(plan.published);
        for piece in &plan.tail {
            match piece {
                Piece::Kept(leaves) => {
                    for page in leaves.chunks(PAGE as usize) {
                        self.lease().await?;
                        at = self.put_back(at, page, plan, &mut done).await?;
                        progress(at);
                    }
                }
                Piece::Lost(lost) => {
                    at = self
                        .say_lost(*lost, actor, clock(), &mut done, &progress)
                        .await?;
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
        plan: &Plan,
        done: &mut Recovered,
    ) -> Result<u64, Error> {
        let mut page = Vec::with_capacity(bodies.len());
        for (index, body) in (from..).zip(bodies) {
            let read = leaf::read(index, body);
            let (mut lost, by_hand) = read.map_err(|why| Error::Unreadable { index, why })?;
            lost.clock = Corrected::time(&plan.corrections, index.cast_signed(), lost.leaf.time);
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
        // A key that the database lacks can sign no row of it.
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
        Lost {
            from: mut at,
            range: (first, last),
        }: Lost,
        actor: &str,
        now: Time,
        done: &mut Recovered,
        progress: &impl Fn(u64),
    ) -> Result<u64, Error> {
        while at <= last {
            self.lease().await?;
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
                    clock: now.millis(),
                }
            });
            let page: Vec<LostLeaf> = leaves.collect();
            self.store.put_back(at.cast_signed(), &page).await?;
            done.leaves += to - at;
            at = to;
            progress(at);
        }
        Ok(at)
    }
}

/// Who holds the integrator's lease meanwhile.
const HOLDER: &str = "recovery";
