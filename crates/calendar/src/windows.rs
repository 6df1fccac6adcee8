//! Maintenance windows: hours of the week in UTC in which a rotation may begin and a version may be promoted.

use serde::{Deserialize, Serialize};

use crate::time::{Span, Time};
use crate::words::words;

/// Hours of a week.
const WEEK: i64 = 168;

words! {
    /// A day of the week.
    Weekday {
        /// Monday.
        Monday = "monday",
        /// Tuesday.
        Tuesday = "tuesday",
        /// Wednesday.
        Wednesday = "wednesday",
        /// Thursday.
        Thursday = "thursday",
        /// Friday.
        Friday = "friday",
        /// Saturday.
        Saturday = "saturday",
        /// Sunday.
        Sunday = "sunday",
    }
}

/// On these days, between these minutes of the day, in UTC; the shape of a standing order's window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// Days of the week, each once.
    pub days: Vec<Weekday>,
    /// The first minute of the day, from 0.
    pub from_minute: u16,
    /// The minute that is too late, up to 1440.
    pub until_minute: u16,
}

/// Why a window never opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NeverOpens {
    /// No days.
    #[error("it names no day")]
    NoDays,
    /// A day twice.
    #[error("it names a day twice")]
    DayTwice,
    /// Not from < until ≤ 1440.
    #[error("it ends before it begins, or after the day")]
    Minutes,
    /// Rotations begin with an hour, and no whole hour is in it.
    #[error("no whole hour of UTC lies in it")]
    NoHour,
}

/// The hours of a week in which any of some windows is open, as far as whole hours go. Windows that overlap are one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OpenHours {
    /// One bit for each hour of the week, from Monday 00:00 UTC.
    bits: [bool; WEEK as usize],
    /// All of them are set.
    is_always: bool,
}

impl OpenHours {
    /// Open at every hour.
    pub const ALWAYS: Self = Self {
        bits: [true; WEEK as usize],
        is_always: true,
    };

    fn of_bits(bits: [bool; WEEK as usize]) -> Self {
        Self {
            is_always: bits.iter().all(|bit| *bit),
            bits,
        }
    }

    /// Of these windows; without any, always.
    pub fn of(windows: &[Window]) -> Result<Self, NeverOpens> {
        if windows.is_empty() {
            return Ok(Self::ALWAYS);
        }
        let mut bits = [false; WEEK as usize];
        for window in windows {
            window.mark(&mut bits)?;
        }
        Ok(Self::of_bits(bits))
    }

    /// The hours in which both are open.
    pub fn and(&self, other: &Self) -> Self {
        let mut bits = self.bits;
        for (bit, other) in bits.iter_mut().zip(other.bits) {
            *bit &= other;
        }
        Self::of_bits(bits)
    }

    /// Whether it is open at hour `hour` since the epoch.
    pub fn at(&self, hour: i64) -> bool {
        self.bits.get(of_week(hour)).copied().unwrap_or(false)
    }

    /// The last open hour not after `hour`, within a week.
    pub fn last_by(&self, hour: i64) -> Option<i64> {
        (0..WEEK)
            .map(|back| hour - back)
            .find(|hour| self.at(*hour))
    }

    /// The first open hour not before `hour`, within a week.
    pub fn first_from(&self, hour: i64) -> Option<i64> {
        (0..WEEK).map(|on| hour + on).find(|hour| self.at(*hour))
    }

    /// Whether it is open at every hour.
    pub fn is_always(&self) -> bool {
        self.is_always
    }

    /// The longest time from the end of an open hour to the next; `None` if it never opens.
    pub fn longest_gap(&self) -> Option<Span> {
        let open: Vec<i64> = (0..WEEK).filter(|hour| self.at(*hour)).collect();
        let first = *open.first()?;
        let next = open.iter().skip(1).copied().chain([first + WEEK]);
        let gaps = open.iter().zip(next).map(|(this, next)| next - this - 1);
        let hours = gaps.max().unwrap_or(0);
        Some(Span::hours(u64::try_from(hours).unwrap_or(0)))
    }

    /// The first instant not before `at` that lies in an open hour.
    pub fn open_from(&self, at: Time) -> Option<Time> {
        match self.at(at.hour()) {
            true => Some(at),
            false => self.first_from(at.hour()).map(Time::from_hour),
        }
    }
}

/// 1970-01-01 was a Thursday.
fn of_week(hour: i64) -> usize {
    usize::try_from((hour + 3 * 24).rem_euclid(WEEK)).unwrap_or(0)
}

impl Window {
    fn mark(&self, bits: &mut [bool; WEEK as usize]) -> Result<(), NeverOpens> {
        if self.days.is_empty() {
            return Err(NeverOpens::NoDays);
        }
        if self.from_minute >= self.until_minute || self.until_minute > 1_440 {
            return Err(NeverOpens::Minutes);
        }
        let hours = usize::from(self.from_minute).div_ceil(60)..usize::from(self.until_minute) / 60;
        if hours.is_empty() {
            return Err(NeverOpens::NoHour);
        }
        for (index, day) in self.days.iter().enumerate() {
            if self.days.iter().take(index).any(|other| other == day) {
                return Err(NeverOpens::DayTwice);
            }
            for hour in hours.clone() {
                if let Some(bit) = bits.get_mut(*day as usize * 24 + hour) {
                    *bit = true;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(days: &[Weekday], from_minute: u16, until_minute: u16) -> Window {
        Window {
            days: days.to_vec(),
            from_minute,
            until_minute,
        }
    }

    #[test]
    fn a_window_that_never_opens_is_refused() {
        for (bad, why) in [
            (window(&[], 0, 60), NeverOpens::NoDays),
            (window(&[Weekday::Monday], 60, 60), NeverOpens::Minutes),
            (window(&[Weekday::Monday], 120, 60), NeverOpens::Minutes),
            (window(&[Weekday::Monday], 0, 1_441), NeverOpens::Minutes),
            (window(&[Weekday::Monday], 10, 70), NeverOpens::NoHour),
            (
                window(&[Weekday::Monday, Weekday::Monday], 0, 60),
                NeverOpens::DayTwice,
            ),
        ] {
            assert_eq!(OpenHours::of(&[bad]), Err(why));
        }
    }

    #[test]
    fn overlapping_windows_are_one() {
        let both = OpenHours::of(&[
            window(&[Weekday::Saturday], 120, 300),
            window(&[Weekday::Saturday], 240, 420),
        ]);
        assert_eq!(
            both,
            OpenHours::of(&[window(&[Weekday::Saturday], 120, 420)])
        );
        assert_eq!(both.unwrap().longest_gap(), Some(Span::hours(163)));
    }

    #[test]
    fn hours_of_the_week_are_those_of_utc() {
        let saturday = OpenHours::of(&[window(&[Weekday::Saturday], 120, 240)]).unwrap();
        let at: Time = "2026-11-28T02:30:00.000Z".parse().unwrap(); // a Saturday
        assert!(saturday.at(at.hour()));
        assert_eq!(saturday.open_from(at), Some(at));
        let next = saturday.open_from(at + Span::hours(2)).unwrap();
        assert_eq!(next.to_string(), "2026-12-05T02:00:00.000Z");
        assert_eq!(saturday.last_by(next.hour() - 1), Some(next.hour() - 167));
    }
}
