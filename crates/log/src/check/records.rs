//! Ceremonies, their signatures, documents, credentials and rings: each row against the leaf that
//! tells of it, and each leaf against the row that it told of.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use trust::emergency;
use trust::leaf::ActKind;
use trust::{Pin, Purpose, Sha256Digest, Time};

use super::ceremonies::{Ceremonies, Ceremony};
use super::notes::{self, Noted};
use store::{
    CeremonyState, CredentialName, CredentialRow, DocumentRow, RingRow, Rows, Store, UnreadableRow,
    VoteRow,
};
use trust::acts::{Act, Acts};
use trust::finding::Findings;
use trust::log_acts::{LogAct, LogHistory};
use trust::withdrawal::{USE, WITHDRAW};

/// A digest that the leaf does not name is one of an older program; that is told once, elsewhere.
fn tells(act: &Act, digest: Sha256Digest) -> bool {
    act.leaf.digest.is_none_or(|told| told == digest)
}

/// Rows that cannot have been written by this program.
pub fn unreadable(rows: &[UnreadableRow], findings: &mut Findings) {
    for row in rows {
        findings.add("unreadable_row", None, row.to_string());
    }
}

/// What is kept of a custodian's signature.
pub struct Vote {
    pub index: i64,
    pub ceremony: Sha256Digest,
    purpose: Purpose,
    pub digest: Sha256Digest,
    pub received_at: Time,
    /// Of a note: its text.
    pub noted: Option<Sha256Digest>,
}

impl Vote {
    pub fn new(row: VoteRow) -> Self {
        Self {
            index: row.index,
            ceremony: row.vote.ceremony,
            purpose: row.vote.purpose,
            // The leaf of a veto names what was vetoed and why.
            digest: match row.vote.purpose {
                Purpose::Veto => Sha256Digest::of(&row.vote.body),
                _ => Sha256Digest::of(row.vote.signature.as_bytes()),
            },
            received_at: row.vote.received_at,
            noted: notes::text_of(&row.vote),
        }
    }
}

pub fn votes(rows: &Rows<Vote>, acts: &Acts, findings: &mut Findings) {
    let mut there = BTreeSet::new();
    for vote in &rows.read {
        there.insert(vote.index);
        let leaf = acts
            .of_ceremony(&vote.ceremony.to_string())
            .iter()
            .find(|act| act.index == vote.index);
        let logged = leaf
            .is_some_and(|act| act.leaf.action == vote.purpose.word() && tells(act, vote.digest));
        if !logged {
            let what = format!(
                "a signature to {} of ceremony {} differs from the one recorded in its leaf",
                vote.purpose.word(),
                vote.ceremony
            );
            findings.add("vote_unlogged", Some(vote.index), what);
        }
    }
    for (ceremony, acts) in &acts.ceremonies {
        for act in acts {
            let vote = act.leaf.kind == ActKind::Ceremony
                && matches!(
                    act.leaf.action.as_str(),
                    "propose"
                        | "approve"
                        | "reject"
                        | "cancel"
                        | "accept"
                        | "note"
                        | "exception"
                        | "witness"
                );
            let unreadable = || rows.is_unreadable(&act.index.to_string());
            if vote && !there.contains(&act.index) && !unreadable() {
                let what = format!(
                    "{} recorded {} for ceremony {ceremony}: the signature is not in the database",
                    act.leaf.actor, act.leaf.action
                );
                findings.add("vote_missing", Some(act.index), what);
            }
        }
    }
}

/// Notes in the records of ceremonies against their rows and leaves.
pub fn notes(rows: &Ceremonies, votes: &Rows<Vote>, acts: &Acts, findings: &mut Findings) {
    let mut of_ceremony: BTreeMap<Sha256Digest, Vec<Noted>> = BTreeMap::new();
    for vote in &votes.read {
        let Some(text) = vote.noted else { continue };
        let acts = acts.of_ceremony(&vote.ceremony.to_string());
        let leaf = acts.iter().find(|act| act.index == vote.index);
        of_ceremony.entry(vote.ceremony).or_default().push(Noted {
            at: vote.received_at,
            text,
            by: leaf.map_or_else(String::new, |act| act.leaf.actor.clone()),
        });
    }
    for ceremony in rows.iter() {
        let there = of_ceremony.remove(&ceremony.id).unwrap_or_default();
        compare_notes(ceremony, there, findings);
    }
}

/// A revocation or a correction is carried out in one step, and a note that comes at that moment is not in its record.
fn compare_notes(ceremony: &Ceremony, mut there: Vec<Noted>, findings: &mut Findings) {
    let Some(record) = &ceremony.notes else {
        return;
    };
    for noted in record {
        match there.iter().position(|row| row == noted) {
            Some(place) => drop(there.swap_remove(place)),
            None => {
                let what = format!(
                    "the record of ceremony {} has a note of {} that is in no row and leaf",
                    ceremony.id, noted.at
                );
                findings.add("note", None, what);
            }
        }
    }
    let at_once = !matches!(ceremony.operation.as_str(), "generate" | "destroy");
    for noted in there.iter().filter(|_| !at_once) {
        let what = format!(
            "a note of {} is missing in the record of ceremony {}",
            noted.at, ceremony.id
        );
        findings.add("note", None, what);
    }
}

/// Which leaf ended a chain of so many documents: what was carried out under it was so before.
pub fn ended(documents: &[DocumentRow], length: u64) -> Option<i64> {
    let next = documents.get(usize::try_from(length).ok()?)?;
    next.index
}

pub fn ceremonies(
    rows: &Ceremonies,
    documents: &[DocumentRow],
    acts: &Acts,
    findings: &mut Findings,
) {
    // A new roster or policy makes void what is proposed.
    let installed = acts.documents.iter();
    let voids = installed.filter(|act| act.leaf.action != "install-genesis");
    let voids: Vec<_> = voids.map(|act| act.index).collect();
    let mut there = BTreeSet::new();
    for row in rows.iter() {
        let id = row.id.to_string();
        let of = acts.of_ceremony(&id);
        ceremony(row, of, &voids, acts, findings);
        let executed = of
            .iter()
            .find(|act| EXECUTED.contains(&act.leaf.action.as_str()));
        for known in row.certified() {
            let Some(ended) = ended(documents, known.documents) else {
                continue;
            };
            if executed.is_none_or(|act| act.index > ended) {
                let what = format!(
                    "ceremony {id} was carried out under a roster or policy that did not hold any more"
                );
                findings.add("former_roster", executed.map(|act| act.index), what);
            }
        }
        there.insert(id);
    }
    for (id, acts) in &acts.ceremonies {
        if !there.contains(id.as_str()) && !rows.is_unreadable(id) {
            let index = acts.first().map(|act| act.index);
            let what = format!("ceremony {id} is in the log but not in the database");
            findings.add("ceremony_missing", index, what);
        }
    }
}

/// The leaf that withdrew the standing order under which a ceremony is.
fn withdrawn(of: &[Arc<Act>], acts: &Acts) -> Option<i64> {
    let used = of.iter().find(|act| act.leaf.action == USE)?;
    let of_order = acts.orders.get(used.leaf.reference.as_ref()?)?;
    let withdrawal = of_order.iter().find(|act| act.leaf.action == WITHDRAW);
    withdrawal.map(|act| act.index)
}

fn ceremony(row: &Ceremony, acts: &[Arc<Act>], voids: &[i64], all: &Acts, findings: &mut Findings) {
    let id = &row.id;
    let by = |actions: &[&str]| {
        let mut found = acts.iter();
        found.rfind(|act| actions.contains(&act.leaf.action.as_str()))
    };
    match by(&["propose", USE]) {
        // The log in which it would stand was halted: the ceremony was held on files, and one leaf tells of all of it.
        None if row.operation.as_str() == "new-origin" && by(&CLOSED).is_some() => {
            new_origin(row, by(&CLOSED), findings);
            return;
        }
        None => {
            let what = format!("the log contains no proposal of ceremony {id}");
            findings.add("ceremony_unlogged", None, what);
            return;
        }
        Some(act) if row.request != *id => {
            let what =
                format!("the request of ceremony {id} differs from the one proposed in the log");
            findings.add("request", Some(act.index), what);
        }
        Some(_) => {}
    }
    let execution = by(&EXECUTED);
    let transcript = by(&CLOSED);
    for (code, digest, act) in [
        ("execution", row.execution, execution),
        ("transcript", row.transcript, transcript),
    ] {
        let index = act.map(|act| act.index);
        let agrees = match (digest, act) {
            (Some(digest), Some(act)) => tells(act, digest),
            (None, None) => true,
            _ => false,
        };
        if !agrees {
            let what = format!("the {code} of ceremony {id} differs from the log");
            findings.add(code, index, what);
        }
    }
    let mut state = state(acts);
    let last = acts.last().map_or(0, |act| act.index);
    let mut voids = voids.iter().copied().chain(withdrawn(acts, all));
    if matches!(state, "proposed" | "approved") && voids.any(|void| void > last) {
        state = "cancelled";
    }
    if state != row.state.as_str() {
        let what = format!(
            "ceremony {id} is {} in its row, but {state} in the log",
            row.state
        );
        findings.add("ceremony_state", acts.last().map(|act| act.index), what);
    }
}

fn new_origin(row: &Ceremony, act: Option<&Arc<Act>>, findings: &mut Findings) {
    let (id, index) = (row.id, act.map(|act| act.index));
    let transcript = row.transcript.unwrap_or_else(|| Sha256Digest::of(b""));
    let mut differs = |code, what: &str| {
        let what = format!("the {what} of ceremony {id} differs from the log");
        findings.add(code, index, what);
    };
    if !act.is_some_and(|act| tells(act, transcript)) {
        differs("transcript", "transcript");
        return;
    }
    // What the leaf names holds all the rest.
    let Some(repeats) = row.repeats else {
        return;
    };
    if row.request != id || !repeats.request {
        differs("request", "request");
    }
    if !repeats.execution {
        differs("execution", "execution");
    }
    if row.state != CeremonyState::Closed {
        let what = format!(
            "ceremony {id} is {} in its row, but closed in the log",
            row.state
        );
        findings.add("ceremony_state", index, what);
    }
}

/// Acts that carry a ceremony out, with the digest of what the executor wrote.
const EXECUTED: [&str; 10] = [
    "generated",
    "ordered",
    "policy-set",
    "resumed",
    "ratified",
    "adopted after a crash",
    "destroyed",
    "destroyed, found after a crash",
    "corrected",
    "revoke",
];

/// Acts that end a ceremony, with the digest of its transcript.
const CLOSED: [&str; 5] = [
    "accepted",
    "clock-correction",
    "new-origin",
    emergency::RESUME,
    emergency::RATIFY,
];

/// Where a ceremony stands by its acts. A failure does not undo an end that came before it.
fn state(acts: &[Arc<Act>]) -> &'static str {
    acts.iter().fold("proposed", |state, act| {
        match (act.leaf.action.as_str(), state) {
            ("approved", _) => "approved",
            ("rejected", _) => "rejected",
            ("cancelled", _) => "cancelled",
            ("expired", _) => "expired",
            ("intend-generation" | "intend-destruction", _) => "executing",
            (action, _) if EXECUTED.contains(&action) => "executed",
            (action, _) if CLOSED.contains(&action) => "closed",
            ("failed" | "overtaken", "approved" | "executing" | "executed") => "failed",
            _ => state,
        }
    })
}

/// An act on the log with what it did, or why it rests on no ceremony.
pub type Done = (Arc<Act>, Result<LogAct, String>);

/// What acts on the log did by the transcripts of their ceremonies, which are read once more, one at a time.
pub async fn done(
    store: &Store,
    rows: &Ceremonies,
    acts: &Acts,
    pin: &Pin,
) -> Result<Vec<Done>, store::Error> {
    let mut did = Vec::with_capacity(acts.log_acts.len());
    for act in &acts.log_acts {
        let named = act.leaf.reference.as_ref();
        let row = named.and_then(|id| rows.get(&id.parse().ok()?));
        let mut transcript = None;
        if let Some(row) = row {
            let bytes = store.transcript(&row.id.to_string()).await?;
            // One that was replaced since is not what everything else was compared with.
            transcript = bytes.filter(|bytes| row.transcript == Some(Sha256Digest::of(bytes)));
        }
        let transcript = transcript.unwrap_or_default();
        let index = act.index.unsigned_abs();
        let done = LogAct::read(index, &act.leaf, &transcript, pin);
        did.push((act.clone(), done));
    }
    Ok(did)
}

/// What was done to the log rests on ceremonies and begins with the leaves that they name, of which
/// `roots` are the roots; and its origins are a line that ends in the present
/// one.
pub fn log_acts(
    acts: &[Done],
    roots: &BTreeMap<i64, Sha256Digest>,
    origin: &str,
    findings: &mut Findings,
) {
    let mut did = Vec::with_capacity(acts.len());
    for (act, done) in acts {
        match done {
            Ok(done) => did.push((act, done)),
            Err(why) => not_on_the_log(act, why, findings),
        }
    }
    let mut line = LogHistory::before(did.iter().map(|(_, done)| *done), origin);
    for (act, done) in &did {
        if let Err(why) = line.apply(act.index.unsigned_abs(), done) {
            not_on_the_log(act, &why, findings);
        }
        if let LogAct::Began(order) = done
            && roots
                .get(&act.index)
                .is_some_and(|root| *root != order.root)
        {
            let why = "the leaves before it are not those the ceremony retained";
            not_on_the_log(act, why, findings);
        }
    }
    if line.newest() != origin {
        let what = format!(
            "the log's origin is {origin:?}, its ceremonies name {:?}",
            line.newest()
        );
        findings.add("origin", None, what);
    }
}

fn not_on_the_log(act: &Act, why: &str, findings: &mut Findings) {
    let action = &act.leaf.action;
    let what = format!("{action} has no valid ceremony: {why}");
    findings.add(act.code(), Some(act.index), what);
}

pub fn documents(rows: &[DocumentRow], acts: &Acts, findings: &mut Findings) {
    let mut digests = BTreeSet::new();
    for row in rows {
        let digest = Sha256Digest::of(&row.body);
        digests.insert(digest);
        let mut told = acts.documents.iter();
        if !told.any(|act| tells(act, digest)) {
            let what = format!(
                "the log contains no installation of {} {}",
                row.kind, row.version
            );
            findings.add("document_unlogged", None, what);
        }
    }
    for act in &acts.documents {
        if act
            .leaf
            .digest
            .is_some_and(|digest| !digests.contains(&digest))
        {
            let what = format!(
                "the document installed by {} is not in the database",
                act.leaf.action
            );
            findings.add("document_missing", Some(act.index), what);
        }
    }
}

pub fn credentials(rows: &Rows<CredentialRow>, acts: &Acts, findings: &mut Findings) {
    let grants: BTreeMap<Sha256Digest, i64> = acts
        .grants
        .iter()
        .filter_map(|act| Some((act.leaf.digest?, act.index)))
        .collect();
    let unnamed = acts.grants.iter().any(|act| act.leaf.digest.is_none());
    let withdrawn = |value: &str, after: i64| {
        let mut told = acts.withdrawals.iter();
        told.find(|act| act.index > after && act.leaf.reference.as_deref() == Some(value))
    };
    let mut there = BTreeMap::new();
    for row in &rows.read {
        let who = format!("the {} of {}", row.name.kind(), row.principal);
        let Some(&granted) = grants.get(&row.digest()) else {
            if !unnamed {
                let what = format!("{who}: no such grant in the log");
                findings.add("credential_unlogged", None, what);
            }
            continue;
        };
        there.insert(granted, row);
        let told = withdrawn(&row.name.value(), granted);
        if row.withdrawn_at != told.map(|act| act.leaf.time) {
            let index = told.map(|act| act.index);
            let what = format!("{who}: row and log disagree whether it is withdrawn");
            findings.add("credential_state", index, what);
        }
    }
    for act in acts.grants.iter().filter(|act| act.leaf.digest.is_some()) {
        // The name of a certificate may be granted again once it was withdrawn.
        let again = || {
            let mut later = there.range(act.index + 1..);
            later.any(|(granted, row)| {
                matches!(&row.name, CredentialName::MtlsSan(san)
                    if withdrawn(san, act.index).is_some_and(|w| w.index < *granted))
            })
        };
        if !there.contains_key(&act.index) && !again() {
            let principal = act.leaf.reference.as_deref().unwrap_or_default();
            let what = format!("the credential granted to {principal} is not in the database");
            findings.add("credential_missing", Some(act.index), what);
        }
    }
}

/// The leaf names no algorithm; that of a ring's keys is in their transcripts.
pub fn rings(rows: &Rows<RingRow>, acts: &Acts, findings: &mut Findings) {
    let told: BTreeMap<&str, &Arc<Act>> = acts
        .rings
        .iter()
        .filter_map(|act| Some((act.leaf.ring.as_deref()?, act)))
        .collect();
    for row in &rows.read {
        let created = told.get(row.name.as_str());
        if created.is_none_or(|act| act.leaf.time != row.created_at) {
            let what = format!("ring {} differs from its creation in the log", row.name);
            findings.add("ring_unlogged", created.map(|act| act.index), what);
        }
    }
    for (name, act) in told {
        let there = rows.read.iter().any(|row| row.name.as_str() == name);
        if !there && !rows.is_unreadable(name) {
            let what = format!("ring {name} is in the log but not in the database");
            findings.add("ring_missing", Some(act.index), what);
        }
    }
}

#[cfg(test)]
mod tests {
    use trust::leaf::{ActLeaf, Leaf};

    use super::*;
    use testkit::custodians::{Custodians, Done as Held, correction, new_origin};

    fn leaf(done: &Held) -> ActLeaf {
        match Leaf::parse(&trust::json::canonical(&done.leaf).unwrap()) {
            Ok(Leaf::Act(act)) => *act,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_was_done_to_the_log_rests_on_ceremonies_that_lead_to_what_it_is() {
        let custodians = Custodians::new("production");
        let corrected = custodians.done(0, correction("old", 2, 3, 0));
        let began = custodians.done(0, new_origin("old", "new", 6, 8));
        let tree = Sha256Digest::of(b"tree");
        let roots = BTreeMap::from([(4, Sha256Digest::of(b"")), (6, tree), (9, tree)]);
        let codes = |done: &[(i64, &Held)], rows: &[&Held], origin: &str| {
            let mut acts = Vec::new();
            for &(index, done) in done {
                let leaf = leaf(done);
                let named = |row: &&&Held| leaf.reference == Some(row.request.to_string());
                let row = rows.iter().find(named);
                let transcript = row.map_or(&[][..], |row| &row.transcript);
                let read = LogAct::read(index.unsigned_abs(), &leaf, transcript, custodians.pin());
                acts.push((Arc::new(Act { index, leaf }), read));
            }
            let mut findings = Findings::default();
            log_acts(&acts, &roots, origin, &mut findings);
            let (told, _) = findings.into_parts();
            let codes = told.iter().map(|finding| finding.code);
            codes.collect::<Vec<_>>().join(" ")
        };
        let rows = [&corrected, &began];
        let all = [(5, &corrected), (6, &began)];
        assert_eq!(codes(&all, &rows, "new"), "");
        assert_eq!(codes(&[], &[], "new"), "");
        assert_eq!(codes(&all, &rows, "old"), "origin");
        let elsewhere = custodians.done(0, new_origin("old", "new", 4, 8));
        let all_but_it = [(4, &elsewhere)];
        assert_eq!(codes(&all_but_it, &[&elsewhere], "new"), "origin");
        assert_eq!(codes(&all, &rows[1..], "new"), "correction");
        assert_eq!(codes(&all, &rows[..1], "new"), "origin correction");
        assert_eq!(codes(&[(3, &corrected)], &rows, "new"), "correction");
        assert_eq!(codes(&[(7, &began)], &rows, "new"), "origin");
        let mut other = corrected.clone();
        other.leaf["last"] = 4.into();
        assert_eq!(codes(&[(5, &other)], &rows, "new"), "correction");
        let again = custodians.done(0, new_origin("old", "newer", 9, 9));
        let rows = [&began, &again];
        let all = [(6, &began), (9, &again)];
        assert_eq!(codes(&all, &rows, "new"), "origin");
    }
}
