//! What of rotations does not go on by itself, by what their rows say: facts in, conditions out. Each is told once for each state
//! that a rotation comes to, however often it is looked at, and however often it comes back to it.

use std::collections::BTreeMap;
use std::time::Duration;

use store::{CeremonyState, RotationEventRow, RotationPause};
use trust::Time;

use crate::event::{EventKind, Facts, ROTATION, shown};
use crate::near::Near;

/// How often it is looked for them.
pub const EVERY: Duration = Duration::from_secs(60);

/// Rotations of one kind that are told each for itself; what is more is told together, once a day.
const MOST_ALONE: usize = 20;

/// Assets that are named of those that are told together.
const NAMED: usize = 3;

const DAY_MILLIS: i64 = 86_400_000;

/// What needs people, or somebody who looks why a key has not arrived. What waits for a time or for the executor does not.
const NEEDS_PEOPLE: [&str; 9] = [
    "approval",
    "order-used-up",
    "order-ended",
    "order-paused",
    "held",
    "person",
    "propagation",
    "probe-contradicts",
    "old-still-used",
];

/// What there is to tell of the rotations that are open, and of those that ended lately.
pub fn rotations(
    (rows, ended): (&[RotationEventRow], &[RotationEventRow]),
    pause: &RotationPause,
    now: Time,
) -> Vec<Near> {
    let mut by_kind = BTreeMap::<EventKind, Vec<Near>>::new();
    for near in rows.iter().filter_map(|row| one(row, now)) {
        by_kind.entry(near.kind).or_default().push(near);
    }
    let mut told = Vec::new();
    for (kind, mut all) in by_kind {
        all.sort_by(|a, b| (a.facts.until, &a.key).cmp(&(b.facts.until, &b.key)));
        let rest = all.split_off(all.len().min(MOST_ALONE));
        told.append(&mut all);
        told.extend(together(kind, &rest, now));
    }
    told.extend(paused(rows, pause, now));
    told.extend(declared(rows));
    let back = ended.iter().filter(|row| row.state == "rolled-back");
    told.extend(back.map(|row| {
        let at = row.ended_at.unwrap_or(now);
        let facts = Facts {
            why: None,
            ..Facts::of_rotation(row, at)
        };
        near(
            EventKind::RotationRolledBack,
            row,
            ("rolled-back", at),
            facts,
        )
    }));
    told
}

/// A declaration makes a rotation of each asset that it means, at one instant, and is told of once.
fn declared(rows: &[RotationEventRow]) -> Vec<Near> {
    let mut by_declaration = BTreeMap::<(i64, &str), Vec<&RotationEventRow>>::new();
    for row in rows.iter().filter(|row| row.cause == "event") {
        let declaration = (row.created_at.millis(), row.key_type.as_str());
        by_declaration.entry(declaration).or_default().push(row);
    }
    let of = |((at, key_type), rows): ((i64, &str), Vec<&RotationEventRow>)| {
        let first = rows.first()?;
        let named: Vec<String> = rows
            .iter()
            .take(NAMED)
            .map(|row| shown(&row.asset))
            .collect();
        let facts = Facts {
            why: None,
            more_subjects: rows.len().saturating_sub(named.len()),
            subjects: named,
            ..Facts::of_rotation(first, first.created_at)
        };
        let kind = EventKind::EmergencyDeclared;
        Some(Near {
            key: format!("declared/{key_type}/{at}"),
            ..near(kind, first, ("declared", first.created_at), facts)
        })
    };
    by_declaration.into_iter().filter_map(of).collect()
}

fn near(
    kind: EventKind,
    row: &RotationEventRow,
    (word, since): (&str, Time),
    facts: Facts,
) -> Near {
    Near {
        kind,
        key: format!("rotation/{}/{word}", row.id),
        subject: row.id.clone(),
        ceremony: None,
        proposer: None,
        // No approvals are asked for: those are the ceremony's.
        state: CeremonyState::Closed,
        since,
        facts: Facts {
            state: word.to_owned(),
            ..facts
        },
    }
}

/// The gravest of it: failed, then late, then waiting.
fn one(row: &RotationEventRow, now: Time) -> Option<Near> {
    let waits = row.waits.as_deref().unwrap_or_default();
    let late = row.promoted_at.is_none() && now > row.due;
    let (kind, word, since) = match row.state.as_str() {
        "failed" => (EventKind::RotationFailed, "failed", row.updated_at),
        _ if late => (EventKind::RotationLate, "late", row.due),
        _ if NEEDS_PEOPLE.contains(&waits) => (EventKind::RotationWaits, waits, row.updated_at),
        _ => return None,
    };
    let facts = Facts::of_rotation(row, now);
    Some(near(kind, row, (word, since), facts))
}

/// The rest, as one: a backlog wakes nobody a thousand times.
fn together(kind: EventKind, rest: &[Near], now: Time) -> Option<Near> {
    let first = rest.first()?;
    let day = now.millis().div_euclid(DAY_MILLIS);
    let named = rest.iter().take(NAMED);
    let named: Vec<String> = named.flat_map(|near| near.facts.subjects.clone()).collect();
    Some(Near {
        key: format!("rotations/{}/{day}", kind.name()),
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

/// A pause is told of once, as soon as a rotation that it holds should have begun.
fn paused(rows: &[RotationEventRow], pause: &RotationPause, now: Time) -> Option<Near> {
    let since = pause.since?;
    let held = |row: &&RotationEventRow| {
        row.promoted_at.is_none() && row.cause != "event" && row.slot <= now
    };
    let mut held: Vec<&RotationEventRow> = rows.iter().filter(held).collect();
    held.sort_by_key(|row| row.due);
    let first = held.first()?;
    let named: Vec<String> = held
        .iter()
        .take(NAMED)
        .map(|row| shown(&row.asset))
        .collect();
    Some(Near {
        kind: EventKind::RotationPaused,
        key: format!("rotations/paused/{}", since.millis()),
        subject: String::new(),
        ceremony: None,
        proposer: None,
        state: CeremonyState::Closed,
        since: first.slot.max(since),
        facts: Facts {
            until: Some(first.due),
            operation: ROTATION.to_owned(),
            state: "paused".to_owned(),
            more_subjects: held.len().saturating_sub(named.len()),
            subjects: named,
            reason: pause.reason.as_deref().map(shown).unwrap_or_default(),
            by: pause.by.as_deref().map(shown).unwrap_or_default(),
            ..Facts::of_test(since, "")
        },
    })
}
