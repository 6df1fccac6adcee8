//! Rings and keys as memory keeps them: one version of the database.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arc_swap::ArcSwap;
use trust::plan::RingKey;
use trust::{
    Algorithm, KeySpec, KeyState, Kid, Location, MemberId, Name, PublicKey, Safety, Sha256Digest,
    Time, Trusted, Usage, Verifier,
};

use access::Credentials;
use log::{Certified, EmergencyState};
use store::{KeyCounts, KeyRow, UnreadableRow};
use token::Handle;
use trust::log_acts::CorrectedTimes;

use super::former::Installed;
use super::publish::Document;

/// One version in a ring.
pub struct Key {
    pub kid: Kid,
    pub ring: Arc<str>,
    /// The same name, as leaves have it.
    pub ring_name: Name,
    pub number: u32,
    pub algorithm: Algorithm,
    /// What custodians approved that it signs.
    pub usage: Usage,
    pub state: KeyState,
    pub public: PublicKey,
    pub verifier: Verifier,
    pub published_at: Time,
    /// Not before this instant may it become primary (from the approved request), unless the
    /// primary is revoked and no standby is due; see [`Ring::successor`].
    pub activate_at: Time,
    pub retire_at: Time,
    /// When it left the key sets, at the end of its ring's grace. Its signatures are verified as before.
    pub unpublished_at: Option<Time>,
    /// Where its private half was made.
    pub location: Location,
    /// The ceremony that bore it.
    pub ceremony: Sha256Digest,
    /// Where the log tells of its acceptance.
    pub log_index: Option<i64>,
    /// Where the log tells of its revocation.
    pub revocation_log_index: Option<i64>,
    /// SPKI, DER.
    pub spki: Vec<u8>,
    /// How the token layer finds it.
    pub handle: Handle,
    /// What it was read from: as long as this is the same, so is the key.
    pub(super) row: KeyRow,
    /// What its transcript says.
    pub(super) certified: Arc<Certified>,
}

/// A named purpose with one algorithm.
#[derive(Clone)]
pub struct Ring {
    pub name: Arc<str>,
    pub algorithm: Algorithm,
    pub key_spec: KeySpec,
    pub usage: Usage,
    pub created_at: Time,
    /// Rises with each change; a plan is applied only to the version it was made on.
    pub version: i64,
    pub primary: Option<Arc<Key>>,
    /// Those in memory, by number, oldest first: all that sign or are about to, and the newest of the others.
    pub keys: Vec<Arc<Key>>,
    /// How many keys there are in each state, as the database counts them.
    pub counts: BTreeMap<String, u64>,
    pub jwks: Document,
}

/// A ring whose row cannot be read. Its keys rest on their transcripts: they verify and are
/// published, but nothing is signed.
#[derive(Clone)]
pub struct UnreadableRing {
    /// By number, oldest first.
    pub keys: Vec<Arc<Key>>,
    pub jwks: Document,
}

/// What is needed at any time, at one version of the database.
#[derive(Clone)]
pub struct Snapshot {
    /// The database's version that this was read at.
    pub version: i64,
    /// The same, for each subject.
    pub versions: store::Versions,
    /// Another one whenever the keys were read again.
    pub generation: u64,
    /// Acts of the log below this index are in the keys.
    pub(super) acts_until: i64,
    /// What transcripts are held against.
    pub(super) trusted: Option<Arc<Trusted>>,
    /// Where the log tells of the documents of the chain.
    pub(super) installed: Arc<Installed>,
    /// Members who do not count, under the roster of today.
    pub(super) suspended: BTreeSet<MemberId>,
    pub rings: BTreeMap<Arc<str>, Arc<Ring>>,
    /// Rings whose rows cannot be read.
    pub unreadable_rings: BTreeMap<Arc<str>, Arc<UnreadableRing>>,
    /// Those in memory; [`super::Keys::find`] has the others too.
    pub keys: HashMap<Kid, Arc<Key>>,
    /// Of each ring, as the database counts them.
    pub counts: Arc<KeyCounts>,
    /// The combined set of `/.well-known/jwks.json`.
    pub jwks: Document,
    pub credentials: Arc<Credentials>,
    /// Keys in the database that were not believed, with the reason; by kid.
    pub refused: Vec<RejectedKey>,
    /// Rows that cannot be read; each is left out alone.
    pub unreadable: Vec<UnreadableRow>,
    /// Of the log's leaves, as corrected.
    pub times: Arc<CorrectedTimes>,
    /// What keeps rings from signing, by the log.
    pub emergency: Arc<EmergencyState>,
}

/// Where readers find the present [`Snapshot`]; one atomic load per request.
pub type Current = ArcSwap<Snapshot>;

impl Snapshot {
    /// The rosters and policies that everything is held against; none where no genesis is installed.
    pub fn trusted(&self) -> Option<&Trusted> {
        self.trusted.as_deref()
    }

    /// Whether a suspension of the member holds.
    pub fn is_suspended(&self, member: &MemberId) -> bool {
        self.suspended.contains(member)
    }

    /// Members who do not count, under the roster of today.
    pub fn suspended(&self) -> &BTreeSet<MemberId> {
        &self.suspended
    }

    /// Oldest first; of a ring whose row cannot be read, too.
    pub fn keys_of_ring(&self, name: &str) -> Option<&[Arc<Key>]> {
        match self.rings.get(name) {
            Some(ring) => Some(&ring.keys),
            None => self.unreadable_rings.get(name).map(|ring| &*ring.keys),
        }
    }

    /// Every key, ring by ring.
    pub fn keys_by_ring(&self) -> impl Iterator<Item = &Arc<Key>> {
        let rings = self.rings.values().map(|ring| &ring.keys);
        let unreadable = self.unreadable_rings.values().map(|ring| &ring.keys);
        rings.chain(unreadable).flatten()
    }

    /// With keys that were read beside it.
    pub(super) fn with(&self, others: impl IntoIterator<Item = Arc<Key>>) -> Self {
        let mut all = self.clone();
        for key in others {
            if let Some(ring) = all.rings.get_mut(&key.ring) {
                let ring = Arc::make_mut(ring);
                ring.keys.push(key.clone());
                ring.keys.sort_by_key(|key| key.number);
            }
            all.keys.insert(key.kid.clone(), key);
        }
        all
    }

    /// Why a key is refused.
    pub fn refusal(&self, kid: &Kid) -> Option<&RejectedKey> {
        let by_kid = |key: &RejectedKey| key.kid.as_str().cmp(kid.as_str());
        let at = self.refused.binary_search_by(by_kid).ok()?;
        self.refused.get(at)
    }

    /// How many keys there are, in memory or not, as the database counts them.
    pub fn count(&self) -> u64 {
        self.counts.values().flat_map(BTreeMap::values).sum()
    }

    /// The set of one ring.
    pub fn jwks_by_ring(&self) -> impl Iterator<Item = (&Arc<str>, &Document)> {
        let rings = self.rings.iter().map(|(name, ring)| (name, &ring.jwks));
        let unreadable = self.unreadable_rings.iter();
        rings.chain(unreadable.map(|(name, ring)| (name, &ring.jwks)))
    }
}

impl Ring {
    /// How many keys it has, in memory or not, as the database counts them.
    pub fn count(&self) -> u64 {
        self.counts.values().sum()
    }

    /// The ring as the planner sees it.
    pub fn plan_keys(&self) -> Vec<RingKey> {
        self.keys
            .iter()
            .map(|key| RingKey {
                kid: key.kid.clone(),
                number: key.number,
                state: key.state.clone(),
            })
            .collect()
    }

    /// Who takes over when the primary is revoked: the oldest standby that verifiers have had for
    /// `publish_safety`, one that is due by its request before one that is not (an emergency may
    /// use it early: its caches are safe); else the newest secondary; nobody, if there is none.
    pub fn successor(&self, safety: &Safety, now: Time) -> Option<Arc<Key>> {
        let ready = |key: &&Arc<Key>| match key.state {
            KeyState::Prepared {
                published_at: Some(at),
                ..
            } => at + safety.publish_safety() <= now,
            _ => false,
        };
        let secondary = |key: &&Arc<Key>| matches!(key.state, KeyState::Secondary { .. });
        let standbys = self.keys.iter().filter(ready);
        standbys
            .min_by_key(|key| (key.activate_at > now, key.number))
            .or_else(|| self.keys.iter().rfind(secondary))
            .cloned()
    }
}

impl Key {
    /// The instant of its last change: the next one is not before it, whatever a clock says.
    pub fn last_change(&self) -> Time {
        let life = self.state.life();
        let revoked_at = life.revocation.map(|revocation| revocation.revoked_at);
        [
            life.published_at,
            life.activated_at,
            life.demoted_at,
            life.retired_at,
            life.archived_at,
            self.unpublished_at,
            revoked_at,
        ]
        .into_iter()
        .flatten()
        .fold(life.prepared_at, Time::max)
    }

    /// The state in one word, with the role of an active key.
    pub fn status(&self) -> &'static str {
        match self.state {
            KeyState::Primary(_) => "primary",
            KeyState::Secondary { .. } => "secondary",
            ref other => other.word(),
        }
    }
}

/// A key in the database that is not used, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectedKey {
    pub kid: String,
    pub why: String,
}
