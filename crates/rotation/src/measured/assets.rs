//! What there is, counted by key type.

use std::collections::BTreeMap;

use base::names;
use calendar::Policy;
use metrics::{SharedString, gauge};
use store::{AssetState, InventoryRow};
use trust::Time;

use crate::inventory::due_by;
use crate::key_type_labels::KeyTypeLabels;
use crate::times::from_row;

/// Shares of the interval in percent, as [`names::OLDER_THAN`] has them.
const PERCENT: [u64; 2] = [125, 150];

/// Of all key types.
pub struct Assets {
    types: BTreeMap<SharedString, OfType>,
    /// Rows that cannot be read.
    pub unreadable: usize,
}

#[derive(Debug, Default, Clone, PartialEq)]
struct OfType {
    assets: u64,
    overdue: u64,
    unplanned: u64,
    expiring: [u64; 3],
    expired: u64,
    older: [u64; 2],
    /// In milliseconds.
    oldest: Option<u64>,
    lag: u64,
}

impl Assets {
    /// None of each key type.
    pub fn new(labels: &KeyTypeLabels) -> Self {
        let types = labels.all().into_iter();
        Self {
            types: types.map(|label| (label, OfType::default())).collect(),
            unreadable: 0,
        }
    }

    /// One more, with the policy of its key type, as of `now`.
    pub fn add(
        &mut self,
        label: SharedString,
        row: &InventoryRow,
        policy: Option<&Policy>,
        now: Time,
    ) {
        let of = self.types.entry(label).or_default();
        of.assets += 1;
        let due = policy.and_then(|policy| due_by(row, policy));
        match due {
            None => of.unplanned += 1,
            Some(due) if due <= now => {
                of.overdue += 1;
                of.lag = of.lag.max(millis_since(now, due));
            }
            Some(_) => {}
        }
        let Some(since) = row.rotated_at.filter(|_| row.state == AssetState::Active) else {
            return;
        };
        let age = millis_since(now, since);
        of.oldest = Some(of.oldest.map_or(age, |oldest| oldest.max(age)));
        if let Some(end) = row.expires_at {
            of.expired += u64::from(end <= now);
        }
        let Some(policy) = policy else { return };
        let interval = policy.interval().as_seconds().saturating_mul(1_000);
        for (count, percent) in of.older.iter_mut().zip(PERCENT) {
            let bound = u128::from(interval) * u128::from(percent);
            *count += u64::from(interval > 0 && u128::from(age) * 100 > bound);
        }
        if let Some(end) = row.expires_at {
            let (end, since) = (from_row(end), from_row(since));
            let warnings = policy.expiry_alerts(end, end.since(since));
            for (count, at) in of.expiring.iter_mut().zip(warnings) {
                *count += u64::from(at <= from_row(now));
            }
        }
    }

    /// To the recorder.
    #[expect(
        clippy::cast_precision_loss,
        reason = "gauges are f64; nothing here comes near 2^53"
    )]
    pub fn tell(&self) {
        gauge!(names::ROWS_UNREADABLE, "table" => "inventory").set(self.unreadable as f64);
        for (label, of) in &self.types {
            let set = |name, value: f64| gauge!(name, "key_type" => label.clone()).set(value);
            set(names::ASSETS, of.assets as f64);
            set(names::ASSETS_OVERDUE, of.overdue as f64);
            set(names::ASSETS_UNPLANNED, of.unplanned as f64);
            set(names::ASSETS_EXPIRED, of.expired as f64);
            set(names::ROTATION_LAG, of.lag as f64 / 1_000.0);
            let oldest = of.oldest.map_or(f64::NAN, |age| age as f64 / 1_000.0);
            set(names::ASSET_OLDEST_AGE, oldest);
            for (count, warning) in of.expiring.iter().zip(names::EXPIRY_WARNINGS) {
                gauge!(
                    names::ASSETS_EXPIRING,
                    "key_type" => label.clone(), "warning" => warning
                )
                .set(*count as f64);
            }
            for (count, than) in of.older.iter().zip(names::OLDER_THAN) {
                gauge!(names::ASSETS_OLDER, "key_type" => label.clone(), "than" => than)
                    .set(*count as f64);
            }
        }
    }
}

fn millis_since(now: Time, then: Time) -> u64 {
    u64::try_from(now.millis().saturating_sub(then.millis())).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use calendar::key_type::Storage;
    use calendar::policy::Caches;
    use calendar::{KeyTypes, Policies};

    use super::*;

    const DAY: i64 = 86_400_000;

    fn day(day: i64) -> Time {
        Time::from_millis(day * DAY)
    }

    /// Rotated on day 0; `signing` rotates each 90 days.
    fn row(state: AssetState, ends: Option<i64>) -> InventoryRow {
        InventoryRow {
            asset: "external/one".parse().unwrap(),
            key_type: "api_signature".parse().unwrap(),
            owner: None,
            state,
            storage: Storage::Wrapped,
            algorithm: None,
            version: 1,
            created_at: day(0),
            rotated_at: Some(day(0)),
            expires_at: ends.map(day),
            purpose: String::new(),
            labels: BTreeMap::new(),
            changed_at: None,
        }
    }

    fn counted(rows: &[InventoryRow], now: Time) -> OfType {
        let types = KeyTypes::standard();
        let caches = Caches::default();
        let policies = Policies::standard(&types, caches, calendar::Time::from_millis(0)).unwrap();
        let mut assets = Assets::new(&KeyTypeLabels::default());
        for row in rows {
            let policy = policies.get(&row.key_type);
            assets.add("api_signature".into(), row, policy, now);
        }
        assets.types[&SharedString::from("api_signature")].clone()
    }

    #[test]
    fn an_asset_ages_past_its_date_and_past_its_limits() {
        let active = [row(AssetState::Active, None)];
        let at = |now| {
            let of = counted(&active, day(now));
            (of.overdue, of.lag / 86_400_000, of.older)
        };
        assert_eq!(at(89), (0, 0, [0, 0]));
        assert_eq!(at(90), (1, 0, [0, 0]));
        assert_eq!(at(112), (1, 22, [0, 0]));
        assert_eq!(at(113), (1, 23, [1, 0]));
        assert_eq!(at(135), (1, 45, [1, 0]));
        assert_eq!(at(136), (1, 46, [1, 1]));
    }

    #[test]
    fn an_expiry_is_warned_of_three_times() {
        let ends = [row(AssetState::Active, Some(100))];
        let at = |now| {
            let of = counted(&ends, day(now));
            (of.expiring, of.expired)
        };
        assert_eq!(at(69), ([0, 0, 0], 0));
        assert_eq!(at(70), ([1, 0, 0], 0));
        assert_eq!(at(93), ([1, 1, 0], 0));
        assert_eq!(at(99), ([1, 1, 1], 0));
        assert_eq!(at(100), ([1, 1, 1], 1));
    }

    #[test]
    fn what_was_never_used_has_no_age_and_no_date() {
        let prepared = [row(AssetState::Prepared, None)];
        let of = counted(&prepared, day(500));
        let expected = OfType {
            assets: 1,
            unplanned: 1,
            ..OfType::default()
        };
        assert_eq!(of, expected);
    }
}
