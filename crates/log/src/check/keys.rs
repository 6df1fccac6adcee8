//! Keys: what their rows say against what the log says became of them.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use trust::history::History;
use trust::leaf::ActKind;
use trust::order_log::{LoggedUse, Suspended, UseFault, UsePlace, check_use};
use trust::tlog::note::VerifierKey;
use trust::{Kid, LOG_RING, PublicKey, Sha256Digest};

use super::ceremonies::Ceremonies;
use crate::rows::{Certified, bind_key, status};
use store::{DocumentRow, KeyRow};
use trust::acts::{Act, Acts, acceptance, replay};
use trust::finding::Findings;

/// A key's row with what its transcript says, if that is verified.
pub struct Examined<'a> {
    pub row: &'a KeyRow,
    transcript: Option<Sha256Digest>,
    certified: Result<&'a Certified, &'a str>,
}

/// Each key with the transcript that it rests on, before anything is compared with the log.
pub fn examine<'a>(keys: &'a [KeyRow], ceremonies: &'a Ceremonies) -> Vec<Examined<'a>> {
    let examined = keys.iter().map(|row| Examined {
        row,
        transcript: ceremonies
            .get(&row.ceremony)
            .and_then(|ceremony| ceremony.transcript),
        certified: ceremonies.certified(row),
    });
    examined.collect()
}

impl Examined<'_> {
    fn public(&self) -> Option<PublicKey> {
        let certified = self.certified.ok()?;
        PublicKey::from_spki_der(&certified.spki).ok()
    }
}

/// The keys that checkpoints of this origin are verified with: certified ones of the ring `log`.
pub fn log_keys(examined: &[Examined<'_>], origin: &str) -> BTreeMap<Kid, VerifierKey> {
    let of_log = |key: &&Examined<'_>| match key.certified {
        Ok(certified) => certified.order.ring.as_str() == LOG_RING,
        Err(_) => false,
    };
    let keys = examined.iter().filter(of_log).filter_map(|key| {
        let public = key.public()?;
        let kid = public.kid();
        Some((kid, VerifierKey::for_log(origin, &public).ok()?))
    });
    keys.collect()
}

/// What keys are held against.
pub struct Held<'a> {
    pub acts: &'a Acts,
    pub documents: &'a [DocumentRow],
    pub suspensions: &'a [Suspended],
}

/// Each row against its transcript and its life in the log; and the log's keys without a row.
pub fn compare(
    examined: &[Examined<'_>],
    is_unreadable: impl Fn(&Kid) -> bool,
    held: &Held<'_>,
    findings: &mut Findings,
) {
    let acts = held.acts;
    for key in examined {
        one(key, held, findings);
    }
    let there: HashSet<&Kid> = examined.iter().map(|key| &key.row.kid).collect();
    for (kid, acts) in &acts.keys {
        if !there.contains(kid) && !is_unreadable(kid) {
            let index = acts.first().map(|act| act.index);
            let what = format!("key {kid} is in the log but not in the database");
            findings.add("key_missing", index, what);
        }
    }
}

fn one(key: &Examined<'_>, held: &Held<'_>, findings: &mut Findings) {
    let (row, acts) = (key.row, held.acts);
    let certified = match key.certified {
        Ok(certified) => {
            if let Err(why) = bind_key(row, certified) {
                findings.add("key_row", None, format!("key {}: {why}", row.kid));
            }
            Some(certified)
        }
        Err(why) => {
            findings.add("transcript", None, format!("key {}: {why}", row.kid));
            None
        }
    };
    let told = acts.keys.get_key_value(&row.kid);
    let accepted = told.and_then(|(_, acts)| acceptance(acts));
    let (Some((kid, acts_of_key)), Some(accepted)) = (told, accepted) else {
        let what = format!(
            "key {} is in the database, but no ceremony in the log accepted it",
            row.kid
        );
        findings.add("key_unlogged", None, what);
        return;
    };
    if accepted.leaf.digest.is_some() && accepted.leaf.digest != key.transcript {
        let what = format!("the transcript of key {kid} is not the one that was accepted");
        findings.add("transcript", Some(accepted.index), what);
    }
    if let Some(used) = certified.and_then(|certified| certified.used.as_ref())
        && let Err(fault) = held.bears_out(used, accepted.index)
    {
        findings.add("order", Some(accepted.index), format!("key {kid}: {fault}"));
    }
    if row.unpublished_at != acts.unpublished.get(kid).copied() {
        let what = format!("the log and the row of key {kid} differ in when it left the key sets");
        findings.add("key_state", None, what);
    }
    let prepared_at = certified.map_or(accepted.leaf.time, |certified| certified.prepared_at);
    // As they were written: the rows repeat that.
    match replay(kid, prepared_at, acts_of_key, |act| act.leaf.time) {
        Err((index, error)) => {
            let what = format!("the history of key {kid} in the log is invalid: {error}");
            findings.add("history", Some(index), what);
        }
        Ok(history) => {
            if let Some(what) = difference(row, &history) {
                let of_key = |act: &&Arc<Act>| act.leaf.kind == ActKind::Key;
                let last = acts_of_key.iter().rfind(of_key).map(|act| act.index);
                let what = format!("key {kid}: {what} in its row differs from its acts in the log");
                findings.add("key_state", last, what);
            }
        }
    }
}

impl Held<'_> {
    /// A key under a standing order against what the log tells of the order and of the key.
    fn bears_out(&self, used: &LoggedUse, accepted: i64) -> Result<(), UseFault> {
        let of_order = self.acts.orders.get(&used.used.id.to_string());
        let ceremonies = [used.order.request, used.request]
            .into_iter()
            .flat_map(|request| self.acts.of_ceremony(&request.to_string()));
        let before = self.acts.keys.get(&used.predecessor);
        let acts = of_order
            .into_iter()
            .chain(before)
            .flatten()
            .chain(ceremonies);
        let place = UsePlace {
            accepted,
            ended: super::records::ended(self.documents, used.order.documents),
            suspensions: self.suspensions,
        };
        check_use(used, &place, acts.map(AsRef::as_ref))
    }
}

fn difference(row: &KeyRow, history: &History) -> Option<&'static str> {
    let life = history.life();
    let (ours, logged) = (row.revocation, life.revocation);
    let agreements = [
        ("publication", Some(row.published_at) == life.published_at),
        ("activation", row.activated_at == life.activated_at),
        ("demotion", row.demoted_at == life.demoted_at),
        ("retirement", row.retired_at == life.retired_at),
        (
            "revocation",
            ours.map(|r| r.revoked_at) == logged.map(|r| r.revoked_at),
        ),
        (
            "compromise",
            ours.and_then(|r| r.compromised_since) == logged.and_then(|r| r.compromised_since),
        ),
        (
            "revocation reason",
            ours.map(|r| r.reason) == logged.map(|r| r.reason),
        ),
        ("destruction", row.archived_at == life.archived_at),
        (
            "state",
            history
                .state()
                .is_ok_and(|state| status(&state) == row.status),
        ),
    ];
    let wrong = agreements.into_iter().find(|(_, agrees)| !agrees);
    wrong.map(|(what, _)| what)
}
