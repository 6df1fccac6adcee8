//! From the database into memory, believing nothing on the way.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tracing::{error, info};
use trust::publication::{Published, PublishedKey, plan_jwks};
use trust::{Kid, Location, Namespace, Pin, Purpose, Safety, Sha256Digest, Time, Trusted, Usage};

use super::publish::Document;
use super::settings::PublicationSettings;
use super::snapshot::{Current, Key, RejectedKey, Ring, Snapshot, UnreadableRing};
use access::Credentials;
use log::{
    ActIndex, BoundKey, Certified, KeyActs, VerifiedLogAct, bind_key, unverified_chains,
    verify_transcript,
};
use store::{KeyRow, RingRow, Rows, Store, UnreadableRow, Versions};
use token::Handle;
use trust::error_chain;
use trust::log_acts::CorrectedTimes;

/// Clock skew between replicas and verifiers that `publish_safety` covers besides the cache time.
const SKEW: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the keys cannot be read from the database")]
    Store(#[from] store::Error),
    /// No member of the roster could be told from a stranger.
    #[error("the roster and policy in the database do not verify")]
    Chain(#[from] trust::ChainError),
    #[error(transparent)]
    Document(#[from] log::ChainRowError),
    #[error("the key set cannot be serialised")]
    Publication(#[from] trust::JsonError),
}

/// What the read model needs of the configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    pub pin: Pin,
    pub safety: Safety,
    pub max_age: Duration,
    pub budget_bytes: usize,
    pub okp_in_combined_set: bool,
}

impl Settings {
    pub fn new(pin: Pin, publication: &PublicationSettings) -> Result<Self, String> {
        // A key stays secondary as long as it was published before: the same caches are waited for.
        let safety = Safety::new(
            publication.publish_safety,
            publication.publish_safety,
            publication.max_age() * 3,
            SKEW,
        );
        Ok(Self {
            pin,
            safety: safety.map_err(|e| e.to_string())?,
            max_age: publication.max_age(),
            budget_bytes: publication.budget_bytes,
            okp_in_combined_set: publication.okp_in_combined_set,
        })
    }
}

/// The read model and what keeps it fresh.
pub struct Keys {
    pub(super) current: Current,
    pub(super) store: Store,
    settings: Settings,
    certified: Mutex<HashMap<Kid, Arc<Certified>>>,
    acts: tokio::sync::Mutex<ActIndex>,
    /// Keys whose revocation was published and is missing from the database.
    withheld: OnceLock<Arc<BTreeSet<Kid>>>,
    /// One refresh at a time; those that wait get the result of the next.
    refreshing: tokio::sync::Mutex<()>,
    /// When the database last said that `current` is current.
    confirmed: Mutex<Instant>,
}

impl Keys {
    /// SHA-256 of what a key signed to show that it has its private half.
    pub fn possession_digest(&self, key: &Key) -> Option<Sha256Digest> {
        let pin = &self.settings.pin;
        let namespace = Namespace::new(Purpose::Possession, &pin.service, &pin.environment);
        let message = trust::approval::possession_message_in(&namespace, key.ceremony, &key.kid);
        message.ok().map(|message| Sha256Digest::of(&message))
    }

    /// Reads everything once. Fails where the chain from the pinned genesis does not hold; a
    /// single key that does not tally is left out and reported.
    pub async fn load(store: Store, settings: Settings) -> Result<Arc<Self>, Error> {
        let certified = Mutex::new(HashMap::new());
        let acts = tokio::sync::Mutex::new(ActIndex::default());
        let snapshot = read(&store, &settings, &certified, &acts, &BTreeSet::new(), None).await?;
        report(&snapshot, None);
        Ok(Arc::new(Self {
            current: ArcSwap::from_pointee(snapshot),
            store,
            settings,
            certified,
            acts,
            withheld: OnceLock::new(),
            refreshing: tokio::sync::Mutex::new(()),
            confirmed: Mutex::new(Instant::now()),
        }))
    }

    /// Takes keys out of use and out of every set until this process ends: their revocation was
    /// published, and the database, which is an old one, does not know of it (case L2).
    pub async fn withhold(&self, kids: Arc<BTreeSet<Kid>>) {
        if !kids.is_empty() && self.withheld.set(kids).is_ok() {
            let _one = self.refreshing.lock().await;
            self.replace(None).await;
        }
    }

    /// The present snapshot: one atomic load.
    pub fn current(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// The set that was served at an instant, by the lives of the keys: of one ring, or the combined
    /// one. None where there is no such ring. The budget and the place of OKP keys are today's.
    pub fn jwks_as_of(&self, ring: Option<&str>, at: Time) -> Result<Option<Document>, Error> {
        let snapshot = self.current();
        let (keys, okp) = match ring {
            Some(name) => match snapshot.keys_of_ring(name) {
                Some(keys) => (keys.to_vec(), true),
                None => return Ok(None),
            },
            None => (
                combined(snapshot.keys_by_ring()),
                self.settings.okp_in_combined_set,
            ),
        };
        document(&self.settings, &keys, okp, Some(at)).map(Some)
    }

    /// Where the log tells of a key, up to this moment: every act, oldest first.
    pub async fn acts_of(&self, kid: &Kid) -> Result<Vec<i64>, store::Error> {
        let mut acts = self.acts.lock().await;
        acts.catch_up(&self.store, &self.settings.pin).await?;
        Ok(acts.of(kid).all)
    }

    /// The times of the log's leaves as corrected, up to this moment.
    pub async fn times(&self) -> Result<Arc<CorrectedTimes>, store::Error> {
        let mut acts = self.acts.lock().await;
        acts.catch_up(&self.store, &self.settings.pin).await?;
        Ok(acts.times())
    }

    /// What ceremonies did to the log, oldest first.
    pub async fn log_acts(&self) -> Result<Vec<VerifiedLogAct>, store::Error> {
        let mut acts = self.acts.lock().await;
        acts.catch_up(&self.store, &self.settings.pin).await?;
        Ok(acts.log_acts().to_vec())
    }

    /// How long ago the database last said that [`Keys::current`] is current.
    pub fn confirmed_ago(&self) -> Duration {
        self.confirmed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .elapsed()
    }

    pub(super) fn confirm(&self) {
        *self
            .confirmed
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Reads again now if the database has changed. A failure keeps the old snapshot, which is
    /// safe: what may sign is checked again when a signature is recorded.
    pub async fn refresh(&self) {
        let _one = self.refreshing.lock().await;
        let seen = self.current.load().version;
        match self.store.version().await {
            Ok(version) if version == seen => self.confirm(),
            Ok(_) => self.replace(Some(&self.current())).await,
            Err(error) => error!(
                error = error_chain(&error),
                "cannot read the version of the database"
            ),
        }
    }

    /// What is the same in the database as in the snapshot `seen` is taken from there.
    async fn replace(&self, seen: Option<&Snapshot>) {
        let none = Arc::default();
        let read = read(
            &self.store,
            &self.settings,
            &self.certified,
            &self.acts,
            self.withheld.get().unwrap_or(&none),
            seen,
        );
        match read.await {
            // A database that forgot something may have forgotten a revocation (case L2).
            Ok(snapshot) if seen.is_some() && self.has_forgotten(&snapshot) => error!(
                version = snapshot.version,
                "the database is older than the keys in use, which stay in use"
            ),
            Ok(snapshot) => {
                info!(
                    version = snapshot.version,
                    keys = snapshot.keys.len(),
                    "keys loaded"
                );
                report(&snapshot, seen);
                self.current.store(Arc::new(snapshot));
                self.confirm();
            }
            Err(error) => error!(
                error = error_chain(&error),
                "loading the keys failed; the previous ones stay in use"
            ),
        }
    }

    fn has_forgotten(&self, snapshot: &Snapshot) -> bool {
        let halted = self.store.halted().is_some_and(|halted| halted.incomplete);
        halted || snapshot.version < self.current.load().version
    }
}

/// Says what is left out, and was not before.
fn report(snapshot: &Snapshot, before: Option<&Snapshot>) {
    let said = |row: &UnreadableRow| before.is_some_and(|before| before.unreadable.contains(row));
    for row in snapshot.unreadable.iter().filter(|row| !said(row)) {
        error!(
            table = row.table,
            key = row.key,
            why = row.why,
            "unreadable row left out"
        );
    }
    let said = |key: &RejectedKey| before.is_some_and(|before| before.refused.contains(key));
    for refused in snapshot.refused.iter().filter(|key| !said(key)) {
        error!(kid = refused.kid, why = refused.why, "key refused");
    }
}

/// What is the same in the database as in the snapshot `seen` is taken from there.
async fn read(
    store: &Store,
    settings: &Settings,
    certified: &Mutex<HashMap<Kid, Arc<Certified>>>,
    acts: &tokio::sync::Mutex<ActIndex>,
    withheld: &BTreeSet<Kid>,
    seen: Option<&Snapshot>,
) -> Result<Snapshot, Error> {
    loop {
        let versions = store.versions().await?;
        let mut acts = acts.lock().await;
        acts.catch_up(store, &settings.pin).await?;
        let same = |of: fn(&Versions) -> [i64; 3]| {
            // A change that no subject tells of was made around their triggers.
            let told = |seen: &&Snapshot| versions.follows(&seen.versions);
            let seen = seen.filter(told);
            // What was left out is looked at again at every change.
            let whole = |seen: &&Snapshot| seen.refused.is_empty() && seen.unreadable.is_empty();
            seen.filter(|seen| of(&seen.versions) == of(&versions))
                .filter(whole)
        };
        let mut unreadable = Vec::new();
        let credentials = match same(|v| [v.credentials; 3]) {
            Some(seen) => seen.credentials.clone(),
            None => {
                let rows = store.credentials().await?;
                let credentials = Arc::new(Credentials::new(&rows));
                unreadable.extend(rows.unreadable);
                credentials
            }
        };
        // A key is read with its object and its ceremony, so a change of those is one of keys too.
        if let Some(seen) = same(|v| [v.keys, v.trust, v.ceremonies]) {
            if store.version().await? != versions.all {
                continue;
            }
            return Ok(Snapshot {
                version: versions.all,
                versions,
                rings: seen.rings.clone(),
                unreadable_rings: seen.unreadable_rings.clone(),
                keys: seen.keys.clone(),
                jwks: seen.jwks.clone(),
                credentials,
                refused: Vec::new(),
                unreadable,
                times: acts.times(),
            });
        }
        let trusted = unverified_chains(&store.documents().await?)?
            .map(|chains| trust::chain::walk(&chains, &settings.pin))
            .transpose()?;
        let ring_rows = store.rings().await?;
        let key_rows = store.keys().await?;
        let mut keys = Vec::new();
        let mut refused = Vec::new();
        // What cannot be read is refused too: it does not sign and is not published.
        refused.extend(key_rows.unreadable.iter().map(|row| RejectedKey {
            kid: row.key.clone(),
            why: row.why.clone(),
        }));
        let mut rows = key_rows.read.into_iter();
        let mut transcripts = HashMap::new();
        while let Some(row) = rows.next() {
            if withheld.contains(&row.kid) {
                let why = "its revocation was published and is missing from the database";
                refused.push(RejectedKey::new(&row, why.to_owned()));
                continue;
            }
            if is_unknown(certified, &row) && !transcripts.contains_key(&row.ceremony.to_string()) {
                // With those of the keys behind it: one question for many, and not all in memory at once.
                let more = rows.as_slice().iter().take(TOGETHER - 1);
                let asked = std::iter::once(&row).chain(more);
                let asked = asked.filter(|row| is_unknown(certified, row));
                let asked: Vec<String> = asked.map(|row| row.ceremony.to_string()).collect();
                transcripts = store.transcripts(&asked).await?;
            }
            match certify(settings, trusted.as_ref(), certified, &row, &transcripts) {
                Ok(known) => match same_key(seen, &row, &acts) {
                    Some(key) => keys.push(key),
                    None => match load_key(&row, &known) {
                        Ok(key) => keys.push(Arc::new(key.with_acts(&acts))),
                        Err(why) => refused.push(RejectedKey::new(&row, why)),
                    },
                },
                Err(why) => refused.push(RejectedKey::new(&row, why)),
            }
        }
        // A change in between could mix two states; then everything is read again.
        if store.version().await? == versions.all {
            let assembled = assemble(settings, &ring_rows, keys)?;
            unreadable.extend(ring_rows.unreadable);
            unreadable.extend(key_rows.unreadable);
            return Ok(Snapshot {
                version: versions.all,
                versions,
                rings: assembled.rings,
                unreadable_rings: assembled.unreadable_rings,
                keys: assembled.keys,
                jwks: assembled.jwks,
                credentials,
                refused,
                unreadable,
                times: acts.times(),
            });
        }
    }
}

/// Transcripts that are read together.
const TOGETHER: usize = 100;

fn is_unknown(certified: &Mutex<HashMap<Kid, Arc<Certified>>>, row: &KeyRow) -> bool {
    let known = certified.lock().unwrap_or_else(PoisonError::into_inner);
    !known.contains_key(&row.kid)
}

/// Tallies the key's transcript, or finds that it was done before.
fn certify(
    settings: &Settings,
    trusted: Option<&Trusted>,
    certified: &Mutex<HashMap<Kid, Arc<Certified>>>,
    row: &KeyRow,
    transcripts: &HashMap<String, Vec<u8>>,
) -> Result<Arc<Certified>, String> {
    let lock = || certified.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = lock().get(&row.kid) {
        return Ok(known.clone());
    }
    let trusted = trusted.ok_or_else(|| "no roster in the database verifies".to_owned())?;
    let bytes = transcripts.get(&row.ceremony.to_string());
    let bytes = bytes.ok_or_else(|| "no transcript".to_owned())?;
    let known = verify_transcript(bytes, &settings.pin, trusted, row).map(Arc::new)?;
    lock().insert(row.kid.clone(), known.clone());
    Ok(known)
}

/// The key of the snapshot before, if neither its row nor the log tells anything new of it: most keys, at
/// any change (case S11). Its transcript was tallied with that very ceremony.
fn same_key(seen: Option<&Snapshot>, row: &KeyRow, acts: &ActIndex) -> Option<Arc<Key>> {
    let key = seen?.keys.get(&row.kid).filter(|key| key.row == *row)?;
    let now = acts.of(&row.kid);
    let same = (key.log_index, key.revocation_log_index) == (now.accepted, now.revoked);
    same.then(|| key.clone())
}

/// The key as memory keeps it.
fn load_key(row: &KeyRow, known: &Certified) -> Result<Key, String> {
    let BoundKey {
        public,
        verifier,
        state,
    } = bind_key(row, known)?;
    let order = &known.order;
    let Location::Pkcs11(at) = &known.location else {
        return Err("only keys on PKCS#11 tokens are supported".to_owned());
    };
    Ok(Key {
        kid: public.kid(),
        ring: row.ring.as_str().into(),
        ring_name: order.ring.clone(),
        number: order.number,
        algorithm: known.algorithm,
        usage: order.usage,
        state,
        verifier,
        published_at: row.published_at,
        activate_at: order.activate_at,
        retire_at: order.retire_at,
        location: known.location.clone(),
        ceremony: row.ceremony,
        log_index: None,
        revocation_log_index: None,
        handle: Handle::new(at.cka_id.0, row.spki.clone(), known.algorithm),
        spki: row.spki.clone(),
        public,
        row: row.clone(),
    })
}

impl Key {
    fn with_acts(self, acts: &ActIndex) -> Self {
        let KeyActs {
            accepted, revoked, ..
        } = acts.of(&self.kid);
        Self {
            log_index: accepted,
            revocation_log_index: revoked,
            ..self
        }
    }
}

impl RejectedKey {
    fn new(row: &KeyRow, why: String) -> Self {
        let kid = row.kid.to_string();
        Self { kid, why }
    }
}

/// Rings and keys by their names, and the combined set.
struct Assembled {
    rings: BTreeMap<Arc<str>, Arc<Ring>>,
    unreadable_rings: BTreeMap<Arc<str>, Arc<UnreadableRing>>,
    keys: HashMap<Kid, Arc<Key>>,
    jwks: Document,
}

fn assemble(
    settings: &Settings,
    rows: &Rows<RingRow>,
    mut keys: Vec<Arc<Key>>,
) -> Result<Assembled, Error> {
    keys.sort_by(|a, b| (&a.ring, a.number).cmp(&(&b.ring, b.number)));
    let of_ring = |name: &str| -> Vec<Arc<Key>> {
        let keys = keys.iter().filter(|key| *key.ring == *name);
        keys.cloned().collect()
    };
    let mut rings = BTreeMap::new();
    for row in &rows.read {
        let ring = ring(settings, row, of_ring(row.name.as_str()))?;
        rings.insert(ring.name.clone(), Arc::new(ring));
    }
    let mut unreadable_rings = BTreeMap::new();
    for row in &rows.unreadable {
        let keys = of_ring(&row.key);
        let jwks = document(settings, &keys, true, None)?;
        let ring = UnreadableRing { keys, jwks };
        unreadable_rings.insert(row.key.as_str().into(), Arc::new(ring));
    }
    let okp = settings.okp_in_combined_set;
    let jwks = document(settings, &combined(&keys), okp, None)?;
    let keys = keys.into_iter().map(|key| (key.kid.clone(), key));
    Ok(Assembled {
        rings,
        unreadable_rings,
        keys: keys.collect(),
        jwks,
    })
}

/// Verifiers of tokens and envelopes have a use for no other key, and must not take another's
/// signature for a structure: whoever has bare digests signed could have made any.
fn combined<'a>(keys: impl IntoIterator<Item = &'a Arc<Key>>) -> Vec<Arc<Key>> {
    let all = keys.into_iter();
    all.filter(|key| key.usage == Usage::Structured)
        .cloned()
        .collect()
}

fn ring(settings: &Settings, row: &RingRow, keys: Vec<Arc<Key>>) -> Result<Ring, Error> {
    let RingRow {
        algorithm,
        key_spec,
        usage,
        ..
    } = *row;
    // The ring's row is not signed; its keys' requests are. A ring that disagrees with a key that
    // could sign for it does not sign.
    let wanted = |key: &&Arc<Key>| {
        let as_approved = (key.algorithm, key.public.spec(), key.usage);
        key.state.is_primary() && as_approved == (algorithm, key_spec, usage)
    };
    Ok(Ring {
        name: row.name.as_str().into(),
        algorithm,
        key_spec,
        usage,
        created_at: row.created_at,
        version: row.version,
        primary: keys.iter().find(wanted).cloned(),
        jwks: document(settings, &keys, true, None)?,
        keys,
    })
}

/// The set now, or by what had happened at an instant.
fn document(
    settings: &Settings,
    keys: &[Arc<Key>],
    okp: bool,
    at: Option<Time>,
) -> Result<Document, Error> {
    let candidates: Vec<PublishedKey> = keys
        .iter()
        .filter_map(|key| {
            Some(PublishedKey {
                ring: key.ring.parse().ok()?,
                number: key.number,
                algorithm: key.algorithm,
                usage: key.usage,
                public_key: key.public.clone(),
                state: match at {
                    None => key.state.clone(),
                    Some(at) => key.state.as_of(at)?,
                },
            })
        })
        .collect();
    let published: Published = plan_jwks(&candidates, settings.budget_bytes, okp)?;
    Ok(Document::new(published, settings.max_age))
}
