//! What a wrong clock wrote, as a ceremony corrected it; and where a leaf stands when a log had
//! several origins. Service, evidence files and check ask here, so that they agree.

use crate::request::ClockCorrection;
use crate::time::Time;

/// Where a leaf stands: after everything of earlier origins, then by its index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogPlace {
    /// How many origins there were before the first in whose tree the leaf stands.
    pub origin: usize,
    /// Its index.
    pub index: u64,
}

/// The origins of a log, oldest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origins {
    first: String,
    /// Later ones, each with the number of leaves that it took over.
    later: Vec<(String, u64)>,
}

impl Origins {
    /// A log with one origin.
    pub fn one(origin: impl Into<String>) -> Self {
        Self {
            first: origin.into(),
            later: Vec::new(),
        }
    }

    /// The newest origin.
    pub fn newest(&self) -> &str {
        self.later.last().map_or(&self.first, |(origin, _)| origin)
    }

    /// Adds the next origin, which took over `size` leaves.
    pub fn push(&mut self, origin: impl Into<String>, size: u64) {
        self.later.push((origin.into(), size));
    }

    /// The name of an origin, by its number.
    pub fn name(&self, number: usize) -> Option<&str> {
        match number.checked_sub(1) {
            None => Some(&self.first),
            Some(later) => self.later.get(later).map(|(name, _)| name.as_str()),
        }
    }

    /// Where a leaf of the tree of an origin stands; none of an origin that is not known.
    pub fn place(&self, origin: &str, index: u64) -> Option<LogPlace> {
        let names = self.later.iter().map(|(name, _)| name);
        let at = std::iter::once(&self.first)
            .chain(names)
            .position(|name| name == origin)?;
        Some(self.under(at, index))
    }

    /// Where a leaf of the tree of the origin with this number stands.
    fn under(&self, mut origin: usize, index: u64) -> LogPlace {
        // What an origin took over is where it was before.
        let taken = |before: usize| {
            self.later
                .get(before)
                .is_some_and(|(_, size)| index < *size)
        };
        while origin > 0 && taken(origin - 1) {
            origin -= 1;
        }
        LogPlace { origin, index }
    }
}

/// The corrections of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Corrections(Vec<Correction>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Correction {
    /// Where the leaf is that tells of it.
    told: LogPlace,
    first: u64,
    last: u64,
    bound: Time,
    /// The latest time that a corrected leaf tells, where that is known.
    reach: Option<Time>,
}

impl Corrections {
    /// Adds a correction, told by the leaf at `told`. `reach` is the latest time that a corrected
    /// leaf tells, for who also asks for [`Self::clock`].
    pub fn push(&mut self, told: LogPlace, order: &ClockCorrection, reach: Option<Time>) {
        self.0.push(Correction {
            told,
            first: order.first,
            last: order.last,
            bound: order.bound,
            reach,
        });
    }

    /// The latest time of the first `size` leaves, of which `clock` is the latest that they tell.
    /// Where that was told by corrected leaves it is not after their bound.
    pub fn clock(&self, size: u64, clock: Time) -> Time {
        let inflated = |each: &&Correction| {
            each.first < size && each.reach.is_some_and(|reach| clock <= reach)
        };
        let corrections = self.0.iter().filter(inflated);
        corrections.fold(clock, |clock, each| clock.min(each.bound))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// When a leaf was written, by its own `time` and the corrections of what stands there in the
    /// tree in which each correction was told.
    pub fn time(&self, origins: &Origins, place: LogPlace, time: Time) -> Time {
        let concerns = |each: &&Correction| {
            let leaves = each.first..=each.last;
            leaves.contains(&place.index) && origins.under(each.told.origin, place.index) == place
        };
        let corrections = self.0.iter().filter(concerns);
        corrections.fold(time, |time, each| time.min(each.bound))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::at;

    #[test]
    fn what_an_origin_took_over_stands_where_it_stood() {
        let mut origins = Origins::one("a");
        origins.push("b", 10);
        origins.push("c", 5);
        let place = |origin, index| origins.place(origin, index).unwrap();
        assert_eq!(place("a", 3), place("c", 3));
        assert_eq!(place("b", 7).origin, 0);
        assert_eq!(place("b", 12).origin, 1);
        // Lost leaves of an old origin come before whatever stands in their place today.
        assert!(place("a", 10_000) < place("b", 10));
        assert!(place("b", 12) < place("c", 5));
        assert!(origins.place("d", 0).is_none());
        assert_eq!(origins.newest(), "c");
        let names = [0, 1, 2, 3].map(|number| origins.name(number));
        assert_eq!(names, [Some("a"), Some("b"), Some("c"), None]);
    }

    #[test]
    fn a_correction_bounds_what_it_names_and_nothing_else() {
        let mut origins = Origins::one("a");
        origins.push("b", 2);
        let mut corrections = Corrections::default();
        let told = LogPlace {
            origin: 0,
            index: 9,
        };
        let correction = ClockCorrection {
            bound: at(100),
            first: 3,
            last: 5,
            origin: "a".to_owned(),
        };
        corrections.push(told, &correction, Some(at(900)));
        let place = |index| LogPlace { origin: 0, index };
        assert_eq!(corrections.time(&origins, place(3), at(900)), at(100));
        assert_eq!(corrections.time(&origins, place(3), at(50)), at(50));
        assert_eq!(corrections.time(&origins, place(6), at(900)), at(900));
        assert_eq!(corrections.clock(9, at(900)), at(100));
        assert_eq!(corrections.clock(3, at(900)), at(900));
        assert_eq!(corrections.clock(9, at(901)), at(901));
        let later = LogPlace {
            origin: 1,
            index: 4,
        };
        assert_eq!(corrections.time(&origins, later, at(900)), at(900));
        // Told in the later origin, it is of what stands in that one's tree.
        let told = LogPlace {
            origin: 1,
            index: 9,
        };
        let mut corrections = Corrections::default();
        corrections.push(told, &correction, None);
        assert_eq!(
            corrections.time(&origins, place(4), at(900)),
            at(900),
            "lost"
        );
        assert_eq!(corrections.time(&origins, later, at(900)), at(100));
    }
}
