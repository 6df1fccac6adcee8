//! What was, and all there is, in pages: sets of an instant, the inventory, the history of acceptances. Rows are found by
//! an index and believed one by one; nothing is read that is not answered.

use std::collections::HashSet;
use std::sync::Arc;

use trust::{Kid, Time, Usage};

use super::archive::NoKey;
use super::cpu::Share;
use super::error::Error;
use super::load::Keys;
use super::publish::Document;
use super::read::{after, combined, document, least_jwk};
use super::snapshot::{Key, RejectedKey, Snapshot};
use store::{EndedBefore, KeyRow, Rows, Store};

/// Rows of ended keys that are read together.
const TOGETHER: i64 = 256;

/// Pages of ended keys that are looked at for one set; of those that were revoked before its instant there may be many.
const PAGES: usize = 32;

/// A page of all keys, by ring and number.
pub struct KeyPage {
    pub keys: Vec<Arc<Key>>,
    pub refused: Vec<RejectedKey>,
    /// The last key, if there may be more behind it.
    pub next: Option<Kid>,
}

/// A page of keys in the order in which the log accepted them.
pub struct AcceptedPage {
    /// Of the first key.
    pub place: i64,
    pub keys: Vec<Arc<Key>>,
    /// Where the log accepted the first key of the next page.
    pub next: Option<i64>,
}

impl Keys {
    /// The set that was served at an instant, by the lives of the keys: of one ring, or the combined
    /// one. None where there is no such ring. The budget and the place of OKP keys are today's.
    pub async fn jwks_as_of(
        &self,
        ring: Option<&str>,
        at: Time,
        share: Share,
    ) -> Result<Option<Document>, Error> {
        let snapshot = self.current();
        let rings: Vec<&str> = match ring {
            Some(name) if snapshot.keys_of_ring(name).is_some() => vec![name],
            Some(_) => return Ok(None),
            None => {
                let signs = |usage: Usage| usage == Usage::Structured;
                let rings = snapshot.rings.values().filter(|ring| signs(ring.usage));
                let unreadable = snapshot.unreadable_rings.keys().map(AsRef::as_ref);
                rings.map(|ring| &*ring.name).chain(unreadable).collect()
            }
        };
        let (mut keys, mut left_out) = (Vec::new(), 0);
        for name in rings {
            let (of_ring, more) = self.ring_as_of(&snapshot, name, at, share).await?;
            keys.extend(of_ring);
            left_out += usize::from(more);
        }
        let okp = ring.is_some() || self.settings.okp_in_combined_set;
        if ring.is_none() {
            keys = combined(&keys);
        }
        let settings = self.settings.clone();
        let work = move || document(&settings, &keys, okp, Some(at), left_out);
        let made = self.cpu.run(share, work).await;
        made.map_err(|error| Error::Archive(error.into()))?
            .map(Some)
    }

    /// The keys of a ring that were in its set at an instant, and whether older ones may have been left out.
    async fn ring_as_of(
        &self,
        snapshot: &Arc<Snapshot>,
        ring: &str,
        at: Time,
        share: Share,
    ) -> Result<(Vec<Arc<Key>>, bool), Error> {
        let store = self.archive.store(share);
        let asked = self.asked(snapshot, share);
        let rows = store.keys_of_use_at(ring, at.millis()).await?;
        let mut keys = self.archive.believe(&rows, &asked).await?.keys;
        let mut room = self.settings.budget_bytes;
        let mut before = EndedBefore::instant(at.millis());
        for _ in 0..PAGES {
            let rows = store.ended_keys(ring, before, TOGETHER).await?;
            let Some(last) = rows.read.last() else {
                return Ok((keys, false));
            };
            let full = rows.read.len() + rows.unreadable.len() >= TOGETHER as usize;
            before = after(last);
            let mut wanted = Rows {
                read: Vec::new(),
                unreadable: rows.unreadable,
            };
            let mut over = false;
            let gone = |row: &KeyRow| {
                let revoked = row.revocation.is_some_and(|told| told.revoked_at <= at);
                revoked || row.unpublished_at.is_some_and(|left| left <= at)
            };
            for row in rows.read.into_iter().filter(|row| !gone(row)) {
                if room == 0 {
                    over = true;
                    break;
                }
                room = room.saturating_sub(least_jwk(&row));
                wanted.read.push(row);
            }
            keys.extend(self.archive.believe(&wanted, &asked).await?.keys);
            if over || !full {
                return Ok((keys, over));
            }
        }
        Ok((keys, true))
    }

    /// A page of all keys after one of them.
    pub async fn page(
        &self,
        after: Option<&Kid>,
        limit: usize,
        share: Share,
    ) -> Result<KeyPage, NoKey> {
        let snapshot = self.current();
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let store = self.archive.store(share);
        let of_store = |error| NoKey::Store(Arc::new(error));
        let (ring, number) = match after {
            None => (String::new(), 0),
            Some(kid) => {
                let place = store.place_of_key(kid.as_str()).await.map_err(of_store)?;
                place.ok_or(NoKey::Unknown)?
            }
        };
        let rows = store.keys_after(&ring, number, limit).await;
        let rows = rows.map_err(of_store)?;
        let full = (rows.read.len() + rows.unreadable.len()) as i64 >= limit;
        let next = match full {
            true => last_of(store, &rows).await.map_err(of_store)?,
            false => None,
        };
        let believed = self
            .archive
            .believe(&rows, &self.asked(&snapshot, share))
            .await?;
        Ok(KeyPage {
            keys: believed.keys,
            refused: believed.refused,
            next,
        })
    }

    /// The page of `limit` keys that holds the first one that was accepted at an index of the log or later. None where
    /// there is no such key; the first page is there even without keys.
    pub async fn accepted_page(
        &self,
        from: i64,
        limit: i64,
        share: Share,
    ) -> Result<Option<AcceptedPage>, NoKey> {
        let snapshot = self.current();
        let store = self.archive.store(share);
        let of_store = |error| NoKey::Store(Arc::new(error));
        let held = self.acts.lock().await.held_acceptances();
        let accepted = held.complete(store).await.map_err(of_store)?;
        let place = match accepted.first(from).await.map_err(of_store)? {
            Some(row) => row.place - row.place % limit,
            None if from == 0 => 0,
            None => return Ok(None),
        };
        let rows = accepted.from(place, limit + 1).await;
        let mut rows = rows.map_err(of_store)?;
        let next = match rows.len() as i64 > limit {
            true => rows.pop().map(|row| row.index),
            false => None,
        };
        let kids: Vec<String> = rows.iter().map(|row| row.kid.clone()).collect();
        let found = store.keys_of(&kids).await.map_err(of_store)?;
        let asked = self.asked(&snapshot, share);
        let mut keys = self.archive.believe(&found, &asked).await?.keys;
        let order = |key: &Arc<Key>| rows.iter().position(|row| row.kid == key.kid.as_str());
        keys.sort_by_cached_key(order);
        if next.is_none() {
            // A key that the log does not tell of is an anomaly, but a key: last.
            let there: HashSet<_> = keys.iter().map(|key| key.kid.clone()).collect();
            let untold = snapshot
                .keys_by_ring()
                .filter(|key| key.log_index.is_none());
            keys.extend(untold.filter(|key| !there.contains(&key.kid)).cloned());
        }
        Ok(Some(AcceptedPage { place, keys, next }))
    }
}

/// The last of a page by ring and number, whether its row can be read or not.
async fn last_of(store: &Store, rows: &Rows<KeyRow>) -> Result<Option<Kid>, store::Error> {
    let read = rows.read.last();
    let mut last = read.map(|row| (row.ring.to_string(), i64::from(row.number), row.kid.clone()));
    for row in &rows.unreadable {
        let place = store.place_of_key(&row.key).await?;
        // Where even the kid is none, those that can be read lead on.
        if let (Some((ring, number)), Ok(kid)) = (place, row.key.parse()) {
            last = last.max(Some((ring, number, kid)));
        }
    }
    Ok(last.map(|(_, _, kid)| kid))
}
