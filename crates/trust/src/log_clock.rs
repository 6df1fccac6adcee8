//! The log's own clock: the latest time that its leaves tell.

use std::time::Duration;

use crate::Time;
use crate::request::ClockCorrection;
use serde::{Deserialize, Serialize};

/// How far a leaf may be behind an earlier one: replicas have clocks of their own.
pub const SKEW: Duration = Duration::from_secs(5 * 60);

/// Peaks that are told apart.
const PEAKS: usize = 100;

/// The latest time so far, and what it is when a correction takes that back.
///
/// A peak is a leaf that tells a later time than every leaf behind it. The first is the latest of
/// all; in a log whose times rise it is the only one. What stood before a peak and below it is not
/// remembered: a correction of the peak puts the clock to its bound, which no true time before it is
/// after.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Clock(Vec<Peak>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Peak {
    index: u64,
    time: Time,
}

impl Clock {
    pub fn at(&self) -> Time {
        self.0.first().map(|peak| peak.time).unwrap_or_default()
    }

    /// Whether the leaf is further behind than clocks of replicas are apart.
    pub fn tick(&mut self, index: u64, time: Time) -> bool {
        let backdated = time + SKEW < self.at();
        self.put(Peak { index, time });
        backdated
    }

    /// Lowers what was told by leaves of which a ceremony says that they are not younger.
    pub fn correct(&mut self, order: &ClockCorrection) {
        for mut peak in std::mem::take(&mut self.0) {
            if (order.first..=order.last).contains(&peak.index) {
                peak.time = peak.time.min(order.bound);
            }
            self.put(peak);
        }
    }

    fn put(&mut self, peak: Peak) {
        while self.0.pop_if(|last| last.time <= peak.time).is_some() {}
        let full = self.0.len() == PEAKS;
        match self.0.last_mut().filter(|_| full) {
            // Rather too late a time than one that was forgotten.
            Some(last) => last.index = peak.index,
            None => self.0.push(peak),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minute(minute: i64) -> Time {
        Time::from_millis(minute * 60_000)
    }

    fn order(first: u64, last: u64, bound: i64) -> ClockCorrection {
        ClockCorrection {
            bound: minute(bound),
            first,
            last,
            origin: "log.example".to_owned(),
        }
    }

    fn clock(minutes: &[i64]) -> Clock {
        let mut clock = Clock::default();
        for (index, at) in (0..).zip(minutes) {
            clock.tick(index, minute(*at));
        }
        clock
    }

    #[test]
    fn a_leaf_is_backdated_by_more_than_five_minutes() {
        let mut clock = clock(&[10]);
        assert!(!clock.tick(1, minute(5)));
        assert!(clock.tick(2, minute(5) - Duration::from_millis(1)));
        assert_eq!(clock.at(), minute(10));
    }

    #[test]
    fn a_correction_takes_back_what_its_leaves_told_and_nothing_else() {
        // A clock ran ahead at leaves 2 and 3, and another one at 5.
        let ran = [10, 11, 5_000, 5_001, 12, 900, 13, 14];
        for (first, last, bound, expected) in [
            (2, 3, 12, 900),
            (2, 3, 2_000, 2_000),
            (3, 3, 12, 900),
            (2, 2, 12, 5_001),
            (5, 5, 12, 5_001),
            (2, 5, 12, 14),
            (2, 7, 12, 12),
        ] {
            let mut clock = clock(&ran);
            clock.correct(&order(first, last, bound));
            assert_eq!(clock.at(), minute(expected), "{first} to {last}");
        }
        let mut clock = clock(&ran);
        clock.correct(&order(2, 3, 12));
        clock.correct(&order(5, 5, 12));
        assert_eq!(clock.at(), minute(14));
    }

    #[test]
    fn it_stays_small_however_times_run() {
        let rising: Vec<i64> = (0..1_000).collect();
        assert_eq!(clock(&rising).0.len(), 1);
        let falling: Vec<i64> = (0..1_000).rev().collect();
        let mut falling = clock(&falling);
        assert_eq!(falling.0.len(), PEAKS);
        assert_eq!(falling.at(), minute(999));
        // What no longer fits is told later than it was.
        falling.correct(&order(0, 98, 0));
        assert_eq!(falling.at(), minute(900));
    }
}
