//! Where the log tells of each key. The database has an index of it, which is written behind the leaves; what it does
//! not have yet is read from the leaves and held here, so no answer depends on how far it is.
//!
//! An index is a pointer and no proof; whoever rests on it asks for the receipt.

mod held;

use std::collections::HashMap;
use std::sync::Arc;

use trust::leaf::{ActLeaf, Leaf};
use trust::{Kid, Pin, Time};

pub use self::held::{HeldAcceptances, HeldActs};
use store::{ActWord, Store};
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

/// Acts outside the database's index that are held before it is asked again how far it goes.
const HELD: usize = if cfg!(test) { 3 } else { 10_000 };

#[derive(Debug, Default)]
pub struct ActIndex {
    /// Acts below are in the database's index; none before the first reading.
    from: Option<i64>,
    /// First index that was not read.
    next: i64,
    /// Acts since `from`, oldest first.
    of: HashMap<Kid, Vec<(i64, ActWord)>>,
    held: usize,
    /// What was done to the log before `from` has been read.
    has_log_acts: bool,
    /// What ceremonies did to the log, oldest first.
    log_acts: Vec<VerifiedLogAct>,
    /// Whose ceremonies hold, each for itself.
    verified: Vec<VerifiedLogAct>,
    /// So many of them are on the line of origins, or were refused.
    judged: usize,
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
    /// Read from the leaves, whatever the database's index has.
    pub async fn of_log(store: &Store, pin: &Pin) -> Result<Self, store::Error> {
        let mut acts = Self {
            from: Some(0),
            has_log_acts: true,
            ..Self::default()
        };
        acts.catch_up(store, pin).await?;
        Ok(acts)
    }

    /// Reads what was added since.
    pub async fn catch_up(&mut self, store: &Store, pin: &Pin) -> Result<(), store::Error> {
        self.read(store, pin).await?;
        // Not by what this reading added: one that failed may have added more before.
        if self.verified.len() > self.judged {
            self.judge(&store.tree().await?.origin);
        }
        Ok(())
    }

    async fn read(&mut self, store: &Store, pin: &Pin) -> Result<(), store::Error> {
        let from = match self.from {
            Some(from) => from,
            None => {
                let from = store.acted().await?.size;
                self.next = from;
                *self.from.insert(from)
            }
        };
        if !self.has_log_acts {
            let mut verified = Vec::new();
            for act in store.acts_of(store::LOG_ACTS).await? {
                if act.index >= from {
                    break;
                }
                let row = store.leaf(act.index).await?;
                let leaf = row.map(|row| Leaf::parse(row.body.as_bytes()));
                if let Some(Ok(Leaf::Act(leaf))) = leaf
                    && LogAct::is_meant(&leaf)
                {
                    verified.extend(verify(act.index, &leaf, store, pin).await?);
                }
            }
            self.verified = verified;
            self.has_log_acts = true;
        }
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
        if self.held >= HELD {
            self.let_go(store.acted().await?.size);
        }
        Ok(())
    }

    /// What the database's index has by now.
    fn let_go(&mut self, indexed: i64) {
        let from = indexed.min(self.next);
        if self.from.is_none_or(|before| from <= before) {
            return;
        }
        self.from = Some(from);
        self.of.retain(|_, acts| {
            acts.retain(|(index, _)| *index >= from);
            !acts.is_empty()
        });
        self.held = self.of.values().map(Vec::len).sum();
    }

    /// Takes over what is on the line of origins that ends in `origin`. It is judged as a whole:
    /// the first origin is named by the first act that ended one, which may be read last.
    fn judge(&mut self, origin: &str) {
        let mut line = LogHistory::before(self.verified.iter().map(|act| &act.act), origin);
        let mut reach = Vec::new();
        self.judged = self.verified.len();
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

    /// The first index that was not read: what is known of no key changes but by leaves from there on.
    pub fn next(&self) -> i64 {
        self.next
    }

    /// Whether an act of a key stands at this index or later, as far as was read; yes where nobody knows any more.
    pub fn tells_since(&self, kid: &Kid, index: i64) -> bool {
        let held = self.from.is_some_and(|from| from <= index);
        let acts = self.of.get(kid).into_iter().flatten();
        !held || acts.rev().any(|(at, _)| *at >= index)
    }

    /// What is held here of these keys; the rest is asked of the database without holding up others.
    pub fn held(&self, kids: &[Kid]) -> HeldActs {
        HeldActs {
            from: self.from.unwrap_or(0),
            later: kids
                .iter()
                .map(|kid| (kid.clone(), self.of.get(kid).cloned().unwrap_or_default()))
                .collect(),
        }
    }

    /// Acceptances that are held here; the rest is asked of the database without holding up others.
    pub fn held_acceptances(&self) -> HeldAcceptances {
        let mut all = Vec::new();
        for (kid, acts) in &self.of {
            let accepted = acts.iter().filter(|(_, word)| *word == ActWord::Accepted);
            all.extend(accepted.map(|(index, _)| (*index, kid.clone())));
        }
        all.sort_unstable();
        HeldAcceptances(all)
    }

    fn record(&mut self, index: i64, act: &ActLeaf) {
        for (kid, word) in ActWord::of(act) {
            self.of.entry(kid.clone()).or_default().push((index, word));
            self.held += 1;
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
    pub(crate) fn record(&mut self, index: i64, word: ActWord) {
        match word {
            // The other acceptances are of the key's revocation or destruction, which the log tells of by themselves.
            ActWord::Accepted if self.accepted.is_some() => return,
            ActWord::Accepted => self.accepted = Some(index),
            ActWord::Revoked => self.revoked = Some(index),
            ActWord::Other => {}
        }
        self.all.push(index);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use store::Change;
    use store::testing::place::Place;
    use trust::leaf::ActKind;
    use trust::request::{ClockCorrection, NewOrigin};

    use super::*;

    fn act(body: serde_json::Value) -> ActLeaf {
        let mut body = body;
        body["actor"] = "cli".into();
        body["time"] = "2026-01-01T00:00:00.000Z".into();
        body["v"] = 1.into();
        serde_json::from_value(body).unwrap()
    }

    fn acts_of(acts: &ActIndex, kid: &str) -> KeyActs {
        let mut found = KeyActs::default();
        let later = acts.of.get(&kid.parse::<Kid>().unwrap());
        let later = later.into_iter().flatten();
        later.for_each(|(index, word)| found.record(*index, *word));
        found
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
            acts_of(&acts, &one),
            KeyActs {
                accepted: Some(3),
                revoked: Some(8),
                all: vec![3, 5, 8, 11],
            }
        );
        assert_eq!(
            acts_of(&acts, &two),
            KeyActs {
                accepted: Some(4),
                revoked: None,
                all: vec![4, 8],
            }
        );
        assert_eq!(acts_of(&acts, &"I".repeat(43)), KeyActs::default());
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
        assert_eq!(acts_of(&acts, &kid).all, [0]);
        let archived = write(&place, ActKind::Key, "archive", Some(&kid)).await;
        acts.catch_up(&place.store, &pin).await.unwrap();
        assert_eq!(acts_of(&acts, &kid).all, [0, archived]);
    }

    /// The same answers however far the database's index is, and little in memory once it has caught up.
    #[tokio::test]
    async fn what_the_database_has_in_its_index_is_not_held() {
        let place = Place::sqlite().await;
        let pin = pin();
        let kids: Vec<Kid> = ["A", "E", "I"]
            .map(|letter| letter.repeat(43).parse().unwrap())
            .to_vec();
        let mut acts = ActIndex::default();
        let mut expected: HashMap<Kid, Vec<i64>> = HashMap::new();
        for round in 0..40_usize {
            let kid = &kids[round % 3];
            let index = write(&place, ActKind::Key, "rotate", Some(kid.as_str())).await;
            expected.entry(kid.clone()).or_default().push(index);
            if round % 7 == 0 {
                place.store.index_acts(5).await.unwrap();
            }
            acts.catch_up(&place.store, &pin).await.unwrap();
            let found = acts.held(&kids).complete(&place.store).await.unwrap();
            for kid in &kids {
                let told = expected.get(kid).cloned().unwrap_or_default();
                assert_eq!(found[kid].all, told, "{round}");
            }
            let fresh = {
                let mut fresh = ActIndex::default();
                fresh.catch_up(&place.store, &pin).await.unwrap();
                fresh.held(&kids).complete(&place.store).await.unwrap()
            };
            assert_eq!(fresh, found, "{round}");
        }
        while place.store.index_acts(5).await.unwrap() {}
        acts.catch_up(&place.store, &pin).await.unwrap();
        assert!(acts.held < HELD, "{}", acts.held);
        // What is not held any more may have been told of.
        assert!(acts.tells_since(&kids[0], 0));
        assert!(!acts.tells_since(&kids[0], acts.next()));
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
        assert_eq!(acts_of(&acts, &kid).all, [0, last]);
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
