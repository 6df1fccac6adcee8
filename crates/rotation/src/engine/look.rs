//! Which events are gone on with, and in which order: emergencies, then the important by their policies, then what is due
//! first.

use std::collections::{BTreeMap, HashMap};

use calendar::Time;
use calendar::policy::{Policies, Policy};
use calendar::words::Priority;
use store::DueRotations;
use trust::error_chain;

use super::Engine;
use super::error::Error;
use super::run::Ran;
use crate::times::to_row;

/// Events that are picked together: what is declared or becomes due meanwhile waits for no more.
const TOGETHER: usize = 50;

/// What came of a look at what is due.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Round {
    /// Events that were looked at.
    pub looked: usize,
    /// Of them ended.
    pub ended: usize,
    /// Of them wait.
    pub waiting: usize,
    /// Could not be looked at, with the reason.
    pub failed: Vec<(String, String)>,
}

impl Engine {
    /// Looks at what is due, at most so many; of events that nobody has. Each is looked at once, but for emergencies, which
    /// are again as soon as their time has come.
    pub async fn look(&self, at_most: i64) -> Result<Round, Error> {
        let at_most = usize::try_from(at_most).unwrap_or(0);
        let began = self.now().await?;
        let policies = self.parts().inventory.policies(began).await?;
        let priorities = priorities(&policies);
        let mut round = Round::default();
        // Until when each is passed by; none of what could not be gone on with is asked for again.
        let mut passed: HashMap<String, Option<Time>> = HashMap::new();
        let mut stuck = 0;
        while round.looked < at_most {
            let now = self.now().await?;
            let which = DueRotations {
                now: to_row(now),
                untouched_since: to_row(began),
                priorities: &priorities,
            };
            let asked = i64::try_from(TOGETHER.saturating_add(stuck)).unwrap_or(i64::MAX);
            let due = self.store().due_rotations(&which, asked).await?;
            let is_next = |id: &String| match passed.get(id) {
                None => true,
                Some(until) => until.is_some_and(|until| until < now),
            };
            let some: Vec<String> = due.into_iter().filter(is_next).collect();
            if some.is_empty() {
                break;
            }
            for id in some.into_iter().take(at_most - round.looked) {
                let goes_on = self.look_at_one(&id, &policies, &mut round).await?;
                stuck += usize::from(!goes_on);
                passed.insert(id, goes_on.then_some(now));
            }
        }
        Ok(round)
    }

    /// Looks at these.
    pub async fn look_at(&self, ids: Vec<String>) -> Result<Round, Error> {
        let mut round = Round::default();
        if ids.is_empty() {
            return Ok(round);
        }
        let now = self.now().await?;
        let policies = self.parts().inventory.policies(now).await?;
        for id in ids {
            self.look_at_one(&id, &policies, &mut round).await?;
        }
        Ok(round)
    }

    /// Whether it was gone on with.
    async fn look_at_one(
        &self,
        id: &str,
        policies: &Policies,
        round: &mut Round,
    ) -> Result<bool, Error> {
        round.looked += 1;
        match self.run_under(id, policies).await {
            Ok(Ran::Ended { .. }) => round.ended += 1,
            Ok(Ran::Waits { .. }) => round.waiting += 1,
            Ok(Ran::Busy | Ran::Overtaken) => return Ok(false),
            // Of the database, and of every other event too.
            Err(Error::Store(error)) if error.is_transient() => return Err(error.into()),
            Err(error) => {
                let why = error_chain(&error);
                tracing::error!(
                    rotation = id,
                    error = why,
                    "a rotation cannot be gone on with"
                );
                round.failed.push((id.to_owned(), why));
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// How important each key type is, from 0.
fn priorities(policies: &Policies) -> BTreeMap<String, u8> {
    let place = |policy: &Policy| match policy.priority() {
        Priority::Critical => 0,
        Priority::High => 1,
        Priority::Medium => 2,
    };
    let all = policies.iter();
    all.map(|policy| (policy.key_type().name.to_string(), place(policy)))
        .collect()
}
