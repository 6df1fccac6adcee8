//! Where the log tells of each key. Read once and then followed, because a log of millions of
//! signatures is not searched for the few acts on a key.
//!
//! An index is a pointer and no proof; whoever rests on it asks for the receipt.

use std::collections::HashMap;
use std::sync::Arc;

use trust::history::History;
use trust::leaf::{ActKind, ActLeaf, Leaf};
use trust::{Kid, Pin, Time};

use store::Store;
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

/// An origin that the log had before, and how many of its leaves were retained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedOrigin {
    pub origin: String,
    pub size: i64,
}

impl ActIndex {
    /// Read from the whole log.
    pub async fn of_log(store: &Store, pin: &Pin) -> Result<Self, store::Error> {
        let mut acts = Self::default();
        acts.catch_up(store, pin).await?;
        Ok(acts)
    }

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
        // Asked first: acts below it are all there, and those that come meanwhile are read the next time.
        let head = store.log_size().await?;
        while self.next < head {
            let page = store.leaves_of_keys(self.next).await?;
            let rest = page.len() < store::MAX_PAGE as usize;
            for row in &page {
                let Ok(Leaf::Act(act)) = Leaf::parse(row.body.as_bytes()) else {
                    continue;
                };
                let log_act = match LogAct::is_meant(&act) {
                    true => verify(row.index, &act, store, pin).await?,
                    false => None,
                };
                // Nothing is awaited from here on: whoever is dropped has noted an act wholly or not at all.
                self.record(row.index, &act);
                self.verified.extend(log_act);
                self.next = row.index + 1;
            }
            if rest {
                // Signatures and refusals, which are many and are not read again.
                self.next = self.next.max(head);
            }
        }
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

    /// Oldest first.
    pub fn ended_origins(&self) -> Vec<EndedOrigin> {
        let ended = self.log_acts.iter().filter_map(|act| match &act.act {
            LogAct::Began(order) => Some(EndedOrigin {
                origin: order.previous_origin.clone(),
                size: order.size.cast_signed(),
            }),
            LogAct::Corrected(_) => None,
        });
        ended.collect()
    }

    pub fn log_acts(&self) -> &[VerifiedLogAct] {
        &self.log_acts
    }

    pub fn of(&self, kid: &Kid) -> KeyActs {
        self.of.get(kid).cloned().unwrap_or_default()
    }

    fn record(&mut self, index: i64, act: &ActLeaf) {
        for kid in [&act.kid, &act.previous_kid].into_iter().flatten() {
            if History::concerns(act, kid) {
                let of = self.of.entry(kid.clone()).or_default();
                of.record(index, kid, act);
            }
        }
    }
}

/// What was done to the log, if its transcript says the same.
async fn verify(
    index: i64,
    act: &ActLeaf,
    store: &Store,
    pin: &Pin,
) -> Result<Option<VerifiedLogAct>, store::Error> {
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
            return Ok(None);
        }
    };
    let mut reach = None;
    if let LogAct::Corrected(order) = &did {
        let bounds = (order.first.try_into(), order.last.try_into());
        let (Ok(first), Ok(last)) = bounds else {
            return Ok(None);
        };
        reach = latest_time(store, first, last).await?;
    }
    Ok(Some(VerifiedLogAct {
        index,
        ceremony,
        act: did,
        reach,
    }))
}

/// Of the leaves from `first` to `last`, which may be any number.
async fn latest_time(store: &Store, first: i64, last: i64) -> Result<Option<Time>, store::Error> {
    const AT_ONCE: i64 = 20_000;
    let last = last.min(store.log_size().await? - 1);
    let mut latest = None;
    let mut from = first;
    while from <= last {
        let to = last.min(from + AT_ONCE - 1);
        latest = latest.max(store.latest_time(from, to).await?);
        from = to + 1;
    }
    Ok(latest.map(Time::from_millis))
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
    use store::Change;
    use store::testing::place::Place;
    use trust::request::{ClockCorrection, NewOrigin};

    use super::*;

    fn act(body: serde_json::Value) -> ActLeaf {
        let mut body = body;
        body["actor"] = "cli".into();
        body["time"] = "2026-01-01T00:00:00.000Z".into();
        body["v"] = 1.into();
        serde_json::from_value(body).unwrap()
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
            acts.record(index, &act(body));
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

    fn pin() -> Pin {
        Pin {
            genesis: trust::Sha256Digest::of(b"genesis"),
            service: "test".parse().unwrap(),
            environment: "test".parse().unwrap(),
        }
    }

    async fn write(place: &Place, kind: ActKind, action: &str, kid: Option<&str>) -> i64 {
        let kid: Option<Kid> = kid.map(|kid| kid.parse().unwrap());
        let event = crate::Event {
            kid: kid.as_ref(),
            reference: Some("nothing"),
            ..crate::Event::new(kind, action, "cli", Time::from_millis(0))
        };
        let log = crate::Log::new(place.store.clone());
        log.commit(&Change::Record, &event).await.unwrap()
    }

    #[tokio::test]
    async fn case_s1_what_was_read_is_not_read_again() {
        let place = Place::sqlite().await;
        let pin = pin();
        let kid = "A".repeat(43);
        write(&place, ActKind::Key, "rotate", Some(&kid)).await;
        for _ in 0..5 {
            write(&place, ActKind::Refusal, "sign", None).await;
        }
        let mut acts = ActIndex::default();
        acts.catch_up(&place.store, &pin).await.unwrap();
        assert_eq!(acts.next, place.store.log_size().await.unwrap());
        assert_eq!(acts.of(&kid.parse().unwrap()).all, [0]);
        let archived = write(&place, ActKind::Key, "archive", Some(&kid)).await;
        acts.catch_up(&place.store, &pin).await.unwrap();
        assert_eq!(acts.of(&kid.parse().unwrap()).all, [0, archived]);
    }

    /// A database that fails in the middle of a page: what was noted is not noted twice.
    #[tokio::test]
    async fn an_act_is_noted_once_whatever_fails() {
        let place = Place::sqlite().await;
        let pin = pin();
        let kid = "A".repeat(43);
        write(&place, ActKind::Key, "rotate", Some(&kid)).await;
        write(&place, ActKind::Log, "clock-correction", None).await;
        let last = write(&place, ActKind::Key, "archive", Some(&kid)).await;
        let mut acts = ActIndex::default();
        place
            .raw("ALTER TABLE ceremony RENAME TO away")
            .await
            .unwrap();
        assert!(acts.catch_up(&place.store, &pin).await.is_err());
        place
            .raw("ALTER TABLE away RENAME TO ceremony")
            .await
            .unwrap();
        acts.catch_up(&place.store, &pin).await.unwrap();
        assert_eq!(acts.of(&kid.parse().unwrap()).all, [0, last]);
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
