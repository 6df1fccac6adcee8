//! Reads what there is to tell of rotations: by pages and up to a bound, of which it says when it was met.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use base::names::NOTIFY_ROTATIONS_LEFT;
use metrics::gauge;
use store::{Error, MAX_PAGE, RotationEventRow, Store, Told};
use trust::Time;

use crate::crowd::{self, Crowds, MOST_ALONE};
use crate::event::EventKind;
use crate::near::Near;
use crate::rotations::{Found, others, rotations};

/// Rotations of one sort that are looked at; where more are there, those are the first that are due.
const MOST_ROTATIONS: usize = 20_000;

/// How far back it is looked for rotations that were rolled back: as long as messages may fail to be written.
const LATELY: Duration = Duration::from_secs(3_600);

/// Of how many it is asked whether another replica told of them; whatever was told first is due first.
const MOST_RECALLED: usize = 200;

/// Looks at rotations again and again.
#[derive(Default)]
pub struct Rotations {
    crowds: Crowds,
    /// Whether it has looked since it began.
    looked: bool,
    /// Whether there were too many at the last look.
    left: bool,
}

impl Rotations {
    /// What there is to tell. Whoever begins to look goes back as far as anything is told of.
    pub async fn near(
        &mut self,
        store: &Store,
        told_for: Duration,
        now: Time,
    ) -> Result<Vec<Near>, Error> {
        let mut left = false;
        let mut found = Found {
            pause: store.rotation_pause().await?,
            ..Found::default()
        };
        // Each once, whatever it is read as.
        let mut open = BTreeMap::new();
        for which in [Told::NeedPeople, Told::LateAt(now)] {
            let rows = read(store, which, &mut left).await?;
            open.extend(rows.into_iter().map(|row| (row.id.clone(), row)));
        }
        found.open = open.into_values().collect();
        found.declared = read(store, Told::Declared, &mut left).await?;
        if found.pause.since.is_some() {
            found.held = read(store, Told::HeldAt(now), &mut left).await?;
        }
        let lately = if self.looked { LATELY } else { told_for };
        found.ended = ended(store, lately, now, &mut left).await?;
        self.say(left);
        let mut told = Vec::new();
        let kinds = rotations(&found, now);
        self.crowds.forget_others(&kinds);
        for (kind, all) in kinds {
            if !self.looked && all.len() > MOST_ALONE {
                let (alone, many) = recalled(store, kind, &all, now).await?;
                self.crowds.recall(kind, alone, many);
            }
            told.extend(self.crowds.settle(kind, all, now));
        }
        self.looked = true;
        told.extend(others(&found));
        Ok(told)
    }

    fn say(&mut self, left: bool) {
        gauge!(NOTIFY_ROTATIONS_LEFT).set(u32::from(left));
        if left && !self.left {
            tracing::warn!(
                most = MOST_ROTATIONS,
                "more rotations do not go on by themselves than are looked at: of the others nobody is told"
            );
        }
        self.left = left;
    }
}

async fn read(store: &Store, which: Told, left: &mut bool) -> Result<Vec<RotationEventRow>, Error> {
    let mut rows: Vec<RotationEventRow> = Vec::new();
    while rows.len() < MOST_ROTATIONS {
        let last = rows.last();
        let place = last.map_or((i64::MIN, String::new()), |row| {
            (row.due.millis(), row.id.clone())
        });
        let page = store.rotations_told(which, (place.0, &place.1), MAX_PAGE);
        let page = page.await?;
        let full = page.len() as i64 == MAX_PAGE;
        rows.extend(page);
        if !full {
            return Ok(rows);
        }
    }
    *left = true;
    Ok(rows)
}

async fn ended(
    store: &Store,
    lately: Duration,
    now: Time,
    left: &mut bool,
) -> Result<Vec<RotationEventRow>, Error> {
    let lately = i64::try_from(lately.as_millis()).unwrap_or(i64::MAX);
    let mut place = (now.millis().saturating_sub(lately), String::new());
    let mut ended = Vec::new();
    while ended.len() < MOST_ROTATIONS {
        let page = store.rotations_ended((place.0, &place.1), MAX_PAGE).await?;
        let Some(last) = page.last() else {
            return Ok(ended);
        };
        place = (last.ended_at.unwrap_or(now).millis(), last.id.clone());
        ended.extend(page);
    }
    *left = true;
    Ok(ended)
}

/// Of which ones of a kind it was told each for itself, and whether it was told of others together, today or yesterday.
async fn recalled(
    store: &Store,
    kind: EventKind,
    all: &[Near],
    now: Time,
) -> Result<(HashSet<String>, bool), Error> {
    let mut alone = HashSet::new();
    for near in all.iter().take(MOST_RECALLED) {
        if store.is_told(&near.key).await? {
            alone.insert(near.subject.clone());
        }
    }
    let today = crowd::day(now);
    let powers = MOST_ROTATIONS.ilog10() + 1;
    for day in [today, today - 1] {
        for power in 0..=powers {
            if store.is_told(&crowd::key(kind, day, power)).await? {
                return Ok((alone, true));
            }
        }
    }
    Ok((alone, false))
}
