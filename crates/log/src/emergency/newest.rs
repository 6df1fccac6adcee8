//! What keeps rings from signing, found from the newest on. What ended a stop, or a rotation, ended those before it in its
//! line, or ring: so of each only those are read that are behind the newest that has ended, and of what ended them only
//! what names one of these is verified. Somebody who starts after ten years reads as much as on the first day.
//!
//! Nothing is passed over for what a row or a leaf claims: only for a transcript that verifies, and whose ceremony began
//! after the leaf of what it ended. Whoever adds leaves adds them behind that.

use std::collections::BTreeMap;

use trust::emergency::{Emergencies, EmergencyAct, place};
use trust::leaf::{ActLeaf, Leaf};
use trust::request::Ended;
use trust::{Name, Operation, Request, Scope, Sha256Digest, Time};

use super::source::{Source, digest_of};
use super::{EmergencyReading, EmergencyState};
use store::{Error, Hindrance, LeafRow};

/// Leaves that are read together: most often the first one ends it.
const FEW: i64 = 8;

impl EmergencyReading<'_> {
    /// Takes what there is of each ring from its newest stop, and its newest rotation, on.
    pub(super) async fn newest(
        &self,
        state: &mut EmergencyState,
        source: &Source<'_>,
    ) -> Result<(), Error> {
        let mut told = BTreeMap::new();
        for of in [Hindrance::Stop, Hindrance::Rotation] {
            for line in source.lines(of).await? {
                self.line((of, &line), state, source, &mut told).await?;
            }
        }
        for row in told.values() {
            self.note(state, source, row).await?;
        }
        Ok(())
    }

    async fn line(
        &self,
        (of, line): (Hindrance, &str),
        state: &mut EmergencyState,
        source: &Source<'_>,
        told: &mut BTreeMap<i64, LeafRow>,
    ) -> Result<(), Error> {
        let mut before = state.judged;
        loop {
            let page = source.hindrances_before(of, line, (before, FEW)).await?;
            for row in &page {
                told.insert(row.index, row.clone());
                if self.has_ended(row, line, state, source, told).await? {
                    return Ok(());
                }
            }
            match page.last() {
                Some(last) if page.len() as i64 == FEW => before = last.index,
                _ => return Ok(()),
            }
        }
    }

    /// Whether a hindrance and all before it in this line have ended. What names it is `told`.
    async fn has_ended(
        &self,
        row: &LeafRow,
        line: &str,
        state: &mut EmergencyState,
        source: &Source<'_>,
        told: &mut BTreeMap<i64, LeafRow>,
    ) -> Result<bool, Error> {
        let Some(act) = read(row) else {
            return Ok(false);
        };
        let Some(hindrance) = EmergencyAct::told(&act) else {
            return Ok(false);
        };
        let ring = match &hindrance {
            EmergencyAct::Stopped { scope, .. } => scope.ring().map_or("", Name::as_str),
            _ => act.ring.as_deref().unwrap_or_default(),
        };
        // A stop without a place ends alone, and a leaf in a line that is not its own says nothing of that line.
        let of_line = ring == line
            && match &hindrance {
                EmergencyAct::Stopped { sequence, .. } => place(*sequence, row.index) > 0,
                _ => true,
            };
        let Some(named) = digest_of(&hindrance) else {
            return Ok(false);
        };
        let mut alone = Emergencies::default();
        alone.apply(row.index, Time::from_millis(row.time), &hindrance);
        let (mut after, judged) = (row.index, state.judged);
        loop {
            let page = source.ends(ring, after, FEW).await?;
            for end in page.iter().filter(|end| end.index < judged) {
                let Some(act) = read(end) else {
                    told.insert(end.index, end.clone());
                    continue;
                };
                let Some(ceremony) = EmergencyAct::ceremony(&act) else {
                    continue;
                };
                if !may_name(source, ceremony, &named).await? {
                    continue;
                }
                told.insert(end.index, end.clone());
                let Ok(done) = self
                    .done(state, source, (end.index, &*act), ceremony)
                    .await?
                else {
                    continue;
                };
                alone.apply(end.index, Time::from_millis(end.time), &done);
                if alone.is_empty() {
                    let first = source.leaves_of_ceremony(ceremony, 1).await?;
                    let began = first.first().is_some_and(|first| row.index < first.index);
                    return Ok(of_line && began);
                }
            }
            match page.last() {
                Some(last) if page.len() as i64 == FEW => after = last.index,
                _ => return Ok(false),
            }
        }
    }

    /// What ended a stop that has no leaf: looked at because its row has one.
    pub(super) async fn ends_of_row(
        &self,
        state: &mut EmergencyState,
        source: &Source<'_>,
        (scope, named): (&Scope, &Sha256Digest),
        mut after: i64,
    ) -> Result<(), Error> {
        let ring = scope.ring().map_or("", Name::as_str);
        let judged = state.judged;
        loop {
            let page = source.ends(ring, after, FEW).await?;
            for end in page.iter().filter(|end| end.index < judged) {
                let Some(act) = read(end) else { continue };
                let Some(ceremony) = EmergencyAct::ceremony(&act) else {
                    continue;
                };
                if may_name(source, ceremony, named).await?
                    && let Ok(done) = self
                        .done(state, source, (end.index, &*act), ceremony)
                        .await?
                {
                    let time = Time::from_millis(end.time);
                    state.known.apply(end.index, time, &done);
                    return Ok(());
                }
            }
            match page.last() {
                Some(last) if page.len() as i64 == FEW => after = last.index,
                _ => return Ok(()),
            }
        }
    }
}

pub fn read(row: &LeafRow) -> Option<Box<ActLeaf>> {
    match Leaf::parse(row.body.as_bytes()) {
        Ok(Leaf::Act(act)) => Some(act),
        _ => None,
    }
}

/// Whether a ceremony is about what is known by this. One of which nothing is known may be.
async fn may_name(
    source: &Source<'_>,
    ceremony: &str,
    named: &Sha256Digest,
) -> Result<bool, Error> {
    let row = match source.ceremony(ceremony).await {
        Err(error) if error.is_corrupt() => return Ok(true),
        row => row?,
    };
    let request = row.and_then(|row| Request::decode(&row.request).ok());
    Ok(match request.map(|request| request.operation) {
        Some(Operation::Resume(resume)) => match resume.ends {
            Ended::Stop { digest, .. } => digest == *named,
            Ended::Unratified { rotation } => rotation == *named,
        },
        Some(Operation::Ratification(ratified)) => ratified.rotation == *named,
        _ => true,
    })
}
