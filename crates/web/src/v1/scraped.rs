//! What scrapes of the metrics have in common.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base::names;
use tokio::sync::watch;
use tokio::time::Instant;

/// One for each server.
#[derive(Default)]
pub struct Scraped {
    shown: Mutex<Shown>,
    database: Mutex<Asked>,
}

/// The rings that have series, and the read model's version whose keys were counted last.
#[derive(Default)]
pub struct Shown {
    pub rings: BTreeSet<Arc<str>>,
    pub counted: Option<i64>,
}

/// How the database was asked.
#[derive(Default)]
pub struct Asked {
    /// When it last answered.
    pub answered: Option<Instant>,
    /// Closed when the one who asks has ended.
    pub asking: Option<watch::Receiver<()>>,
}

impl Scraped {
    pub fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn database(&self) -> MutexGuard<'_, Asked> {
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shown {
    /// Whoever has series keeps them, whatever rings are added.
    pub fn learn<'a>(&mut self, rings: impl Iterator<Item = &'a Arc<str>>) {
        for name in rings {
            if self.rings.len() >= names::MOST_RINGS {
                return;
            }
            self.rings.insert(name.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_number_of_rings_has_a_bounded_number_of_series() {
        let named = |from: u32| (from..from + 300).map(|n| Arc::from(format!("ring-{n:05}")));
        let late: Vec<Arc<str>> = named(50_000).collect();
        let mut shown = Shown::default();
        shown.learn(late.iter().take(10));
        shown.learn(late.iter());
        let first = shown.rings.clone();
        assert_eq!(first.len(), names::MOST_RINGS);
        // Rings whose names come before take nobody's place.
        let early: Vec<Arc<str>> = named(0).collect();
        shown.learn(early.iter().chain(&late));
        assert_eq!(shown.rings, first);
    }
}
