//! Rows as the calendar reads them.

use calendar::facts::{Consent, OpenEvent};
use calendar::next_step::{EventFacts, OldUse, Outcome, Propagation, StepRecord};
use calendar::words::{EventState, Reason, Step, Trigger};
use store::{RotationEventRow, RotationStepRow};

use super::error::Error;
use crate::times::from_row;

fn word<T: Copy>(
    all: &[T],
    spelled: impl Fn(T) -> &'static str,
    column: &'static str,
    value: &str,
) -> Result<T, Error> {
    let mut all = all.iter().copied();
    all.find(|one| spelled(*one) == value)
        .ok_or_else(|| Error::Word {
            column,
            value: value.chars().take(80).collect(),
        })
}

pub fn trigger(value: &str) -> Result<Trigger, Error> {
    word(Trigger::ALL, Trigger::as_str, "cause", value)
}

pub fn state(value: &str) -> Result<EventState, Error> {
    word(EventState::ALL, EventState::as_str, "state", value)
}

pub fn reason(value: &str) -> Result<Reason, Error> {
    word(Reason::ALL, Reason::as_str, "waits", value)
}

/// How far a rotation is.
pub(crate) fn state_of(row: &RotationEventRow) -> Result<EventState, Error> {
    state(&row.state)
}

/// What it waits for.
pub(crate) fn waits_of(row: &RotationEventRow) -> Result<Option<Reason>, Error> {
    row.waits.as_deref().map(reason).transpose()
}

/// The step of a name.
pub fn step(value: &str) -> Option<Step> {
    let mut all = Step::ALL.iter().copied();
    all.find(|step| step.as_str() == value)
}

pub fn consent(row: &RotationEventRow) -> Result<Consent, Error> {
    let unknown = |column, value: &str| Error::Word {
        column,
        value: value.chars().take(80).collect(),
    };
    match (row.consent.as_str(), &row.order) {
        ("automatic", _) => Ok(Consent::Automatic),
        ("ceremony", _) => Ok(Consent::Ceremony),
        ("order", Some(order)) => {
            let id = order.parse().map_err(|_| unknown("order_id", order))?;
            Ok(Consent::Order(id))
        }
        (other, _) => Err(unknown("consent", other)),
    }
}

/// As the planner sees it.
pub fn open_event(row: &RotationEventRow) -> Result<OpenEvent, Error> {
    Ok(OpenEvent {
        id: row.id.clone(),
        version: row.version,
        trigger: trigger(&row.cause)?,
        state: state(&row.state)?,
        slot: from_row(row.slot),
        due: from_row(row.due),
        consent: consent(row)?,
        published_at: row.published_at.map(from_row),
        promoted_at: row.promoted_at.map(from_row),
    })
}

/// As [`calendar::next_step()`] judges it. What probes say, whether the new version is in use and whether the old one is, is asked
/// for where it counts.
pub fn event_facts(
    row: &RotationEventRow,
    steps: &[RotationStepRow],
    paused: bool,
) -> Result<EventFacts, Error> {
    Ok(EventFacts {
        trigger: trigger(&row.cause)?,
        state: state(&row.state)?,
        slot: from_row(row.slot),
        consent_missing: None,
        steps: records(steps),
        published_at: row.published_at.map(from_row),
        promoted_at: row.promoted_at.map(from_row),
        in_use: false,
        propagation: Propagation::NotAsked,
        campaign_running: false,
        old_use: OldUse::Free,
        held: row.held,
        paused,
        roll_back: row.roll_back,
        cancel: row.cancel,
    })
}

/// Attempts that a person took back do not count.
fn records(rows: &[RotationStepRow]) -> Vec<StepRecord> {
    let mut records: Vec<StepRecord> = Vec::new();
    for row in rows {
        let Some(step) = step(&row.step) else {
            continue;
        };
        let outcome = match row.outcome.as_deref() {
            Some("retried") => continue,
            Some("done") => Some(Outcome::Done),
            Some("transient") => Some(Outcome::Failed { transient: true }),
            Some(_) => Some(Outcome::Failed { transient: false }),
            None => None,
        };
        let known = records.iter_mut().find(|record| record.step == step);
        let record = StepRecord {
            step,
            started_at: from_row(row.started_at),
            ended_at: row.ended_at.map(from_row),
            outcome,
            attempts: known.as_ref().map_or(0, |record| record.attempts) + 1,
        };
        match known {
            Some(known) => *known = record,
            None => records.push(record),
        }
    }
    records
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(step: &str, attempt: u32, outcome: Option<&str>) -> RotationStepRow {
        let at = |minutes| trust::Time::from_millis(i64::from(minutes) * 60_000);
        RotationStepRow {
            step: step.to_owned(),
            attempt,
            started_at: at(attempt),
            ended_at: outcome.map(|_| at(attempt)),
            outcome: outcome.map(str::to_owned),
            actor: "chancery".to_owned(),
            why: None,
            evidence: None,
        }
    }

    #[test]
    fn attempts_count_from_the_last_word_of_a_person() {
        let rows = [
            row("test", 1, Some("person")),
            row("test", 2, Some("retried")),
            row("test", 3, Some("transient")),
            row("test", 4, None),
        ];
        let [first, ..] = records(&rows)[..] else {
            panic!("no record");
        };
        assert_eq!((first.attempts, first.outcome), (3, None));
        let rows = [
            row("test", 1, Some("retried")),
            row("test", 2, Some("done")),
        ];
        let [only] = records(&rows)[..] else {
            panic!("one record");
        };
        assert_eq!((only.attempts, only.outcome), (1, Some(Outcome::Done)));
    }

    #[test]
    fn a_word_of_a_later_program_is_told_with_its_column() {
        let error = state("asleep").unwrap_err().to_string();
        assert_eq!(
            error,
            "the database is corrupt: rotation_event.state is \"asleep\""
        );
    }
}
