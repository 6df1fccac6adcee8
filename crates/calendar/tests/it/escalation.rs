//! Alerts that nobody looks after, look by look: who hears of them, and who does not.

use calendar::alerts::escalation::Ladder;
use calendar::alerts::machine::{Alert, Condition, Phase, Refusal};
use calendar::alerts::storm::{Observed, Write, look};
use calendar::alerts::{AlertName, Scope};
use calendar::{Span, Time};

use crate::support::now;

/// One alert of a scope, minute by minute.
struct Watched {
    alert: Option<Alert>,
    now: Time,
}

impl Watched {
    fn new() -> Self {
        Self {
            alert: None,
            now: now(),
        }
    }

    /// What is seen at this minute; how many levels are to know of it then.
    fn sees(&mut self, name: AlertName, level: Option<u8>) -> u8 {
        let condition = level.map(|level| Condition {
            name,
            subject: "one".to_owned(),
            level,
            detail: "it holds".to_owned(),
            by: None,
        });
        let observed = Observed {
            scopes: [name.scope()].into(),
            conditions: condition.into_iter().collect(),
            ..Observed::default()
        };
        self.looks(&observed)
    }

    fn looks(&mut self, observed: &Observed) -> u8 {
        let known = self.alert.clone().into_iter().collect();
        for write in look(known, observed, &Ladder::default(), self.now).writes {
            self.alert = match write {
                Write::Put(alert, _) => Some(alert),
                Write::Drop { .. } => None,
            };
        }
        self.now = self.now + Span::minutes(1);
        self.reached()
    }

    fn reached(&self) -> u8 {
        self.alert.as_ref().map_or(0, |one| one.escalation.reached)
    }

    /// So many minutes with the condition, each with a look.
    fn holds(&mut self, name: AlertName, minutes: u64) -> u8 {
        for _ in 0..minutes {
            self.sees(name, Some(1));
        }
        self.reached()
    }

    fn acknowledge(&mut self) -> Result<(), Refusal> {
        let alert = self.alert.clone().unwrap();
        self.alert = Some(alert.acknowledge("olga", self.now)?.0);
        Ok(())
    }
}

const FAILED: AlertName = AlertName::RotationFailed;

#[test]
fn a_critical_that_nobody_looks_after_climbs_to_the_executives_in_an_hour() {
    let mut watched = Watched::new();
    let levels: Vec<u8> = [1, 14, 1, 14, 1, 29, 1, 900]
        .map(|minutes| watched.holds(FAILED, minutes))
        .to_vec();
    assert_eq!(levels, [1, 1, 2, 2, 3, 3, 4, 4]);
}

#[test]
fn a_warning_calls_operations_alone_until_it_is_critical() {
    let mut watched = Watched::new();
    let name = AlertName::RotationOverdue;
    assert_eq!(watched.holds(name, 300), 1);
    watched.acknowledge().unwrap();
    // It counts from when it became critical, and the acknowledgement was of the lesser one.
    assert_eq!(watched.sees(name, Some(2)), 1);
    for _ in 0..14 {
        assert_eq!(watched.sees(name, Some(2)), 1);
    }
    assert_eq!(watched.sees(name, Some(2)), 2);
}

#[test]
fn acknowledged_between_two_levels_it_climbs_no_further() {
    let mut watched = Watched::new();
    assert_eq!(watched.holds(FAILED, 20), 2);
    watched.acknowledge().unwrap();
    assert_eq!(watched.holds(FAILED, 600), 2);
}

#[test]
fn a_silence_holds_the_climb_and_its_end_begins_it_anew() {
    let mut watched = Watched::new();
    watched.holds(FAILED, 20);
    let alert = watched.alert.clone().unwrap();
    let until = watched.now + Span::hours(2);
    watched.alert = Some(alert.silence("olga", until, watched.now).unwrap().0);
    assert_eq!(watched.holds(FAILED, 120), 2);
    // Whom it is told to then is in what was told before: see the row.
    assert_eq!(watched.holds(FAILED, 1), 1);
    assert_eq!(
        [watched.holds(FAILED, 14), watched.holds(FAILED, 1)],
        [1, 2]
    );
}

#[test]
fn what_may_be_over_calls_nobody_else_and_what_is_over_begins_anew() {
    let mut watched = Watched::new();
    watched.holds(FAILED, 15);
    // Not seen once, and not over yet.
    assert_eq!(watched.sees(FAILED, None), 1);
    assert_eq!(watched.sees(FAILED, None), 1);
    let phase = watched.alert.as_ref().unwrap().phase;
    assert!(matches!(phase, Phase::Resolved { .. }), "{phase:?}");
    let refused = watched.acknowledge();
    assert_eq!(refused, Err(Refusal::NotFiring("resolved")));
    assert_eq!(
        [watched.holds(FAILED, 15), watched.holds(FAILED, 1)],
        [1, 2]
    );
}

#[test]
fn after_an_outage_or_a_jump_of_the_clock_each_level_has_a_minute() {
    let mut watched = Watched::new();
    watched.holds(FAILED, 1);
    watched.now = watched.now + Span::hours(5);
    let levels: Vec<u8> = (0..4).map(|_| watched.holds(FAILED, 1)).collect();
    assert_eq!(levels, [2, 3, 4, 4]);
    // A clock that goes back takes nothing back.
    watched.now = watched.now - Span::days(1);
    assert_eq!(watched.holds(FAILED, 1), 4);
}

#[test]
fn an_alert_whose_facts_cannot_be_read_climbs_all_the_same() {
    let mut watched = Watched::new();
    watched.holds(FAILED, 1);
    let mut elsewhere = Observed::default();
    elsewhere.scopes.insert(Scope::Jobs);
    for _ in 0..16 {
        watched.looks(&elsewhere);
    }
    assert_eq!(watched.reached(), 2);
}
