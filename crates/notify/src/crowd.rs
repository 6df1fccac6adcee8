//! A backlog wakes nobody a thousand times, however long it takes to drain: of a kind of which there are many, those are told
//! each for itself that were told so before, or that were the first when there were too many; the others are one message a day.

use std::collections::{BTreeMap, HashSet};

use trust::Time;

use crate::event::EventKind;
use crate::facts::{Facts, ROTATION};
use crate::near::Near;

/// Rotations of one kind that are told each for itself; what is more is told together, once a day.
pub const MOST_ALONE: usize = 20;

/// Assets that are named of those that are told together.
pub const NAMED: usize = 3;

const DAY_MILLIS: i64 = 86_400_000;

/// What is remembered of a kind from one look to the next.
#[derive(Default)]
struct Crowd {
    /// Rotations that are told each for itself.
    alone: HashSet<String>,
    /// Whether there were too many of it at the last look.
    many: bool,
    /// The day, and the greatest power of ten of those that were told together on it.
    told: (i64, u32),
}

/// Who is told of each for itself, by kinds.
#[derive(Default)]
pub struct Crowds(BTreeMap<EventKind, Crowd>);

impl Crowds {
    /// What another replica, or this one before it was started anew, told of a kind.
    pub fn recall(&mut self, kind: EventKind, alone: HashSet<String>, many: bool) {
        let told = (0, 0);
        self.0.insert(kind, Crowd { alone, many, told });
    }

    /// Of all of one kind, in the order in which they are told, those that are told each for itself, and one for the rest.
    pub fn settle(&mut self, kind: EventKind, all: Vec<Near>, now: Time) -> Vec<Near> {
        let crowd = self.0.entry(kind).or_default();
        let many = all.len() > MOST_ALONE;
        crowd
            .alone
            .retain(|id| all.iter().any(|near| near.subject == *id));
        if !(many && crowd.many) {
            for near in &all {
                if crowd.alone.len() >= MOST_ALONE {
                    break;
                }
                crowd.alone.insert(near.subject.clone());
            }
        }
        crowd.many = many;
        let alone = |near: &Near| crowd.alone.contains(&near.subject);
        let (mut told, rest): (Vec<Near>, Vec<Near>) = all.into_iter().partition(alone);
        told.extend(together(kind, &rest, &mut crowd.told, now));
        told
    }

    /// Kinds of which there is nothing any more begin anew.
    pub fn forget_others(&mut self, kinds: &BTreeMap<EventKind, Vec<Near>>) {
        self.0.retain(|kind, _| kinds.contains_key(kind));
    }
}

/// Names what is told of the rest of a kind on a day, if it is so many: a power of ten.
pub fn key(kind: EventKind, day: i64, power: u32) -> String {
    format!("rotations/{}/{day}/{power}", kind.name())
}

/// The day of an instant.
pub fn day(now: Time) -> i64 {
    now.millis().div_euclid(DAY_MILLIS)
}

/// The rest, as one: once a day, and again when there are ten times as many.
fn together(kind: EventKind, rest: &[Near], most: &mut (i64, u32), now: Time) -> Option<Near> {
    let first = rest.first()?;
    let day = day(now);
    let power = rest.len().checked_ilog10().unwrap_or(0);
    let before = if most.0 == day { most.1 } else { 0 };
    *most = (day, power.max(before));
    let named = rest.iter().take(NAMED);
    let named: Vec<String> = named.flat_map(|near| near.facts.subjects.clone()).collect();
    Some(Near {
        key: key(kind, day, most.1),
        subject: String::new(),
        facts: Facts {
            until: first.facts.until,
            operation: ROTATION.to_owned(),
            more_subjects: rest.len().saturating_sub(named.len()),
            subjects: named,
            why: first.facts.why.clone(),
            state: first.facts.state.clone(),
            ..Facts::of_test(now, "")
        },
        since: Time::from_millis(day * DAY_MILLIS),
        ..first.clone()
    })
}
