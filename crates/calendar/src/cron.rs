//! When jobs run: cron patterns of five fields in UTC, and the six jobs of every installation.

use std::fmt;
use std::str::FromStr;

use croner::parser::{CronParser, Seconds, Year};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use crate::time::{Span, Time, spelled};

/// Most characters of a pattern.
const LONGEST: usize = 100;

/// Most missed slots that are counted one by one.
const MOST_MISSED: u32 = 10_000;

/// A pattern like `0 1 * * *`: minute, hour, day of the month, month, day of the week. No seconds, no years, no time zone
/// but UTC. It fires again and again.
#[derive(Clone, Debug)]
pub struct Cron {
    text: String,
    pattern: croner::Cron,
}

/// Why a pattern is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotACron {
    /// More than a hundred characters.
    #[error("longer than 100 characters")]
    TooLong,
    /// Six or more fields: something each second, or in one year only.
    #[error(
        "expected five fields (minute, hour, day of the month, month, day of the week), not {0}"
    )]
    Fields(usize),
    /// It cannot be read.
    #[error("{0}")]
    Malformed(String),
    /// No such date: the 30th of February.
    #[error("it never fires")]
    NeverFires,
}

impl FromStr for Cron {
    type Err = NotACron;

    fn from_str(text: &str) -> Result<Self, NotACron> {
        if text.len() > LONGEST {
            return Err(NotACron::TooLong);
        }
        let fields = text.split_ascii_whitespace().count();
        if fields != 5 {
            return Err(NotACron::Fields(fields));
        }
        let parser = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .build();
        let pattern = parser
            .parse(text)
            .map_err(|error| NotACron::Malformed(error.to_string()))?;
        let cron = Self {
            text: text.to_owned(),
            pattern,
        };
        // Twice from a fixed instant, so that the answer does not depend on when it is asked.
        let first = cron.next(Time::from_millis(1_767_225_600_000));
        match first.and_then(|first| cron.next(first)) {
            Some(_) => Ok(cron),
            None => Err(NotACron::NeverFires),
        }
    }
}

/// Slots that passed without a run. They are made up for by one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missed {
    /// The last of them, which the one run is for.
    pub slot: Time,
    /// How many, at most ten thousand.
    pub count: u32,
}

impl Cron {
    /// The pattern.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The pattern in English words.
    pub fn describe(&self) -> String {
        let words = self.pattern.describe();
        format!("{}, UTC", words.trim_end_matches('.'))
    }

    /// The first slot after `at`.
    pub fn next(&self, at: Time) -> Option<Time> {
        self.pattern
            .find_next_occurrence(&zoned(at)?, false)
            .ok()
            .map(|slot| time(&slot))
    }

    /// The last slot before `at`.
    pub fn previous(&self, at: Time) -> Option<Time> {
        self.pattern
            .find_previous_occurrence(&zoned(at)?, false)
            .ok()
            .map(|slot| time(&slot))
    }

    /// The slots after `last` and not after `now`, as one. `None` if none is due. Slots longer ago than `catch_up` are
    /// counted, and are no reason to run.
    pub fn due(&self, last: Time, now: Time, catch_up: Span) -> Option<Missed> {
        let slot = self
            .previous(now + Span::seconds(1))
            .filter(|slot| *slot > last && *slot <= now)?;
        if slot + catch_up < now {
            return None;
        }
        let mut count = 1;
        let mut at = self.next(last)?;
        while at < slot && count < MOST_MISSED {
            count += 1;
            at = self.next(at)?;
        }
        Some(Missed { slot, count })
    }
}

fn zoned(at: Time) -> Option<Zoned> {
    let instant = Timestamp::from_millisecond(at.millis()).ok()?;
    Some(instant.to_zoned(TimeZone::UTC))
}

fn time(at: &Zoned) -> Time {
    Time::from_millis(at.timestamp().as_millisecond())
}

impl PartialEq for Cron {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Cron {}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

spelled!(Cron);

/// A job of every installation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Job {
    /// Its name.
    pub name: &'static str,
    /// Its pattern.
    pub cron: &'static str,
    /// What it does.
    pub purpose: &'static str,
    /// How long after a slot it is still made up for.
    pub catch_up: Span,
}

const fn job(name: &'static str, cron: &'static str, purpose: &'static str, catch_up: Span) -> Job {
    Job {
        name,
        cron,
        purpose,
        catch_up,
    }
}

/// The six jobs, with the patterns that they begin with.
pub const JOBS: [Job; 6] = [
    job(
        "key_rotation_health_check",
        "0 */6 * * *",
        "key ages, overdue keys, alerts",
        Span::days(1),
    ),
    job(
        "automated_key_rotation_check",
        "0 1 * * *",
        "creates rotation events for due keys",
        Span::days(7),
    ),
    job(
        "execute_scheduled_key_rotations",
        "0 */4 * * *",
        "executes pending events",
        Span::days(7),
    ),
    job(
        "key_rotation_cleanup",
        "0 6 * * SUN",
        "ends grace periods",
        Span::days(30),
    ),
    job(
        "key_usage_monitoring",
        "0 */8 * * *",
        "usage anomalies, unused keys",
        Span::days(1),
    ),
    job(
        "generate_key_rotation_compliance_report",
        "0 3 1 * *",
        "policy adherence, recommendations",
        Span::days(31),
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Time {
        text.parse().unwrap()
    }

    fn cron(text: &str) -> Cron {
        text.parse().unwrap()
    }

    #[test]
    fn the_six_jobs_have_their_slots_and_words() {
        let now = at("2026-11-30T05:30:00.000Z"); // a Monday
        let slots: Vec<(String, String)> = JOBS
            .iter()
            .map(|job| cron(job.cron))
            .map(|cron| {
                (
                    cron.previous(now).unwrap().minute(),
                    cron.next(now).unwrap().minute(),
                )
            })
            .collect();
        let expected = [
            ("2026-11-30 00:00", "2026-11-30 06:00"),
            ("2026-11-30 01:00", "2026-12-01 01:00"),
            ("2026-11-30 04:00", "2026-11-30 08:00"),
            ("2026-11-29 06:00", "2026-12-06 06:00"),
            ("2026-11-30 00:00", "2026-11-30 08:00"),
            ("2026-11-01 03:00", "2026-12-01 03:00"),
        ];
        assert_eq!(
            slots,
            expected.map(|(previous, next)| (previous.to_owned(), next.to_owned()))
        );
        assert_eq!(cron("0 1 * * *").describe(), "At 01:00, UTC");
        assert!(cron("0 6 * * SUN").describe().contains("Sunday"));
    }

    #[test]
    fn a_cron_that_never_fires_is_refused() {
        for never in ["0 0 30 2 *", "0 0 31 4,6,9,11 *"] {
            assert_eq!(never.parse::<Cron>(), Err(NotACron::NeverFires), "{never}");
        }
    }

    #[test]
    fn a_cron_that_fires_each_second_is_refused() {
        for (bad, fields) in [
            ("* * * * * *", 6),
            ("*/1 * * * * *", 6),
            ("0 0 1 1 * * 2030", 7),
            ("", 0),
            ("@hourly", 1),
        ] {
            assert_eq!(bad.parse::<Cron>(), Err(NotACron::Fields(fields)), "{bad}");
        }
        for bad in ["61 * * * *", "a b c d e", "* * * * 9", "*/0 * * * *"] {
            assert!(
                matches!(bad.parse::<Cron>(), Err(NotACron::Malformed(_))),
                "{bad}"
            );
        }
    }

    #[test]
    fn a_slot_on_the_leap_day_comes_each_fourth_year() {
        let leap = cron("0 0 29 2 *");
        let next = leap.next(at("2026-11-30T00:00:00.000Z")).unwrap();
        assert_eq!(next, at("2028-02-29T00:00:00.000Z"));
        assert_eq!(leap.next(next).unwrap(), at("2032-02-29T00:00:00.000Z"));
    }

    #[test]
    fn missed_slots_are_one_run_that_says_how_many() {
        let daily = cron("0 1 * * *");
        let last = at("2026-11-20T01:00:00.000Z");
        let now = at("2026-11-27T09:00:00.000Z");
        let missed = Missed {
            slot: at("2026-11-27T01:00:00.000Z"),
            count: 7,
        };
        assert_eq!(daily.due(last, now, Span::days(7)), Some(missed));
        // A clock that jumped back finds nothing to do, and one at the very slot does.
        assert_eq!(daily.due(missed.slot, last, Span::days(7)), None);
        assert_eq!(daily.due(last, missed.slot, Span::days(7)), Some(missed));
        assert_eq!(daily.due(missed.slot, missed.slot, Span::days(7)), None);
        // Too late to make up for.
        assert_eq!(daily.due(last, now, Span::hours(1)), None);
        // Years of minutes cost no more than a day's.
        let each_minute = cron("* * * * *");
        let found = each_minute
            .due(Time::from_millis(0), now, Span::days(1))
            .unwrap();
        assert_eq!((found.slot, found.count), (now, MOST_MISSED));
    }
}
