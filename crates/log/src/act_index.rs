//! Where the log tells of each key. Read once and then followed, because a log of millions of
//! signatures is not searched for the few acts on a key.
//!
//! An index is a pointer and no proof; whoever rests on it asks for the receipt.

use std::collections::HashMap;
use std::sync::Arc;

use trust::history::History;
use trust::leaf::{ActKind, ActLeaf, Leaf};
use trust::{Kid, Pin, Time};

use store::{LeafRow, Store};
use trust::log_acts::{CorrectedTimes, LogAct, LogHistory};

/// Indexes of the acts on one key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyActs {
    /// Of its acceptance.
    pub accepted: Option<i64>,
    /// Of its revocation.
    pub revoked: Option<i64>,
    /// Every act that made the key what it is, oldest first.
    pub all: Vec<i64>,
}

#[derive(Debug, Default)]
pub struct ActIndex {
    /// First index that was not read.
    next: i64,
    of: HashMap<Kid, KeyActs>,
    /// What ceremonies did to the log, oldest first.
    log_acts: Vec<VerifiedLogAct>,
    /// Whose ceremonies hold, each for itself.
    verified: Vec<VerifiedLogAct>,
    times: Arc<CorrectedTimes>,
}

/// An act on the log whose ceremony holds.
#[derive(Debug, Clone)]
pub struct VerifiedLogAct {
    pub index: i64,
    pub ceremony: String,
    pub act: LogAct,
    /// The latest time of the leaves that it corrects.
    reach: Option<Time>,
}

/// The times of the log's leaves as corrected, read from the whole log.
pub async fn times(store: &Store, pin: &Pin) -> Result<Arc<CorrectedTimes>, store::Error> {
    let mut acts = ActIndex::default();
    acts.catch_up(store, pin).await?;
    Ok(acts.times())
}

impl ActIndex {
    /// Reads what was added since.
    pub async fn catch_up(&mut self, store: &Store, pin: &Pin) -> Result<(), store::Error> {
        let before = self.verified.len();
        self.read(store, pin).await?;
        if self.verified.len() > before {
            self.judge(&store.tree().await?.origin);
        }
        Ok(())
    }

    async fn read(&mut self, store: &Store, pin: &Pin) -> Result<(), store::Error> {
        loop {
            let page = store.leaves_of_keys(self.next).await?;
            let Some(last) = page.last().map(|row| row.index) else {
                return Ok(());
            };
            for row in &page {
                if let Some(act) = self.record(row) {
                    self.verify(row.index, &act, store, pin).await?;
                }
            }
            self.next = last + 1;
        }
    }

    /// Notes what was done to the log, if its transcript says the same.
    async fn verify(
        &mut self,
        index: i64,
        act: &ActLeaf,
        store: &Store,
        pin: &Pin,
    ) -> Result<(), store::Error> {
        let ceremony = act.reference.clone().unwrap_or_default();
        let transcript = store.transcript(&ceremony).await?.unwrap_or_default();
        let did = match LogAct::read(index.unsigned_abs(), act, &transcript, pin) {
            Ok(did) => did,
            Err(why) => {
                tracing::error!(
                    index,
                    ceremony,
                    why,
                    "a log act (correction or origin) was refused"
                );
                return Ok(());
            }
        };
        let mut reach = None;
        if let LogAct::Corrected(order) = &did {
            let bounds = (order.first.try_into(), order.last.try_into());
            let (Ok(first), Ok(last)) = bounds else {
                return Ok(());
            };
            reach = store.latest_time(first, last).await?.map(Time::from_millis);
        }
        self.verified.push(VerifiedLogAct {
            index,
            ceremony,
            act: did,
            reach,
        });
        Ok(())
    }

    /// Takes over what is on the line of origins that ends in `origin`. It is judged as a whole:
    /// the first origin is named by the first act that ended one, which may be read last.
    fn judge(&mut self, origin: &str) {
        let mut line = LogHistory::before(self.verified.iter().map(|act| &act.act), origin);
        let mut reach = Vec::new();
        self.log_acts.clear();
        for act in &self.verified {
            let index = act.index;
            if let Err(why) = line.apply(index.unsigned_abs(), &act.act) {
                tracing::error!(index, why, "a log act (correction or origin) was refused");
                continue;
            }
            if let LogAct::Corrected(_) = act.act {
                reach.push(act.reach);
            }
            self.log_acts.push(act.clone());
        }
        self.times = Arc::new(line.times(&reach));
    }

    pub fn times(&self) -> Arc<CorrectedTimes> {
        self.times.clone()
    }

    pub fn log_acts(&self) -> &[VerifiedLogAct] {
        &self.log_acts
    }

    pub fn of(&self, kid: &Kid) -> KeyActs {
        self.of.get(kid).cloned().unwrap_or_default()
    }

    /// Returns the act if it does something to the log.
    fn record(&mut self, row: &LeafRow) -> Option<ActLeaf> {
        let Ok(Leaf::Act(act)) = Leaf::parse(row.body.as_bytes()) else {
            return None;
        };
        for kid in [&act.kid, &act.previous_kid].into_iter().flatten() {
            if History::concerns(&act, kid) {
                self.of
                    .entry(kid.clone())
                    .or_default()
                    .record(row.index, kid, &act);
            }
        }
        LogAct::is_meant(&act).then_some(*act)
    }
}

impl KeyActs {
    fn record(&mut self, index: i64, kid: &Kid, act: &ActLeaf) {
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
    use trust::request::{ClockCorrection, NewOrigin};

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
        let mut acts = ActIndex::default();
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
            acts.record(&row(index, body));
        }
        assert_eq!(
            acts.of(&one.parse().unwrap()),
            KeyActs {
                accepted: Some(3),
                revoked: Some(8),
                all: vec![3, 5, 8, 11],
            }
        );
        assert_eq!(
            acts.of(&two.parse().unwrap()),
            KeyActs {
                accepted: Some(4),
                revoked: None,
                all: vec![4, 8],
            }
        );
        assert_eq!(
            acts.of(&"I".repeat(43).parse().unwrap()),
            KeyActs::default()
        );
    }

    #[test]
    fn acts_on_the_log_are_taken_over_in_their_order_or_not_at_all() {
        let at = Time::from_millis;
        let corrected = |origin: &str, index, last| VerifiedLogAct {
            index,
            ceremony: "one".to_owned(),
            act: LogAct::Corrected(ClockCorrection {
                bound: at(10),
                first: 2,
                last,
                origin: origin.to_owned(),
            }),
            reach: Some(at(90)),
        };
        let began = |from: &str, to: &str, size: u64| VerifiedLogAct {
            index: size as i64,
            ceremony: "two".to_owned(),
            act: LogAct::Began(NewOrigin {
                lost: None,
                origin: to.to_owned(),
                previous_checkpoint: String::new(),
                previous_origin: from.to_owned(),
                root: trust::Sha256Digest::of(b""),
                size,
            }),
            reach: None,
        };
        let mut acts = ActIndex::default();
        acts.verified.push(corrected("then", 9, 5));
        acts.judge("then");
        assert_eq!(acts.times().of(5, at(80)), at(10));
        assert_eq!(acts.times().clock(9, at(90)), at(10));
        // Leaf 5 was lost; a correction that is told again holds for none that stands there now.
        acts.verified.push(began("then", "now", 5));
        acts.verified.push(began("elsewhere", "nowhere", 7));
        acts.verified.push(corrected("then", 11, 6));
        acts.judge("now");
        assert_eq!(acts.times().of(5, at(80)), at(80));
        assert_eq!(acts.times().of(4, at(80)), at(10));
        let kept: Vec<i64> = acts.log_acts().iter().map(|act| act.index).collect();
        assert_eq!(kept, [9, 5]);
        acts.verified.push(corrected("now", 12, 6));
        acts.judge("now");
        assert_eq!(acts.times().of(5, at(80)), at(10));
    }
}
