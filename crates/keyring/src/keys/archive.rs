//! Keys that are not in the snapshot: read when somebody asks, believed like any other, and kept for a while. However many
//! ask for one key at once, it is read and tallied once. What strangers ask for takes the place of other such keys, and
//! never of a key of the snapshot, which signing and JWKS use (ADR 48).

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use metrics::counter;
use moka::future::Cache;
use trust::Kid;

use super::believe::{self, Believed, Believer, load_key, tally};
use super::cpu::{Cpu, Share};
use super::settings::Settings;
use super::snapshot::{Key, RejectedKey, Snapshot};
use super::under_order::Orders;
use base::names::ARCHIVE_READS;
use log::{ActIndex, Certified};
use store::{KeyRow, Rows, Store};

/// Refused keys that are named at most.
const NAMED: usize = 1_000;

/// Kids that are asked for together.
const TOGETHER: usize = 500;

/// Why there is no key to go by.
#[derive(Debug, Clone, thiserror::Error)]
pub enum NoKey {
    #[error("no key has this kid")]
    Unknown,
    /// Its row and its transcript do not say the same.
    #[error("the key is refused: {0}")]
    Refused(Arc<str>),
    /// Nothing is known of it, not even that there is none.
    #[error("the key could not be read from the database")]
    Store(#[source] Arc<store::Error>),
    #[error("the key's transcript was not tallied")]
    Unfinished(#[from] super::cpu::Unfinished),
    /// A revocation might be among what is missing.
    #[error("the database is older than the keys in use; no other key is read from it")]
    Older,
}

impl NoKey {
    /// Whether it may be known another time.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Store(_) | Self::Unfinished(_) | Self::Older)
    }

    fn of_store(error: store::Error) -> Self {
        Self::Store(Arc::new(error))
    }
}

impl From<believe::Error> for NoKey {
    fn from(error: believe::Error) -> Self {
        match error {
            believe::Error::Store(error) => Self::of_store(error),
            believe::Error::Unfinished(error) => Self::Unfinished(error),
        }
    }
}

/// One reading of the rows; what a later one says is read again.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Place {
    kid: Kid,
    generation: u64,
    /// Whoever signs does not wait for the turn of strangers.
    share: Share,
}

type Found = Result<Arc<Key>, Arc<str>>;

pub(super) struct Archive {
    /// For known callers, and for strangers.
    stores: [Store; 2],
    tallied: Cache<Kid, Arc<Certified>>,
    orders: Orders,
    keys: Cache<Place, Found>,
    refused: Mutex<BTreeMap<String, Arc<str>>>,
    /// How many keys were read.
    reads: AtomicU64,
}

/// What a reading goes by.
pub(super) struct Asked<'a> {
    pub snapshot: &'a Arc<Snapshot>,
    pub settings: &'a Settings,
    pub withheld: &'a BTreeSet<Kid>,
    /// The database was older than the log when this process began; what was revoked since is withheld.
    pub missing_known: bool,
    pub cpu: &'a Cpu,
    pub acts: &'a tokio::sync::Mutex<ActIndex>,
    pub share: Share,
}

impl Archive {
    pub fn new(store: &Store, bytes: u64) -> Self {
        let of_tally = |_: &Kid, known: &Arc<Certified>| weight(known.spki.len());
        let of_key = |_: &Place, found: &Found| match found {
            Ok(key) => weight(3 * key.spki.len()),
            Err(why) => weight(why.len()),
        };
        Self {
            stores: [store.clone(), store.for_visitors()],
            tallied: Cache::builder()
                .max_capacity(bytes)
                .weigher(of_tally)
                .build(),
            orders: Orders::default(),
            keys: Cache::builder().max_capacity(bytes).weigher(of_key).build(),
            refused: Mutex::default(),
            reads: AtomicU64::new(0),
        }
    }

    pub fn tallied(&self) -> &Cache<Kid, Arc<Certified>> {
        &self.tallied
    }

    /// What is kept of standing orders.
    pub fn orders(&self) -> &Orders {
        &self.orders
    }

    pub fn store(&self, share: Share) -> &Store {
        match share {
            Share::Known => &self.stores[0],
            Share::Stranger => &self.stores[1],
        }
    }

    /// How many keys were read from the database one by one.
    pub fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    /// Keys that were asked for and refused.
    pub fn refused(&self) -> Vec<RejectedKey> {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let each = refused.iter().map(|(kid, why)| RejectedKey {
            kid: kid.clone(),
            why: why.to_string(),
        });
        each.collect()
    }

    pub async fn find(&self, kid: &Kid, asked: &Asked<'_>) -> Result<Arc<Key>, NoKey> {
        let place = |share| Place {
            kid: kid.clone(),
            generation: asked.snapshot.generation,
            share,
        };
        let other = match asked.share {
            Share::Known => Share::Stranger,
            Share::Stranger => Share::Known,
        };
        let found = match self.keys.get(&place(other)).await {
            Some(found) => found,
            None => {
                let reading = self.read(kid, asked);
                let found = self.keys.try_get_with(place(asked.share), reading).await;
                found.map_err(|error| NoKey::clone(&error))?
            }
        };
        found.map_err(NoKey::Refused)
    }

    async fn read(&self, kid: &Kid, asked: &Asked<'_>) -> Result<Found, NoKey> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let found = self.read_anew(kid, asked).await;
        let answer = match &found {
            Ok(Ok(_)) => "loaded",
            Ok(Err(_)) => "refused",
            Err(NoKey::Unknown) => "unknown",
            Err(_) => "failed",
        };
        counter!(ARCHIVE_READS, "answer" => answer).increment(1);
        match &found {
            Ok(Ok(key)) => self.are_not_refused(std::slice::from_ref(key)),
            Ok(Err(why)) => self.note(kid.as_str(), why),
            Err(_) => {}
        }
        found
    }

    async fn read_anew(&self, kid: &Kid, asked: &Asked<'_>) -> Result<Found, NoKey> {
        let store = self.store(asked.share);
        not_older(store, asked).await?;
        let rows = store.key(kid.as_str()).await.map_err(NoKey::of_store)?;
        if let Some(row) = rows.unreadable.first() {
            return Ok(Err(row.why.as_str().into()));
        }
        let Some(row) = rows.read.into_iter().next() else {
            return Err(NoKey::Unknown);
        };
        let known = match self.tallied.get(kid).await {
            Some(known) => known,
            None => match self.tally(store, &row, asked).await? {
                Ok(known) => known,
                Err(why) => return Ok(Err(why)),
            },
        };
        let mut key = match load_key(&row, known) {
            Ok(key) => key,
            Err(why) => return Ok(Err(why.into())),
        };
        let held = asked.acts.lock().await.held(std::slice::from_ref(kid));
        let acts = held.complete(store).await.map_err(NoKey::of_store)?;
        if let Some(acts) = acts.get(kid) {
            key.set_acts(acts);
        }
        let installed = &asked.snapshot.installed;
        let told = match key
            .log_index
            .filter(|_| installed.asks_for_leaf(&key.certified))
        {
            Some(index) => store.leaf(index).await.map_err(NoKey::of_store)?,
            None => None,
        };
        let (of_key, accepted) = (
            (&row, key.certified.as_ref()),
            (key.log_index, told.as_ref()),
        );
        let refuses = installed.refuses(store, of_key, accepted, &self.orders);
        match refuses.await.map_err(NoKey::of_store)? {
            Some(why) => Ok(Err(why.into())),
            None => Ok(Ok(Arc::new(key))),
        }
    }

    async fn tally(
        &self,
        store: &Store,
        row: &KeyRow,
        asked: &Asked<'_>,
    ) -> Result<Result<Arc<Certified>, Arc<str>>, NoKey> {
        let bytes = store.transcript(&row.ceremony.to_string()).await;
        let Some(bytes) = bytes.map_err(NoKey::of_store)? else {
            return Ok(Err("no transcript".into()));
        };
        let (pin, trusted) = (asked.settings.pin.clone(), asked.snapshot.trusted.clone());
        let (of, orders) = (row.clone(), self.orders.known.clone());
        let work = move || tally(&bytes, &pin, trusted.as_deref(), &of, &orders);
        let known = match asked.cpu.run(asked.share, work).await? {
            Ok(known) => known,
            Err(why) => return Ok(Err(why.into())),
        };
        self.tallied.insert(row.kid.clone(), known.clone()).await;
        Ok(Ok(known))
    }

    /// Many rows at once, each believed by itself; what is not is named.
    pub async fn believe(&self, rows: &Rows<KeyRow>, asked: &Asked<'_>) -> Result<Believed, NoKey> {
        let store = self.store(asked.share);
        not_older(store, asked).await?;
        let believer = Believer {
            store,
            pin: &asked.settings.pin,
            trusted: asked.snapshot.trusted.clone(),
            installed: asked.snapshot.installed.clone(),
            seen: Some(asked.snapshot),
            tallied: &self.tallied,
            orders: &self.orders,
            withheld: asked.withheld,
            cpu: asked.cpu,
            share: asked.share,
            acts: asked.acts,
        };
        let believed = believer.believe(rows).await?;
        self.are_not_refused(&believed.keys);
        for refused in &believed.refused {
            self.note(&refused.kid, refused.why.as_str());
        }
        Ok(believed)
    }

    /// Those of these kids that some key has.
    pub async fn existing(
        &self,
        kids: &HashSet<Kid>,
        asked: &Asked<'_>,
    ) -> Result<HashSet<Kid>, NoKey> {
        let store = self.store(asked.share);
        not_older(store, asked).await?;
        let kids: Vec<String> = kids.iter().map(|kid| kid.as_str().to_owned()).collect();
        let mut existing = HashSet::new();
        for part in kids.chunks(TOGETHER) {
            let rows = store.keys_of(part).await.map_err(NoKey::of_store)?;
            existing.extend(rows.read.into_iter().map(|row| row.kid));
            let unreadable = rows.unreadable.iter();
            existing.extend(unreadable.filter_map(|row| row.key.parse().ok()));
        }
        Ok(existing)
    }

    fn note(&self, kid: &str, why: &str) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.get(kid).is_some_and(|before| **before == *why) {
            return;
        }
        tracing::error!(kid, why, "key refused");
        if refused.len() < NAMED || refused.contains_key(kid) {
            refused.insert(kid.to_owned(), why.into());
        }
    }

    fn are_not_refused(&self, keys: &[Arc<Key>]) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if !refused.is_empty() {
            keys.iter().for_each(|key| {
                refused.remove(key.kid.as_str());
            });
        }
    }
}

/// A database that forgot something may have forgotten the revocation of just this key (case L2).
async fn not_older(store: &Store, asked: &Asked<'_>) -> Result<(), NoKey> {
    // What was missing when this process began is known, and kids of revoked keys are withheld.
    let incomplete = store.halted().is_some_and(|halted| halted.incomplete) && !asked.missing_known;
    let version = store.version().await.map_err(NoKey::of_store)?;
    match incomplete || version < asked.snapshot.version {
        true => Err(NoKey::Older),
        false => Ok(()),
    }
}

/// Bytes that an entry takes beside what varies, generously.
fn weight(varies: usize) -> u32 {
    u32::try_from(varies)
        .unwrap_or(u32::MAX)
        .saturating_add(2_048)
}
