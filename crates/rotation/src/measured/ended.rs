//! Rotations that ended lately, and what the log tells of their ends. Both are read on from where the last reading stopped, so that
//! a reading costs what has happened since; only the first one reads the whole window.

use std::collections::HashMap;

use base::names;
use metrics::gauge;
use serde::{Deserialize, Serialize};
use store::{Error, LeafFilter, LeafRow, MAX_PAGE, RotationEventRow, Store};
use trust::Time;

/// How far back it looks.
const WINDOW: i64 = 92 * 86_400_000;

/// Rows become visible later than their time says, by as much at most: they are read again.
const SETTLES: i64 = 10 * 60_000;

/// Rotations and leaves that one reading takes at most; the next one goes on.
const MOST_PAGES: usize = 200;

/// Rotations that are named because the log tells nothing of them.
const MOST_NAMED: usize = 100;

/// What is known.
#[derive(Default)]
pub struct Ended {
    rotations: HashMap<u128, One>,
    /// Ends that the log tells of.
    told: HashMap<u128, i64>,
    /// Everything until then was read.
    read_until: Option<i64>,
    /// The next leaf.
    next_leaf: Option<i64>,
    /// Nothing of the window is left to be read.
    complete: bool,
}

struct One {
    at: i64,
    promoted: bool,
    late: bool,
    automatic: bool,
}

/// Shares of what ended; none where nothing did.
#[derive(Debug, PartialEq, Default)]
pub struct Shares {
    pub succeeded: Option<f64>,
    pub on_schedule: Option<f64>,
    pub automatic: Option<f64>,
    pub audited: Option<f64>,
    /// How many `on_schedule` and `automatic` are shares of.
    pub promoted: usize,
    pub unaudited: usize,
}

/// What the log tells of rotations that ended in the last 92 days.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Audited {
    /// How long ago the log was read.
    pub age_seconds: u64,
    /// That ended.
    pub rotations: usize,
    /// Those of whose end no leaf tells, at most a hundred.
    pub not_told: Vec<String>,
    /// How many they are.
    pub not_told_in_all: usize,
}

/// The members of a leaf that are looked at.
#[derive(Deserialize)]
struct Body {
    action: String,
    #[serde(rename = "ref")]
    reference: Option<String>,
}

impl Ended {
    /// Reads on until `now`.
    pub async fn read(&mut self, store: &Store, now: Time) -> Result<(), Error> {
        let from = now.millis() - WINDOW;
        self.rotations.retain(|_, one| one.at >= from);
        self.told.retain(|_, at| *at >= from);
        let rotations = self.read_rotations(store, from, now.millis()).await?;
        let leaves = self.read_leaves(store, from).await?;
        self.complete = rotations && leaves;
        Ok(())
    }

    async fn read_rotations(&mut self, store: &Store, from: i64, now: i64) -> Result<bool, Error> {
        let begin = self.read_until.unwrap_or(from).max(from);
        let mut place = (begin, String::new());
        for _ in 0..MOST_PAGES {
            let page = store.rotations_ended((place.0, &place.1), MAX_PAGE).await?;
            let full = i64::try_from(page.len()).is_ok_and(|count| count == MAX_PAGE);
            for row in page {
                let at = row.ended_at.unwrap_or(row.updated_at).millis();
                self.add(&row, at);
                place = (at, row.id);
            }
            self.read_until = Some(place.0.min(now - SETTLES));
            if !full {
                self.read_until = Some(now - SETTLES);
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn add(&mut self, row: &RotationEventRow, at: i64) {
        let promoted = row.state == "done" && row.promoted_at.is_some();
        let one = One {
            at,
            promoted,
            late: row.promoted_at.is_some_and(|at| at > row.due),
            automatic: row.consent != "ceremony",
        };
        if let Some(key) = key_of(&row.id) {
            self.rotations.insert(key, one);
        }
    }

    async fn read_leaves(&mut self, store: &Store, from: i64) -> Result<bool, Error> {
        let mut next = match self.next_leaf {
            Some(next) => next,
            None => first_leaf_since(store, from).await?,
        };
        for _ in 0..MOST_PAGES {
            let filter = LeafFilter {
                acts_only: true,
                from_index: next,
                ..LeafFilter::default()
            };
            let page = store.leaves_of(&filter, MAX_PAGE).await?;
            let full = i64::try_from(page.len()).is_ok_and(|count| count == MAX_PAGE);
            for leaf in &page {
                self.hear(leaf);
                next = leaf.index + 1;
            }
            self.next_leaf = Some(next);
            if !full {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn hear(&mut self, leaf: &LeafRow) {
        if leaf.kind != "rotation" {
            return;
        }
        let Ok(body) = serde_json::from_str::<Body>(&leaf.body) else {
            return;
        };
        let key = body.reference.as_deref().and_then(key_of);
        if let (true, Some(key)) = (names::END_STATES.contains(&&*body.action), key) {
            self.told.insert(key, leaf.time);
        }
    }

    #[cfg(test)]
    pub fn forget_what_the_log_tells(&mut self, event: &str) {
        if let Some(key) = key_of(event) {
            self.told.remove(&key);
        }
    }

    pub fn shares(&self) -> Shares {
        let all = self.rotations.len();
        let promoted = || self.rotations.values().filter(|one| one.promoted);
        let count = promoted().count();
        let on_schedule = promoted().filter(|one| !one.late).count();
        let automatic = promoted().filter(|one| one.automatic).count();
        let keys = self.rotations.keys();
        let audited = keys.filter(|key| self.told.contains_key(key)).count();
        Shares {
            succeeded: share(count, all),
            on_schedule: share(on_schedule, count),
            automatic: share(automatic, count),
            audited: share(audited, all),
            promoted: count,
            unaudited: all - audited,
        }
    }

    /// What the log tells of the rotations of the window; none while a part of it was read.
    pub fn audited(&self) -> Option<Audited> {
        if !self.complete {
            return None;
        }
        let untold = self.rotations.keys();
        let mut untold: Vec<u128> = untold
            .filter(|key| !self.told.contains_key(key))
            .copied()
            .collect();
        untold.sort_unstable();
        let named = untold.iter().take(MOST_NAMED).map(|key| event_of(*key));
        Some(Audited {
            age_seconds: 0,
            rotations: self.rotations.len(),
            not_told: named.collect(),
            not_told_in_all: untold.len(),
        })
    }

    /// To the recorder; nothing is told of a part of the window.
    #[expect(
        clippy::cast_precision_loss,
        reason = "rotations of three months do not come near 2^53"
    )]
    pub fn tell(&self) {
        if !self.complete {
            return;
        }
        let shares = self.shares();
        let set = |name, share: Option<f64>| gauge!(name).set(share.unwrap_or(f64::NAN));
        set(names::ROTATIONS_SUCCEEDED, shares.succeeded);
        set(names::ROTATIONS_ON_SCHEDULE, shares.on_schedule);
        set(names::ROTATIONS_AUTOMATIC, shares.automatic);
        set(names::ROTATIONS_AUDITED, shares.audited);
        gauge!(names::ROTATIONS_PROMOTED).set(shares.promoted as f64);
        gauge!(names::ROTATIONS_UNAUDITED).set(shares.unaudited as f64);
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "rotations of three months do not come near 2^53"
)]
fn share(some: usize, of: usize) -> Option<f64> {
    (of > 0).then(|| some as f64 / of as f64)
}

/// The UUID of `kr_` + UUID.
fn key_of(event: &str) -> Option<u128> {
    let digits: String = event.strip_prefix("kr_")?.split('-').collect();
    u128::from_str_radix(&digits, 16).ok()
}

/// The reverse.
fn event_of(key: u128) -> String {
    let digits = format!("{key:032x}");
    let mut text = "kr_".to_owned();
    for (place, digit) in digits.chars().enumerate() {
        if [8, 12, 16, 20].contains(&place) {
            text.push('-');
        }
        text.push(digit);
    }
    text
}

/// The index of the first leaf at or after an instant, by halving: the log is in the order of its times.
async fn first_leaf_since(store: &Store, from: i64) -> Result<i64, Error> {
    let (mut low, mut high) = (0, store.log_size().await?);
    while low < high {
        let middle = low + (high - low) / 2;
        let leaf = store.leaves(middle, 1).await?.pop();
        match leaf {
            Some(leaf) if leaf.time < from => low = leaf.index + 1,
            _ => high = middle,
        }
    }
    Ok(low)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_the_same_there_and_back() {
        let id = "kr_0193a1b2-0001-7abc-8def-00000000002a";
        assert_eq!(key_of(id).map(event_of).as_deref(), Some(id));
    }
}
