//! From the database into memory, believing nothing on the way.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tracing::{error, info};
use trust::{Kid, Namespace, Purpose, Sha256Digest};

use super::archive::Archive;
use super::cpu::{Cpu, Share};
use super::error::Error;
use super::read::Reading;
use super::settings::Settings;
use super::snapshot::{Current, Key, RejectedKey, Snapshot};
use log::{ActIndex, VerifiedLogAct};
use store::{Store, UnreadableRow};
use trust::error_chain;
use trust::log_acts::CorrectedTimes;

/// The read model and what keeps it fresh.
pub struct Keys {
    pub(super) current: Current,
    pub(super) store: Store,
    pub(super) settings: Settings,
    pub(super) archive: Archive,
    pub(super) cpu: Cpu,
    pub(super) acts: tokio::sync::Mutex<ActIndex>,
    /// Keys whose revocation was published and is missing from the database.
    withheld: OnceLock<Arc<BTreeSet<Kid>>>,
    /// The database was older than the log when this process began, so that `withheld` is all that is missing of revocations.
    pub(super) missing_known: AtomicBool,
    /// One refresh at a time; those that wait get the result of the next.
    refreshing: tokio::sync::Mutex<()>,
    /// When the database last said that `current` is current.
    confirmed: Mutex<Instant>,
}

impl Keys {
    /// How long any cache may serve what is published, at most.
    pub fn longest_cached(&self) -> Duration {
        self.settings.longest_cached()
    }

    /// From where on rosters and policies are trusted.
    pub fn pin(&self) -> &trust::Pin {
        &self.settings.pin
    }

    /// SHA-256 of what a key signed to show that it has its private half.
    pub fn possession_digest(&self, key: &Key) -> Option<Sha256Digest> {
        let pin = &self.settings.pin;
        let namespace = Namespace::new(Purpose::Possession, &pin.service, &pin.environment);
        let message = trust::approval::possession_message_in(&namespace, key.ceremony, &key.kid);
        message.ok().map(|message| Sha256Digest::of(&message))
    }

    /// Reads everything once. Fails where the chain from the pinned genesis does not hold, or is not
    /// the one of which the log tells; a single key that does not tally is left out and reported.
    pub async fn load(store: Store, settings: Settings) -> Result<Arc<Self>, Error> {
        Self::read(store, settings, true).await
    }

    /// The same, also where documents are missing of which the log tells: for whatever puts leaves
    /// back, which come before documents.
    pub async fn load_for_recovery(store: Store, settings: Settings) -> Result<Arc<Self>, Error> {
        Self::read(store, settings, false).await
    }

    async fn read(store: Store, settings: Settings, whole: bool) -> Result<Arc<Self>, Error> {
        let archive = Archive::new(&store, settings.archive_bytes);
        let acts = tokio::sync::Mutex::new(ActIndex::default());
        let cpu = Cpu::default();
        let reading = Reading {
            store: &store,
            settings: &settings,
            tallied: archive.tallied(),
            orders: archive.orders(),
            cpu: &cpu,
            acts: &acts,
            withheld: &BTreeSet::new(),
            seen: None,
            whole,
        };
        let snapshot = reading.read().await?;
        report(&snapshot, None);
        Ok(Arc::new(Self {
            current: ArcSwap::from_pointee(snapshot),
            store,
            settings,
            archive,
            cpu,
            acts,
            withheld: OnceLock::new(),
            missing_known: AtomicBool::new(false),
            refreshing: tokio::sync::Mutex::new(()),
            confirmed: Mutex::new(Instant::now()),
        }))
    }

    /// Takes keys out of use and out of every set until this process ends: their revocation was
    /// published, and the database, which is an old one, does not know of it (case L2).
    pub async fn withhold(&self, kids: Arc<BTreeSet<Kid>>) {
        let incomplete = self.store.halted().is_some_and(|halted| halted.incomplete);
        self.missing_known.store(incomplete, Ordering::Relaxed);
        if !kids.is_empty() && self.withheld.set(kids).is_ok() {
            let _one = self.refreshing.lock().await;
            self.replace(None).await;
        }
    }

    /// The present snapshot: one atomic load.
    pub fn current(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Where the log tells of a key, up to this moment: every act, oldest first.
    pub async fn acts_of(&self, kid: &Kid, share: Share) -> Result<Vec<i64>, store::Error> {
        // By the service's own connections, as everybody waits for this lock.
        let mut acts = self.acts.lock().await;
        acts.catch_up(&self.store, &self.settings.pin).await?;
        let held = acts.held(std::slice::from_ref(kid));
        drop(acts);
        let mut told = held.complete(self.archive.store(share)).await?;
        Ok(told.remove(kid).unwrap_or_default().all)
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
            // A leaf that came around the head's version is looked at all the same.
            Ok(version) if version == seen && !self.has_emergency().await => self.confirm(),
            Ok(_) => self.replace(Some(&self.current())).await,
            Err(error) => error!(
                error = error_chain(&error),
                "cannot read the version of the database"
            ),
        }
    }

    async fn has_emergency(&self) -> bool {
        let known = self.current().emergency.clone();
        known.is_old(&self.store).await.unwrap_or(true)
    }

    /// What is the same in the database as in the snapshot `seen` is taken from there.
    async fn replace(&self, seen: Option<&Snapshot>) {
        let reading = Reading {
            store: &self.store,
            settings: &self.settings,
            tallied: self.archive.tallied(),
            orders: self.archive.orders(),
            cpu: &self.cpu,
            acts: &self.acts,
            withheld: self.withheld(),
            seen,
            whole: true,
        };
        match reading.read().await {
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

    pub(super) fn withheld(&self) -> &BTreeSet<Kid> {
        static NONE: BTreeSet<Kid> = BTreeSet::new();
        self.withheld.get().map_or(&NONE, |kids| &**kids)
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
    let faults = snapshot.emergency.faults().iter();
    for fault in faults
        .filter(|fault| !before.is_some_and(|before| before.emergency.faults().contains(fault)))
    {
        let (code, index, what) = (fault.code, fault.index, &fault.what);
        error!(
            code,
            index, what, "an act of an emergency or its statement does not hold"
        );
    }
    let said = |key: &RejectedKey| before.is_some_and(|before| before.refused.contains(key));
    for refused in snapshot.refused.iter().filter(|key| !said(key)) {
        error!(kid = refused.kid, why = refused.why, "key refused");
    }
}
