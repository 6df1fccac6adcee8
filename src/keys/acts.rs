//! Where the log tells of each key. Read once and then followed, because a log of millions of
//! signatures is not searched for the few acts on a key.
//!
//! An index is a pointer and no proof; whoever rests on it asks for the receipt.

use std::collections::HashMap;
use std::sync::Arc;

use trust::clock::{Corrections, LogPlace};
use trust::history::History;
use trust::leaf::{ActKind, ActLeaf, Leaf};
use trust::tally::Finished;
use trust::{Kid, Pin, Time};

use crate::store::{self, LeafRow, Store};

/// Indexes of the acts on one key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// Of its acceptance.
    pub accepted: Option<i64>,
    /// Of its revocation.
    pub revoked: Option<i64>,
    /// Every act that made the key what it is, oldest first.
    pub all: Vec<i64>,
}

#[derive(Debug, Default)]
pub struct Acts {
    /// First index that was not read.
    next: i64,
    of: HashMap<Kid, Told>,
    /// Corrections of the log's clock whose ceremonies hold.
    corrected: Vec<Corrected>,
    corrections: Arc<Corrections>,
}

/// A correction of the log's clock, and the ceremony that it rests on.
#[derive(Debug, Clone)]
pub struct Corrected {
    pub index: i64,
    pub ceremony: String,
}

/// The corrections of the log's clock that rest on a ceremony, read from the whole log.
pub async fn corrections(store: &Store, pin: &Pin) -> Result<Arc<Corrections>, store::Error> {
    let mut acts = Acts::default();
    acts.catch_up(store, pin).await?;
    Ok(acts.corrections())
}

impl Acts {
    /// Reads what was added since.
    pub async fn catch_up(&mut self, store: &Store, pin: &Pin) -> Result<(), store::Error> {
        loop {
            let page = store.leaves_of_keys(self.next).await?;
            let Some(last) = page.last().map(|row| row.index) else {
                return Ok(());
            };
            for row in &page {
                if let Some(act) = self.hear(row) {
                    self.correct(row.index, &act, store, pin).await?;
                }
            }
            self.next = last + 1;
        }
    }

    /// Takes a correction over, if its transcript says the same.
    async fn correct(
        &mut self,
        index: i64,
        act: &ActLeaf,
        store: &Store,
        pin: &Pin,
    ) -> Result<(), store::Error> {
        let Some(ceremony) = act.reference.clone() else {
            return Ok(());
        };
        let transcript = store.transcript(&ceremony).await?.unwrap_or_default();
        let verified = match trust::verify_transcript(&transcript, pin) {
            Ok(verified) => verified,
            Err(error) => {
                let error = crate::telemetry::chain(&error);
                tracing::error!(index, ceremony, error, "a clock correction was refused");
                return Ok(());
            }
        };
        let Finished::Corrected(order) = verified.finished() else {
            return Ok(());
        };
        let same = act.first == Some(order.first)
            && act.last == Some(order.last)
            && act.bound == Some(order.bound)
            && act.origin.as_ref() == Some(&order.origin)
            && act.digest == Some(verified.core_digest());
        if !same {
            tracing::error!(
                index,
                ceremony,
                "a clock correction is not what its leaf tells"
            );
            return Ok(());
        }
        let bounds = (order.first, order.last);
        let bounds = (bounds.0.try_into(), bounds.1.try_into());
        let (Ok(first), Ok(last)) = bounds else {
            return Ok(());
        };
        let reach = store.latest_time(first, last).await?.map(Time::from_millis);
        let place = LogPlace {
            origin: 0,
            index: index.unsigned_abs(),
        };
        Arc::make_mut(&mut self.corrections).push(place, order, reach);
        self.corrected.push(Corrected { index, ceremony });
        Ok(())
    }

    pub fn corrections(&self) -> Arc<Corrections> {
        self.corrections.clone()
    }

    pub fn corrected(&self) -> Vec<Corrected> {
        self.corrected.clone()
    }

    pub fn of(&self, kid: &Kid) -> Told {
        self.of.get(kid).cloned().unwrap_or_default()
    }

    /// Returns the act if it corrects the log's clock.
    fn hear(&mut self, row: &LeafRow) -> Option<ActLeaf> {
        let Ok(Leaf::Act(act)) = Leaf::parse(row.body.as_bytes()) else {
            return None;
        };
        for kid in [&act.kid, &act.previous_kid].into_iter().flatten() {
            if History::concerns(&act, kid) {
                self.of
                    .entry(kid.clone())
                    .or_default()
                    .hear(row.index, kid, &act);
            }
        }
        let corrects = act.kind == ActKind::Log && act.action == "clock-correction";
        corrects.then_some(*act)
    }
}

impl Told {
    fn hear(&mut self, index: i64, kid: &Kid, act: &ActLeaf) {
        if act.kind == ActKind::Ceremony {
            // The other acceptances are of the key's revocation or destruction, which the log tells
            // of by themselves.
            if self.accepted.is_some() {
                return;
            }
            self.accepted = Some(index);
        } else if act.action == "revoke" && act.previous_kid.as_ref() == Some(kid) {
            self.revoked = Some(index);
        }
        self.all.push(index);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row(index: i64, body: serde_json::Value) -> LeafRow {
        let mut body = body;
        body["actor"] = "cli".into();
        body["time"] = "2026-01-01T00:00:00.000Z".into();
        body["v"] = 1.into();
        let text = String::from_utf8(trust::json::canonical(&body).unwrap()).unwrap();
        LeafRow {
            index,
            time: 0,
            kind: body["kind"].as_str().unwrap().to_owned(),
            ring: None,
            kid: None,
            sig_hash: None,
            body: text,
        }
    }

    #[test]
    fn the_acts_of_a_key_are_found_and_nobody_elses() {
        let (one, two) = ("A".repeat(43), "E".repeat(43));
        let accepted = json!({"kind": "ceremony", "action": "accepted", "kid": one});
        let mut acts = Acts::default();
        for (index, body) in [
            (
                1,
                json!({"kind": "ceremony", "action": "accept", "kid": one}),
            ),
            (3, accepted.clone()),
            (
                4,
                json!({"kind": "ceremony", "action": "accepted", "kid": two}),
            ),
            (5, json!({"kind": "key", "action": "rotate", "kid": one})),
            (
                8,
                json!({"kind": "key", "action": "revoke", "kid": two, "previous_kid": one,
                "reason": "superseded"}),
            ),
            (9, accepted),
            (11, json!({"kind": "key", "action": "archive", "kid": one})),
        ] {
            acts.hear(&row(index, body));
        }
        assert_eq!(
            acts.of(&one.parse().unwrap()),
            Told {
                accepted: Some(3),
                revoked: Some(8),
                all: vec![3, 5, 8, 11],
            }
        );
        assert_eq!(
            acts.of(&two.parse().unwrap()),
            Told {
                accepted: Some(4),
                revoked: None,
                all: vec![4, 8],
            }
        );
        assert_eq!(acts.of(&"I".repeat(43).parse().unwrap()), Told::default());
    }
}
