//! Emergencies: stops and resumes against the log, and rotations that have to be ratified.

use std::collections::BTreeSet;
use std::time::Duration;

use trust::acts::{Act, Acts};
use trust::leaf::ActKind;
use trust::request::EmergencyRotation;
use trust::{Operation, Request, Sha256Digest};

use super::Auditor;
use super::ceremonies::Ceremonies;
use super::tables::Tables;
use crate::emergency::{EmergencyReading, EmergencyState};
use crate::rows::unverified_chains;
use store::Store;
use trust::finding::Findings;

impl Auditor {
    /// What keeps rings from signing, as replicas read it.
    pub(super) async fn emergency(&self, tables: &Tables) -> Result<EmergencyState, store::Error> {
        let chains = unverified_chains(&tables.documents).ok().flatten();
        let trusted = chains.as_ref();
        let trusted = trusted.and_then(|chains| trust::chain::walk(chains, &self.pin).ok());
        let reading = EmergencyReading {
            store: &self.store,
            pin: &self.pin,
            chain: chains.as_ref().zip(trusted.as_ref()),
            documents: &tables.documents,
            suspensions: &tables.suspensions,
            seen: None,
        };
        reading.read_all().await
    }
}

/// Rows and leaves that differ, and acts without a ceremony.
pub fn faults(state: &EmergencyState, findings: &mut Findings) {
    for fault in state.faults() {
        findings.add(fault.code, fault.index, fault.what.clone());
    }
}

/// Each emergency rotation against the leaf that tells of it, and each such leaf against the ceremony.
pub async fn rotations(
    store: &Store,
    rows: &Ceremonies,
    acts: &Acts,
    findings: &mut Findings,
) -> Result<(), store::Error> {
    let mut meant = BTreeSet::new();
    let of_it = rows.iter();
    for row in of_it.filter(|row| row.operation.as_str() == "emergency-rotation") {
        let id = row.id.to_string();
        let carried_out = |act: &&Act| act.leaf.kind == ActKind::Key && act.leaf.action == "revoke";
        let mut of = acts.of_ceremony(&id).iter().map(AsRef::as_ref);
        let Some(act) = of.find(carried_out) else {
            continue;
        };
        meant.insert(act.index);
        let request = store.ceremony(&id).await?.map(|row| row.request);
        // One that was changed is told elsewhere.
        let request = request.filter(|bytes| Sha256Digest::of(bytes) == row.id);
        let request = request.and_then(|bytes| Request::decode(&bytes).ok());
        let same = match request.map(|request| request.operation) {
            Some(Operation::EmergencyRotation(order)) => tells(act, &order),
            _ => true,
        };
        if !same {
            let what = format!("the leaf of the emergency rotation {id} differs from its request");
            findings.add("rotation", Some(act.index), what);
        }
    }
    for act in &acts.emergencies {
        let kind = act.leaf.kind;
        if kind == ActKind::Key && !meant.contains(&act.index) {
            let what = "a revocation has to be ratified, and is no emergency rotation";
            findings.add("rotation", Some(act.index), what);
        }
    }
    Ok(())
}

fn tells(act: &Act, order: &EmergencyRotation) -> bool {
    let leaf = &act.leaf;
    let until = leaf.time + Duration::from_secs(order.ratify_within_seconds);
    leaf.kid.as_ref() == Some(&order.standby)
        && leaf.previous_kid.as_ref() == Some(&order.kid)
        && leaf.ring.as_deref() == Some(order.ring.as_str())
        && leaf.compromised_since == Some(order.compromised_since)
        && leaf.until == Some(until)
}
