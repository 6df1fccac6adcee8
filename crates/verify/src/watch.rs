//! What a monitor decides: a log that it does not run, held against what it saw of it before.
//!
//! It remembers the last checkpoint, the right edge of its tree and the acts on keys. New entries
//! grow the remembered edge; if they lead to the root that is signed now, the log has only grown and
//! the entries are the ones in the tree. Acts on the log itself rest on ceremonies, whose transcripts
//! are fetched when the entries were read; with what they say the entries are read once more, so that
//! times are judged as corrected. Nothing here fetches anything.

mod line;
mod orders;
mod state;
#[cfg(test)]
mod tests;
mod transcripts;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use trust::format::V1;
use trust::leaf::Leaf;
use trust::tlog::checkpoint::Checkpoint;
use trust::tlog::merkle::{Frontier, leaf_hash};
use trust::tlog::policy::Witnessed;
use trust::{Kid, LOG_RING, Sha256Digest, Time};

use self::line::Line;
use self::orders::Orders;
use trust::acts::{Act, Acts, acceptance, replay};
use trust::finding::Findings;
use trust::log_acts::LogAct;
use trust::log_clock::Clock;

pub use state::{BadState, State};
pub use transcripts::{Certificate, CheckedAct};

/// How a checkpoint stands to the one that is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckpointRelation {
    Same,
    /// It says that it has grown; its entries have to show that.
    Grown,
    Shrunk,
    /// Another root for the same size.
    Forked,
    /// Of another origin; its entries have to show that a ceremony began it.
    Elsewhere,
}

/// A key in a published set.
pub struct Published<'a> {
    pub kid: &'a Kid,
    /// Or why there is none.
    pub certificate: Result<&'a Certificate, &'a str>,
}

/// The log as far as one round has read it.
pub struct LogReader {
    genesis: Sha256Digest,
    remembered: Option<State>,
    frontier: Frontier,
    clock: Clock,
    acts: Acts,
    orders: Orders,
    line: Line,
}

impl LogReader {
    /// Goes on from what is remembered, or begins.
    pub fn resume(genesis: Sha256Digest, state: Option<State>) -> Result<Self, BadState> {
        let mut watch = Self::new(genesis);
        if let Some(state) = state {
            let frontier = Frontier::from_parts(state.size, &state.frontier);
            watch.frontier = frontier.map_err(|_| BadState::Root)?;
            watch.clock = state.clock.clone();
            for act in &state.acts {
                watch.acts.of_keys(&Arc::new(act.clone()));
            }
            watch.orders = match &state.orders {
                Some(orders) => Orders::resume(orders),
                None => Orders::from(state.size),
            };
            watch.line = Line::resume(&state);
            watch.remembered = Some(state);
        }
        Ok(watch)
    }

    fn new(genesis: Sha256Digest) -> Self {
        Self {
            genesis,
            remembered: None,
            frontier: Frontier::new(),
            clock: Clock::default(),
            acts: Acts::default(),
            orders: Orders::default(),
            line: Line::default(),
        }
    }

    /// Reads the log from its beginning, because its tree does not begin with the one that is
    /// remembered.
    pub fn anew(self) -> Self {
        Self {
            remembered: self.remembered,
            line: Line::anew(),
            ..Self::new(self.genesis)
        }
    }

    /// Acts on the log whose ceremonies have to be heard before anything is judged.
    pub fn unheard(&self) -> &[Act] {
        self.line.unheard()
    }

    /// The same as before any entry was read, with what ceremonies say of the log.
    pub fn knowing(self, checked: Vec<CheckedAct>, now: &Checkpoint) -> Result<Self, BadState> {
        let too_many = self.line.too_many;
        let mut watch = match self.line.is_anew() {
            true => self.anew(),
            false => Self::resume(self.genesis, self.remembered)?,
        };
        watch.line.too_many = too_many;
        watch
            .line
            .apply_all(checked, watch.remembered.as_ref(), now);
        for order in watch.line.corrections() {
            watch.clock.correct(order);
        }
        Ok(watch)
    }

    pub fn remembered(&self) -> Option<&State> {
        self.remembered.as_ref()
    }

    /// How many entries were read.
    pub fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// How many of them are new.
    pub fn read(&self) -> u64 {
        let before = self.remembered.as_ref().map_or(0, State::size);
        match self.line.is_anew() {
            true => self.size(),
            false => self.size() - before,
        }
    }

    pub fn relation(&self, now: &Checkpoint) -> CheckpointRelation {
        let Some(before) = &self.remembered else {
            return CheckpointRelation::Grown;
        };
        if now.origin != before.line.newest() {
            CheckpointRelation::Elsewhere
        } else if now.size < before.size {
            CheckpointRelation::Shrunk
        } else if now.size > before.size {
            CheckpointRelation::Grown
        } else if now.root == before.root {
            CheckpointRelation::Same
        } else {
            CheckpointRelation::Forked
        }
    }

    /// The next entry.
    pub fn entry(&mut self, body: &[u8], findings: &mut Findings) {
        let index = self.frontier.size();
        self.line.grown(&self.frontier);
        self.frontier.push(leaf_hash(body));
        let place = index as i64;
        let time = match Leaf::parse(body) {
            Ok(Leaf::Signature(leaf)) => leaf.time,
            Ok(Leaf::Act(leaf)) => {
                let time = leaf.time;
                let act = Act {
                    index: place,
                    leaf: *leaf,
                };
                if LogAct::is_meant(&act.leaf) {
                    self.line.note(act);
                } else {
                    self.orders.note(&act, findings);
                    self.acts.of_keys(&Arc::new(act));
                }
                time
            }
            // Counted with the tree; what it says is for a later version to know.
            Ok(Leaf::Unknown(leaf)) => leaf.time,
            Err(error) => {
                let what = format!("the leaf cannot be decoded: {error}");
                findings.add("unreadable", Some(place), what);
                return;
            }
        };
        let time = self.line.time(index, time);
        let before = self.clock.at();
        if self.clock.tick(index, time) {
            let what = format!("the time {time} is before {before}, the time of an earlier leaf");
            findings.add("backdated", Some(place), what);
        }
    }

    /// Whether the log that was read is the one that is remembered, by its origins; and what its
    /// ceremonies did not say as its leaves do.
    pub fn follows(&self, now: &Checkpoint, findings: &mut Findings) -> bool {
        self.line.report(findings);
        let moved = self
            .line
            .moved(self.remembered.as_ref(), &self.by_place(), now);
        match moved {
            Err(why) => {
                findings.add("forked", None, why);
                false
            }
            Ok(None) => true,
            Ok(Some((index, what))) => {
                findings.add("new_origin", Some(index as i64), what);
                true
            }
        }
    }

    /// Whether what was read is the tree of the checkpoint.
    pub fn ends_in(&self, now: &Checkpoint) -> bool {
        self.frontier.size() == now.size && self.frontier.root() == now.root
    }

    /// The rings that the log tells of.
    pub fn rings(&self) -> BTreeSet<String> {
        let acts = self.acts.keys.values().flatten();
        acts.filter_map(|act| act.leaf.ring.clone()).collect()
    }

    /// Keys of the log that its acts tell of: one that was revoked is in no set and has signed.
    pub fn log_keys(&self) -> Vec<Kid> {
        let of_log = |act: &Act| act.leaf.ring.as_deref() == Some(LOG_RING);
        let keys = self.acts.keys.iter();
        keys.filter(|(_, acts)| acceptance(acts).is_some_and(of_log))
            .map(|(kid, _)| kid.clone())
            .collect()
    }

    /// Every published key was accepted by a ceremony that the log tells of, and lives.
    pub fn published(&self, keys: &[Published<'_>], findings: &mut Findings) {
        for key in keys {
            self.key(key, findings);
        }
    }

    fn key(&self, key: &Published<'_>, findings: &mut Findings) {
        let kid = key.kid;
        let certificate = match key.certificate {
            Ok(certificate) => certificate,
            Err(why) => {
                let what = format!("key {kid} is published without a valid ceremony: {why}");
                findings.add("key_unlogged", None, what);
                return;
            }
        };
        let acts = self.acts.keys.get(kid).map_or(&[][..], Vec::as_slice);
        let Some(accepted) = acceptance(acts) else {
            let what = format!("key {kid} is published, but no leaf records its acceptance");
            findings.add("key_unlogged", None, what);
            return;
        };
        let digest = accepted.leaf.digest;
        if digest.is_some_and(|digest| digest != certificate.digest) {
            let what =
                format!("key {kid} is published with a transcript other than the accepted one");
            findings.add("key_unlogged", Some(accepted.index), what);
        }
        if let Some(used) = &certificate.used {
            let before = self.acts.keys.get(&used.predecessor);
            let of_keys = before.into_iter().flatten().map(AsRef::as_ref);
            if let Some(fault) = self.orders.fault(used, accepted.index, of_keys) {
                let what = format!("key {kid} is published outside of its standing order: {fault}");
                findings.add("order", Some(accepted.index), what);
            }
        }
        let time = |act: &Act| self.line.time(act.index.unsigned_abs(), act.leaf.time);
        let history = replay(kid, certificate.prepared_at, acts, time).and_then(|history| {
            let last = acts.last().map_or(0, |act| act.index);
            let whole = history.state().map_err(|error| (last, error));
            whole.map(|_| history)
        });
        match history {
            Err((index, error)) => {
                let what = format!("the history of key {kid} in the log is invalid: {error}");
                findings.add("history", Some(index), what);
            }
            Ok(history) if history.life().revocation.is_some() => {
                let revocation = |act: &&Arc<Act>| act.leaf.previous_kid.as_ref() == Some(kid);
                let index = acts.iter().rfind(revocation).map(|act| act.index);
                let what =
                    format!("key {kid} is published although the log records its revocation");
                findings.add("revoked_in_jwks", index, what);
            }
            Ok(_) => {}
        }
    }

    /// A log that says nothing for so long was stopped or is hidden. Where witnesses are asked for,
    /// their clocks count too.
    pub fn fresh(
        &self,
        witnessed: Option<&Witnessed>,
        max_age: Duration,
        now: Time,
        findings: &mut Findings,
    ) {
        let mut last = vec![("the newest leaf", Some(self.clock.at()))];
        if let Some(witnessed) = witnessed {
            if witnessed.complete {
                last.push(("the quorum of witnesses", witnessed.at));
            } else {
                let what = "the checkpoint lacks the cosignatures required by the policy";
                findings.add("witnesses", None, what);
            }
        }
        for (who, at) in last {
            if let Some(at) = at.filter(|at| *at + max_age < now) {
                findings.add("stale", None, format!("{who} dates from {at}"));
            }
        }
    }

    /// Every act that changed a key, in the order of the log.
    fn by_place(&self) -> Vec<Arc<Act>> {
        let acts = self.acts.keys.values().flatten();
        let by_place: BTreeMap<i64, &Arc<Act>> = acts.map(|act| (act.index, act)).collect();
        by_place.into_values().cloned().collect()
    }

    /// What to remember, once the tree of the checkpoint was read to its end.
    pub fn state(&self, now: &Checkpoint, note: &str) -> State {
        let acts = self.by_place();
        State {
            acts: acts.iter().map(|act| act.as_ref().clone()).collect(),
            clock: self.clock.clone(),
            frontier: self.frontier.hashes().to_vec(),
            genesis: self.genesis,
            line: self.line.known(now),
            orders: Some(self.orders.clone()),
            note: note.to_owned(),
            root: now.root,
            size: now.size,
            unheard: self.line.lasting(),
            v: V1,
        }
    }
}
