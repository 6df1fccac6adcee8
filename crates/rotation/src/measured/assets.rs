//! What there is, counted by key type.

use std::collections::BTreeMap;

use base::names;
use calendar::plan::due_at;
use calendar::words::Trigger;
use calendar::{AssetFacts, Policy, Time};
use metrics::{SharedString, counter, gauge};

use crate::key_type_labels::KeyTypeLabels;

/// Shares of the interval in percent, as [`names::OLDER_THAN`] has them.
const PERCENT: [u64; 2] = [125, 150];

/// Of all key types.
pub struct Assets {
    types: BTreeMap<SharedString, OfType>,
}

#[derive(Debug, Default, Clone, PartialEq)]
struct OfType {
    assets: u64,
    overdue: u64,
    unplanned: u64,
    expiring: [u64; 3],
    expired: u64,
    older: [u64; 2],
    /// In seconds, as is the lag.
    oldest: Option<u64>,
    lag: u64,
}

impl Assets {
    /// None of each key type.
    pub fn new(labels: &KeyTypeLabels) -> Self {
        let types = labels.all().into_iter();
        Self {
            types: types.map(|label| (label, OfType::default())).collect(),
        }
    }

    /// One more, with the policy of its key type, as of `now`.
    pub fn add(
        &mut self,
        label: SharedString,
        asset: &AssetFacts,
        policy: Option<&Policy>,
        now: Time,
    ) {
        let of = self.types.entry(label).or_default();
        of.assets += 1;
        let primary = asset.primary().ok();
        let due = policy.and_then(|policy| due_at(asset, policy));
        match due.filter(|_| primary.is_some()) {
            None => of.unplanned += 1,
            Some(due) if due <= now => {
                of.overdue += 1;
                of.lag = of.lag.max(now.since(due).as_seconds());
            }
            Some(_) => {}
        }
        let Some((version, since)) = primary else {
            return;
        };
        let age = now.since(since).as_seconds();
        of.oldest = Some(of.oldest.map_or(age, |oldest| oldest.max(age)));
        if let Some(end) = version.expires_at {
            of.expired += u64::from(end <= now);
        }
        let Some(policy) = policy else { return };
        // What is replaced when it expires, and by no other calendar, has no age.
        let interval = match policy.has(Trigger::Time) {
            true => policy.interval().as_seconds(),
            false => 0,
        };
        for (count, percent) in of.older.iter_mut().zip(PERCENT) {
            let bound = u128::from(interval) * u128::from(percent);
            *count += u64::from(interval > 0 && u128::from(age) * 100 > bound);
        }
        if let Some(end) = version.expires_at {
            let warnings = policy.expiry_alerts(end, end.since(since));
            for (count, at) in of.expiring.iter_mut().zip(warnings) {
                *count += u64::from(at <= now);
            }
        }
    }

    /// To the recorder.
    #[expect(
        clippy::cast_precision_loss,
        reason = "gauges are f64; nothing here comes near 2^53"
    )]
    pub fn tell(&self) {
        for (label, of) in &self.types {
            let set = |name, value: f64| gauge!(name, "key_type" => label.clone()).set(value);
            for state in names::END_STATES {
                let labels = [("key_type", label.clone()), ("state", state.into())];
                // Of a series that begins at one, nobody sees that it rose.
                counter!(names::ROTATIONS_ENDED, &labels).increment(0);
            }
            set(names::ASSETS, of.assets as f64);
            set(names::ASSETS_OVERDUE, of.overdue as f64);
            set(names::ASSETS_UNPLANNED, of.unplanned as f64);
            set(names::ASSETS_EXPIRED, of.expired as f64);
            set(names::ROTATION_LAG, of.lag as f64);
            let oldest = of.oldest.map_or(f64::NAN, |age| age as f64);
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

#[cfg(test)]
mod tests {
    use calendar::facts::VersionFacts;
    use calendar::policy::Caches;
    use calendar::words::VersionState;
    use calendar::{KeyTypes, Policies};

    use super::*;

    const DAY: i64 = 86_400_000;

    /// `api_signature` rotates each 90 days.
    const KEY_TYPE: &str = "api_signature";

    fn day(day: i64) -> Time {
        Time::from_millis(day * DAY)
    }

    fn asset(state: VersionState, ends: Option<i64>) -> AssetFacts {
        AssetFacts {
            name: "external/one".parse().unwrap(),
            key_type: KEY_TYPE.parse().unwrap(),
            owner: None,
            versions: vec![VersionFacts {
                number: 1,
                created_at: day(0),
                expires_at: ends.map(day),
                state,
            }],
            usage: None,
            request: None,
            events: Vec::new(),
            held: false,
        }
    }

    /// In use since day 0.
    fn used(ends: Option<i64>) -> AssetFacts {
        asset(VersionState::Primary { since: day(0) }, ends)
    }

    fn counted(asset: &AssetFacts, now: Time) -> OfType {
        let (types, caches) = (KeyTypes::standard(), Caches::default());
        let policies = Policies::standard(&types, caches, day(0)).unwrap();
        let mut assets = Assets::new(&KeyTypeLabels::default());
        assets.add(KEY_TYPE.into(), asset, policies.get(&asset.key_type), now);
        assets.types[&SharedString::from(KEY_TYPE)].clone()
    }

    #[test]
    fn an_asset_ages_past_its_date_and_past_its_limits() {
        let at = |now| {
            let of = counted(&used(None), day(now));
            (of.overdue, of.lag / 86_400, of.older)
        };
        assert_eq!(at(89), (0, 0, [0, 0]));
        assert_eq!(at(90), (1, 0, [0, 0]));
        assert_eq!(at(112), (1, 22, [0, 0]));
        assert_eq!(at(113), (1, 23, [1, 0]));
        assert_eq!(at(135), (1, 45, [1, 0]));
        assert_eq!(at(136), (1, 46, [1, 1]));
    }

    #[test]
    fn what_has_no_calendar_of_its_own_is_never_too_old() {
        let mut certificate = used(Some(730));
        certificate.key_type = "client_certificate".parse().unwrap();
        let (types, caches) = (KeyTypes::standard(), Caches::default());
        let policies = Policies::standard(&types, caches, day(0)).unwrap();
        let policy = policies.get(&certificate.key_type);
        let mut assets = Assets::new(&KeyTypeLabels::default());
        assets.add("client_certificate".into(), &certificate, policy, day(600));
        let of = &assets.types[&SharedString::from("client_certificate")];
        assert_eq!((of.assets, of.overdue, of.older), (1, 0, [0, 0]));
    }

    #[test]
    fn an_expiry_is_warned_of_three_times() {
        let at = |now| {
            let of = counted(&used(Some(100)), day(now));
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
        let prepared = VersionState::Prepared { published_at: None };
        let of = counted(&asset(prepared, None), day(500));
        let expected = OfType {
            assets: 1,
            unplanned: 1,
            ..OfType::default()
        };
        assert_eq!(of, expected);
    }
}
