//! What happens again and again is told in the service log once, then counted: one line a minute, and one when it is over.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How often something that goes on is told of.
pub const EVERY: Duration = Duration::from_secs(60);

/// Keyed by the kind of what happens, never by what a caller chose, so that it stays small.
#[derive(Debug)]
pub struct Repeats {
    every: Duration,
    seen: Mutex<BTreeMap<&'static str, Seen>>,
}

#[derive(Debug)]
struct Seen {
    told: Instant,
    /// Since it was told of.
    untold: u64,
    total: u64,
}

impl Default for Repeats {
    fn default() -> Self {
        Self::new(EVERY)
    }
}

impl Repeats {
    pub const fn new(every: Duration) -> Self {
        Self {
            every,
            seen: Mutex::new(BTreeMap::new()),
        }
    }

    /// It happened. Says how often since it was last told of (this time included), if it is to be told now.
    pub fn happened(&self, what: &'static str) -> Option<u64> {
        let now = Instant::now();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(known) = seen.get_mut(what) else {
            let first = Seen {
                told: now,
                untold: 0,
                total: 1,
            };
            seen.insert(what, first);
            return Some(1);
        };
        known.untold += 1;
        known.total += 1;
        if now.duration_since(known.told) < self.every {
            return None;
        }
        known.told = now;
        Some(std::mem::take(&mut known.untold))
    }

    /// It is over. Says how often it happened in all, if it did.
    pub fn ended(&self, what: &'static str) -> Option<u64> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.remove(what).map(|seen| seen.total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn case_c7_what_repeats_is_told_once_then_each_minute_then_when_it_ends() {
        let repeats = Repeats::default();
        assert_eq!(repeats.ended("database"), None, "it never happened");
        assert_eq!(repeats.happened("database"), Some(1));
        assert_eq!(
            repeats.happened("token"),
            Some(1),
            "another kind is told for itself"
        );
        for _ in 0..59 {
            tokio::time::advance(Duration::from_secs(1)).await;
            assert_eq!(repeats.happened("database"), None);
        }
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(repeats.happened("database"), Some(60));
        assert_eq!(repeats.happened("database"), None);
        assert_eq!(repeats.ended("database"), Some(62));
        assert_eq!(repeats.happened("database"), Some(1), "told again at once");
    }
}
