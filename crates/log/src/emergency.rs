//! What keeps rings from signing, as the log tells it: read off its leaves, each resume and ratification held against its
//! transcript. Rows stop nothing and let nothing go on; where they differ from the leaves, that is told.

use std::collections::{BTreeMap, BTreeSet};

use trust::emergency::{Emergencies, EmergencyAct, HeldUnder, OpenStop, RATIFY, STOP};
use trust::finding::Finding;
use trust::leaf::{ActKind, ActLeaf, Leaf};
use trust::logged_quorum::{Suspended, Undecided};
use trust::stop::{VerifiedStop, roster_of, verify_stop};
use trust::stop_file::tells;
use trust::{Chains, MemberSignature, Pin, Sha256Digest, Time, Trusted};

use crate::suspended::{SuspensionsError, suspended_by_log};
use store::{DocumentRow, LeafRow, MAX_PAGE, PageStart, StopRow, Store};

/// Stops that are read together.
const TOGETHER: i64 = 500;

/// What is known of emergencies at one size of the log.
#[derive(Debug, Clone, Default)]
pub struct EmergencyState {
    known: Emergencies,
    judged: i64,
    faults: Vec<Finding>,
    /// What resumes and ratifications did, by their ceremonies: a transcript is verified once.
    verified: BTreeMap<String, (ActLeaf, EmergencyAct)>,
    /// Stops whose statements hold: a signature is verified once.
    held: BTreeMap<Sha256Digest, (StopRow, VerifiedStop)>,
}

/// What acts are held against.
pub struct EmergencyReading<'a> {
    pub store: &'a Store,
    pub pin: &'a Pin,
    /// The chain as it is, and what it comes to.
    pub chain: Option<(&'a Chains, &'a Trusted)>,
    /// The documents of the chain, with the leaves that tell of them.
    pub documents: &'a [DocumentRow],
    /// Of which the log tells, in its order.
    pub suspensions: &'a [Suspended],
    /// What was verified before is not verified again.
    pub seen: Option<&'a EmergencyState>,
}

impl EmergencyState {
    /// What keeps rings from signing.
    pub fn known(&self) -> &Emergencies {
        &self.known
    }

    /// Leaves below this index were looked at.
    pub fn judged(&self) -> i64 {
        self.judged
    }

    /// What the database says and the log or the members do not.
    pub fn faults(&self) -> &[Finding] {
        &self.faults
    }

    /// What a leaf tells, if it holds.
    pub fn act(&self, leaf: &ActLeaf) -> Option<EmergencyAct> {
        match EmergencyAct::ceremony(leaf) {
            None => EmergencyAct::told(leaf),
            Some(ceremony) => {
                let verified = self.verified.get(ceremony);
                verified.and_then(|(same, done)| (same == leaf).then(|| done.clone()))
            }
        }
    }

    fn fault(&mut self, code: &'static str, index: Option<i64>, what: String) {
        self.faults.push(Finding { code, what, index });
    }

    /// The statement of a stop, if it holds.
    pub fn statement(&self, stop: &Sha256Digest) -> Option<&VerifiedStop> {
        self.held.get(stop).map(|(_, verified)| verified)
    }

    /// Whether the log tells of something that was not looked at.
    pub async fn is_old(&self, store: &Store) -> Result<bool, store::Error> {
        Ok(store.last_emergency().await? >= self.judged)
    }
}

impl EmergencyReading<'_> {
    pub async fn read(&self) -> Result<EmergencyState, store::Error> {
        // Whatever is told from here on is not looked at, and the next signature's transaction finds it.
        let mut state = EmergencyState {
            judged: self.store.log_size().await?,
            ..EmergencyState::default()
        };
        let mut stops = BTreeMap::new();
        for row in self.leaves(state.judged).await? {
            let Ok(Leaf::Act(act)) = Leaf::parse(row.body.as_bytes()) else {
                let what = "a leaf of an emergency cannot be read".to_owned();
                state.fault("emergency", Some(row.index), what);
                continue;
            };
            if (act.kind, act.action.as_str()) == (ActKind::Emergency, STOP) {
                stops.insert(row.index, act.as_ref().clone());
            }
            self.note(&mut state, &row, &act).await?;
        }
        self.statements(&mut state, stops).await?;
        let before = self.seen.map(|seen| seen.known());
        for index in before.map_or_else(Vec::new, |before| state.known.keep(before)) {
            let what = "the log told of what keeps a ring from signing, and does not any more; it holds all the same";
            state.fault("emergency_forgotten", Some(index), what.to_owned());
        }
        Ok(state)
    }

    /// Below an index, oldest first.
    async fn leaves(&self, below: i64) -> Result<Vec<LeafRow>, store::Error> {
        let (mut all, mut from) = (Vec::new(), 0);
        loop {
            let page = self.store.emergency_leaves(from).await?;
            let full = page.len() as i64 == MAX_PAGE;
            from = page.last().map_or(from, |row| row.index + 1);
            all.extend(page.into_iter().filter(|row| row.index < below));
            if !full || from >= below {
                return Ok(all);
            }
        }
    }

    async fn note(
        &self,
        state: &mut EmergencyState,
        row: &LeafRow,
        act: &ActLeaf,
    ) -> Result<(), store::Error> {
        let time = Time::from_millis(row.time);
        let Some(ceremony) = EmergencyAct::ceremony(act) else {
            if let Some(told) = EmergencyAct::told(act) {
                state.known.apply(row.index, time, &told);
            }
            return Ok(());
        };
        let before = self.seen.and_then(|seen| seen.verified.get(ceremony));
        let done = match before.filter(|(leaf, _)| leaf == act) {
            Some((_, done)) => Ok(done.clone()),
            None => self.verified(ceremony, (row.index, act)).await?,
        };
        match done {
            Ok(done) => {
                state.known.apply(row.index, time, &done);
                let verified = (act.clone(), done);
                state.verified.insert(ceremony.to_owned(), verified);
            }
            Err(why) => {
                let code = match act.action.as_str() {
                    RATIFY => "ratification",
                    _ => "resume",
                };
                let what = format!("{} has no valid ceremony and no effect: {why}", act.action);
                state.fault(code, Some(row.index), what);
            }
        }
        Ok(())
    }

    async fn verified(
        &self,
        ceremony: &str,
        (index, act): (i64, &ActLeaf),
    ) -> Result<Result<EmergencyAct, String>, store::Error> {
        let Some((_, trusted)) = self.chain else {
            return Ok(Err("no roster in the database verifies".to_owned()));
        };
        let read = match self.store.transcript(ceremony).await? {
            Some(bytes) => EmergencyAct::read(act, &bytes, self.pin, trusted),
            None => Err("its transcript is not in the database".to_owned()),
        };
        let (done, held) = match read {
            Ok(read) => read,
            Err(why) => return Ok(Err(why)),
        };
        let next = usize::try_from(held.documents).ok();
        let next = next.and_then(|next| self.documents.get(next));
        // The leaf that ended the chain under which it was held, if one did.
        let before =
            |index: i64| next.is_none_or(|next| next.index.is_some_and(|ended| index < ended));
        let mut suspensions = self.suspensions.iter();
        let suspended = suspensions.any(|suspended| suspended.index < index);
        if before(index) && !suspended {
            return Ok(Ok(done));
        }
        let leaves = self.store.leaves_of_ceremony(ceremony, 0, MAX_PAGE).await?;
        let executed = execution(&leaves, &held);
        if let Err(why) = held.check(executed, index, self.suspensions) {
            return Ok(Err(why.to_string()));
        }
        if before(index) {
            return Ok(Ok(done));
        }
        let carried_out = executed.is_some_and(before);
        Ok(match (carried_out, act.time <= held.execute_by) {
            (true, true) => Ok(done),
            (true, false) => {
                Err("it was accepted under a former roster after its deadline".to_owned())
            }
            (false, _) => {
                let why = "it was carried out under a roster or policy that did not hold any more";
                Err(why.to_owned())
            }
        })
    }

    /// Each row against the leaf that tells of it, and each leaf of a stop against its row.
    async fn statements(
        &self,
        state: &mut EmergencyState,
        leaves: BTreeMap<i64, ActLeaf>,
    ) -> Result<(), store::Error> {
        let mut there = BTreeSet::new();
        let mut next = Some(PageStart::default());
        while let Some(start) = next {
            let page = self.store.stops(&start, TOGETHER).await?;
            for row in &page.rows.unreadable {
                state.fault("unreadable_row", None, row.to_string());
            }
            for row in page.rows.read {
                let index = row.index.unwrap_or(-1);
                // One that came after the leaves were read.
                if index >= state.judged {
                    continue;
                }
                let before = self.seen.and_then(|seen| seen.held.get(&row.id));
                let checked = match (before, leaves.get(&index)) {
                    (Some((same, verified)), Some(_)) if *same == row => Ok(verified.clone()),
                    (_, leaf) => check_stop(&row, leaf, self.pin, self.chain),
                };
                match checked {
                    Ok(verified) => {
                        there.insert(index);
                        state.held.insert(row.id, (row, verified));
                    }
                    Err(why) => {
                        let what = format!("stop {} of {}: {why}", row.id, row.line.subject);
                        state.fault("stop", row.index, what);
                        // The leaf of what a member did sign may have been rewritten.
                        if !leaves.contains_key(&index)
                            && let Ok(stop) = check_statement(&row, self.pin, self.chain)
                            && state.known.keep_stop(unlogged(&row, &stop))
                        {
                            state.held.insert(row.id, (row, stop));
                        }
                    }
                }
            }
            next = page.next;
        }
        for index in leaves.keys().filter(|index| !there.contains(index)) {
            let what = "no valid statement of this stop is in the database; it stops all the same";
            state.fault("stop_missing", Some(*index), what.to_owned());
        }
        Ok(())
    }
}

/// The first leaf that tells that this resume, or ratification, was carried out.
fn execution(leaves: &[LeafRow], held: &HeldUnder) -> Option<i64> {
    let is_execution = |leaf: &&LeafRow| match Leaf::parse(leaf.body.as_bytes()) {
        Ok(Leaf::Act(act)) => held.is_execution(&act),
        _ => false,
    };
    leaves.iter().find(is_execution).map(|leaf| leaf.index)
}

/// What every replica would have against a ceremony that took effect by the next leaf.
pub async fn fault_of_decision(
    store: &Store,
    pin: &Pin,
    documents: &[DocumentRow],
    held: &HeldUnder,
) -> Result<Option<Undecided>, SuspensionsError> {
    let suspensions = suspended_by_log(store, pin, documents, &[]).await?;
    let ceremony = held.ceremony().to_string();
    let leaves = store.leaves_of_ceremony(&ceremony, 0, MAX_PAGE).await?;
    let next = store.log_size().await?;
    let checked = held.check(execution(&leaves, held), next, &suspensions);
    Ok(checked.err())
}

/// The statement of a stop, if its row is the one that its leaf tells of, and a member signed it who might.
pub fn check_stop(
    row: &StopRow,
    leaf: Option<&ActLeaf>,
    pin: &Pin,
    chain: Option<(&Chains, &Trusted)>,
) -> Result<VerifiedStop, String> {
    let leaf = leaf.ok_or("the log does not tell of it")?;
    let verified = check_statement(row, pin, chain)?;
    if !tells(leaf, &verified, Sha256Digest::of(row.signature.as_bytes())) {
        return Err("its leaf tells of another".to_owned());
    }
    match leaf.time <= verified.body.expires_at {
        true => Ok(verified),
        false => Err("it was taken after its expiry".to_owned()),
    }
}

/// What the row of a stop says by itself, as the leaf that tells of it would.
fn unlogged(row: &StopRow, stop: &VerifiedStop) -> OpenStop {
    OpenStop {
        scope: stop.scope.clone(),
        digest: stop.digest,
        sequence: stop.body.line.sequence,
        index: row.index.unwrap_or(-1),
        since: row.at,
    }
}

/// The statement of a stop, if a member signed it who might.
fn check_statement(
    row: &StopRow,
    pin: &Pin,
    chain: Option<(&Chains, &Trusted)>,
) -> Result<VerifiedStop, String> {
    let (chains, trusted) = chain.ok_or("no roster in the database verifies")?;
    if Sha256Digest::of(&row.body) != row.id {
        return Err("its body has another digest".to_owned());
    }
    let read = trust::stop::StopBody::decode(&row.body).map_err(|error| error.to_string())?;
    let signature = MemberSignature::decode(row.signature.as_bytes());
    let signature = signature.map_err(|error| error.to_string())?;
    let then;
    let roster = match read.roster == trusted.roster_ref() {
        true => trusted,
        false => {
            then = roster_of(chains, pin, read.roster).ok_or("it names no roster of the chain")?;
            &then
        }
    };
    let verified = verify_stop(roster, &row.body, &signature).map_err(|error| error.to_string())?;
    let line = (
        &verified.body.line.subject.to_string(),
        verified.body.line.sequence.cast_signed(),
    );
    if line != (&row.line.subject, row.line.seq) {
        return Err("its row has another place in the line".to_owned());
    }
    Ok(verified)
}
