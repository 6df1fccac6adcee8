//! The acts of the log, sorted by what they are about. Signatures and refusals are not kept, so this
//! grows with keys and ceremonies and not with what is signed.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::emergency::{self, EmergencyAct};
use crate::history::{History, NotAHistory};
use crate::leaf::{ActKind, ActLeaf};
use crate::withdrawal::USE;
use crate::{Kid, Time};

use crate::log_acts::LogAct;

pub use crate::act::Act;

/// The word of a leaf by which a key that has ended leaves the key sets.
pub const UNPUBLISH: &str = "unpublish";

/// By what they are about, each in the order of the log.
#[derive(Debug, Default)]
pub struct Acts {
    /// What makes the state of each key.
    pub keys: BTreeMap<Kid, Vec<Arc<Act>>>,
    /// By the digest of the ceremony's request; a use of a standing order too, which proposes one.
    pub ceremonies: BTreeMap<String, Vec<Arc<Act>>>,
    /// Installations of genesis, rosters and policies.
    pub documents: Vec<Arc<Act>>,
    /// What members signed about whom to trust.
    pub statements: Vec<Arc<Act>>,
    pub grants: Vec<Arc<Act>>,
    pub withdrawals: Vec<Arc<Act>>,
    pub rings: Vec<Arc<Act>>,
    /// Uses and withdrawals, by the standing order.
    pub orders: BTreeMap<String, Vec<Arc<Act>>>,
    /// What was done to the log.
    pub log_acts: Vec<Arc<Act>>,
    /// What keeps rings from signing, and lets them go on.
    pub emergencies: Vec<Arc<Act>>,
    /// When keys left the key sets, which changes nothing of what they signed.
    pub unpublished: BTreeMap<Kid, Time>,
}

impl Acts {
    pub fn note(&mut self, index: i64, leaf: ActLeaf) {
        let act = Arc::new(Act { index, leaf });
        self.of_keys(&act);
        if LogAct::is_meant(&act.leaf) {
            self.log_acts.push(act.clone());
        }
        if EmergencyAct::is_meant(&act.leaf) {
            self.emergencies.push(act.clone());
        }
        let leaf = &act.leaf;
        match (leaf.kind, leaf.action.as_str()) {
            (ActKind::Ceremony | ActKind::Log, _)
            | (ActKind::Key, "revoke" | "archive")
            | (ActKind::Emergency, emergency::RESUME | emergency::RATIFY) => {
                if let Some(ceremony) = leaf.reference.clone() {
                    self.ceremonies.entry(ceremony).or_default().push(act);
                }
            }
            (ActKind::Key, UNPUBLISH) => {
                if let Some(kid) = leaf.kid.clone() {
                    self.unpublished.entry(kid).or_insert(leaf.time);
                }
            }
            (ActKind::Roster, action) if action.starts_with("install") => self.documents.push(act),
            (ActKind::Roster | ActKind::Policy | ActKind::Suspension, _) => {
                self.statements.push(act);
            }
            (ActKind::Access, "grant") => self.grants.push(act),
            (ActKind::Access, "withdraw") => self.withdrawals.push(act),
            (ActKind::Ring, "create") => self.rings.push(act),
            (ActKind::Order, _) => {
                if let (USE, Some(ceremony)) = (leaf.action.as_str(), leaf.digest) {
                    let of = self.ceremonies.entry(ceremony.to_string()).or_default();
                    of.push(act.clone());
                }
                if let Some(order) = leaf.reference.clone() {
                    self.orders.entry(order).or_default().push(act);
                }
            }
            _ => {}
        }
    }

    /// Keeps the act if it changes a key, and nothing else of it.
    pub fn of_keys(&mut self, act: &Arc<Act>) {
        let leaf = &act.leaf;
        for kid in [&leaf.kid, &leaf.previous_kid].into_iter().flatten() {
            if History::concerns(leaf, kid) {
                self.keys.entry(kid.clone()).or_default().push(act.clone());
            }
        }
    }

    /// Of one ceremony.
    pub fn of_ceremony(&self, id: &str) -> &[Arc<Act>] {
        self.ceremonies.get(id).map_or(&[], Vec::as_slice)
    }
}

/// The life of a key by its acts, each at the time that `time` says; or the act that cannot have
/// been.
pub fn replay(
    kid: &Kid,
    prepared_at: Time,
    acts: &[Arc<Act>],
    time: impl Fn(&Act) -> Time,
) -> Result<History, (i64, NotAHistory)> {
    let mut history = History::new(kid.clone(), prepared_at);
    for (number, act) in acts.iter().enumerate() {
        let mut leaf = act.leaf.clone();
        leaf.time = time(act);
        // A clock that was wrong at the acceptance was wrong at the birth before it.
        if number == 0 && leaf.time < act.leaf.time && prepared_at <= act.leaf.time {
            history = History::new(kid.clone(), prepared_at.min(leaf.time));
        }
        history.apply(&leaf).map_err(|error| (act.index, error))?;
    }
    Ok(history)
}

/// The act that accepted a key: its first.
pub fn acceptance(acts: &[Arc<Act>]) -> Option<&Act> {
    acts.first()
        .map(Arc::as_ref)
        .filter(|act| act.leaf.kind == ActKind::Ceremony)
}
