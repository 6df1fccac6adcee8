//! Signatures of passkeys that are refused because the counter did not rise: there may be a copy of the key. The signature
//! itself is valid, so somebody has the passkey, or its copy; that is for the log and for people. Whoever has it can be refused
//! without end, so each member's are counted: the first is a leaf at once, those of the next minute one leaf together.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use trust::Time;

/// How often a leaf tells of one member at most.
const EVERY: Duration = Duration::from_secs(60);

/// Members who are told apart; rosters are smaller.
const MEMBERS: usize = 1_000;

/// What was refused and is not written yet.
#[derive(Debug, Default)]
pub(super) struct Clones(Mutex<BTreeMap<String, Counted>>);

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    /// The ceremony or the statement.
    pub reference: String,
    pub ring: Option<String>,
    /// What the signature was for, and why it does not count.
    pub why: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Counted {
    /// When a leaf told of the member.
    written: Option<Time>,
    pub count: u64,
    pub from: Time,
    pub until: Time,
    pub last: Refused,
}

impl Clones {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Counted>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more of a member, as leaves name him.
    pub fn add(&self, actor: &str, refused: Refused, now: Time) {
        let mut all = self.lock();
        if all.len() >= MEMBERS && !all.contains_key(actor) {
            return;
        }
        let counted = all.entry(actor.to_owned()).or_insert_with(|| Counted {
            written: None,
            count: 0,
            from: now,
            until: now,
            last: refused.clone(),
        });
        if counted.count == 0 {
            counted.from = now;
        }
        counted.count += 1;
        counted.until = now;
        counted.last = refused;
    }

    /// Takes what is to be written now. Members of whom nothing came for a while are forgotten.
    pub fn due(&self, now: Time) -> Vec<(String, Counted)> {
        let mut all = self.lock();
        let quiet = |counted: &Counted| counted.written.is_none_or(|at| now.since(at) >= EVERY);
        all.retain(|_, counted| counted.count > 0 || !quiet(counted));
        let due = all.iter_mut();
        let due = due.filter(|(_, counted)| counted.count > 0 && quiet(counted));
        let due = due.map(|(actor, counted)| {
            let taken = (actor.clone(), counted.clone());
            (counted.count, counted.written) = (0, Some(now));
            taken
        });
        due.collect()
    }

    /// What could not be written is counted with what came since.
    pub fn put_back(&self, actor: String, earlier: Counted) {
        let mut all = self.lock();
        match all.get_mut(&actor) {
            Some(later) if later.count > 0 => {
                later.count += earlier.count;
                (later.from, later.written) = (earlier.from, earlier.written);
            }
            _ => {
                all.insert(actor, earlier);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Time {
        Time::from_millis(seconds * 1_000)
    }

    fn refused(reference: &str) -> Refused {
        Refused {
            reference: reference.to_owned(),
            ring: None,
            why: "approve: copied".to_owned(),
        }
    }

    #[test]
    fn the_first_is_told_at_once_and_those_of_a_minute_together() {
        let clones = Clones::default();
        clones.add("custodian:ada", refused("a"), at(1));
        let due = clones.due(at(1));
        assert_eq!((due.len(), due[0].1.count), (1, 1));
        for second in 2..60 {
            clones.add("custodian:ada", refused("b"), at(second));
            assert!(clones.due(at(second)).is_empty());
        }
        clones.add("custodian:bob", refused("c"), at(30));
        assert_eq!(clones.due(at(30)).len(), 1);
        let due = clones.due(at(61));
        let (actor, counted) = &due[0];
        assert_eq!(
            (actor.as_str(), counted.count, counted.last.clone()),
            ("custodian:ada", 58, refused("b"))
        );
        assert_eq!((counted.from, counted.until), (at(2), at(59)));
        // What could not be written is not lost.
        clones.put_back(actor.clone(), counted.clone());
        clones.add("custodian:ada", refused("d"), at(62));
        assert_eq!(clones.due(at(62))[0].1.count, 59);
        // Nobody is kept for ever.
        assert!(clones.due(at(1_000)).is_empty());
        assert!(clones.lock().is_empty());
    }

    #[test]
    fn any_number_of_members_costs_the_same() {
        let clones = Clones::default();
        for number in 0..2 * MEMBERS {
            clones.add(&format!("member:{number}"), refused("a"), at(1));
        }
        assert_eq!(clones.lock().len(), MEMBERS);
    }
}
