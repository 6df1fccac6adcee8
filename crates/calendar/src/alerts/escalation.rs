//! Who hears of an alert that nobody looks after: four levels, one after the other. A critical alert climbs all of them; a
//! warning stays with operations, because nobody is to be called at night for what can wait for a working day.

use super::Severity;
use crate::time::{Span, Time};
use crate::words::words;

words! {
    /// Those who are told, in the order in which they are.
    EscalationLevel {
        /// They run the service.
        Operations = "operations",
        /// They decide about keys.
        Security = "security",
        /// They lead the answer to an incident.
        IncidentResponse = "incident-response",
        /// They answer for it.
        Executives = "executives",
    }
}

/// How many levels there are.
pub const HIGHEST: u8 = 4;

/// The longest time after which a level is told.
pub const LONGEST: Span = Span::days(7);

impl EscalationLevel {
    /// The first so many.
    pub fn first(count: u8) -> &'static [Self] {
        let count = usize::from(count).min(Self::ALL.len());
        Self::ALL.split_at(count).0
    }

    /// The last one of the first so many; none of none.
    pub fn at(count: u8) -> Option<Self> {
        Self::first(count).last().copied()
    }
}

/// After which time each level is told of an alert that is neither acknowledged nor silenced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ladder([Span; HIGHEST as usize]);

/// A higher level is not told earlier, and none so late that it means nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}: expected a time not shorter than that of the level before, at most {LONGEST}")]
pub struct NotALadder(pub EscalationLevel);

impl Default for Ladder {
    /// At once, after 15 minutes, 30 minutes, an hour.
    fn default() -> Self {
        Self([
            Span::ZERO,
            Span::minutes(15),
            Span::minutes(30),
            Span::hours(1),
        ])
    }
}

impl Ladder {
    /// With these times, in the order of the levels.
    pub fn new(after: [Span; HIGHEST as usize]) -> Result<Self, NotALadder> {
        let mut before = Span::ZERO;
        for (level, after) in EscalationLevel::ALL.iter().zip(after) {
            if after < before || after > LONGEST {
                return Err(NotALadder(*level));
            }
            before = after;
        }
        Ok(Self(after))
    }

    /// How long a level waits.
    pub fn after(&self, level: EscalationLevel) -> Span {
        let levels = EscalationLevel::ALL.iter().zip(self.0);
        let mut same = levels.filter(|(one, _)| **one == level);
        same.next().map_or(Span::ZERO, |(_, after)| after)
    }

    /// How many levels are to know of an alert that has waited so long.
    pub fn reached(&self, severity: Severity, waited: Span) -> u8 {
        let most = match severity {
            Severity::Warning => 1,
            Severity::Critical => usize::from(HIGHEST),
        };
        let passed = self
            .0
            .iter()
            .take(most)
            .take_while(|after| **after <= waited);
        u8::try_from(passed.count()).unwrap_or(HIGHEST)
    }
}

/// How far an alert has climbed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Escalation {
    /// Since when it counts: when it began to fire, became graver, or was told again after a silence.
    pub since: Time,
    /// How many levels are to know of it since then.
    pub reached: u8,
}

impl Escalation {
    /// From this instant on, and nobody has to know yet.
    pub const fn from(since: Time) -> Self {
        Self { since, reached: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_critical_climbs_and_a_warning_stays_with_operations() {
        let ladder = Ladder::default();
        let reached = |severity, minutes| ladder.reached(severity, Span::minutes(minutes));
        let critical = [0, 14, 15, 29, 30, 59, 60, 9_999];
        let critical = critical.map(|minutes| reached(Severity::Critical, minutes));
        assert_eq!(critical, [1, 1, 2, 2, 3, 3, 4, 4]);
        assert_eq!(reached(Severity::Warning, 9_999), 1);
        assert_eq!(EscalationLevel::at(2), Some(EscalationLevel::Security));
        assert_eq!(EscalationLevel::at(0), None);
        assert_eq!(EscalationLevel::ALL.len(), usize::from(HIGHEST));
    }

    #[test]
    fn a_ladder_does_not_go_down() {
        let minutes = |all: [u64; 4]| Ladder::new(all.map(Span::minutes));
        assert!(minutes([5, 5, 30, 30]).is_ok());
        assert_eq!(
            minutes([0, 30, 15, 60]),
            Err(NotALadder(EscalationLevel::IncidentResponse))
        );
        assert!(minutes([0, 15, 30, 8 * 24 * 60]).is_err());
    }
}
