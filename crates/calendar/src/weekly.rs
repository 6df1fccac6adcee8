//! What happens once a week, at an hour of UTC.

use crate::time::{Span, Time};
use crate::words::words;

words! {
    /// A day of the week.
    Weekday {
        /// The first one.
        Monday = "monday",
        /// The second one.
        Tuesday = "tuesday",
        /// The third one.
        Wednesday = "wednesday",
        /// The fourth one.
        Thursday = "thursday",
        /// The fifth one.
        Friday = "friday",
        /// The sixth one.
        Saturday = "saturday",
        /// The seventh one.
        Sunday = "sunday",
    }
}

/// A day of the week and an hour of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weekly {
    weekday: Weekday,
    hour: u8,
}

/// How long a week is.
pub const WEEK: Span = Span::days(7);

/// The first day of the epoch was a Thursday.
const FIRST: i64 = 3;

impl Weekly {
    /// None of an hour that no day has.
    pub fn new(weekday: Weekday, hour: u8) -> Option<Self> {
        (hour < 24).then_some(Self { weekday, hour })
    }

    /// The last of its slots that is not after an instant. What was missed before it is missed.
    pub fn latest(self, now: Time) -> Time {
        let weekday = self.weekday as i64;
        let back = (now.day() + FIRST - weekday).rem_euclid(7);
        let slot = |day: i64| Time::from_hour(day.saturating_mul(24) + i64::from(self.hour));
        let this = slot(now.day() - back);
        match this <= now {
            true => this,
            false => this - WEEK,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Time {
        text.parse().unwrap()
    }

    #[test]
    fn the_latest_slot_is_of_this_week_from_its_hour_on() {
        let weekly = Weekly::new(Weekday::Monday, 7).unwrap();
        let slot = at("2026-11-30T07:00:00.000Z");
        for (now, expected) in [
            ("2026-11-30T07:00:00.000Z", slot),
            ("2026-11-30T06:59:59.999Z", slot - WEEK),
            ("2026-12-06T23:59:59.999Z", slot),
            ("2026-12-07T07:00:00.000Z", slot + WEEK),
        ] {
            assert_eq!(weekly.latest(at(now)), expected, "{now}");
        }
        let sunday = Weekly::new(Weekday::Sunday, 23).unwrap();
        assert_eq!(
            sunday.latest(at("2026-11-30T07:00:00.000Z")),
            at("2026-11-29T23:00:00.000Z")
        );
        assert_eq!(Weekly::new(Weekday::Sunday, 24), None);
    }
}
