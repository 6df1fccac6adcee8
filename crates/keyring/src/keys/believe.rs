//! From a row to a key: what a row says is believed only where its transcript says the same. A transcript is tallied
//! once; what it says never changes.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use moka::future::Cache;
use trust::order_log::LoggedUse;
use trust::tally::KnownOrders;
use trust::{KeyState, Kid, Location, Pin, Trusted};

use super::cpu::{Cpu, Share, Unfinished};
use super::former::Installed;
use super::snapshot::{Key, RejectedKey, Snapshot};
use super::under_order::Orders;
use log::{ActIndex, BoundKey, Certified, KeyActs, bind_key, verify_transcript};
use store::{KeyRow, Rows, Store};
use token::Handle;

/// Transcripts that are read together.
const TOGETHER: usize = 64;

/// What rows are held against.
pub(super) struct Believer<'a> {
    pub store: &'a Store,
    pub pin: &'a Pin,
    pub trusted: Option<Arc<Trusted>>,
    pub installed: Arc<Installed>,
    /// Keys that were believed before.
    pub seen: Option<&'a Snapshot>,
    /// What transcripts of other keys say.
    pub tallied: &'a Cache<Kid, Arc<Certified>>,
    pub orders: &'a Orders,
    pub withheld: &'a BTreeSet<Kid>,
    pub cpu: &'a Cpu,
    pub share: Share,
    pub acts: &'a tokio::sync::Mutex<ActIndex>,
}

/// Nothing is known of the keys.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Unfinished(#[from] Unfinished),
}

/// Rows that were believed and rows that were not.
#[derive(Default)]
pub(super) struct Believed {
    pub keys: Vec<Arc<Key>>,
    pub refused: Vec<RejectedKey>,
}

impl Believer<'_> {
    /// In the order of the rows.
    pub async fn believe(&self, rows: &Rows<KeyRow>) -> Result<Believed, Error> {
        let mut believed = Believed::default();
        // What cannot be read is refused too: it does not sign and is not published.
        let unreadable = rows.unreadable.iter().map(|row| RejectedKey {
            kid: row.key.clone(),
            why: row.why.clone(),
        });
        believed.refused.extend(unreadable);
        for part in rows.read.chunks(TOGETHER) {
            self.part(part, &mut believed).await?;
        }
        Ok(believed)
    }

    async fn part(&self, rows: &[KeyRow], believed: &mut Believed) -> Result<(), Error> {
        let mut tallies = self.tallies(rows).await?;
        let mut new = Vec::new();
        for row in rows {
            if self.withheld.contains(&row.kid) {
                let why = "its revocation was published and is missing from the database";
                let refused = RejectedKey::new(row, why.to_owned());
                believed.refused.push(refused);
                continue;
            }
            let known = match tallies.remove(&row.kid) {
                Some(Ok(known)) => known,
                Some(Err(why)) => {
                    believed.refused.push(RejectedKey::new(row, why));
                    continue;
                }
                None => {
                    let why = "no transcript".to_owned();
                    believed.refused.push(RejectedKey::new(row, why));
                    continue;
                }
            };
            if let Some(key) = self.same_key(row).await {
                believed.keys.push(key);
                continue;
            }
            match load_key(row, known) {
                Ok(key) => {
                    new.push((believed.keys.len(), row.kid.clone()));
                    believed.keys.push(Arc::new(key));
                }
                Err(why) => believed.refused.push(RejectedKey::new(row, why)),
            }
        }
        let kids: Vec<Kid> = new.iter().map(|(_, kid)| kid.clone()).collect();
        let held = self.acts.lock().await.held(&kids);
        let mut acts = held.complete(self.store).await?;
        let looked_at = new.iter().filter_map(|(at, kid)| {
            let key = believed.keys.get(*at)?;
            let asks = self.installed.asks_for_leaf(&key.certified);
            acts.get(kid).and_then(|of| of.accepted).filter(|_| asks)
        });
        let looked_at: Vec<i64> = looked_at.collect();
        let leaves = self.store.leaves_at(&looked_at).await?;
        // From the last on, so that the places before stay.
        for (at, kid) in new.into_iter().rev() {
            let of = acts.remove(&kid).unwrap_or_default();
            let Some(key) = believed.keys.get_mut(at).and_then(Arc::get_mut) else {
                continue;
            };
            key.set_acts(&of);
            let of_key = (&key.row, key.certified.as_ref());
            let told = leaves.iter().find(|leaf| Some(leaf.index) == key.log_index);
            let accepted = (key.log_index, told);
            let refuses = self
                .installed
                .refuses(self.store, of_key, accepted, self.orders);
            if let Some(why) = refuses.await? {
                believed.refused.push(RejectedKey::new(&key.row, why));
                believed.keys.remove(at);
            }
        }
        Ok(())
    }

    /// The key of the snapshot before, if neither its row nor the log tells anything new of it: most keys, at
    /// any change (case S11).
    async fn same_key(&self, row: &KeyRow) -> Option<Arc<Key>> {
        let seen = self.seen?;
        let key = seen.keys.get(&row.kid).filter(|key| key.row == *row)?;
        let told = self
            .acts
            .lock()
            .await
            .tells_since(&row.kid, seen.acts_until);
        (!told).then(|| key.clone())
    }

    /// What the transcript of each row says.
    async fn tallies(
        &self,
        rows: &[KeyRow],
    ) -> Result<HashMap<Kid, Result<Arc<Certified>, String>>, Error> {
        let mut done = HashMap::with_capacity(rows.len());
        let mut unknown = Vec::new();
        for row in rows {
            let seen = self.seen.and_then(|seen| seen.keys.get(&row.kid));
            let known = match seen {
                Some(key) => Some(key.certified.clone()),
                None => self.tallied.get(&row.kid).await,
            };
            match known {
                Some(known) => {
                    done.insert(row.kid.clone(), Ok(known));
                }
                None if self.withheld.contains(&row.kid) => {}
                None => unknown.push(row),
            }
        }
        if unknown.is_empty() {
            return Ok(done);
        }
        let asked: Vec<String> = unknown.iter().map(|row| row.ceremony.to_string()).collect();
        let mut transcripts = self.store.transcripts(&asked).await?;
        let mut work: Vec<(KeyRow, Vec<u8>)> = Vec::with_capacity(unknown.len());
        for row in unknown {
            if let Some(bytes) = transcripts.remove(&row.ceremony.to_string()) {
                work.push((row.clone(), bytes));
            }
        }
        // On two threads, as far as this share has them.
        let half = work.split_off(work.len() / 2);
        let (one, other) = tokio::join!(self.tally(work), self.tally(half));
        for (kid, known) in one?.into_iter().chain(other?) {
            if let Ok(known) = &known {
                self.tallied.insert(kid.clone(), known.clone()).await;
            }
            done.insert(kid, known);
        }
        Ok(done)
    }

    async fn tally(
        &self,
        work: Vec<(KeyRow, Vec<u8>)>,
    ) -> Result<Vec<(Kid, Result<Arc<Certified>, String>)>, Unfinished> {
        if work.is_empty() {
            return Ok(Vec::new());
        }
        let kids: Vec<Kid> = work.iter().map(|(row, _)| row.kid.clone()).collect();
        let (pin, trusted) = (self.pin.clone(), self.trusted.clone());
        let orders = self.orders.known.clone();
        let all = move || {
            let each = work.iter().map(|(row, bytes)| {
                let known = tally(bytes, &pin, trusted.as_deref(), row, &orders);
                (row.kid.clone(), known)
            });
            each.collect()
        };
        match self.cpu.run(self.share, all).await {
            // A key is not refused because the service stops.
            Err(Unfinished::Stopped) => Err(Unfinished::Stopped),
            Err(error) => {
                let each = kids.into_iter().map(|kid| (kid, Err(error.to_string())));
                Ok(each.collect())
            }
            Ok(done) => Ok(done),
        }
    }
}

pub(super) fn tally(
    bytes: &[u8],
    pin: &Pin,
    trusted: Option<&Trusted>,
    row: &KeyRow,
    orders: &KnownOrders,
) -> Result<Arc<Certified>, String> {
    let trusted = trusted.ok_or_else(|| "no roster in the database verifies".to_owned())?;
    verify_transcript(bytes, pin, trusted, row, orders).map(Arc::new)
}

/// The key as memory keeps it, without its acts.
pub(super) fn load_key(row: &KeyRow, known: Arc<Certified>) -> Result<Key, String> {
    let BoundKey {
        public,
        verifier,
        state,
    } = bind_key(row, &known)?;
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
        unpublished_at: row.unpublished_at,
        location: known.location.clone(),
        ceremony: row.ceremony,
        log_index: None,
        revocation_log_index: None,
        handle: Handle::new(at.cka_id.0, row.spki.clone(), known.algorithm),
        spki: row.spki.clone(),
        public,
        row: row.clone(),
        certified: known,
    })
}

impl Key {
    /// What another reading of its row says of it; none where that is not its row.
    pub(crate) fn state_of(&self, row: &KeyRow) -> Option<KeyState> {
        let bound = bind_key(row, &self.certified).ok()?;
        Some(bound.state)
    }

    /// What the log has to say of it, of a key under a standing order; and how long the chain was under which it was made.
    pub(crate) fn logged_use(&self) -> Option<(&LoggedUse, u64)> {
        let used = self.certified.used.as_ref()?;
        Some((used, self.certified.documents))
    }

    pub(super) fn set_acts(&mut self, acts: &KeyActs) {
        self.log_index = acts.accepted;
        self.revocation_log_index = acts.revoked;
    }
}

impl RejectedKey {
    pub(super) fn new(row: &KeyRow, why: String) -> Self {
        let kid = row.kid.to_string();
        Self { kid, why }
    }
}
