//! A key by its kid, wherever it is.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use trust::Kid;

use super::archive::{Asked, NoKey};
use super::cpu::{Cpu, Share};
use super::load::Keys;
use super::snapshot::{Key, RejectedKey, Snapshot};

impl Keys {
    /// Out of the snapshot, or read for whoever asks.
    pub async fn find(&self, kid: &Kid, share: Share) -> Result<Arc<Key>, NoKey> {
        self.find_beside(&self.current(), kid, share).await
    }

    /// The same, with what the caller has of the snapshot.
    pub async fn find_beside(
        &self,
        snapshot: &Arc<Snapshot>,
        kid: &Kid,
        share: Share,
    ) -> Result<Arc<Key>, NoKey> {
        if let Some(key) = snapshot.keys.get(kid) {
            return Ok(key.clone());
        }
        if let Some(refused) = snapshot.refusal(kid) {
            return Err(NoKey::Refused(refused.why.as_str().into()));
        }
        if self.withheld().contains(kid) {
            let why = "its revocation was published and is missing from the database";
            return Err(NoKey::Refused(why.into()));
        }
        self.archive.find(kid, &self.asked(snapshot, share)).await
    }

    /// Those of these kids that there are and that are not in the snapshot. An error where that is not known of one.
    pub async fn find_others(
        &self,
        snapshot: &Arc<Snapshot>,
        kids: impl IntoIterator<Item = Kid>,
        share: Share,
    ) -> Result<HashMap<Kid, Arc<Key>>, NoKey> {
        let mut found = HashMap::new();
        let mut kids: HashSet<Kid> = kids.into_iter().collect();
        if kids.len() > 1 {
            // Most of many that are asked for at once may be nobody's.
            kids = self
                .archive
                .existing(&kids, &self.asked(snapshot, share))
                .await?;
        }
        for kid in kids {
            match self.find_beside(snapshot, &kid, share).await {
                Ok(key) => {
                    found.insert(kid, key);
                }
                Err(error) if error.may_pass() => return Err(error),
                Err(_) => {}
            }
        }
        Ok(found)
    }

    /// The snapshot with these keys, as far as they are there and believed.
    pub async fn snapshot_with(
        &self,
        kids: impl IntoIterator<Item = Kid>,
    ) -> Result<Arc<Snapshot>, NoKey> {
        let snapshot = self.current();
        let kids = kids
            .into_iter()
            .filter(|kid| !snapshot.keys.contains_key(kid));
        let others = self.find_others(&snapshot, kids, Share::Known).await?;
        match others.is_empty() {
            true => Ok(snapshot),
            false => Ok(Arc::new(snapshot.with(others.into_values()))),
        }
    }

    pub(super) fn asked<'a>(&'a self, snapshot: &'a Arc<Snapshot>, share: Share) -> Asked<'a> {
        Asked {
            snapshot,
            settings: &self.settings,
            withheld: self.withheld(),
            missing_known: self.missing_known.load(Ordering::Relaxed),
            cpu: &self.cpu,
            acts: &self.acts,
            share,
        }
    }

    /// Turns on the threads that check signatures and tally transcripts.
    pub fn cpu(&self) -> &Cpu {
        &self.cpu
    }

    /// Keys that are not believed: of the snapshot, and others that were asked for.
    pub fn refused(&self) -> Vec<RejectedKey> {
        let mut refused = self.current().refused.clone();
        let there: HashSet<String> = refused.iter().map(|key| key.kid.clone()).collect();
        let others = self.archive.refused().into_iter();
        refused.extend(others.filter(|other| !there.contains(&other.kid)));
        refused
    }

    /// How often standing orders were read for the keys under them: their leaves, and their transcripts.
    pub fn order_reads(&self) -> (u64, u64) {
        let orders = self.archive.orders();
        (orders.reads(), orders.known.verified())
    }

    /// How many keys were read from the database one by one.
    pub fn archive_reads(&self) -> u64 {
        self.archive.reads()
    }
}
