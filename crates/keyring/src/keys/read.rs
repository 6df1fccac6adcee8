//! From the database into memory, believing nothing on the way: what rings, signing and publication need, and no more of
//! what was. Of each ring these are the keys that sign or are about to, the newest that have ended as far as a key set
//! holds them, and those with the highest numbers; of the ring `log` all.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use moka::future::Cache;
use trust::publication::{Published, PublishedKey, plan_jwks};
use trust::{Kid, LOG_RING, Time, Trusted, Usage};

use super::believe::{Believed, Believer};
use super::cpu::{Cpu, Share};
use super::error::Error;
use super::former::Installed;
use super::publish::Document;
use super::settings::Settings;
use super::snapshot::{Key, Ring, Snapshot, UnreadableRing};
use super::under_order::Orders;
use access::Credentials;
use log::{ActIndex, Certified, EmergencyCost, EmergencyReading, suspended, unverified_chains};
use store::{EndedBefore, KeyCounts, KeyRow, RingRow, Rows, Store, UnreadableRow, Versions};

/// Rows of ended keys that are read together.
const TOGETHER: i64 = 256;

/// Refused keys of a ring after which no older one is looked at.
const REFUSED: usize = 1_000;

/// The log's keys are few, and checkpoints by all of them are read.
const LOG_KEYS: i64 = 10_000;

/// Generations of this process, over all of its read models.
static GENERATION: AtomicU64 = AtomicU64::new(1);

/// What a snapshot is read with.
pub(super) struct Reading<'a> {
    pub store: &'a Store,
    pub settings: &'a Settings,
    pub tallied: &'a Cache<Kid, Arc<Certified>>,
    pub orders: &'a Orders,
    pub cpu: &'a Cpu,
    pub acts: &'a tokio::sync::Mutex<ActIndex>,
    pub withheld: &'a BTreeSet<Kid>,
    /// What is the same in the database as in this snapshot is taken from there.
    pub seen: Option<&'a Snapshot>,
    /// A document that is missing and of which the log tells is an error.
    pub whole: bool,
}

impl Reading<'_> {
    pub async fn read(&self) -> Result<Snapshot, Error> {
        loop {
            if let Some(snapshot) = self.attempt().await? {
                return Ok(snapshot);
            }
        }
    }

    /// None where something changed meanwhile: it could mix two states.
    async fn attempt(&self) -> Result<Option<Snapshot>, Error> {
        let (store, settings) = (self.store, self.settings);
        let versions = store.versions().await?;
        let (times, acts_until) = {
            let mut acts = self.acts.lock().await;
            acts.catch_up(store, &settings.pin).await?;
            (acts.times(), acts.next())
        };
        let same = |of: fn(&Versions) -> [i64; 3]| {
            // A change that no subject tells of was made around their triggers.
            let told = |seen: &&Snapshot| versions.follows(&seen.versions);
            let seen = self.seen.filter(told);
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
        let mut seen = same(|v| [v.keys, v.trust, v.ceremonies]);
        if let Some(same) = seen
            && same.emergency.is_old(store).await?
        {
            seen = None;
        }
        if let Some(seen) = seen {
            if store.version().await? != versions.all {
                return Ok(None);
            }
            return Ok(Some(Snapshot {
                version: versions.all,
                versions,
                generation: seen.generation,
                acts_until: seen.acts_until,
                trusted: seen.trusted.clone(),
                installed: seen.installed.clone(),
                suspended: seen.suspended.clone(),
                rings: seen.rings.clone(),
                unreadable_rings: seen.unreadable_rings.clone(),
                keys: seen.keys.clone(),
                counts: seen.counts.clone(),
                jwks: seen.jwks.clone(),
                credentials,
                refused: Vec::new(),
                unreadable,
                times,
                emergency: seen.emergency.clone(),
            }));
        }
        let documents = store.documents().await?;
        let chains = unverified_chains(&documents)?;
        let trusted: Option<Arc<Trusted>> = chains
            .as_ref()
            .map(|chains| trust::chain::walk(chains, &settings.pin))
            .transpose()?
            .map(Arc::new);
        let installed_before = self.seen.map(|seen| seen.installed.as_ref());
        let installed = Installed::read(store, &settings.pin, &documents, installed_before).await?;
        let installed = Arc::new(installed);
        // Documents are only added: a chain that ends before, or went another way, was put back by somebody.
        let before = self.seen.and_then(|seen| seen.trusted.as_ref());
        if let Some(before) = before
            && !trusted.as_ref().is_some_and(|now| now.extends(before))
        {
            return Err(Error::RolledBack);
        }
        if let (true, Err(missing)) = (self.whole, installed.require_whole()) {
            // It may have been installed since the documents were read.
            return match store.version().await? == versions.all {
                true => Err(missing.into()),
                false => Ok(None),
            };
        }
        let emergency = EmergencyReading {
            store,
            pin: &settings.pin,
            chain: chains.as_ref().zip(trusted.as_deref()),
            documents: &documents,
            suspensions: installed.suspensions(),
            seen: self.seen.map(|seen| &*seen.emergency),
        };
        let emergency = Arc::new(emergency.read().await?);
        let EmergencyCost {
            statements,
            verified,
        } = emergency.cost();
        tracing::debug!(statements, verified, "emergencies judged");
        let suspended = match &trusted {
            Some(trusted) => suspended(store, trusted).await?,
            None => BTreeSet::new(),
        };
        let ring_rows = store.rings().await?;
        let counts = store.key_counts().await?;
        let unpublished = store.unpublished_counts().await?;
        let believer = Believer {
            store,
            pin: &settings.pin,
            trusted: trusted.clone(),
            installed: installed.clone(),
            seen: self.seen,
            tallied: self.tallied,
            orders: self.orders,
            withheld: self.withheld,
            cpu: self.cpu,
            share: Share::Known,
            acts: self.acts,
        };
        let mut held = Held::default();
        let in_use = store.keys_in_use().await?;
        held.take(&believer, in_use, &mut unreadable).await?;
        let readable = ring_rows.read.iter().map(|row| row.name.as_str());
        let unread = ring_rows.unreadable.iter().map(|row| row.key.as_str());
        for ring in readable.chain(unread) {
            self.ring(ring, &believer, &mut held, &mut unreadable)
                .await?;
        }
        if store.version().await? != versions.all {
            return Ok(None);
        }
        let Believed { keys, mut refused } = held.believed;
        refused.sort_by(|one, other| one.kid.cmp(&other.kid));
        let assembled = assemble(settings, &ring_rows, (&counts, &unpublished), keys)?;
        unreadable.extend(ring_rows.unreadable);
        Ok(Some(Snapshot {
            version: versions.all,
            versions,
            generation: GENERATION.fetch_add(1, Ordering::Relaxed),
            acts_until,
            trusted,
            installed,
            suspended,
            rings: assembled.rings,
            unreadable_rings: assembled.unreadable_rings,
            keys: assembled.keys,
            counts: Arc::new(counts),
            jwks: assembled.jwks,
            credentials,
            refused,
            unreadable,
            times,
            emergency,
        }))
    }

    /// The newest keys of a ring, and the newest that have ended.
    async fn ring(
        &self,
        ring: &str,
        believer: &Believer<'_>,
        held: &mut Held,
        unreadable: &mut Vec<UnreadableRow>,
    ) -> Result<(), Error> {
        let newest = match ring {
            LOG_RING => LOG_KEYS,
            _ => i64::try_from(self.settings.newest).unwrap_or(i64::MAX),
        };
        let rows = self.store.newest_keys(ring, newest).await?;
        let all = ((rows.read.len() + rows.unreadable.len()) as i64) < newest;
        held.take(believer, rows, unreadable).await?;
        if all || ring == LOG_RING {
            return Ok(());
        }
        let mut room = self.settings.budget_bytes;
        let mut before = EndedBefore::EVER;
        let refused = held.believed.refused.len();
        loop {
            let rows = self.store.ended_published(ring, before, TOGETHER).await?;
            let Some(last) = rows.read.last() else {
                return Ok(());
            };
            before = after(last);
            let full = rows.read.len() + rows.unreadable.len() >= TOGETHER as usize;
            // What is refused takes no room, so a page may bring less than fits, and the next one brings the rest.
            let (mut read, mut expected) = (Vec::new(), room);
            for row in rows.read {
                if expected == 0 {
                    break;
                }
                expected = expected.saturating_sub(least_jwk(&row));
                read.push(row);
            }
            let sizes: Vec<(Kid, usize)> = read
                .iter()
                .map(|row| (row.kid.clone(), least_jwk(row)))
                .collect();
            let rows = Rows {
                read,
                unreadable: rows.unreadable,
            };
            held.take(believer, rows, unreadable).await?;
            for (_, size) in sizes.iter().filter(|(kid, _)| held.has(kid)) {
                room = room.saturating_sub(*size);
            }
            if !full || room == 0 || held.believed.refused.len() - refused > REFUSED {
                return Ok(());
            }
        }
    }
}

/// What was read so far, each key once.
#[derive(Default)]
struct Held {
    believed: Believed,
    looked_at: HashSet<String>,
    there: HashSet<Kid>,
}

impl Held {
    fn has(&self, kid: &Kid) -> bool {
        self.there.contains(kid)
    }

    async fn take(
        &mut self,
        believer: &Believer<'_>,
        mut rows: Rows<KeyRow>,
        unreadable: &mut Vec<UnreadableRow>,
    ) -> Result<(), Error> {
        rows.read
            .retain(|row| self.looked_at.insert(row.kid.as_str().to_owned()));
        rows.unreadable
            .retain(|row| self.looked_at.insert(row.key.clone()));
        let believed = believer.believe(&rows).await?;
        self.there
            .extend(believed.keys.iter().map(|key| key.kid.clone()));
        self.believed.keys.extend(believed.keys);
        self.believed.refused.extend(believed.refused);
        unreadable.extend(rows.unreadable);
        Ok(())
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
    (counts, unpublished): (&KeyCounts, &BTreeMap<String, u64>),
    mut keys: Vec<Arc<Key>>,
) -> Result<Assembled, Error> {
    keys.sort_by(|a, b| (&a.ring, a.number).cmp(&(&b.ring, b.number)));
    let of_ring = |name: &str| -> Vec<Arc<Key>> {
        let keys = keys.iter().filter(|key| *key.ring == *name);
        keys.cloned().collect()
    };
    let hidden = |ring: &str, keys: &[Arc<Key>]| {
        let left = unpublished.get(ring).copied().unwrap_or(0);
        counts.get(ring).map_or(0, |of| hidden(of, left, keys))
    };
    let mut rings = BTreeMap::new();
    for row in &rows.read {
        let keys = of_ring(row.name.as_str());
        let hidden = hidden(row.name.as_str(), &keys);
        let of_ring = counts.get(row.name.as_str());
        let ring = ring(
            settings,
            row,
            keys,
            of_ring.cloned().unwrap_or_default(),
            hidden,
        )?;
        rings.insert(ring.name.clone(), Arc::new(ring));
    }
    let mut unreadable_rings = BTreeMap::new();
    for row in &rows.unreadable {
        let keys = of_ring(&row.key);
        let hidden = hidden(&row.key, &keys);
        let jwks = document(settings, &keys, true, None, hidden)?;
        let ring = UnreadableRing { keys, jwks };
        unreadable_rings.insert(row.key.as_str().into(), Arc::new(ring));
    }
    let okp = settings.okp_in_combined_set;
    let structured = rows
        .read
        .iter()
        .filter(|row| row.usage == Usage::Structured);
    let hidden = structured.map(|row| {
        let name = row.name.as_str();
        hidden(name, &of_ring(name))
    });
    let jwks = document(settings, &combined(&keys), okp, None, hidden.sum())?;
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
pub(super) fn combined<'a>(keys: impl IntoIterator<Item = &'a Arc<Key>>) -> Vec<Arc<Key>> {
    let all = keys.into_iter();
    all.filter(|key| key.usage == Usage::Structured)
        .cloned()
        .collect()
}

fn ring(
    settings: &Settings,
    row: &RingRow,
    keys: Vec<Arc<Key>>,
    counts: BTreeMap<String, u64>,
    hidden: usize,
) -> Result<Ring, Error> {
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
        jwks: document(settings, &keys, true, None, hidden)?,
        keys,
        counts,
    })
}

/// How many keys of a ring are published and not in memory, because newer ones fill the budget; of those that ended `left`
/// have left the key sets.
fn hidden(counts: &BTreeMap<String, u64>, left: u64, keys: &[Arc<Key>]) -> usize {
    let ended = ["retired", "archived"].map(|state| counts.get(state).copied().unwrap_or(0));
    let here = keys.iter().filter(|key| {
        let state = key.state.word();
        key.unpublished_at.is_none() && (state == "retired" || state == "archived")
    });
    usize::try_from(ended.iter().sum::<u64>().saturating_sub(left))
        .unwrap_or(usize::MAX)
        .saturating_sub(here.count())
}

/// The place behind a row in the order of ends.
pub(super) fn after(row: &KeyRow) -> EndedBefore {
    EndedBefore {
        retired_at: row.retired_at.map_or(i64::MIN, Time::millis),
        number: row.number.into(),
    }
}

/// Bytes of a key in a set, at least.
pub(super) fn least_jwk(row: &KeyRow) -> usize {
    row.spki.len() * 4 / 3 + 43
}

/// The set now, or by what had happened at an instant. `hidden` older keys do not fit into the budget either.
pub(super) fn document(
    settings: &Settings,
    keys: &[Arc<Key>],
    okp: bool,
    at: Option<Time>,
    hidden: usize,
) -> Result<Document, Error> {
    let in_sets = |key: &&Arc<Key>| match (key.unpublished_at, at) {
        (None, _) => true,
        (Some(left), Some(at)) => at < left,
        (Some(_), None) => false,
    };
    let candidates: Vec<PublishedKey> = keys
        .iter()
        .filter(in_sets)
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
    let mut document = Document::new(published, settings.max_age);
    document.left_out += hidden;
    Ok(document)
}
