//! An instant: milliseconds since the Unix epoch, written as RFC 3339 in UTC.

use std::fmt;
use std::ops::{Add, Sub};
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Milliseconds since the Unix epoch. Its one spelling is `2026-11-22T09:00:00.123Z` (RFC 3339,
/// UTC, exactly three decimals), so that an instant inside a signed document has one encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(i64);

/// The text is not an instant in the one spelling of [`Time`].
#[derive(Debug, thiserror::Error)]
#[error("expected an instant like 2026-11-22T09:00:00.123Z (RFC 3339, UTC, three decimals)")]
pub struct NotATime;

/// The last instant of `jiff`: a day before the year 10000, which RFC 3339 cannot spell in any zone.
const LAST: i64 = 253_402_207_199_999;

impl Time {
    /// The instant `millis` after the epoch, clamped to the years 1970 to 9999 that RFC 3339
    /// can spell.
    pub fn from_millis(millis: i64) -> Self {
        Self(millis.clamp(0, LAST))
    }

    /// Milliseconds since the Unix epoch.
    pub fn millis(self) -> i64 {
        self.0
    }

    /// How long `self` is after `earlier`; zero if it is not.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0 - earlier.0).unwrap_or(0))
    }
}

fn whole_millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl Add<Duration> for Time {
    type Output = Self;

    /// Saturates at the end of the year 9999.
    fn add(self, duration: Duration) -> Self {
        Self::from_millis(self.0.saturating_add(whole_millis(duration)))
    }
}

impl Sub<Duration> for Time {
    type Output = Self;

    /// Saturates at the epoch.
    fn sub(self, duration: Duration) -> Self {
        Self::from_millis(self.0.saturating_sub(whole_millis(duration)))
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
        // The parser is generous (offsets, fewer decimals, lower case); the document is not.
        if time.to_string() == text {
            Ok(time)
        } else {
            Err(NotATime)
        }
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A duration as people write it (`24h`, `90d`, `300s`): hours and smaller as [`jiff`] reads them, and whole days of 24 hours.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let shown = || format!("{text:?} is not a duration such as \"24h\", \"90d\" or \"300s\"");
    if let Some(days) = text.strip_suffix('d').and_then(|n| n.parse::<u32>().ok()) {
        return Ok(Duration::from_secs(u64::from(days) * 86_400));
    }
    let signed: jiff::SignedDuration = text.parse().map_err(|_| shown())?;
    signed.try_into().map_err(|_| shown())
}

/// As [`parse_duration`], for what takes no time at all in vain: a lifetime, a deadline, an interval.
pub fn parse_positive_duration(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        Duration::ZERO => Err("expected more than 0s".to_owned()),
        duration => Ok(duration),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling_only() {
        let time = Time::from_millis(1_795_338_000_123);
        assert_eq!(time.to_string(), "2026-11-22T09:00:00.123Z");
        assert_eq!("2026-11-22T09:00:00.123Z".parse::<Time>().unwrap(), time);
        for other in [
            "2026-11-22T09:00:00Z",
            "2026-11-22T09:00:00.1230Z",
            "2026-11-22t09:00:00.123z",
            "2026-11-22T10:00:00.123+01:00",
            "2026-11-22 09:00:00.123Z",
            "1969-12-31T23:59:59.999Z",
            "",
        ] {
            assert!(other.parse::<Time>().is_err(), "{other}");
        }
    }

    #[test]
    fn sums_saturate() {
        let end = Time::from_millis(i64::MAX);
        assert_eq!(end.to_string(), "9999-12-30T21:59:59.999Z");
        assert_eq!(end + Duration::from_secs(1), end);
        assert_eq!(
            Time::from_millis(5) - Duration::from_secs(1),
            Time::from_millis(0)
        );
    }
}
