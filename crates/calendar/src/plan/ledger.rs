//! How many rotations begin in which hour, for each resource, and the nearest hour with room.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};

use serde::Serialize;

use crate::facts::{AssetFacts, Limits};
use crate::name::{Word, mix};
use crate::policy::Policy;
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

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token => f.write_str("the HSM"),
            Self::Team(team) => write!(f, "the team {team}"),
            Self::Owner(owner) => write!(f, "the owner {owner}"),
        }
    }
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

/// A resource as one driver consumes it. The token is there once, whoever asks it; of teams and owners each driver has the
/// whole limit for itself, so that what waits for people does not push aside what runs by itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Part {
    resource: Resource,
    /// The kind of assets, unless all share it.
    kind: Option<Word>,
}

/// Hours in use. An hour in which a resource has no room any more, or that is closed, points to its nearest neighbours that
/// had room when it was asked last; what is full stays full, so pointers are shortened as they are followed, and a hundred
/// thousand rotations that would like one hour, in windows or without, cost no more than in many.
#[derive(Default)]
pub(crate) struct Ledger {
    resources: Vec<(Part, u32)>,
    numbers: HashMap<Part, u32>,
    /// The kinds of assets that were entered, which are few.
    kinds: Vec<Word>,
    counts: Table<u32>,
    /// Windows that were asked for, which are as many as policies and orders have.
    opens: Vec<Opens>,
    opens_of: HashMap<OpenHours, usize>,
}

/// The hours of some windows, with the pointers of those that have no room.
struct Opens {
    hours: OpenHours,
    before: Table<i64>,
    after: Table<i64>,
}

/// Windows by their number in the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Open(usize);

/// A resource and an hour as one number. Hours of the years 1970 to 9999 have 27 bits.
fn key(resource: u32, hour: i64) -> u64 {
    (u64::from(resource) << 32) | (hour.cast_unsigned() & 0xffff_ffff)
}

impl Ledger {
    /// What a rotation of an asset takes: of the token if it runs there, of the people who answer for it beside what other
    /// drivers take of them.
    pub(crate) fn takes(&mut self, limits: &Limits, asset: &AssetFacts, policy: &Policy) -> Takes {
        let token = policy.key_type().uses_token() && !asset.name.is_external();
        let kind = self.kind(asset.name.kind());
        self.takes_of(limits, (token, kind), policy.owner(), asset.owner.as_ref())
    }

    fn takes_of(
        &mut self,
        limits: &Limits,
        (token, kind): (bool, Option<Word>),
        team: &Word,
        owner: Option<&Word>,
    ) -> Takes {
        let token = token.then(|| self.number(Resource::Token, None, limits.token_per_hour.get()));
        let of_team = limits.teams.get(team).unwrap_or(&limits.team_per_hour);
        let owner = owner.filter(|owner| *owner != team).map(|owner| {
            let owner = Resource::Owner(owner.clone());
            self.number(owner, kind.clone(), limits.owner_per_hour.get())
        });
        let team = self.number(Resource::Team(team.clone()), kind, of_team.get());
        Takes([token, Some(team), owner])
    }

    /// A kind of assets as a word, which each is by the grammar of names.
    fn kind(&mut self, kind: &str) -> Option<Word> {
        if let Some(known) = self.kinds.iter().find(|known| known.as_str() == kind) {
            return Some(known.clone());
        }
        let kind: Word = kind.parse().ok()?;
        self.kinds.push(kind.clone());
        Some(kind)
    }

    fn number(&mut self, resource: Resource, kind: Option<Word>, limit: u32) -> u32 {
        let part = Part { resource, kind };
        if let Some(number) = self.numbers.get(&part) {
            return *number;
        }
        let number = u32::try_from(self.resources.len()).unwrap_or(u32::MAX);
        self.resources.push((part.clone(), limit));
        self.numbers.insert(part, number);
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

    /// Some windows; none that never open.
    pub(crate) fn open(&mut self, hours: &OpenHours) -> Option<Open> {
        if let Some(known) = self.opens_of.get(hours) {
            return Some(Open(*known));
        }
        hours.first_from(0)?;
        let number = self.opens.len();
        self.opens.push(Opens {
            hours: hours.clone(),
            before: Table::default(),
            after: Table::default(),
        });
        self.opens_of.insert(hours.clone(), number);
        Some(Open(number))
    }

    /// Whether a resource has no room in an hour, or the hour is closed.
    fn is_shut(&self, resource: u32, opens: &Opens, hour: i64) -> bool {
        !opens.hours.is_always() && !opens.hours.at(hour) || self.is_full(resource, hour)
    }

    /// The nearest open hour not after `hour` with room for one resource.
    fn free_by(&mut self, resource: u32, open: Open, hour: i64) -> Option<i64> {
        let opens = self.opens.get(open.0)?;
        let mut to = hour;
        while self.is_shut(resource, opens, to) {
            to = (opens.before.get(&key(resource, to)).copied()).unwrap_or(to - 1);
        }
        let before = &mut self.opens.get_mut(open.0)?.before;
        let mut at = hour;
        while at > to {
            at = before.insert(key(resource, at), to).unwrap_or(at - 1);
        }
        Some(to)
    }

    /// The nearest open hour not before `hour` with room for one resource.
    fn free_from(&mut self, resource: u32, open: Open, hour: i64) -> Option<i64> {
        let opens = self.opens.get(open.0)?;
        let mut to = hour;
        while self.is_shut(resource, opens, to) {
            to = (opens.after.get(&key(resource, to)).copied()).unwrap_or(to + 1);
        }
        let after = &mut self.opens.get_mut(open.0)?.after;
        let mut at = hour;
        while at < to {
            at = after.insert(key(resource, at), to).unwrap_or(at + 1);
        }
        Some(to)
    }

    /// The last hour between `lowest` and `hour` that is open and has room for all.
    pub(crate) fn room_by(
        &mut self,
        takes: Takes,
        open: Open,
        lowest: i64,
        hour: i64,
    ) -> Option<i64> {
        let mut at = hour;
        while at >= lowest {
            let mut free = at;
            for resource in takes.each() {
                free = free.min(self.free_by(resource, open, at)?);
            }
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
        open: Open,
        hour: i64,
        highest: i64,
    ) -> Option<i64> {
        let mut at = hour;
        while at <= highest {
            let mut free = at;
            for resource in takes.each() {
                free = free.max(self.free_from(resource, open, at)?);
            }
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
            let (part, limit) = self.resources.get(usize::try_from(key >> 32).ok()?)?;
            let hour = i64::try_from(key & 0xffff_ffff).ok()?;
            (count > limit).then(|| Conflict {
                hour: Time::from_hour(hour),
                resource: part.resource.clone(),
                kind: part.kind.clone(),
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
    /// Of which kind of assets; none where all kinds share the limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<Word>,
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
        let takes = ledger.takes_of(&limits, (true, None), &team, None);
        let owned = ledger.takes_of(&limits, (true, None), &team, Some(&owner));
        let always = ledger.open(&OpenHours::ALWAYS).unwrap();
        for _ in 0..2 {
            ledger.enter(takes, 100);
        }
        ledger.enter(owned, 99);
        assert_eq!(ledger.room_by(takes, always, 90, 100), Some(99));
        assert_eq!(ledger.room_by(owned, always, 90, 100), Some(98));
        assert_eq!(ledger.room_by(owned, always, 99, 100), None);
        assert_eq!(ledger.room_from(owned, always, 99, 200), Some(101));
        assert_eq!(ledger.room_from(owned, always, 99, 100), None);
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
        let mut ledger = Ledger::default();
        let open = ledger.open(&OpenHours::of(&[window]).unwrap()).unwrap();
        let takes = ledger.takes_of(
            &Limits::default(),
            (false, None),
            &"security".parse().unwrap(),
            None,
        );
        // 1970-01-01 was a Thursday.
        assert_eq!(ledger.room_from(takes, open, 2, 500), Some(168));
        assert_eq!(ledger.room_by(takes, open, 0, 100), Some(1));
        assert_eq!(ledger.room_by(takes, open, 2, 100), None);
    }
}
