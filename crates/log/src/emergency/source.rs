//! What is read to judge emergencies, and how much that is.

use std::sync::atomic::{AtomicU64, Ordering};

use trust::Sha256Digest;

use store::{
    CeremonyRow, Error, Hindrance, LeafRow, MAX_PAGE, Page, PageStart, Rows, StopRow, Store,
};

/// What a judgement took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    /// Statements to the database.
    pub statements: u64,
    /// Transcripts and statements of stops whose signatures were verified.
    pub verified: u64,
}

/// The database, each of whose statements is counted.
pub struct Source<'a> {
    store: &'a Store,
    statements: AtomicU64,
    verified: AtomicU64,
}

impl<'a> Source<'a> {
    pub fn new(store: &'a Store) -> Self {
        Self {
            store,
            statements: AtomicU64::new(0),
            verified: AtomicU64::new(0),
        }
    }

    fn asked(&self) -> &Store {
        self.statements.fetch_add(1, Ordering::Relaxed);
        self.store
    }

    pub fn verifies(&self) {
        self.verified.fetch_add(1, Ordering::Relaxed);
    }

    pub fn cost(&self) -> Cost {
        Cost {
            statements: self.statements.load(Ordering::Relaxed),
            verified: self.verified.load(Ordering::Relaxed),
        }
    }

    pub async fn log_size(&self) -> Result<i64, Error> {
        self.asked().log_size().await
    }

    pub async fn lines(&self, of: Hindrance) -> Result<Vec<String>, Error> {
        self.asked().emergency_lines(of).await
    }

    pub async fn hindrances_before(
        &self,
        of: Hindrance,
        ring: &str,
        (before, limit): (i64, i64),
    ) -> Result<Vec<LeafRow>, Error> {
        let store = self.asked();
        store.hindrances_before(of, ring, before, limit).await
    }

    pub async fn ends(&self, ring: &str, after: i64, limit: i64) -> Result<Vec<LeafRow>, Error> {
        self.asked().emergency_ends(ring, after, limit).await
    }

    pub async fn last_before(&self, index: i64) -> Result<Option<LeafRow>, Error> {
        self.asked().last_emergency_before(index).await
    }

    pub async fn leaves_at(&self, indexes: &[i64]) -> Result<Vec<LeafRow>, Error> {
        self.asked().leaves_at(indexes).await
    }

    /// From an index on and below another, oldest first.
    pub async fn leaves(&self, mut from: i64, below: i64) -> Result<Vec<LeafRow>, Error> {
        let mut all = Vec::new();
        loop {
            let page = self.asked().emergency_leaves(from).await?;
            let full = page.len() as i64 == MAX_PAGE;
            from = page.last().map_or(from, |row| row.index + 1);
            all.extend(page.into_iter().filter(|row| row.index < below));
            if !full || from >= below {
                return Ok(all);
            }
        }
    }

    pub async fn ceremony(&self, id: &str) -> Result<Option<CeremonyRow>, Error> {
        self.asked().ceremony(id).await
    }

    pub async fn transcript(&self, ceremony: &str) -> Result<Option<Vec<u8>>, Error> {
        self.asked().transcript(ceremony).await
    }

    pub async fn leaves_of_ceremony(
        &self,
        ceremony: &str,
        limit: i64,
    ) -> Result<Vec<LeafRow>, Error> {
        self.asked().leaves_of_ceremony(ceremony, 0, limit).await
    }

    pub async fn stop_subjects(&self) -> Result<Vec<String>, Error> {
        self.asked().stop_subjects().await
    }

    pub async fn stops_of(
        &self,
        subject: &str,
        after: i64,
        limit: i64,
    ) -> Result<Rows<StopRow>, Error> {
        self.asked().stops_of(subject, after, limit).await
    }

    pub async fn stops(&self, start: &PageStart, limit: i64) -> Result<Page<StopRow>, Error> {
        self.asked().stops(start, limit).await
    }
}

/// What a hindrance is known by.
pub fn digest_of(act: &trust::emergency::EmergencyAct) -> Option<Sha256Digest> {
    use trust::emergency::EmergencyAct as A;
    match act {
        A::Stopped { digest, .. } => Some(*digest),
        A::Rotated { rotation, .. } => Some(*rotation),
        A::Resumed(_) | A::Ratified(_) => None,
    }
}
