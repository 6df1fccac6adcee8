//! Who else hears of an alert that nobody looks after: rows in, one message for each level out. A level is told once of each time
//! that an alert fires, and of what becomes of it then.

use std::collections::BTreeMap;

use calendar::alerts::AlertName;
use calendar::alerts::escalation::EscalationLevel;
use store::{AlertCrowd, AlertRecord};
use trust::Time;

use crate::alerts::{Told, facts_of, named, since, together};
use crate::event::EventKind;
use crate::facts::Facts;
use calendar::alerts::machine::News;

const HOUR_MILLIS: i64 = 3_600_000;

/// A message for the contacts of a level.
#[derive(Debug, PartialEq, Eq)]
pub struct Call {
    pub level: EscalationLevel,
    pub told: Told,
}

fn for_level(level: EscalationLevel, facts: Facts) -> Facts {
    let alert = facts.alert.map(|alert| crate::alert_facts::AlertFacts {
        level: Some(level.to_string()),
        ..alert
    });
    Facts {
        alert,
        state: level.to_string(),
        ..facts
    }
}

/// The levels of a record that are to be told.
fn levels(record: &AlertRecord) -> impl Iterator<Item = EscalationLevel> {
    let reached = EscalationLevel::first(record.alert.escalation.reached);
    reached
        .iter()
        .copied()
        .skip(usize::from(record.levels_told))
}

/// Each that is told for itself; of a rule those that are told together in one message an hour.
pub fn calls(untold: &[AlertRecord], crowds: &[AlertCrowd], now: Time) -> Vec<Call> {
    let mut calls = Vec::new();
    let mut grouped = BTreeMap::<(AlertName, EscalationLevel), Vec<&AlertRecord>>::new();
    for record in untold {
        for level in levels(record) {
            if record.alert.together {
                let group = grouped.entry((record.alert.name, level)).or_default();
                group.push(record);
                continue;
            }
            let dedup = format!(
                "alert/{}/{}/level/{level}",
                record.id,
                since(record).millis()
            );
            calls.push(call(level, dedup, facts_of(record, News::Firing)));
        }
    }
    for ((name, level), records) in grouped {
        let crowd = crowds.iter().find(|crowd| crowd.name == name);
        let count = crowd.map_or(records.len(), |crowd| {
            usize::try_from(crowd.count).unwrap_or(usize::MAX)
        });
        let gravest = records.iter().map(|record| record.alert.severity()).max();
        let Some(severity) = gravest else {
            continue;
        };
        let at = crowd.map_or(now, |crowd| crowd.since);
        let hour = now.millis().div_euclid(HOUR_MILLIS);
        let subjects = (named(&records), count.max(records.len()));
        let facts = together(name, severity, subjects, (News::Firing, at));
        calls.push(call(
            level,
            format!("alerts/{name}/level/{level}/{hour}"),
            facts,
        ));
    }
    calls
}

fn call(level: EscalationLevel, dedup: String, facts: Facts) -> Call {
    Call {
        level,
        told: Told {
            kind: EventKind::AlertEscalated,
            dedup,
            facts: for_level(level, facts),
            heard: 0,
        },
    }
}
