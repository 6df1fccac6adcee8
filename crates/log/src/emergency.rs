//! What keeps rings from signing, as the log tells it: read off its leaves, each resume and ratification held against its
//! transcript. Rows stop nothing and let nothing go on; where they differ from the leaves, that is told.
//!
//! Whoever serves reads of each ring what is newest, and from then on what comes; the check of the log reads everything.

mod newest;
mod source;
mod statement;

use std::collections::{BTreeMap, BTreeSet};

use trust::emergency::{Emergencies, EmergencyAct, HeldUnder, RATIFY, STOP};
use trust::finding::Finding;
use trust::leaf::{ActKind, ActLeaf, Leaf};
use trust::logged_quorum::{Suspended, Undecided};
use trust::stop::VerifiedStop;
use trust::{Chains, Pin, Sha256Digest, Subject, Time, Trusted};

use self::newest::read;
use self::source::{Source, digest_of};
use self::statement::{Rosters, unlogged};
use crate::suspended::{SuspensionsError, suspended_by_log};
use store::{DocumentRow, LeafRow, MAX_PAGE, PageStart, StopRow, Store};

pub use source::Cost;

/// Stops that are read together.
const TOGETHER: i64 = 500;

/// Leaves without effect that are looked at again, because what they rest on may come back.
const DOUBTFUL: usize = 1_000;

/// What is known of emergencies at one size of the log.
#[derive(Debug, Clone, Default)]
pub struct EmergencyState {
    known: Emergencies,
    judged: i64,
    faults: Vec<Finding>,
    /// The last leaf that was looked at: its index and its body. Another one there is another log.
    last: Option<(i64, String)>,
    /// Leaves of stops that have not ended.
    open: BTreeMap<i64, ActLeaf>,
    /// Leaves that had no effect.
    doubtful: Vec<LeafRow>,
    /// What resumes and ratifications did, by their ceremonies: a transcript is verified once.
    verified: BTreeMap<String, (ActLeaf, EmergencyAct)>,
    /// Stops whose statements hold: a signature is verified once.
    held: BTreeMap<Sha256Digest, (StopRow, VerifiedStop)>,
    cost: Cost,
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
    /// What was judged before is not judged again.
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

    /// What it took to come from the last state to this one.
    pub fn cost(&self) -> Cost {
        self.cost
    }

    /// What a leaf tells, if it holds; where everything was read.
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

    /// A leaf without effect, and why.
    fn doubt(&mut self, code: &'static str, row: &LeafRow, what: String) {
        self.fault(code, Some(row.index), what);
        if self.doubtful.len() < DOUBTFUL {
            self.doubtful.push(row.clone());
        }
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
    /// What there is now, of what came since `seen` alone where the log is the same. Costs the same however much has ended.
    pub async fn read(&self) -> Result<EmergencyState, store::Error> {
        let source = Source::new(self.store);
        // Whatever is told from here on is not looked at, and the next signature's transaction finds it.
        let judged = source.log_size().await?;
        let mut state = match self.seen {
            Some(seen) if self.goes_on(seen, judged, &source).await? => {
                self.since(seen, judged, &source).await?
            }
            _ => self.anew(judged, &source).await?,
        };
        state.verified.clear();
        let known = &state.known;
        let holds = |index: &i64| known.stops().iter().any(|stop| stop.index == *index);
        state.open.retain(|index, _| holds(index));
        self.statements(&mut state, &source).await?;
        state.cost = source.cost();
        Ok(state)
    }

    /// Everything, each act and each statement, for the check of the log.
    pub async fn read_all(&self) -> Result<EmergencyState, store::Error> {
        let source = Source::new(self.store);
        let mut state = EmergencyState {
            judged: source.log_size().await?,
            ..EmergencyState::default()
        };
        for row in source.leaves(0, state.judged).await? {
            self.note(&mut state, &source, &row).await?;
        }
        let mut there = BTreeSet::new();
        let mut rosters = Rosters::new(self.pin, self.chain);
        let mut next = Some(PageStart::default());
        while let Some(start) = next {
            let page = source.stops(&start, TOGETHER).await?;
            for row in &page.rows.unreadable {
                state.fault("unreadable_row", None, row.to_string());
            }
            for row in page.rows.read {
                if let Some(unlogged) = statement(&mut state, &mut rosters, row, &mut there) {
                    keep(&mut state, unlogged);
                }
            }
            next = page.next;
        }
        missing(&mut state, &there);
        state.cost = source.cost();
        Ok(state)
    }

    /// Whether the log is the one that was seen, and longer.
    async fn goes_on(
        &self,
        seen: &EmergencyState,
        judged: i64,
        source: &Source<'_>,
    ) -> Result<bool, store::Error> {
        if judged < seen.judged {
            return Ok(false);
        }
        let last = source.last_before(seen.judged).await?;
        Ok(last.map(|row| (row.index, row.body)) == seen.last)
    }

    async fn since(
        &self,
        seen: &EmergencyState,
        judged: i64,
        source: &Source<'_>,
    ) -> Result<EmergencyState, store::Error> {
        let mut state = EmergencyState {
            judged,
            faults: Vec::new(),
            ..seen.clone()
        };
        for row in std::mem::take(&mut state.doubtful) {
            self.note(&mut state, source, &row).await?;
        }
        for row in source.leaves(seen.judged, judged).await? {
            self.note(&mut state, source, &row).await?;
            state.last = Some((row.index, row.body));
        }
        self.forgotten(&mut state, source).await?;
        Ok(state)
    }

    async fn anew(&self, judged: i64, source: &Source<'_>) -> Result<EmergencyState, store::Error> {
        let mut state = EmergencyState {
            judged,
            ..EmergencyState::default()
        };
        self.newest(&mut state, source).await?;
        let last = source.last_before(judged).await?;
        state.last = last.map(|row| (row.index, row.body));
        let before = self.seen.map(|seen| seen.known());
        for index in before.map_or_else(Vec::new, |before| state.known.keep(before)) {
            state.fault("emergency_forgotten", Some(index), FORGOTTEN.to_owned());
        }
        Ok(state)
    }

    /// What holds and of which the log does not tell any more. It holds all the same.
    async fn forgotten(
        &self,
        state: &mut EmergencyState,
        source: &Source<'_>,
    ) -> Result<(), store::Error> {
        let known = &state.known;
        let by_row = |stop: &Sha256Digest, index| {
            state.held.contains_key(stop) && !state.open.contains_key(&index)
        };
        let stops = known.stops().iter().map(|stop| (stop.index, stop.digest));
        let stops = stops.filter(|(index, digest)| !by_row(digest, *index));
        let rotations = known.rotations().iter();
        let rotations = rotations.map(|each| (each.index, each.rotation));
        let expected: Vec<_> = stops.chain(rotations).collect();
        let indexes: Vec<i64> = expected.iter().map(|(index, _)| *index).collect();
        let mut told = BTreeMap::new();
        for part in indexes.chunks(TOGETHER as usize) {
            for row in source.leaves_at(part).await? {
                let act = read(&row).and_then(|act| EmergencyAct::told(&act));
                told.insert(row.index, act.as_ref().and_then(digest_of));
            }
        }
        for (index, digest) in expected {
            if told.get(&index) != Some(&Some(digest)) {
                state.fault("emergency_forgotten", Some(index), FORGOTTEN.to_owned());
            }
        }
        Ok(())
    }

    async fn note(
        &self,
        state: &mut EmergencyState,
        source: &Source<'_>,
        row: &LeafRow,
    ) -> Result<(), store::Error> {
        let Some(act) = read(row) else {
            let what = "a leaf of an emergency cannot be read".to_owned();
            state.doubt("emergency", row, what);
            return Ok(());
        };
        let time = Time::from_millis(row.time);
        if (act.kind, act.action.as_str()) == (ActKind::Emergency, STOP) {
            state.open.insert(row.index, act.as_ref().clone());
        }
        let Some(ceremony) = EmergencyAct::ceremony(&act) else {
            if let Some(told) = EmergencyAct::told(&act) {
                state.known.apply(row.index, time, &told);
            }
            return Ok(());
        };
        match self
            .done(state, source, (row.index, &*act), ceremony)
            .await?
        {
            Ok(done) => state.known.apply(row.index, time, &done),
            Err(why) => {
                let code = match act.action.as_str() {
                    RATIFY => "ratification",
                    _ => "resume",
                };
                let what = format!("{} has no valid ceremony and no effect: {why}", act.action);
                state.doubt(code, row, what);
            }
        }
        Ok(())
    }

    /// What the leaf of a resume or a ratification did, by its transcript.
    async fn done(
        &self,
        state: &mut EmergencyState,
        source: &Source<'_>,
        (index, act): (i64, &ActLeaf),
        ceremony: &str,
    ) -> Result<Result<EmergencyAct, String>, store::Error> {
        if let Some((leaf, done)) = state.verified.get(ceremony)
            && leaf == act
        {
            return Ok(Ok(done.clone()));
        }
        let done = self.verified(source, ceremony, (index, act)).await?;
        if let Ok(done) = &done {
            let verified = (act.clone(), done.clone());
            state.verified.insert(ceremony.to_owned(), verified);
        }
        Ok(done)
    }

    async fn verified(
        &self,
        source: &Source<'_>,
        ceremony: &str,
        (index, act): (i64, &ActLeaf),
    ) -> Result<Result<EmergencyAct, String>, store::Error> {
        let Some((_, trusted)) = self.chain else {
            return Ok(Err("no roster in the database verifies".to_owned()));
        };
        let read = match source.transcript(ceremony).await? {
            Some(bytes) => {
                source.verifies();
                EmergencyAct::read(act, &bytes, self.pin, trusted)
            }
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
        let leaves = source.leaves_of_ceremony(ceremony, MAX_PAGE).await?;
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

    /// The statements behind what has ended of each line, against the leaves that tell of them, and these against their
    /// statements.
    async fn statements(
        &self,
        state: &mut EmergencyState,
        source: &Source<'_>,
    ) -> Result<(), store::Error> {
        let mut there = BTreeSet::new();
        let mut rosters = Rosters::new(self.pin, self.chain);
        let before = std::mem::take(&mut state.held);
        for subject in source.stop_subjects().await? {
            let settled = match subject.parse() {
                Ok(Subject::Stop(scope)) => state.known.settled(&scope),
                _ => 0,
            };
            let mut after = i64::try_from(settled).unwrap_or(i64::MAX);
            loop {
                let rows = source.stops_of(&subject, after, TOGETHER).await?;
                for row in &rows.unreadable {
                    state.fault("unreadable_row", None, row.to_string());
                }
                let full = (rows.read.len() + rows.unreadable.len()) as i64 == TOGETHER;
                let last = rows.read.last().map(|row| row.line.seq);
                for row in rows.read {
                    let index = row.index.unwrap_or(-1);
                    if let Some((same, verified)) = before.get(&row.id)
                        && *same == row
                        && state.open.contains_key(&index)
                    {
                        there.insert(index);
                        state.held.insert(row.id, (row, verified.clone()));
                        continue;
                    }
                    source.verifies();
                    let unlogged = statement(state, &mut rosters, row, &mut there);
                    let Some((row, stop)) = unlogged else {
                        continue;
                    };
                    if !state.known.knows(&stop.digest) {
                        let named = (&stop.scope, &stop.digest);
                        self.ends_of_row(state, source, named, index).await?;
                    }
                    keep(state, (row, stop));
                }
                match last {
                    Some(last) if full => after = last,
                    _ => break,
                }
            }
        }
        missing(state, &there);
        Ok(())
    }
}

const FORGOTTEN: &str =
    "the log told of what keeps a ring from signing, and does not any more; it holds all the same";

/// Holds a row against its leaf. Of what a member did sign the leaf may have been rewritten: that is given back.
fn statement(
    state: &mut EmergencyState,
    rosters: &mut Rosters<'_>,
    row: StopRow,
    there: &mut BTreeSet<i64>,
) -> Option<(StopRow, VerifiedStop)> {
    let index = row.index.unwrap_or(-1);
    // One that came after the leaves were read.
    if index >= state.judged {
        return None;
    }
    match rosters.stop(&row, state.open.get(&index)) {
        Ok(verified) => {
            there.insert(index);
            state.held.insert(row.id, (row, verified));
            None
        }
        Err(why) => {
            let what = format!("stop {} of {}: {why}", row.id, row.line.subject);
            state.fault("stop", row.index, what);
            let stop = rosters.statement(&row).ok()?;
            Some((row, stop))
        }
    }
}

fn keep(state: &mut EmergencyState, (row, stop): (StopRow, VerifiedStop)) {
    let holds = |known: &Emergencies| known.stops().iter().any(|open| open.digest == stop.digest);
    if holds(&state.known) || state.known.keep_stop(unlogged(&row, &stop)) {
        state.held.insert(row.id, (row, stop));
    }
}

/// Leaves of stops whose statements are not there.
fn missing(state: &mut EmergencyState, there: &BTreeSet<i64>) {
    let missing: Vec<i64> = state.open.keys().copied().collect();
    for index in missing.into_iter().filter(|index| !there.contains(index)) {
        let what = "no valid statement of this stop is in the database; it stops all the same";
        state.fault("stop_missing", Some(index), what.to_owned());
    }
}

/// The first leaf that tells that this ceremony was carried out.
pub(crate) fn execution(leaves: &[LeafRow], held: &HeldUnder) -> Option<i64> {
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
    let executed = executed(store, held).await?;
    let next = store.log_size().await?;
    Ok(held.check(executed, next, &suspensions).err())
}

/// The leaf that tells of its execution, however many leaves name the ceremony.
async fn executed(store: &Store, held: &HeldUnder) -> Result<Option<i64>, store::Error> {
    let ceremony = held.ceremony().to_string();
    let mut from = 0;
    loop {
        let page = store.leaves_of_ceremony(&ceremony, from, MAX_PAGE).await?;
        match (execution(&page, held), page.last()) {
            (None, Some(last)) if page.len() as i64 == MAX_PAGE => from = last.index + 1,
            (found, _) => return Ok(found),
        }
    }
}
