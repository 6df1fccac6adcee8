//! `chancery log recover`: a database that lacks leaves gets them back, each at its own index.
//!
//! What was published is held against the signed root before anything is written. What was answered and not yet
//! published comes from the replicas, which keep it until a checkpoint covers it. What is nowhere is named, and its
//! place is taken by leaves that say so, only at a person's word.

use std::collections::BTreeMap;
use std::time::Duration;

use trust::leaf::{ActKind, ActLeaf, Leaf};
use trust::tlog::checkpoint::{self, Checkpoint};
use trust::tlog::merkle::leaf_hash;
use trust::tlog::note::{Note, VerifierKey};
use trust::tlog::tile::Builder;
use trust::{Sha256Digest, Time};

use super::leaf::Event;
use super::settings::Settings;
use super::storage::{self, Storage};
use super::tiles::{self, Tiles};
use super::tree_store::INTEGRATOR;
use super::{gap, same_database};
use store::{KeyEffect, LostLeaf, Store, TreeRow};

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
        "leaves {0} to {1} were answered and are nowhere: give the replicas' files of kept leaves (--kept), or accept the loss (--lose {0}-{1})"
    )]
    Lost(u64, u64),
    #[error("--lose {asked}: the range that is nowhere begins at leaf {first}{last}")]
    WrongRange {
        asked: String,
        first: u64,
        last: String,
    },
    #[error("leaf {index} cannot be put back: {why}")]
    Unreadable { index: u64, why: String },
    #[error("a replica runs and integrates: stop all replicas first")]
    Running,
}

/// What is missing, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Leaves in the database.
    pub known: u64,
    /// Leaves under the published checkpoint.
    pub published: u64,
    /// Leaves that come from the bundles: from `known` to here.
    pub from_bundles: u64,
    /// Beyond, what replicas kept, without a hole.
    pub kept: Vec<Vec<u8>>,
    /// Places that leaves take which say that what stood there is lost.
    pub lost: Option<(u64, u64)>,
    /// Kept leaves behind that hole.
    pub behind: Vec<Vec<u8>>,
    /// Whether the log is known to be written with another database.
    pub other_database: bool,
}

impl Plan {
    pub fn is_empty(&self) -> bool {
        self.size() == self.known && !self.other_database
    }

    /// Of the log afterwards.
    pub fn size(&self) -> u64 {
        let lost = self.lost.map_or(0, |(first, last)| last - first + 1);
        let kept = self.kept.len() + self.behind.len();
        self.from_bundles.max(self.known) + kept as u64 + lost
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
    keys: Vec<VerifierKey>,
}

impl Recovery {
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

    /// Finds what is missing; changes nothing. `kept` are the leaves of each file of a replica; `lose` is what
    /// a person gives up.
    pub async fn plan(
        &self,
        kept: &[Vec<(u64, Vec<u8>)>],
        lose: Option<(u64, u64)>,
    ) -> Result<Plan, Error> {
        let (_, word) = self.store.look().await?;
        let known = self.store.log_size().await?.unsigned_abs();
        let tree = self.store.tree().await?;
        let published = self.published().await?;
        let size = published.as_ref().map_or(0, |checkpoint| checkpoint.size);
        if let Some(checkpoint) = &published {
            self.hold_against(&tree, known, checkpoint).await?;
        }
        let mut held: BTreeMap<u64, &Vec<u8>> = BTreeMap::new();
        for (index, body) in kept.iter().flatten() {
            if *held.entry(*index).or_insert(body) != body {
                return Err(Error::KeptDisagree(*index));
            }
        }
        let from = size.max(known);
        for (index, body) in held.range(..from) {
            self.hold_kept_against(*index, body, known, size).await?;
        }
        let mut plan = Plan {
            known,
            published: size,
            from_bundles: size,
            kept: Vec::new(),
            lost: None,
            behind: Vec::new(),
            other_database: !same_database::is_the_same(&self.storage, &word).await?,
        };
        let mut next = from;
        while let Some(body) = held.get(&next) {
            plan.kept.push((*body).clone());
            next += 1;
        }
        let behind: Vec<(u64, &Vec<u8>)> =
            held.range(next..).map(|(at, body)| (*at, *body)).collect();
        let hole = behind.first().map(|(index, _)| (next, index - 1));
        plan.lost = match (hole, lose) {
            (None, None) => None,
            (Some((first, last)), None) => return Err(Error::Lost(first, last)),
            (hole, Some((first, last))) => {
                let fits = first == next
                    && last >= first
                    && last - first < MOST_LOST
                    && hole.is_none_or(|(_, end)| end == last);
                if !fits {
                    return Err(Error::WrongRange {
                        asked: format!("{first}-{last}"),
                        first: next,
                        last: hole.map_or(String::new(), |(_, end)| format!(" and ends at {end}")),
                    });
                }
                Some((first, last))
            }
        };
        if let (Some((_, last)), false) = (plan.lost, behind.is_empty()) {
            let mut next = last + 1;
            for (index, body) in behind {
                if index != next {
                    return Err(Error::Lost(next, index - 1));
                }
                plan.behind.push(body.clone());
                next += 1;
            }
        }
        Ok(plan)
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
        now: Time,
        progress: impl Fn(u64),
    ) -> Result<Recovered, Error> {
        let (_, word) = self.store.look().await?;
        let mut done = Recovered::default();
        self.lease(now).await?;
        let mut at = plan.known;
        while at < plan.from_bundles {
            let to = plan.from_bundles.min(at + PAGE);
            let bodies = gap::published(&self.tiles, at, to, plan.published).await?;
            at = self.put_back(at, &bodies, &mut done).await?;
            progress(at);
            self.lease(now).await?;
        }
        self.swap(plan.published).await?;
        at = at.max(plan.from_bundles);
        for page in plan.kept.chunks(PAGE as usize) {
            at = self.put_back(at, page, &mut done).await?;
            progress(at);
        }
        if let Some((first, last)) = plan.lost {
            at = self
                .say_lost(at, (first, last), actor, now, &mut done)
                .await?;
        }
        for page in plan.behind.chunks(PAGE as usize) {
            at = self.put_back(at, page, &mut done).await?;
            progress(at);
        }
        let why = format!("{} leaves put back", done.leaves);
        let event = Event {
            leaves: (at > plan.known).then(|| (plan.known, at - 1)),
            reason: Some(&why),
            ..Event::new(ActKind::Admin, "recover", actor, now)
        };
        self.store.commit_recovery(&event.leaf()).await?;
        same_database::adopt(&self.storage, &word).await?;
        self.store.return_lease(INTEGRATOR, HOLDER).await?;
        Ok(done)
    }

    /// Nobody integrates meanwhile.
    async fn lease(&self, now: Time) -> Result<(), Error> {
        let now = now.millis();
        let until = now + LEASE.as_millis() as i64;
        match self.store.lease(INTEGRATOR, HOLDER, now, until).await? {
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
            let (lost, by_hand) = read(index, body)?;
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
        match self.store.swap_tree(&tree, &new).await? {
            true => Ok(()),
            false => Err(Error::Running),
        }
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

/// A leaf as its row, and what has to be put back by hand.
fn read(index: u64, body: &[u8]) -> Result<(LostLeaf, Option<String>), Error> {
    let unreadable = |why: &str| Error::Unreadable {
        index,
        why: why.to_owned(),
    };
    let text = std::str::from_utf8(body).map_err(|_| unreadable("it is not text"))?;
    let row = |kind: &'static str, time: Time| store::Leaf {
        time: time.millis(),
        kind,
        ring: None,
        kid: None,
        sig_hash: None,
        body: text.to_owned(),
    };
    match Leaf::parse(body).map_err(|error| unreadable(&error.to_string()))? {
        Leaf::Signature(leaf) => {
            let leaf = store::Leaf {
                ring: Some(leaf.ring.to_string()),
                kid: Some(leaf.kid.as_str().to_owned()),
                sig_hash: Some(hash(leaf.sig_hash)),
                ..row("sign", leaf.time)
            };
            Ok((LostLeaf { leaf, effect: None }, None))
        }
        Leaf::Act(act) => {
            let leaf = store::Leaf {
                ring: act.ring.clone(),
                kid: act.kid.as_ref().map(|kid| kid.as_str().to_owned()),
                ..row(act.kind.name(), act.time)
            };
            let effect = effect(&act);
            let by_hand = (effect.is_none() && has_rows(&act)).then(|| {
                let of = act.reference.as_deref().unwrap_or_default();
                format!("leaf {index}: {} {} {of}", act.kind, act.action)
            });
            Ok((LostLeaf { leaf, effect }, by_hand))
        }
        Leaf::Unknown(_) => Err(unreadable("a later version wrote it; run that one")),
    }
}

fn hash(hash: Sha256Digest) -> String {
    hash.to_string()
}

/// Acts that are more than their leaf.
fn has_rows(act: &ActLeaf) -> bool {
    !matches!(
        act.kind,
        ActKind::Refusal | ActKind::Refusals | ActKind::Admin
    )
}

fn effect(act: &ActLeaf) -> Option<KeyEffect> {
    if act.kind != ActKind::Key {
        return None;
    }
    let text = |kid: &Option<trust::Kid>| kid.as_ref().map(|kid| kid.as_str().to_owned());
    let ring = act.ring.clone()?;
    match act.action.as_str() {
        "rotate" | "roll-back" => Some(KeyEffect::Switched {
            ring,
            new: text(&act.kid)?,
        }),
        "retire" => Some(KeyEffect::Retired {
            ring,
            kid: text(&act.kid)?,
        }),
        "archive" => Some(KeyEffect::Archived {
            ring,
            kid: text(&act.kid)?,
        }),
        "revoke" => Some(KeyEffect::Revoked {
            ring,
            kid: text(&act.previous_kid)?,
            reason: act.reason.clone()?,
            since: act.compromised_since.map(Time::millis),
            successor: text(&act.kid),
        }),
        _ => None,
    }
}
