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
    last: Instant,
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
                last: now,
                told: now,
                untold: 0,
                total: 1,
            };
            seen.insert(what, first);
            return Some(1);
        };
        known.last = now;
        known.untold += 1;
        known.total += 1;
        if now.duration_since(known.told) < self.every {
            return None;
        }
        known.told = now;
        Some(std::mem::take(&mut known.untold))
    }

    /// What has not happened for as long as it takes until it is told of again: each with how often it happened in all.
    pub fn ceased(&self) -> Vec<(&'static str, u64)> {
        let now = Instant::now();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let ceased = |seen: &Seen| now.duration_since(seen.last) >= self.every;
        let found = seen.iter().filter(|(_, seen)| ceased(seen));
        let found = found.map(|(what, seen)| (*what, seen.total)).collect();
        seen.retain(|_, seen| !ceased(seen));
        found
    }

    /// It is over. Says how often it happened in all, if it did.
    pub fn ended(&self, what: &'static str) -> Option<u64> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.remove(what).map(|seen| seen.total)
    }
}

/// One thing that goes wrong for a while: told when it begins, when its words change, each minute, and when it is over.
#[derive(Debug, Default)]
pub struct Trouble {
    repeats: Repeats,
    words: String,
}

impl Trouble {
    /// It goes wrong. Says how often since it was last told of, if it is to be told now.
    pub fn is(&mut self, words: &str) -> Option<u64> {
        if self.words != words {
            words.clone_into(&mut self.words);
            self.repeats.ended("");
        }
        self.repeats.happened("")
    }

    /// It goes well. Whether it went wrong before.
    pub fn is_over(&mut self) -> bool {
        self.words.clear();
        self.repeats.ended("").is_some()
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

    #[tokio::test(start_paused = true)]
    async fn case_c7_what_does_not_happen_any_more_is_told_with_its_number() {
        let repeats = Repeats::default();
        repeats.happened("a");
        tokio::time::advance(Duration::from_secs(59)).await;
        repeats.happened("b");
        assert_eq!(repeats.ceased(), []);
        tokio::time::advance(Duration::from_secs(1)).await;
        repeats.happened("b");
        assert_eq!(repeats.ceased(), [("a", 1)]);
        assert_eq!(repeats.ceased(), []);
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(repeats.ceased(), [("b", 2)]);
    }

    #[tokio::test(start_paused = true)]
    async fn case_c7_a_trouble_is_told_when_its_words_change() {
        let mut trouble = Trouble::default();
        assert!(!trouble.is_over());
        assert_eq!(trouble.is("refused"), Some(1));
        assert_eq!(trouble.is("refused"), None);
        assert_eq!(trouble.is("older"), Some(1));
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(trouble.is("older"), Some(1));
        assert!(trouble.is_over());
        assert_eq!(trouble.is("older"), Some(1));
    }
}
