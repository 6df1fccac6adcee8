//! What is unusual in hourly counts: by robust statistics over the same hour of other weeks, and by two exact rules.
//!
//! A weekly rhythm is no anomaly, and one wild week must not hide the next one. So an hour is compared with the same hour of
//! the week before, and the one before that, by median and median absolute deviation (Iglewicz and Hoaglin, *How to Detect and
//! Handle Outliers*, 1993: modified z-score, above 3.5).

use super::AlertName;
use super::machine::Condition;
use crate::time::{Span, Time};

/// Hours of a week.
pub const WEEK: i64 = 168;

/// Earlier weeks that an hour is compared with, and of how many at least there must be counts.
const WEEKS: i64 = 8;
const FEWEST_WEEKS: usize = 4;

/// Above this score it is unusual; one that was so is until it falls below the second.
const UNUSUAL: f64 = 3.5;
const USUAL: f64 = 2.5;

/// Fewer than so many in an hour are never too many.
const FEWEST: u64 = 50;

/// A normal distribution's median absolute deviation, of its standard deviation; and its mean absolute deviation.
const MAD: f64 = 0.6745;
const MEAN: f64 = 1.2533;

/// How many hours that are always used have to be without use.
pub const SILENT_HOURS: i64 = 2;

/// Of an hour that is always used at least so many.
const ALWAYS: u64 = 5;

/// How many hours back it is looked for uses of what may not be used.
pub const LATELY: i64 = 24;

/// Uses in hours that are over: pairs of an hour, counted from the epoch, and a count, in ascending order. An hour without a
/// pair had none.
pub type Hours<'a> = &'a [(i64, u64)];

/// A ring, with the uses of all its keys together: a rotation moves uses from one key to the next, which is not unusual.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingUsage<'a> {
    /// The asset, `signing/RING`.
    pub asset: &'a str,
    /// Its uses in the last weeks, and from which hour on they were counted.
    pub hours: Hours<'a>,
    /// The first hour that was counted as a whole.
    pub counted_from: i64,
}

/// A key that may not be used any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndedUsage<'a> {
    /// Its kid.
    pub kid: &'a str,
    /// Since when.
    pub ended_at: Time,
    /// Its uses.
    pub hours: Hours<'a>,
}

fn count(hours: Hours<'_>, hour: i64) -> u64 {
    let found = hours.binary_search_by_key(&hour, |(hour, _)| *hour);
    found
        .ok()
        .and_then(|at| hours.get(at))
        .map_or(0, |(_, count)| *count)
}

/// The same hour of earlier weeks, as far as it was counted.
fn weeks(usage: &RingUsage<'_>, hour: i64) -> Vec<u64> {
    let earlier = (1..=WEEKS).map(|back| hour - back * WEEK);
    let counted = earlier.filter(|hour| *hour >= usage.counted_from);
    counted.map(|hour| count(usage.hours, hour)).collect()
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let at = |at: usize| values.get(at).copied().unwrap_or(0.0);
    match values.len() % 2 {
        1 => at(middle),
        _ => f64::midpoint(at(middle.saturating_sub(1)), at(middle)),
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "uses of an hour; nothing here comes near 2^53"
)]
fn float(count: u64) -> f64 {
    count as f64
}

/// How far a count is above what it was: the modified z-score. Where most weeks are alike the mean absolute deviation stands for
/// the median one, and counts vary at least as those of independent events do.
pub fn score(earlier: &[u64], seen: u64) -> f64 {
    let mut values: Vec<f64> = earlier.iter().copied().map(float).collect();
    let middle = median(&mut values);
    let mut apart: Vec<f64> = values.iter().map(|value| (value - middle).abs()).collect();
    let of_median = median(&mut apart) / MAD;
    let of_mean = apart.iter().sum::<f64>() / float(apart.len().max(1) as u64) * MEAN;
    let deviation = if of_median > 0.0 { of_median } else { of_mean };
    let least = middle.sqrt().max(1.0);
    (float(seen) - middle) / deviation.max(least)
}

/// What is unusual of a ring in the last hour that is over; `fires` says whether it was so before.
pub fn of_ring(
    usage: &RingUsage<'_>,
    now: Time,
    fires: impl Fn(AlertName) -> bool,
) -> Vec<Condition> {
    let last = now.hour() - 1;
    let mut found = Vec::new();
    let mut add = |name, detail: &str| {
        found.push(Condition {
            name,
            subject: usage.asset.to_owned(),
            level: 1,
            detail: detail.to_owned(),
            by: None,
        });
    };
    let (seen, earlier) = (count(usage.hours, last), weeks(usage, last));
    let over = if fires(AlertName::UsageHigh) {
        USUAL
    } else {
        UNUSUAL
    };
    if earlier.len() >= FEWEST_WEEKS && seen >= FEWEST && score(&earlier, seen) > over {
        add(
            AlertName::UsageHigh,
            "far more uses in an hour than in this hour of other weeks",
        );
    }
    let silent = (0..SILENT_HOURS).all(|back| {
        let hour = last - back;
        let earlier = weeks(usage, hour);
        let always = earlier.len() >= FEWEST_WEEKS && earlier.iter().all(|uses| *uses >= ALWAYS);
        always && count(usage.hours, hour) == 0
    });
    // One that is silent is so until it is used, at whatever hour.
    let still = fires(AlertName::UsageSilent)
        && (0..SILENT_HOURS).all(|back| count(usage.hours, last - back) == 0);
    if silent || still {
        add(
            AlertName::UsageSilent,
            "no use at all in hours that were used in each of the last weeks",
        );
    }
    found
}

/// Whether a key was used after its end, within a day. The hour of its end is not judged.
pub fn of_ended(usage: &EndedUsage<'_>, now: Time) -> Option<Condition> {
    let (from, last) = (usage.ended_at.hour() + 1, now.hour());
    let used = usage
        .hours
        .iter()
        .any(|(hour, count)| *count > 0 && *hour >= from && *hour > last - LATELY && *hour <= last);
    used.then(|| Condition {
        name: AlertName::RetiredKeyUsed,
        subject: usage.kid.to_owned(),
        level: 1,
        detail: format!("used after {}, when its use ended", usage.ended_at),
        by: None,
    })
}

/// How much of the past the rules look at.
pub const LOOKED_AT: Span = Span::hours((WEEK * WEEKS + SILENT_HOURS).unsigned_abs());

#[cfg(test)]
mod tests {
    use super::*;

    /// A Wednesday's hour, many weeks in.
    const HOUR: i64 = 500_000;

    fn never(_: AlertName) -> bool {
        false
    }

    /// By day two hundred, by night twenty, for ten weeks, with a little noise.
    fn rhythm() -> Vec<(i64, u64)> {
        let hours = HOUR - 10 * WEEK..=HOUR;
        hours
            .map(|hour| {
                let noise = u64::try_from(hour.wrapping_mul(7_919).rem_euclid(11)).unwrap();
                let base = if hour.rem_euclid(24) < 12 { 200 } else { 20 };
                (hour, base + noise)
            })
            .collect()
    }

    fn names(hours: Hours<'_>, last: i64, fires: impl Fn(AlertName) -> bool) -> Vec<AlertName> {
        let usage = RingUsage {
            asset: "signing/records",
            hours,
            counted_from: HOUR - 10 * WEEK,
        };
        let found = of_ring(&usage, Time::from_hour(last + 1), fires);
        found.into_iter().map(|one| one.name).collect()
    }

    #[test]
    fn a_weekly_rhythm_is_not_unusual() {
        let hours = rhythm();
        for last in HOUR - WEEK..=HOUR {
            assert_eq!(names(&hours, last, never), [], "{last}");
        }
    }

    #[test]
    fn far_more_than_in_this_hour_of_other_weeks_is_unusual_and_stays_so_until_it_is_clearly_less()
    {
        let mut hours = rhythm();
        let usual = hours.last().unwrap().1;
        hours.last_mut().unwrap().1 = usual * 3;
        assert_eq!(names(&hours, HOUR, never), [AlertName::UsageHigh]);
        // Between the two thresholds it is what it was.
        let earlier: Vec<u64> = (1..=WEEKS)
            .map(|n| count(&hours, HOUR - n * WEEK))
            .collect();
        let between = (1..)
            .find(|more| score(&earlier, usual + more) > 3.0)
            .unwrap();
        hours.last_mut().unwrap().1 = usual + between;
        let was = |name| name == AlertName::UsageHigh;
        assert_eq!(names(&hours, HOUR, never), []);
        let fires = names(&hours, HOUR, was);
        let enough = usual + between >= FEWEST;
        assert_eq!(fires.contains(&AlertName::UsageHigh), enough);
    }

    #[test]
    fn one_wild_week_neither_hides_the_next_nor_makes_the_usual_unusual() {
        let mut hours = rhythm();
        let at = hours.len() - 1;
        hours[at - usize::try_from(WEEK).unwrap()].1 = 1_000_000;
        assert_eq!(names(&hours, HOUR, never), []);
        hours[at].1 = 5_000;
        assert_eq!(names(&hours, HOUR, never), [AlertName::UsageHigh]);
    }

    #[test]
    fn few_uses_and_few_weeks_are_not_judged() {
        let few: Vec<(i64, u64)> = (1..=8).map(|n| (HOUR - n * WEEK, 0)).rev().collect();
        let mut hours = few.clone();
        hours.push((HOUR, FEWEST - 1));
        assert_eq!(names(&hours, HOUR, never), []);
        let young = RingUsage {
            asset: "signing/new",
            hours: &[(HOUR, 1_000_000)],
            counted_from: HOUR - 3 * WEEK,
        };
        assert_eq!(of_ring(&young, Time::from_hour(HOUR + 1), never), []);
        // Weeks that are all alike have no deviation at all, and are judged by that of independent events.
        let alike = vec![100_u64; 8];
        assert!(score(&alike, 130) < UNUSUAL && score(&alike, 140) > UNUSUAL);
    }

    #[test]
    fn a_ring_that_always_signs_is_silent_after_two_hours_without_and_until_it_is_used() {
        let mut hours = rhythm();
        let at = hours.len() - 1;
        hours[at].1 = 0;
        assert_eq!(names(&hours, HOUR, never), [], "one hour");
        hours[at - 1].1 = 0;
        assert_eq!(names(&hours, HOUR, never), [AlertName::UsageSilent]);
        // An hour that is not always used.
        for back in 1..=WEEKS {
            let one = hours
                .iter()
                .position(|(hour, _)| *hour == HOUR + 1 - back * WEEK);
            hours[one.unwrap()].1 = 0;
        }
        let was = |name| name == AlertName::UsageSilent;
        assert_eq!(names(&hours, HOUR + 1, never), []);
        assert_eq!(names(&hours, HOUR + 1, was), [AlertName::UsageSilent]);
        hours.push((HOUR + 1, 1));
        assert_eq!(names(&hours, HOUR + 1, was), []);
    }

    #[test]
    fn threat_a_key_is_used_after_its_end() {
        let ended_at = Time::from_hour(HOUR) + Span::minutes(20);
        let used = |hours: Hours<'_>, now: i64| {
            let usage = EndedUsage {
                kid: "k",
                ended_at,
                hours,
            };
            of_ended(&usage, Time::from_hour(now)).is_some()
        };
        assert!(
            !used(&[(HOUR - 1, 9), (HOUR, 9)], HOUR + 3),
            "before its end"
        );
        assert!(
            used(&[(HOUR, 9), (HOUR + 1, 1)], HOUR + 1),
            "one use is enough"
        );
        assert!(!used(&[(HOUR + 1, 0)], HOUR + 3));
        assert!(!used(&[(HOUR + 1, 1)], HOUR + 40), "long ago");
    }
}
