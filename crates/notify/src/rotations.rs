//! What of rotations does not go on by itself, by what their rows say: facts in, conditions out. Each is told once for each state
//! that a rotation comes to, however often it is looked at, and however often it comes back to it.

use std::collections::BTreeMap;
use std::time::Duration;

use store::{CeremonyState, RotationEventRow, RotationPause};
use trust::Time;

use crate::crowd::NAMED;
use crate::event::EventKind;
use crate::facts::{Facts, ROTATION, shown};
use crate::near::Near;

/// How often it is looked for them.
pub const EVERY: Duration = Duration::from_secs(60);

/// What needs people, or somebody who looks why a key has not arrived. What waits for a time or for the executor does not. The
/// statement that reads them has the same words.
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

/// What was read of rotations.
#[derive(Default)]
pub struct Found {
    /// Open ones that do not go on by themselves, or are late.
    pub open: Vec<RotationEventRow>,
    /// Open emergencies.
    pub declared: Vec<RotationEventRow>,
    /// Those that the scheduler's pause holds, the first that are due first.
    pub held: Vec<RotationEventRow>,
    /// Those that ended lately.
    pub ended: Vec<RotationEventRow>,
    pub pause: RotationPause,
}

/// What there is to tell of rotations each for itself, by kinds, in the order in which it is told.
pub fn rotations(found: &Found, now: Time) -> BTreeMap<EventKind, Vec<Near>> {
    let mut by_kind = BTreeMap::<EventKind, Vec<Near>>::new();
    let open = found.open.iter().filter_map(|row| one(row, now));
    let back = found.ended.iter().filter(|row| row.state == "rolled-back");
    for near in open.chain(back.map(|row| rolled_back(row, now))) {
        by_kind.entry(near.kind).or_default().push(near);
    }
    for all in by_kind.values_mut() {
        all.sort_by(|a, b| (a.facts.until, &a.key).cmp(&(b.facts.until, &b.key)));
    }
    by_kind
}

/// What is told of many at once.
pub fn others(found: &Found) -> Vec<Near> {
    let mut told = declared(&found.declared);
    told.extend(paused(&found.held, &found.pause));
    told
}

fn rolled_back(row: &RotationEventRow, now: Time) -> Near {
    let at = row.ended_at.unwrap_or(now);
    let facts = Facts {
        why: None,
        ..Facts::of_rotation(row, at)
    };
    let kind = EventKind::RotationRolledBack;
    near(kind, row, ("rolled-back", at), facts)
}

/// A declaration makes a rotation of each asset that it means, or one that is there an emergency, at one instant, and is told
/// of once.
fn declared(rows: &[RotationEventRow]) -> Vec<Near> {
    let at = |row: &RotationEventRow| row.declared_at.unwrap_or(row.created_at);
    let mut by_declaration = BTreeMap::<(i64, &str), Vec<&RotationEventRow>>::new();
    for row in rows {
        let declaration = (at(row).millis(), row.key_type.as_str());
        by_declaration.entry(declaration).or_default().push(row);
    }
    let of = |((millis, key_type), rows): ((i64, &str), Vec<&RotationEventRow>)| {
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
            ..Facts::of_rotation(first, at(first))
        };
        let kind = EventKind::EmergencyDeclared;
        Some(Near {
            key: format!("declared/{key_type}/{millis}"),
            ..near(kind, first, ("declared", at(first)), facts)
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
    let near = near(kind, row, (word, since), facts);
    Some(match (kind, row.retries) {
        // What a person let be tried again and failed again is told again.
        (EventKind::RotationFailed, 1..) => Near {
            key: format!("{}-{}", near.key, row.retries),
            ..near
        },
        _ => near,
    })
}

/// A pause is told of once, as soon as a rotation that it holds should have begun.
fn paused(held: &[RotationEventRow], pause: &RotationPause) -> Option<Near> {
    let since = pause.since?;
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
