//! How often keys sign. Nothing is counted on the way of a signature: the leaves are, behind it, many at once (the crate
//! `store`), by whichever replica integrates.

use std::time::Duration;

use store::{HourRow, Store};
use trust::{Kid, Time};

const HOUR: Duration = Duration::from_secs(3_600);

/// Hours that are kept and may be asked for.
pub const MOST_HOURS: u32 = 24 * 90;

/// Hours of which the mean of a day is taken.
const WEEK: u32 = 24 * 7;

/// What a key signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyUsage {
    /// The first instant that `hours` are of.
    pub from: Time,
    /// Until when it was counted.
    pub until: Time,
    /// Signatures in all, since its beginning.
    pub total: u64,
    /// The hours that have any, oldest first.
    pub hours: Vec<HourRow>,
}

impl KeyUsage {
    /// The hour of `until` and those before it, so many in all.
    pub async fn read(
        store: &Store,
        kid: &Kid,
        until: Time,
        hours: u32,
    ) -> Result<Self, store::Error> {
        let from = first_hour(until, hours);
        let days = store.signatures_by_day(kid.as_str(), 0).await?;
        let total = days.iter().map(|day| day.signatures.unsigned_abs()).sum();
        Ok(Self {
            from,
            until,
            total,
            hours: store.signatures_by_hour(kid.as_str(), from).await?,
        })
    }

    /// As the planner predicts by: what is read and how far back is the same for each replica.
    pub async fn lately(store: &Store, kid: &Kid, until: Time) -> Result<Self, store::Error> {
        Self::read(store, kid, until, WEEK).await
    }

    /// In the hours that were asked for.
    pub fn signatures(&self) -> u64 {
        self.hours.iter().map(|hour| hour.signatures).sum()
    }

    /// In the hours that begin at this instant or later.
    pub fn since(&self, from: Time) -> u64 {
        let hours = self.hours.iter().filter(|hour| hour.from >= from);
        hours.map(|hour| hour.signatures).sum()
    }

    /// Signatures a day: the mean of the hours that were asked for, or those of the last day where they are more, because what
    /// grows is expected to stay so.
    pub fn per_day(&self) -> u64 {
        let hours = self.until.since(self.from).as_secs().div_ceil(3_600).max(1);
        let mean = self.signatures().saturating_mul(24) / hours;
        mean.max(self.since(first_hour(self.until, 24)))
    }
}

/// The first instant of an hour and of so many that end with it.
fn first_hour(last: Time, hours: u32) -> Time {
    let millis = last.millis().max(0);
    let begun = Time::from_millis(millis - millis % 3_600_000);
    begun - HOUR * hours.saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_000_000_000;

    fn usage(hours: u32, counts: &[(i64, u64)]) -> KeyUsage {
        let until = Time::from_millis(NOW);
        let at = |ago: i64| Time::from_millis(NOW - NOW % 3_600_000 - ago * 3_600_000);
        KeyUsage {
            from: first_hour(until, hours),
            until,
            total: 0,
            hours: counts
                .iter()
                .map(|(ago, signatures)| HourRow {
                    from: at(*ago),
                    signatures: *signatures,
                })
                .collect(),
        }
    }

    #[test]
    fn a_day_is_the_mean_of_the_week_unless_the_last_one_had_more() {
        assert_eq!(usage(WEEK, &[]).per_day(), 0);
        // 70 of a week that were all days ago: ten a day.
        assert_eq!(usage(WEEK, &[(100, 70)]).per_day(), 10);
        assert_eq!(usage(WEEK, &[(100, 70), (1, 40)]).per_day(), 40);
        // The hour before the day does not count for it.
        assert_eq!(usage(WEEK, &[(24, 70)]).per_day(), 10);
        assert_eq!(usage(WEEK, &[(23, 70)]).per_day(), 70);
    }

    #[test]
    fn hours_are_whole_and_the_last_one_is_under_way() {
        let one = usage(1, &[]);
        assert_eq!(one.from.millis(), NOW - NOW % 3_600_000);
        let day = usage(24, &[]);
        assert_eq!(one.from.since(day.from), HOUR * 23);
    }
}
