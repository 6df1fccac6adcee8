//! What ceremonies did to the log that is followed: corrections of its clock, and new origins.

use std::sync::Arc;

use trust::request::{ClockCorrection, NewOrigin};
use trust::tlog::checkpoint::Checkpoint;
use trust::tlog::merkle::Frontier;
use trust::tlog::note::Note;
use trust::{Sha256Digest, Time};

use super::state::State;
use super::transcripts::CheckedAct;
use trust::acts::Act;
use trust::finding::Findings;
use trust::log_acts::{CorrectedTimes, LogAct, LogHistory};

/// Acts on the log that are looked at in one round.
const MOST: usize = 1_000;

/// Of those whose ceremonies did not hold, how many are tried again.
const LASTING: usize = 100;

/// What is known of it in one round.
#[derive(Default)]
pub struct Line {
    /// Nothing, before the ceremonies of a log were heard that is read from its beginning.
    known: Option<LogHistory>,
    /// The same, to be asked of each leaf.
    times: CorrectedTimes,
    /// Whether a log is read from its beginning although something is remembered.
    anew: bool,
    /// Whether ceremonies were heard: what is read now was read before.
    heard: bool,
    /// Acts to be heard, or, once ceremonies were, those that did not hold, each with the reason.
    unheard: Vec<Act>,
    whys: Vec<String>,
    /// How many acts were not looked at.
    pub(super) too_many: usize,
    /// What holds and was not known before.
    corrected: Vec<ClockCorrection>,
    began: Vec<NewOrigin>,
    /// The root of what an origin took over is not the one that its ceremony names.
    torn: Option<String>,
    /// What of the remembered tree has to be in one that is read from its beginning.
    survivors: Option<Survivors>,
}

/// The largest part of a remembered tree that is known by its root and that a new origin took over.
struct Survivors {
    size: u64,
    hashes: Vec<Sha256Digest>,
    found: bool,
}

impl Line {
    pub fn resume(state: &State) -> Self {
        let mut line = Self {
            unheard: state.unheard.clone(),
            ..Self::default()
        };
        line.know(state.line.clone());
        line
    }

    pub fn anew() -> Self {
        Self {
            anew: true,
            ..Self::default()
        }
    }

    pub fn is_anew(&self) -> bool {
        self.anew
    }

    pub fn unheard(&self) -> &[Act] {
        &self.unheard
    }

    fn know(&mut self, line: LogHistory) {
        self.times = line.times(&[]);
        self.known = Some(line);
    }

    /// The next act on the log.
    pub fn note(&mut self, act: Act) {
        match (self.heard, self.unheard.len() < MOST) {
            (true, _) => {}
            (false, true) => self.unheard.push(act),
            (false, false) => self.too_many += 1,
        }
    }

    /// Takes over what holds.
    pub fn apply_all(
        &mut self,
        checked: Vec<CheckedAct>,
        remembered: Option<&State>,
        now: &Checkpoint,
    ) {
        let holds = checked.iter().filter_map(|each| each.effect.as_ref().ok());
        let mut line = match self.known.take() {
            Some(line) => line,
            None => LogHistory::before(holds, &now.origin),
        };
        (self.heard, self.unheard) = (true, Vec::new());
        for CheckedAct { act, effect } in checked {
            let index = act.index.unsigned_abs();
            match effect.and_then(|did| line.apply(index, &did).map(|()| did)) {
                Ok(LogAct::Corrected(order)) => self.corrected.push(order),
                Ok(LogAct::Began(order)) => self.began.push(order),
                Err(why) => {
                    self.unheard.push(act);
                    self.whys.push(why);
                }
            }
        }
        self.know(line);
        if let Some(before) = remembered.filter(|_| self.anew)
            && let Some(step) = self.step_from(before.line.newest())
        {
            self.survivors = Some(Survivors::of(before, step.size));
        }
    }

    /// Corrections that hold and were not known before.
    pub fn corrections(&self) -> &[ClockCorrection] {
        &self.corrected
    }

    /// When a leaf was written.
    pub fn time(&self, index: u64, time: Time) -> Time {
        self.times.of(index, time)
    }

    /// The tree, before the next leaf.
    pub fn grown(&mut self, frontier: &Frontier) {
        let here = |order: &&NewOrigin| order.size == frontier.size();
        if let Some(order) = self.began.iter().find(here)
            && order.root != frontier.root()
        {
            self.torn = Some(order.origin.clone());
        }
        if let Some(survivors) = &mut self.survivors
            && survivors.size == frontier.size()
        {
            survivors.found = frontier.hashes() == survivors.hashes;
        }
    }

    /// Acts on the log that do not rest on a ceremony.
    pub fn report(&self, findings: &mut Findings) {
        // First, or it would be among those that are only counted.
        if self.too_many > 0 {
            let what = format!("{} log acts were not checked", self.too_many);
            findings.add("correction", None, what);
        }
        for (act, why) in self.unheard.iter().zip(&self.whys) {
            let action = &act.leaf.action;
            let what = format!("{action} has no valid ceremony: {why}");
            findings.add(act.code(), Some(act.index), what);
        }
    }

    /// The ceremony that ended an origin.
    fn step_from(&self, origin: &str) -> Option<&NewOrigin> {
        let mut steps = self.began.iter();
        steps.find(|order| order.previous_origin == origin)
    }

    /// Where and how the log came from the origin that is remembered to another one; or why it is
    /// not the log that is remembered.
    pub fn moved(
        &self,
        remembered: Option<&State>,
        acts: &[Arc<Act>],
        now: &Checkpoint,
    ) -> Result<Option<(u64, String)>, String> {
        if let Some(origin) = &self.torn {
            return Err(format!(
                "{origin:?} does not begin with the leaves that its ceremony retained"
            ));
        }
        let newest = self.known.as_ref().map_or(&*now.origin, LogHistory::newest);
        if newest != now.origin {
            return Err(format!(
                "the log's origin is {:?}, its ceremonies name {newest:?}",
                now.origin
            ));
        }
        let Some(before) = remembered else {
            return Ok(None);
        };
        let old = before.line.newest();
        if old == now.origin {
            return Ok(None);
        }
        let Some(step) = self.step_from(old) else {
            return Err(format!(
                "the log's origin is {:?}, and no ceremony in it names {old:?} as the previous origin",
                now.origin
            ));
        };
        if self.anew {
            self.continues(before, step, acts)?;
        } else if before.size > step.size {
            return Err(format!(
                "the origin {old:?} was in use before its ceremony ended it"
            ));
        }
        let later = self.began.iter();
        let later = later.skip_while(|order| order.previous_origin != old);
        let lost: u64 = later.filter_map(|order| order.lost).map(gone).sum();
        let seen = before.size.saturating_sub(step.size);
        let what = format!(
            "a ceremony changed the origin to {:?} from {old:?}: {lost} leaves were lost, {seen} \
             of them already observed",
            now.origin
        );
        Ok(Some((step.size, what)))
    }

    /// Whether a tree that does not begin with the remembered one is what is left of it.
    fn continues(&self, before: &State, step: &NewOrigin, acts: &[Arc<Act>]) -> Result<(), String> {
        let note = Note::parse(step.previous_checkpoint.as_bytes());
        let note = note.map_err(|error| error.to_string())?;
        let last = Checkpoint::parse(&note.text).map_err(|error| error.to_string())?;
        let same = last.size > before.size || (last.size, last.root) == (before.size, before.root);
        if !same {
            return Err(format!(
                "the last checkpoint of {:?} named by the ceremony has {} leaves and conflicts \
                 with the one of {} leaves in the state file",
                step.previous_origin, last.size, before.size
            ));
        }
        let both = step.size.min(before.size);
        let left = |act: &&Act| act.index.unsigned_abs() < both;
        let remembered = before.acts.iter().filter(left);
        let read = acts.iter().map(Arc::as_ref).filter(left);
        let survived = self.survivors.as_ref().is_some_and(|all| all.found);
        match survived && remembered.eq(read) {
            true => Ok(()),
            false => Err(format!(
                "the first {both} leaves differ from those in the state file"
            )),
        }
    }

    /// What to remember.
    pub fn known(&self, now: &Checkpoint) -> LogHistory {
        let known = self.known.clone();
        known.unwrap_or_else(|| LogHistory::of(now.origin.as_str()))
    }

    /// Acts to be heard again.
    pub fn lasting(&self) -> Vec<Act> {
        self.unheard.iter().take(LASTING).cloned().collect()
    }
}

fn gone(lost: trust::request::LostLeaves) -> u64 {
    lost.last - lost.first + 1
}

impl Survivors {
    /// Whole subtrees of the remembered tree, of the first `left` leaves.
    fn of(before: &State, left: u64) -> Self {
        let (mut size, mut subtrees) = (0, 0);
        for height in (0..u64::BITS).rev() {
            let wide = 1_u64 << height;
            if before.size & wide == 0 {
                continue;
            }
            if size + wide > left {
                break;
            }
            size += wide;
            subtrees += 1;
        }
        Self {
            size,
            hashes: before.frontier.iter().take(subtrees).copied().collect(),
            found: size == 0,
        }
    }
}
