//! What every commit asks of the database that it is about to write to, in its own transaction: whether it is still
//! the database that this process knows, whether it gives an index out that was given out before, and whether the
//! clocks agree (cases L1, V1).
//!
//! A database that was replaced by an older one, such as a standby that lacked the last seconds or a file
//! that was restored, halts this process for good. A clock that is wrong halts it for as long as it is.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::error::Error;

/// Reads the clock of this process, in milliseconds.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// What the log head says to whoever has taken it, or only looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub size: i64,
    /// The latest time of a leaf.
    pub clock: i64,
    /// The database's own clock.
    pub now: i64,
    /// Another word after a fail-over or a restore; empty where the engine has none.
    pub database: String,
    /// How far the database had written when it was read; 0 where the engine does not say.
    pub written: i64,
}

/// Why nothing may be written at present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Halted {
    pub why: Arc<str>,
    /// Whether leaves that were answered may be missing from the database.
    pub incomplete: bool,
}

/// How it came out that the database was replaced.
#[derive(Debug, Clone)]
enum Replaced {
    Other,
    Older {
        index: i64,
        committed: i64,
    },
    /// By what is published.
    Told(Arc<str>),
}

impl Replaced {
    fn error(&self) -> Error {
        match self {
            Self::Other => Error::OtherDatabase,
            Self::Older { index, committed } => Error::Rewound {
                index: *index,
                committed: *committed,
            },
            Self::Told(why) => Error::LeavesMissing(why.clone()),
        }
    }
}

/// What this process knows of the database.
#[derive(Default)]
pub(crate) struct Fence {
    /// How many leaves are known to be committed.
    committed: AtomicI64,
    /// How far the database had written before a commit that succeeded.
    written: AtomicI64,
    database: OnceLock<String>,
    clock: OnceLock<(Clock, i64)>,
    replaced: OnceLock<Replaced>,
    clocks_differ: Mutex<Option<Arc<str>>>,
}

/// What was so before the head was read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Before {
    committed: i64,
    written: i64,
    now: Option<i64>,
}

impl Fence {
    /// From now on the clocks are compared; they may differ by `tolerance` milliseconds.
    pub fn compare_clocks(&self, clock: Clock, tolerance: i64) {
        let _ = self.clock.set((clock, tolerance));
    }

    /// In milliseconds; 0 where the clocks are not compared.
    pub fn tolerance(&self) -> i64 {
        self.clock.get().map_or(0, |(_, tolerance)| *tolerance)
    }

    pub fn before(&self) -> Before {
        Before {
            committed: self.committed.load(Ordering::Relaxed),
            written: self.written.load(Ordering::Relaxed),
            now: self.clock.get().map(|(clock, _)| clock()),
        }
    }

    /// Asked before anything is committed; the next leaf would have this index.
    pub fn check(&self, before: Before, head: &Head, index: i64) -> Result<(), Error> {
        let known = self.database.get_or_init(|| head.database.clone());
        // Of two standbys that were promoted one after the other both may call their timeline by the same number. The
        // second lacks what the first has written.
        if *known != head.database || head.written < before.written {
            self.was_replaced();
        } else if index < before.committed {
            let committed = before.committed;
            let _ = self.replaced.set(Replaced::Older { index, committed });
        }
        if let Some(replaced) = self.replaced.get() {
            return Err(replaced.error());
        }
        let compared = self.compare(before, head);
        let why = compared
            .as_ref()
            .err()
            .map(|error| error.to_string().into());
        *lock(&self.clocks_differ) = why;
        compared
    }

    /// It is not the database that the log was written with: nothing is committed any more.
    pub fn was_replaced(&self) {
        let _ = self.replaced.set(Replaced::Other);
    }

    /// What is published has leaves that the database lacks: nothing is committed any more.
    pub fn lacks_leaves(&self, why: Arc<str>) {
        let _ = self.replaced.set(Replaced::Told(why));
    }

    /// A reading of the database's clock that took long is as good as a quick one: it lies between two of ours.
    fn compare(&self, before: Before, head: &Head) -> Result<(), Error> {
        let (Some((clock, tolerance)), Some(earliest)) = (self.clock.get(), before.now) else {
            return Ok(());
        };
        let latest = clock();
        if head.now < earliest - tolerance || head.now > latest + tolerance {
            return Err(Error::ClockOff {
                ours: latest,
                database: head.now,
            });
        }
        match head.clock > head.now.max(latest) + tolerance {
            true => Err(Error::ClockAhead {
                leaf: head.clock,
                now: latest,
            }),
            false => Ok(()),
        }
    }

    /// After a commit that is known to have succeeded, of a transaction that read `head`.
    pub fn raise(&self, size: i64, head: &Head) {
        self.committed.fetch_max(size, Ordering::Relaxed);
        self.written.fetch_max(head.written, Ordering::Relaxed);
    }

    /// Others have committed so many leaves, by a look in which nothing was wrong.
    pub fn seen(&self, size: i64) {
        self.committed.fetch_max(size, Ordering::Relaxed);
    }

    pub fn halted(&self) -> Option<Halted> {
        if let Some(replaced) = self.replaced.get() {
            return Some(Halted {
                why: replaced.error().to_string().into(),
                incomplete: true,
            });
        }
        let why = lock(&self.clocks_differ).clone()?;
        Some(Halted {
            why,
            incomplete: false,
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(clock: i64, now: i64) -> Head {
        Head {
            size: 5,
            clock,
            now,
            database: "one".to_owned(),
            written: 100,
        }
    }

    fn fence(now: i64) -> Fence {
        let fence = Fence::default();
        fence.compare_clocks(Arc::new(move || now), 2_000);
        fence
    }

    #[test]
    fn case_v1_a_clock_that_differs_from_the_databases_writes_nothing() {
        let ours = 1_000_000;
        let fence = fence(ours);
        for (now, good) in [
            (ours, true),
            (ours - 2_000, true),
            (ours + 2_000, true),
            (ours - 2_001, false),
            (ours + 2_001, false),
        ] {
            let checked = fence.check(fence.before(), &head(0, now), 5);
            assert_eq!(checked.is_ok(), good, "{now}: {checked:?}");
            assert_eq!(fence.halted().is_none(), good, "it ends by itself");
        }
        // Sent long ago, answered just now: the reading is from in between.
        let asked = Before {
            committed: 0,
            written: 0,
            now: Some(ours - 60_000),
        };
        assert!(fence.check(asked, &head(0, ours - 30_000), 5).is_ok());
    }

    #[test]
    fn case_v1_a_leaf_that_lies_ahead_halts_until_it_is_corrected() {
        let ours = 1_000_000;
        let fence = fence(ours);
        let ahead = fence.check(fence.before(), &head(ours + 2_001, ours), 5);
        assert!(matches!(ahead, Err(Error::ClockAhead { .. })), "{ahead:?}");
        let halted = fence.halted().unwrap();
        assert!(
            !halted.incomplete && halted.why.contains("ahead"),
            "{halted:?}"
        );
        assert!(fence.check(fence.before(), &head(ours, ours), 5).is_ok());
        assert_eq!(fence.halted(), None);
    }

    #[test]
    fn case_l1_a_database_that_was_replaced_halts_for_good() {
        let fence = Fence::default();
        assert!(fence.check(fence.before(), &head(0, 0), 5).is_ok());
        fence.raise(6, &head(0, 0));
        let promoted = Head {
            database: "two".to_owned(),
            ..head(0, 0)
        };
        let other = fence.check(fence.before(), &promoted, 6);
        assert!(matches!(other, Err(Error::OtherDatabase)), "{other:?}");
        let again = fence.check(fence.before(), &head(0, 0), 6);
        assert!(matches!(again, Err(Error::OtherDatabase)), "{again:?}");
        assert!(fence.halted().is_some_and(|halted| halted.incomplete));
    }

    #[test]
    fn case_l1_who_only_looked_knows_of_an_older_database_too() {
        let fence = Fence::default();
        fence.seen(6);
        assert!(fence.check(fence.before(), &head(0, 0), 6).is_ok());
        let older = fence.check(fence.before(), &head(0, 0), 5);
        assert!(matches!(older, Err(Error::Rewound { .. })), "{older:?}");
    }

    #[test]
    fn case_l2_what_is_published_and_missing_halts_for_good() {
        let fence = Fence::default();
        fence.lacks_leaves("older than the log".into());
        let refused = fence.check(fence.before(), &head(0, 0), 5);
        assert!(
            matches!(refused, Err(Error::LeavesMissing(_))),
            "{refused:?}"
        );
        let halted = fence.halted().unwrap();
        assert!(halted.incomplete && &*halted.why == "older than the log");
    }

    #[test]
    fn case_l1_a_second_standby_on_a_timeline_of_the_same_number_halts_for_good() {
        let fence = Fence::default();
        let at = |written| Head {
            written,
            ..head(0, 0)
        };
        // What was only looked at may have been lost in a crash of the same server.
        assert!(fence.check(fence.before(), &at(300), 5).is_ok());
        assert!(fence.check(fence.before(), &at(200), 5).is_ok());
        fence.raise(6, &at(200));
        assert!(fence.check(fence.before(), &at(200), 6).is_ok());
        let other = fence.check(fence.before(), &at(199), 6);
        assert!(matches!(other, Err(Error::OtherDatabase)), "{other:?}");
    }
}
