//! When an asset's next version has to be the primary, and in which hours its rotation may begin.

use crate::facts::{AssetFacts, UsageFacts};
use crate::policy::Policy;
use crate::time::{Span, Time};
use crate::words::{Reason, Trigger};

/// What the steps of a rotation take, with an attempt or two that fail: it begins so much earlier than it would have to.
pub const WORK: Span = Span::hours(1);

/// What the next rotation of an asset follows from. It does not depend on when it is asked: replicas whose clocks differ
/// plan the same.
#[derive(Clone, Copy, Debug)]
pub(super) struct Basis {
    /// Since when the primary is that.
    pub(super) since: Time,
    /// When the primary was made.
    pub(super) created_at: Time,
    /// When it ends by itself.
    pub(super) expires_at: Option<Time>,
    /// How often it was used.
    pub(super) usage: Option<UsageFacts>,
}

/// When a version has to be the primary, and what for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) at: Time,
    pub(super) trigger: Trigger,
}

impl Basis {
    /// The earliest of what the policy's triggers say. `None` if none of them has a date.
    pub(super) fn due(&self, policy: &Policy) -> Option<Due> {
        let time = policy.has(Trigger::Time).then(|| Due {
            at: self.since + policy.interval(),
            trigger: Trigger::Time,
        });
        let expiry = self
            .expires_at
            .filter(|_| policy.has(Trigger::Expiry))
            .map(|expires_at| {
                let lifetime = expires_at.since(self.created_at);
                Due {
                    at: expires_at - policy.renew_before(lifetime),
                    trigger: Trigger::Expiry,
                }
            });
        let usage = policy
            .document()
            .usage_limit
            .zip(self.usage)
            .and_then(|(limit, usage)| {
                let at = limit_reached(limit, usage)?;
                Some(Due {
                    at,
                    trigger: Trigger::Usage,
                })
            });
        [time, expiry, usage]
            .into_iter()
            .flatten()
            .min_by_key(|due| (due.at, due.trigger))
    }

    /// The basis of the rotation after one that is made at `made` and promoted at `promoted`: with the same lifetime and used
    /// as often.
    pub(super) fn after(&self, made: Time, promoted: Time) -> Self {
        let lifetime = self
            .expires_at
            .map(|expires_at| expires_at.since(self.created_at));
        Self {
            since: promoted,
            created_at: made,
            expires_at: lifetime.map(|lifetime| made + lifetime),
            usage: self.usage.map(|usage| UsageFacts {
                counted_at: promoted,
                uses: 0,
                per_day: usage.per_day,
            }),
        }
    }

    /// Of the primary of an asset.
    pub(super) fn of(asset: &AssetFacts) -> Result<Self, usize> {
        let (version, since) = asset.primary()?;
        Ok(Self {
            since,
            created_at: version.created_at,
            expires_at: version.expires_at,
            usage: asset.usage,
        })
    }
}

/// When a limit will have been reached, at nine tenths of it: a prediction is no promise.
fn limit_reached(limit: u64, usage: UsageFacts) -> Option<Time> {
    let mark = limit - limit / 10;
    let left = mark.saturating_sub(usage.uses);
    if left == 0 {
        return Some(usage.counted_at);
    }
    if usage.per_day == 0 {
        return None;
    }
    let seconds = u128::from(left) * 86_400 / u128::from(usage.per_day);
    let span = Span::seconds(u64::try_from(seconds).unwrap_or(u64::MAX));
    // Beyond a hundred years is never.
    (span < Span::LONGEST).then(|| usage.counted_at + span)
}

/// In which hours a rotation may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hours {
    /// None before.
    pub(super) earliest: i64,
    /// Where it begins if nothing is in the way: the jitter's place, by the asset's name.
    pub(super) preferred: i64,
    /// Begun later, it promotes too late.
    pub(super) latest: i64,
    /// Why nothing would be early enough.
    pub(super) hopeless: Option<Reason>,
}

impl Hours {
    /// For a version that is primary by `due`, begun not before `from`; `place` is the asset's number for the jitter.
    pub(super) fn of(policy: &Policy, due: Due, from: Time, place: u64) -> Self {
        let open = policy.open_hours();
        // Promoted in the last open hour that begins by then, and begun early enough before.
        let promote = open.last_by(due.at.hour()).unwrap_or(due.at.hour());
        let promote = if open.is_always() {
            due.at
        } else {
            Time::from_hour(promote)
        };
        let latest = (promote - policy.lead() - WORK).hour();
        let latest = open.last_by(latest).unwrap_or(latest);
        let first = ceiling_hour(from);
        let jitter = i64::try_from(policy.jitter().as_seconds() / crate::time::HOUR).unwrap_or(0);
        let earliest = (latest - jitter).max(first);
        if first > latest {
            return Self {
                earliest: first,
                preferred: first,
                latest: first,
                hopeless: Some(Reason::TooShort),
            };
        }
        let room = u64::try_from(latest - earliest).unwrap_or(0) + 1;
        let back = i64::try_from(place % room).unwrap_or(0);
        Self {
            earliest,
            preferred: latest - back,
            latest,
            hopeless: None,
        }
    }

    /// At once.
    pub(super) fn at(at: Time) -> Self {
        let hour = at.hour();
        Self {
            earliest: hour,
            preferred: hour,
            latest: hour,
            hopeless: None,
        }
    }
}

/// The first hour that begins not before `at`.
pub(super) fn ceiling_hour(at: Time) -> i64 {
    let hour = at.hour();
    if Time::from_hour(hour) < at {
        hour + 1
    } else {
        hour
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_of_uses_is_predicted_from_when_it_was_counted() {
        let counted_at: Time = "2026-11-30T00:00:00.000Z".parse().unwrap();
        let usage = |uses, per_day| UsageFacts {
            counted_at,
            uses,
            per_day,
        };
        assert_eq!(
            limit_reached(1_000, usage(0, 100)),
            Some(counted_at + Span::days(9))
        );
        assert_eq!(limit_reached(1_000, usage(900, 100)), Some(counted_at));
        assert_eq!(limit_reached(1_000, usage(5_000, 0)), Some(counted_at));
        assert_eq!(limit_reached(1_000, usage(0, 0)), None);
        assert_eq!(limit_reached(u64::MAX, usage(0, 1)), None);
    }
}
