//! What the leaves tell of keys beyond the database's index: a copy, with which the index is asked while others go on.

use std::collections::{HashMap, HashSet};

use trust::Kid;

use super::KeyActs;
use store::{AcceptedRow, ActWord, Acted, Store};

/// Keys whose acts are asked for together.
const TOGETHER: usize = 500;

/// Acts on some keys outside the database's index.
#[derive(Debug)]
pub struct HeldActs {
    pub(super) from: i64,
    pub(super) later: Vec<(Kid, Vec<(i64, ActWord)>)>,
}

impl HeldActs {
    /// With what the index has.
    pub async fn complete(self, store: &Store) -> Result<HashMap<Kid, KeyActs>, store::Error> {
        let mut all: HashMap<Kid, KeyActs> = HashMap::with_capacity(self.later.len());
        for part in self.later.chunks(TOGETHER) {
            let asked = part.iter().map(|(kid, _)| kid.as_str().to_owned());
            let asked: Vec<String> = asked.collect();
            for act in store.acts_of_several(&asked).await? {
                // The index may have grown over what is held.
                if act.index < self.from
                    && let Ok(kid) = act.subject.parse()
                {
                    all.entry(kid).or_default().record(act.index, act.word);
                }
            }
        }
        for (kid, later) in self.later {
            let acts = all.entry(kid).or_default();
            later
                .iter()
                .for_each(|(index, word)| acts.record(*index, *word));
        }
        Ok(all)
    }
}

/// Acceptances outside the database's index, oldest first.
#[derive(Debug)]
pub struct HeldAcceptances(pub(super) Vec<(i64, Kid)>);

/// Keys in the order in which the log accepted them, as of one moment.
pub struct Acceptances<'a> {
    store: &'a Store,
    acted: Acted,
    later: Vec<AcceptedRow>,
}

impl HeldAcceptances {
    /// With what the index has.
    pub async fn complete(self, store: &Store) -> Result<Acceptances<'_>, store::Error> {
        // Asked once: what is below it is asked of the index, what is not is held.
        let acted = store.acted().await?;
        let held = self.0.into_iter().filter(|(index, _)| *index >= acted.size);
        let held: Vec<(i64, Kid)> = held.collect();
        // A key is accepted once; what came later was of its revocation or destruction.
        let mut before = HashSet::new();
        for part in held.chunks(TOGETHER) {
            let asked = part.iter().map(|(_, kid)| kid.as_str().to_owned());
            let asked: Vec<String> = asked.collect();
            for act in store.acts_of_several(&asked).await? {
                if act.word == ActWord::Accepted && act.index < acted.size {
                    before.insert(act.subject);
                }
            }
        }
        let mut later = Vec::new();
        for (index, kid) in held {
            if before.insert(kid.as_str().to_owned()) {
                later.push(AcceptedRow {
                    place: acted.accepted + later.len() as i64,
                    index,
                    kid: kid.as_str().to_owned(),
                });
            }
        }
        Ok(Acceptances {
            store,
            acted,
            later,
        })
    }
}

impl Acceptances<'_> {
    /// Keys from a place on.
    pub async fn from(&self, place: i64, limit: i64) -> Result<Vec<AcceptedRow>, store::Error> {
        let mut rows = self.store.accepted_from(place, limit).await?;
        rows.retain(|row| row.place < self.acted.accepted);
        let missing = limit.saturating_sub(rows.len() as i64).unsigned_abs();
        let later = self.later.iter().filter(|row| row.place >= place);
        rows.extend(later.take(missing as usize).cloned());
        Ok(rows)
    }

    /// The first key that was accepted at an index of the log or later.
    pub async fn first(&self, index: i64) -> Result<Option<AcceptedRow>, store::Error> {
        let indexed = self.store.first_accepted(index).await?;
        let indexed = indexed.filter(|row| row.place < self.acted.accepted);
        let later = || self.later.iter().find(|row| row.index >= index).cloned();
        Ok(indexed.or_else(later))
    }
}
