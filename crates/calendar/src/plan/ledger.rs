//! How many rotations begin in which hour, for each resource, and the nearest hour with room.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use serde::Serialize;

use crate::facts::Limits;
use crate::name::{Word, mix};
use crate::time::Time;
use crate::windows::OpenHours;

/// What has a limit for each hour.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resource {
    /// The HSM.
    Token,
    /// A team.
    Team(Word),
    /// An owner that is no team.
    Owner(Word),
}

/// The resources that one rotation takes, by their numbers in the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Takes([Option<u32>; 3]);

impl Takes {
    fn each(self) -> impl Iterator<Item = u32> {
        self.0.into_iter().flatten()
    }
}

/// The keys are numbers that are mixed already; SipHash would be a third of the planner's time.
#[derive(Default)]
struct Mixed(u64);

impl Hasher for Mixed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = mix(self.0 ^ u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = mix(self.0 ^ number);
    }
}

type Table<V> = HashMap<u64, V, BuildHasherDefault<Mixed>>;

/// Hours in use. An hour that is full points to its nearest neighbours that were not when it was asked last; pointers are
/// shortened as they are followed, so that ten thousand rotations in one hour cost no more than in many.
#[derive(Default)]
pub(crate) struct Ledger {
    resources: Vec<(Resource, u32)>,
    numbers: HashMap<Resource, u32>,
    counts: Table<u32>,
    before: Table<i64>,
    after: Table<i64>,
}

/// A resource and an hour as one number. Hours of the years 1970 to 9999 have 27 bits.
fn key(resource: u32, hour: i64) -> u64 {
    (u64::from(resource) << 32) | (hour.cast_unsigned() & 0xffff_ffff)
}

impl Ledger {
    pub(crate) fn takes(
        &mut self,
        limits: &Limits,
        token: bool,
        team: &Word,
        owner: Option<&Word>,
    ) -> Takes {
        let token = token.then(|| self.number(Resource::Token, limits.token_per_hour.get()));
        let of_team = limits
            .teams
            .get(team)
            .unwrap_or(&limits.team_per_hour)
            .get();
        let owner = owner.filter(|owner| *owner != team);
        let owner = owner
            .map(|owner| self.number(Resource::Owner(owner.clone()), limits.owner_per_hour.get()));
        let team = self.number(Resource::Team(team.clone()), of_team);
        Takes([token, Some(team), owner])
    }

    fn number(&mut self, resource: Resource, limit: u32) -> u32 {
        if let Some(number) = self.numbers.get(&resource) {
            return *number;
        }
        let number = u32::try_from(self.resources.len()).unwrap_or(u32::MAX);
        self.resources.push((resource.clone(), limit));
        self.numbers.insert(resource, number);
        number
    }

    /// Enters a rotation, whether there is room or not.
    pub(crate) fn enter(&mut self, takes: Takes, hour: i64) {
        for resource in takes.each() {
            *self.counts.entry(key(resource, hour)).or_insert(0) += 1;
        }
    }

    fn is_full(&self, resource: u32, hour: i64) -> bool {
        let limit = self
            .resources
            .get(resource as usize)
            .map_or(u32::MAX, |each| each.1);
        self.counts
            .get(&key(resource, hour))
            .is_some_and(|count| *count >= limit)
    }

    /// Whether an hour has room for all.
    pub(crate) fn has_room(&self, takes: Takes, hour: i64) -> bool {
        takes.each().all(|resource| !self.is_full(resource, hour))
    }

    /// The nearest hour not after `hour` with room for one resource.
    fn free_by(&mut self, resource: u32, hour: i64) -> i64 {
        let mut at = hour;
        while self.is_full(resource, at) {
            at = self
                .before
                .get(&key(resource, at))
                .copied()
                .unwrap_or(at - 1);
        }
        self.shorten_before(resource, hour, at);
        at
    }

    fn shorten_before(&mut self, resource: u32, from: i64, to: i64) {
        let mut at = from;
        while at > to {
            let next = self.before.insert(key(resource, at), to).unwrap_or(at - 1);
            at = next;
        }
    }

    /// The nearest hour not before `hour` with room for one resource.
    fn free_from(&mut self, resource: u32, hour: i64) -> i64 {
        let mut at = hour;
        while self.is_full(resource, at) {
            at = self
                .after
                .get(&key(resource, at))
                .copied()
                .unwrap_or(at + 1);
        }
        self.shorten_after(resource, hour, at);
        at
    }

    fn shorten_after(&mut self, resource: u32, from: i64, to: i64) {
        let mut at = from;
        while at < to {
            let next = self.after.insert(key(resource, at), to).unwrap_or(at + 1);
            at = next;
        }
    }

    /// The last hour between `lowest` and `hour` that is open and has room for all.
    pub(crate) fn room_by(
        &mut self,
        takes: Takes,
        open: &OpenHours,
        lowest: i64,
        hour: i64,
    ) -> Option<i64> {
        let mut at = hour;
        while at >= lowest {
            let opened = open.last_by(at)?;
            let free = takes.each().fold(opened, |least, resource| {
                least.min(self.free_by(resource, opened))
            });
            if free == at {
                return Some(at);
            }
            at = free;
        }
        None
    }

    /// The first hour between `hour` and `highest` that is open and has room for all.
    pub(crate) fn room_from(
        &mut self,
        takes: Takes,
        open: &OpenHours,
        hour: i64,
        highest: i64,
    ) -> Option<i64> {
        let mut at = hour;
        while at <= highest {
            let opened = open.first_from(at)?;
            let free = takes.each().fold(opened, |most, resource| {
                most.max(self.free_from(resource, opened))
            });
            if free == at {
                return Some(at);
            }
            at = free;
        }
        None
    }

    /// The hours with more rotations than their limit: events that were given their hour under other limits, and
    /// emergencies, which do not wait.
    pub(crate) fn conflicts(&self) -> Vec<Conflict> {
        let over = self.counts.iter().filter_map(|(key, count)| {
            let (resource, limit) = self.resources.get(usize::try_from(key >> 32).ok()?)?;
            let hour = i64::try_from(key & 0xffff_ffff).ok()?;
            (count > limit).then(|| Conflict {
                hour: Time::from_hour(hour),
                resource: resource.clone(),
                rotations: *count,
                limit: *limit,
            })
        });
        let mut over: Vec<Conflict> = over.collect();
        over.sort_unstable();
        over
    }
}

/// More rotations in one hour than a resource can do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Conflict {
    /// The hour.
    pub hour: Time,
    /// Whose limit.
    pub resource: Resource,
    /// How many begin in it.
    pub rotations: u32,
    /// How many can.
    pub limit: u32,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::windows::{Weekday, Window};

    #[test]
    fn the_nearest_hour_with_room_for_all_is_found() {
        let limits = Limits {
            token_per_hour: std::num::NonZeroU32::new(2).unwrap(),
            ..Limits::default()
        };
        let mut ledger = Ledger::default();
        let team: Word = "security".parse().unwrap();
        let owner: Word = "orders".parse().unwrap();
        let takes = ledger.takes(&limits, true, &team, None);
        let owned = ledger.takes(&limits, true, &team, Some(&owner));
        for _ in 0..2 {
            ledger.enter(takes, 100);
        }
        ledger.enter(owned, 99);
        assert_eq!(ledger.room_by(takes, &OpenHours::ALWAYS, 90, 100), Some(99));
        assert_eq!(ledger.room_by(owned, &OpenHours::ALWAYS, 90, 100), Some(98));
        assert_eq!(ledger.room_by(owned, &OpenHours::ALWAYS, 99, 100), None);
        assert_eq!(
            ledger.room_from(owned, &OpenHours::ALWAYS, 99, 200),
            Some(101)
        );
        assert_eq!(ledger.room_from(owned, &OpenHours::ALWAYS, 99, 100), None);
        assert_eq!(ledger.conflicts(), []);
        ledger.enter(owned, 100);
        assert_eq!(ledger.conflicts().len(), 1);
    }

    #[test]
    fn closed_hours_have_no_room() {
        let window = Window {
            days: vec![Weekday::Thursday],
            from_minute: 0,
            until_minute: 120,
        };
        let open = OpenHours::of(&[window]).unwrap();
        let mut ledger = Ledger::default();
        let takes = ledger.takes(
            &Limits::default(),
            false,
            &"security".parse().unwrap(),
            None,
        );
        // 1970-01-01 was a Thursday.
        assert_eq!(ledger.room_from(takes, &open, 2, 500), Some(168));
        assert_eq!(ledger.room_by(takes, &open, 0, 100), Some(1));
        assert_eq!(ledger.room_by(takes, &open, 2, 100), None);
    }
}
