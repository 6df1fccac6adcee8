//! Instants and spans: milliseconds since the Unix epoch in UTC, and whole seconds.

use std::fmt;
use std::ops::{Add, Sub};
use std::str::FromStr;

/// Seconds of an hour, the grain in which rotations are spread.
pub const HOUR: u64 = 3_600;

/// Seconds of a day of 24 hours. The calendar knows no other: UTC, without leap seconds.
pub const DAY: u64 = 24 * HOUR;

/// The last instant that RFC 3339 can spell in any zone: a day before the year 10000.
const LAST: i64 = 253_402_207_199_999;

/// Milliseconds since the Unix epoch, in the spelling of the crate `trust`: `2026-11-22T09:00:00.123Z`.
///
/// A type of its own, because the two pure crates do not know each other; a caller converts by [`Time::millis`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(i64);

/// The text is no instant in the one spelling of [`Time`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected an instant like 2026-11-22T09:00:00.123Z (RFC 3339, UTC, three decimals)")]
pub struct NotATime;

impl Time {
    /// The instant `millis` after the epoch, clamped to the years 1970 to 9999.
    pub fn from_millis(millis: i64) -> Self {
        Self(millis.clamp(0, LAST))
    }

    /// Milliseconds since the Unix epoch.
    pub fn millis(self) -> i64 {
        self.0
    }

    /// The beginning of hour `hour`, counted from the epoch.
    pub fn from_hour(hour: i64) -> Self {
        Self::from_millis(hour.saturating_mul(3_600_000))
    }

    /// The hour, counted from the epoch, in which this instant lies.
    pub fn hour(self) -> i64 {
        self.0.div_euclid(3_600_000)
    }

    /// The beginning of the hour in which this instant lies.
    pub fn hour_start(self) -> Self {
        Self::from_hour(self.hour())
    }

    /// The minute of the UTC day, 0 to 1439.
    pub fn minute_of_day(self) -> u32 {
        u32::try_from(self.0.div_euclid(60_000).rem_euclid(1_440)).unwrap_or(0)
    }

    /// The day, counted from the epoch.
    pub fn day(self) -> i64 {
        self.0.div_euclid(86_400_000)
    }

    /// How long this instant is after `earlier`, in whole seconds; zero if it is not.
    pub fn since(self, earlier: Self) -> Span {
        Span::seconds(u64::try_from((self.0 - earlier.0) / 1_000).unwrap_or(0))
    }

    /// The date of the instant: `2026-11-22`.
    pub fn date(self) -> String {
        self.to_string().chars().take(10).collect()
    }

    /// Date and minute, for tables: `2026-11-22 09:00`.
    pub fn minute(self) -> String {
        let text = self.to_string();
        text.chars().take(16).collect::<String>().replace('T', " ")
    }
}

impl Add<Span> for Time {
    type Output = Self;

    /// Saturates at the end of the year 9999.
    fn add(self, span: Span) -> Self {
        Self::from_millis(self.0.saturating_add(span.millis()))
    }
}

impl Sub<Span> for Time {
    type Output = Self;

    /// Saturates at the epoch.
    fn sub(self, span: Span) -> Self {
        Self::from_millis(self.0.saturating_sub(span.millis()))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let instant = jiff::Timestamp::from_millisecond(self.0).map_err(|_| fmt::Error)?;
        write!(f, "{instant:.3}")
    }
}

impl FromStr for Time {
    type Err = NotATime;

    fn from_str(text: &str) -> Result<Self, NotATime> {
        let instant: jiff::Timestamp = text.parse().map_err(|_| NotATime)?;
        let time = Self::from_millis(instant.as_millisecond());
        match time.to_string() == text {
            true => Ok(time),
            false => Err(NotATime),
        }
    }
}

/// A length of time in whole seconds, at most a hundred years. Spelled with the largest unit that divides it: `90d`,
/// `36h`, `15m`, `90s`; documents have this one spelling, so that equal policies have equal bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span(u64);

/// The text is no span.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected a span like \"90d\", \"36h\", \"15m\" or \"90s\", in the largest unit that divides it"
)]
pub struct NotASpan;

impl Span {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// The longest span: a hundred years of 365 days.
    pub const LONGEST: Self = Self(36_500 * DAY);

    /// `seconds`, clamped to [`Span::LONGEST`].
    pub const fn seconds(seconds: u64) -> Self {
        match seconds < Self::LONGEST.0 {
            true => Self(seconds),
            false => Self::LONGEST,
        }
    }

    /// Whole minutes.
    pub const fn minutes(minutes: u64) -> Self {
        Self::seconds(minutes.saturating_mul(60))
    }

    /// Whole hours.
    pub const fn hours(hours: u64) -> Self {
        Self::seconds(hours.saturating_mul(HOUR))
    }

    /// Days of 24 hours.
    pub const fn days(days: u64) -> Self {
        Self::seconds(days.saturating_mul(DAY))
    }

    /// In whole seconds.
    pub const fn as_seconds(self) -> u64 {
        self.0
    }

    fn millis(self) -> i64 {
        // A hundred years in milliseconds are far below the limit.
        i64::try_from(self.0).unwrap_or(i64::MAX / 1_000) * 1_000
    }

    /// The sum, at most [`Span::LONGEST`].
    pub fn plus(self, other: Self) -> Self {
        Self::seconds(self.0.saturating_add(other.0))
    }

    /// What is left of this without `other`; zero if nothing.
    pub fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// A whole part of it.
    pub fn divided(self, by: u64) -> Self {
        Self(self.0 / by.max(1))
    }

    /// Without what does not matter to people: whole days from two days on, else whole hours from two hours on, else whole minutes
    /// from one on.
    pub const fn rounded(self) -> Self {
        let unit = match self.0 {
            n if n >= 2 * DAY => DAY,
            n if n >= 2 * HOUR => HOUR,
            n if n >= 60 => 60,
            _ => 1,
        };
        Self(self.0 - self.0 % unit)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.0 {
            0 => "0s".to_owned(),
            n if n % DAY == 0 => format!("{}d", n / DAY),
            n if n % HOUR == 0 => format!("{}h", n / HOUR),
            n if n % 60 == 0 => format!("{}m", n / 60),
            n => format!("{n}s"),
        };
        f.pad(&text)
    }
}

impl FromStr for Span {
    type Err = NotASpan;

    fn from_str(text: &str) -> Result<Self, NotASpan> {
        let (unit, digits) = [('d', DAY), ('h', HOUR), ('m', 60), ('s', 1)]
            .into_iter()
            .find_map(|(letter, unit)| Some((unit, text.strip_suffix(letter)?)))
            .ok_or(NotASpan)?;
        let number: u64 = digits.parse().map_err(|_| NotASpan)?;
        let seconds = number.checked_mul(unit).ok_or(NotASpan)?;
        let span = Self::seconds(seconds);
        match span.0 == seconds && span.to_string() == text {
            true => Ok(span),
            false => Err(NotASpan),
        }
    }
}

macro_rules! spelled {
    ($type:ty) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <String as serde::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use spelled;

spelled!(Time);
spelled!(Span);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_and_spans_have_one_spelling() {
        for good in ["2026-11-22T09:00:00.123Z", "2028-02-29T00:00:00.000Z"] {
            assert_eq!(good.parse::<Time>().unwrap().to_string(), good);
        }
        for bad in ["2026-11-22T09:00:00Z", "2027-02-29T00:00:00.000Z", ""] {
            assert!(bad.parse::<Time>().is_err(), "{bad}");
        }
        for good in ["90d", "36h", "15m", "90s", "0s"] {
            assert_eq!(good.parse::<Span>().unwrap().to_string(), good);
        }
        for bad in [
            "24h",
            "60s",
            "+1d",
            "-1d",
            "1.5h",
            "d",
            "0d",
            "36501d",
            "1w",
            "1 d",
            "99999999999999999999d",
        ] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_span_for_people_has_one_unit_that_matters() {
        for (seconds, expected) in [
            (215_663_399, "2496d"),
            (7_201, "2h"),
            (3_599, "59m"),
            (59, "59s"),
            (0, "0s"),
        ] {
            assert_eq!(Span::seconds(seconds).rounded().to_string(), expected);
        }
    }

    #[test]
    fn hours_and_minutes_are_of_utc() {
        let time: Time = "2026-11-22T09:59:59.999Z".parse().unwrap();
        assert_eq!(time.hour_start().to_string(), "2026-11-22T09:00:00.000Z");
        assert_eq!(time.minute_of_day(), 9 * 60 + 59);
        assert_eq!(time.minute(), "2026-11-22 09:59");
        assert_eq!(time.since(time + Span::days(1)), Span::ZERO);
    }
}
