//! Many alerts at once: one look over all of them, what is kept of it, and which are told together.
//!
//! Of a rule of which there are many, the first twenty are told each for itself and the others together, as long as there
//! are others: a backlog that drains wakes nobody a thousand times. What somebody says is counted by who says it: a principal
//! that says much hides nothing that another says.

use std::collections::{BTreeMap, BTreeSet};

use super::escalation::Ladder;
use super::machine::{Alert, Condition, News, Phase, Step, step};
use super::{AlertName, Scope};
use crate::time::Time;

/// Alerts of one rule that are told each for itself.
pub const MOST_ALONE: usize = 20;

/// Of what one principal says so many are told each for itself.
pub const MOST_ALONE_OF_ONE: usize = 5;

/// Alerts of one rule that are kept; of more the gravest, and those that were there before.
pub const MOST_OPEN: usize = 10_000;

/// What was looked at, and what was found there.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// The scopes whose facts could be read. Alerts of others stay as they are.
    pub scopes: BTreeSet<Scope>,
    /// Those of which not everything could be read: what was not found there does not end.
    pub partial: BTreeSet<Scope>,
    /// What holds.
    pub conditions: Vec<Condition>,
}

/// What becomes of one alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// It is so from now on, and this is to be told.
    Put(Alert, Option<News>),
    /// It goes without a trace.
    Drop {
        /// The rule.
        name: AlertName,
        /// What it was about.
        subject: String,
    },
}

/// What a look comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// In the order of names and subjects.
    pub writes: Vec<Write>,
    /// Conditions that are not kept because there are too many of their rule.
    pub left_out: BTreeMap<AlertName, usize>,
}

type Key = (AlertName, String);

/// What becomes of the alerts that are open, or resolved less than a day ago, by what was observed. One that is not looked at
/// climbs all the same: nobody looks after it.
pub fn look(known: Vec<Alert>, observed: &Observed, ladder: &Ladder, now: Time) -> Look {
    let mut known: BTreeMap<Key, Alert> = known
        .into_iter()
        .map(|alert| ((alert.name, alert.subject.clone()), alert))
        .collect();
    let (seen, left_out) = kept(&known, observed);
    let said_by = |key: &Key| seen.get(key).and_then(|condition| condition.by.as_deref());
    let mut crowds = crowds(&known, said_by);
    let keys: BTreeSet<Key> = known.keys().chain(seen.keys()).cloned().collect();
    let mut writes = Vec::new();
    for key in keys {
        let was = known.remove(&key);
        let fired = was.as_ref().is_some_and(Alert::is_firing);
        let found = seen.get(&key).copied();
        let scope = key.0.scope();
        let is_known = found.is_some() || !observed.partial.contains(&scope);
        let stepped = match observed.scopes.contains(&scope) && is_known {
            true => step(was.clone(), found, now),
            false => Step::Stays,
        };
        match (stepped, was) {
            (Step::Stays, None) => {}
            (Step::Stays, Some(was)) => {
                let alert = was.clone().climbs(ladder, now);
                if alert != was {
                    writes.push(Write::Put(alert, None));
                }
            }
            (Step::Goes, _) => writes.push(Write::Drop {
                name: key.0,
                subject: key.1,
            }),
            (Step::Becomes(mut alert, news), _) => {
                if alert.is_firing() && !fired {
                    let by = said_by(&key);
                    let most = by.map_or(MOST_ALONE, |_| MOST_ALONE_OF_ONE);
                    let crowd = crowds.entry((key.0, by)).or_default();
                    alert.together = crowd.takes(most);
                }
                writes.push(Write::Put(alert.climbs(ladder, now), news));
            }
        }
    }
    Look { writes, left_out }
}

/// How many of a rule fire, of what one principal says.
#[derive(Clone, Copy, Default)]
struct Crowd {
    alone: usize,
    together: usize,
}

impl Crowd {
    /// Whether one more is told together with others.
    fn takes(&mut self, most: usize) -> bool {
        let together = self.together > 0 || self.alone >= most;
        match together {
            true => self.together += 1,
            false => self.alone += 1,
        }
        together
    }
}

fn crowds<'a>(
    known: &BTreeMap<Key, Alert>,
    said_by: impl Fn(&Key) -> Option<&'a str>,
) -> BTreeMap<(AlertName, Option<&'a str>), Crowd> {
    let mut crowds = BTreeMap::<(AlertName, Option<&str>), Crowd>::new();
    for (key, alert) in known.iter().filter(|(_, alert)| alert.is_firing()) {
        let crowd = crowds.entry((key.0, said_by(key))).or_default();
        match alert.together {
            true => crowd.together += 1,
            false => crowd.alone += 1,
        }
    }
    crowds
}

/// What is kept of the conditions: each once, and of a rule not too many. One that is there already is never left out, so the
/// bound resolves nothing.
fn kept<'a>(
    known: &BTreeMap<Key, Alert>,
    observed: &'a Observed,
) -> (BTreeMap<Key, &'a Condition>, BTreeMap<AlertName, usize>) {
    let is_open = |key: &Key| {
        let open = known.get(key);
        open.is_some_and(|alert| !matches!(alert.phase, Phase::Resolved { .. }))
    };
    let mut by_name = BTreeMap::<AlertName, BTreeMap<&str, &Condition>>::new();
    for condition in &observed.conditions {
        if !observed.scopes.contains(&condition.name.scope()) {
            continue;
        }
        let of_name = by_name.entry(condition.name).or_default();
        let gravest = of_name
            .entry(condition.subject.as_str())
            .or_insert(condition);
        if gravest.level < condition.level {
            *gravest = condition;
        }
    }
    let mut seen = BTreeMap::new();
    let mut left_out = BTreeMap::new();
    for (name, conditions) in by_name {
        let mut all: Vec<(Key, &Condition)> = conditions
            .into_values()
            .map(|condition| ((name, condition.subject.clone()), condition))
            .collect();
        if all.len() > MOST_OPEN {
            all.sort_by_key(|(key, condition)| (!is_open(key), u8::MAX - condition.level));
            left_out.insert(name, all.len() - MOST_OPEN);
            all.truncate(MOST_OPEN);
        }
        seen.extend(all);
    }
    (seen, left_out)
}
