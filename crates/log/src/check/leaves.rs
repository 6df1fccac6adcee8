//! Each leaf by itself: its body can be read, its columns repeat it, its time is not set back.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use trust::emergency::{Emergencies, EmergencyAct};
use trust::leaf::{ActKind, Leaf, SignatureLeaf};
use trust::tlog::merkle::{empty_root, leaf_hash};
use trust::{Sha256Digest, Time};

use crate::emergency::EmergencyState;
use store::LeafRow;
use trust::acts::Acts;
use trust::finding::Findings;
use trust::log_acts::CorrectedTimes;
use trust::log_clock::Clock;

/// Goes over the rows of the log.
#[derive(Debug, Default)]
pub struct Trail {
    /// Of each leaf, by ceremonies that hold.
    times: Arc<CorrectedTimes>,
    /// By the times as they were written, which is what checkpoints repeat.
    pub clock: Clock,
    /// By the times as corrected.
    corrected: Clock,
    pub acts: Acts,
    /// Acts of ceremonies and documents whose leaf names no digest.
    pub without_digest: usize,
    /// Leaves of kinds that a later version knows.
    pub unknown: BTreeMap<String, usize>,
    /// All leaves that are no signatures.
    pub seal: Seal,
    /// What resumes and ratifications did, by their transcripts.
    emergency: Arc<EmergencyState>,
    /// What keeps rings from signing at this place.
    stops: Emergencies,
}

/// Which acts were read: their number, and a chain of SHA-256 over their indexes and hashes. Whoever reads the same leaves
/// in the same order has the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seal {
    acts: u64,
    chain: Sha256Digest,
}

impl Default for Seal {
    fn default() -> Self {
        Self {
            acts: 0,
            chain: empty_root(),
        }
    }
}

impl Seal {
    fn add(&mut self, index: i64, leaf: Sha256Digest) {
        let mut link = [0; 72];
        link[..32].copy_from_slice(self.chain.as_bytes());
        link[32..40].copy_from_slice(&index.to_be_bytes());
        link[40..].copy_from_slice(leaf.as_bytes());
        self.chain = Sha256Digest::of(&link);
        self.acts += 1;
    }
}

impl Trail {
    pub fn corrected_by(times: Arc<CorrectedTimes>) -> Self {
        Self {
            times,
            ..Self::default()
        }
    }

    pub fn stopped_by(self, emergency: Arc<EmergencyState>) -> Self {
        Self { emergency, ..self }
    }

    /// From the first leaf on.
    pub fn anew(&self) -> Self {
        Self::corrected_by(self.times.clone()).stopped_by(self.emergency.clone())
    }

    /// A signature of a ring that was stopped should not have been released.
    fn stopped(&self, row: &LeafRow, leaf: &SignatureLeaf, findings: &mut Findings) {
        let ring = leaf.ring.as_str();
        if self.stops.stopped(ring, leaf.time).is_some() {
            let what = format!("a signature of ring {ring}, which was stopped");
            findings.add("stopped", Some(row.index), what);
        }
    }

    /// Without a body, which may be gone after retention, its columns are all there is.
    pub fn row(&mut self, row: &LeafRow, read: Option<Read>, findings: &mut Findings) {
        let told = read.and_then(|read| self.body(row, read, findings));
        let time = told.unwrap_or(Time::from_millis(row.time));
        let index = row.index.unsigned_abs();
        self.clock.tick(index, time);
        let time = self.times.of(index, time);
        let before = self.corrected.at();
        if self.corrected.tick(index, time) {
            let what = format!("the time {time} is before {before}, the time of an earlier leaf");
            findings.add("backdated", Some(row.index), what);
        }
    }

    pub fn corrected(&self) -> &Clock {
        &self.corrected
    }

    pub fn set_corrected(&mut self, clock: Clock) {
        self.corrected = clock;
    }

    /// What a body says, and whether its columns repeat it; its time.
    pub fn body(&mut self, row: &LeafRow, read: Read, findings: &mut Findings) -> Option<Time> {
        match read.leaf {
            Err(error) => {
                let what = format!("the leaf cannot be decoded: {error}");
                findings.add("unreadable", Some(row.index), what);
                None
            }
            Ok((leaf, difference)) => {
                if let Some(hash) = read.act {
                    self.seal.add(row.index, hash);
                }
                Some(self.leaf(row, leaf, difference, findings))
            }
        }
    }

    fn leaf(
        &mut self,
        row: &LeafRow,
        leaf: Leaf,
        difference: Option<&'static str>,
        findings: &mut Findings,
    ) -> Time {
        if let Some(column) = difference {
            let what = format!("the column {column} differs from the leaf");
            findings.add("columns", Some(row.index), what);
        }
        match leaf {
            Leaf::Signature(leaf) => {
                self.stopped(row, &leaf, findings);
                leaf.time
            }
            Leaf::Unknown(leaf) => {
                *self.unknown.entry(leaf.kind.to_string()).or_default() += 1;
                leaf.time
            }
            Leaf::Act(act) => {
                let recorded = matches!(
                    (act.kind, act.action.as_str()),
                    (
                        ActKind::Ceremony,
                        "propose" | "approve" | "reject" | "cancel" | "accept" | "accepted"
                    ) | (ActKind::Roster, _)
                        | (ActKind::Access, "grant")
                );
                self.without_digest += usize::from(recorded && act.digest.is_none());
                let time = act.time;
                if EmergencyAct::is_meant(&act)
                    && let Some(done) = self.emergency.act(&act)
                {
                    self.stops.apply(row.index, time, &done);
                }
                self.acts.note(row.index, *act);
                time
            }
        }
    }
}

/// A body that was read: pure, so that it is done beside the reading of the next ones.
pub struct Read {
    leaf: Result<(Leaf, Option<&'static str>), String>,
    /// Its hash, if it is no signature.
    act: Option<Sha256Digest>,
}

impl Read {
    pub fn new(row: &LeafRow, body: &[u8]) -> Self {
        let leaf = Leaf::parse(body).map_err(|error| error.to_string());
        let is_act = matches!(leaf, Ok(Leaf::Act(_) | Leaf::Unknown(_)));
        Self {
            act: is_act.then(|| leaf_hash(body)),
            leaf: leaf.map(|leaf| {
                let difference = Columns::of(&leaf, row).difference(row);
                (leaf, difference)
            }),
        }
    }
}

/// The columns beside a body as the body has them.
struct Columns {
    time: Time,
    kind: String,
    ring: Option<String>,
    kid: Option<String>,
    sig_hash: Option<Sha256Digest>,
}

impl Columns {
    fn of(leaf: &Leaf, row: &LeafRow) -> Self {
        match leaf {
            Leaf::Signature(leaf) => Self {
                time: leaf.time,
                kind: "sign".to_owned(),
                ring: Some(leaf.ring.to_string()),
                kid: Some(leaf.kid.as_str().to_owned()),
                sig_hash: Some(leaf.sig_hash),
            },
            Leaf::Act(leaf) => Self {
                time: leaf.time,
                kind: leaf.kind.to_string(),
                ring: leaf.ring.clone(),
                kid: leaf.kid.as_ref().map(|kid| kid.as_str().to_owned()),
                sig_hash: None,
            },
            // Of what a later version wrote no more is known than this, and nothing is wrong.
            Leaf::Unknown(leaf) => Self {
                time: leaf.time,
                kind: leaf.kind.to_string(),
                ring: row.ring.clone(),
                kid: row.kid.clone(),
                sig_hash: row.sig_hash.as_deref().and_then(|hash| hash.parse().ok()),
            },
        }
    }

    fn difference(&self, row: &LeafRow) -> Option<&'static str> {
        let sig_hash = self.sig_hash.map(|digest| digest.to_string());
        [
            ("time", self.time.millis() == row.time),
            ("kind", self.kind == row.kind),
            ("ring", self.ring == row.ring),
            ("kid", self.kid == row.kid),
            ("sig_hash", sig_hash == row.sig_hash),
        ]
        .into_iter()
        .find_map(|(column, same)| (!same).then_some(column))
    }
}

#[cfg(test)]
mod tests {
    use trust::request::ClockCorrection;

    use super::*;
    use trust::log_acts::{LogAct, LogHistory};

    fn row(index: i64, minute: i64) -> LeafRow {
        LeafRow {
            index,
            time: minute * 60_000,
            kind: "sign".to_owned(),
            ring: None,
            kid: None,
            sig_hash: None,
            body: String::new(),
        }
    }

    #[test]
    fn a_leaf_from_the_future_makes_none_after_it_backdated_once_it_is_corrected() {
        let backdated = |line: LogHistory| {
            let mut trail = Trail::corrected_by(Arc::new(line.times(&[])));
            let mut findings = Findings::default();
            for (index, minute) in [(0, 10), (1, 5_000), (2, 12), (3, 13)] {
                trail.row(&row(index, minute), None, &mut findings);
            }
            assert_eq!(trail.clock.at(), Time::from_millis(5_000 * 60_000));
            findings.into_parts().0.len()
        };
        let corrected = |bound: i64| {
            let order = ClockCorrection {
                bound: Time::from_millis(bound * 60_000),
                first: 1,
                last: 1,
                origin: "log.example".to_owned(),
            };
            let mut line = LogHistory::of("log.example");
            line.apply(4, &LogAct::Corrected(order)).unwrap();
            line
        };
        assert_eq!(backdated(LogHistory::of("log.example")), 2);
        assert_eq!(backdated(corrected(11)), 0);
        assert_eq!(backdated(corrected(60)), 2);
    }
}
