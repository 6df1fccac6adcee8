//! Acts on the log itself, held against the ceremonies that they rest on, and what follows from
//! them: a line of origins, and times as corrected. Service, check and monitor ask here.

use crate::clock::{Corrections, LogPlace, Origins};
use crate::leaf::{ActKind, ActLeaf};
use crate::request::{ClockCorrection, NewOrigin, Operation};
use crate::transcript::VerifiedTranscript;
use crate::{Pin, Time};
use serde::{Deserialize, Serialize};

/// What a ceremony did to the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogAct {
    Corrected(ClockCorrection),
    Began(NewOrigin),
}

impl LogAct {
    /// Whether an act says that it did something to the log.
    pub fn is_meant(act: &ActLeaf) -> bool {
        act.kind == ActKind::Log && matches!(act.action.as_str(), "clock-correction" | "new-origin")
    }

    /// What the act at `index` did, if its leaf and the transcript that it names say the same.
    pub fn read(index: u64, act: &ActLeaf, transcript: &[u8], pin: &Pin) -> Result<Self, String> {
        let verified = crate::verify_transcript(transcript, pin);
        let verified = verified.map_err(|error| crate::error_chain(&error))?;
        let request = verified.statement().request_digest.to_string();
        if act.reference.as_ref() != Some(&request) || act.digest != Some(verified.core_digest()) {
            return Err("the leaf names a different ceremony".to_owned());
        }
        Self::of(index, act, &verified)
            .ok_or_else(|| "the leaf differs from the ceremony".to_owned())
    }

    fn of(index: u64, act: &ActLeaf, verified: &VerifiedTranscript) -> Option<Self> {
        let ranged = (act.first, act.last);
        match &verified.request().operation {
            Operation::ClockCorrection(order) => {
                let same = act.action == "clock-correction"
                    && ranged == (Some(order.first), Some(order.last))
                    && act.bound == Some(order.bound)
                    && act.origin.as_ref() == Some(&order.origin)
                    && order.last < index;
                same.then(|| Self::Corrected(order.clone()))
            }
            Operation::NewOrigin(order) => {
                let before = order.lost.map_or(order.size, |lost| lost.last + 1);
                let same = act.action == "new-origin"
                    && ranged == (Some(order.size), Some(before))
                    && act.origin.as_ref() == Some(&order.origin)
                    && order.size == index;
                same.then(|| Self::Began(order.clone()))
            }
            _ => None,
        }
    }
}

/// What ceremonies did to a log so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogHistory {
    corrections: Vec<Correction>,
    /// The first is not begun by an act.
    first: String,
    later: Vec<Begun>,
}

/// A correction, and where the log tells of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Correction {
    index: u64,
    order: ClockCorrection,
    /// How many origins there were before.
    origin: usize,
}

/// An origin with the number of leaves that it took over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Begun {
    origin: String,
    size: u64,
}

impl LogHistory {
    /// Of a log of which nothing was told yet.
    pub fn of(origin: impl Into<String>) -> Self {
        Self {
            corrections: Vec::new(),
            first: origin.into(),
            later: Vec::new(),
        }
    }

    /// Of a log whose newest origin is `origin`, if nothing that was told says where it began.
    pub fn before<'a>(acts: impl IntoIterator<Item = &'a LogAct>, origin: &str) -> Self {
        let mut began = acts.into_iter().filter_map(|act| match act {
            LogAct::Began(order) => Some(order.previous_origin.as_str()),
            LogAct::Corrected(_) => None,
        });
        Self::of(began.next().unwrap_or(origin))
    }

    /// The next act, by the order of the log.
    pub fn apply(&mut self, index: u64, act: &LogAct) -> Result<(), String> {
        match act {
            LogAct::Corrected(order) => {
                let origins = self.origins();
                let place = origins.place(self.newest(), index);
                let place = place.ok_or("the leaf has no index")?;
                // Told again under another origin, its indexes are of other leaves.
                if origins.name(place.origin) != Some(&order.origin) {
                    return Err(format!("it corrects {:?}, a different log", order.origin));
                }
                self.corrections.push(Correction {
                    index,
                    order: order.clone(),
                    origin: place.origin,
                });
            }
            LogAct::Began(order) => {
                if order.previous_origin != self.newest() {
                    return Err(format!(
                        "it replaces the origin {:?}, but the log's origin was {:?}",
                        order.previous_origin,
                        self.newest()
                    ));
                }
                if self.number(&order.origin).is_some() {
                    return Err(format!("the log's origin was already {:?}", order.origin));
                }
                self.later.push(Begun {
                    origin: order.origin.clone(),
                    size: order.size,
                });
            }
        }
        Ok(())
    }

    /// The newest origin.
    pub fn newest(&self) -> &str {
        self.later.last().map_or(&self.first, |begun| &begun.origin)
    }

    /// How many origins there were before this one; none if it is not on the line.
    pub fn number(&self, origin: &str) -> Option<usize> {
        let later = self.later.iter().map(|begun| &begun.origin);
        std::iter::once(&self.first)
            .chain(later)
            .position(|name| name == origin)
    }

    fn origins(&self) -> Origins {
        let mut origins = Origins::one(self.first.as_str());
        for begun in &self.later {
            origins.push(begun.origin.as_str(), begun.size);
        }
        origins
    }

    /// What follows for times. `reach` is of each correction, in the order in which they were told:
    /// the latest time of its leaves, for who also asks for [`CorrectedTimes::clock`].
    pub fn times(&self, reach: &[Option<Time>]) -> CorrectedTimes {
        let mut corrections = Corrections::default();
        for (number, each) in self.corrections.iter().enumerate() {
            let told = LogPlace {
                origin: each.origin,
                index: each.index,
            };
            let reach = reach.get(number).copied().flatten();
            corrections.push(told, &each.order, reach);
        }
        CorrectedTimes {
            origins: self.origins(),
            corrections,
        }
    }
}

/// The times of a log's leaves, as ceremonies corrected them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CorrectedTimes {
    origins: Origins,
    corrections: Corrections,
}

/// As they were written.
impl Default for CorrectedTimes {
    fn default() -> Self {
        LogHistory::of("").times(&[])
    }
}

impl CorrectedTimes {
    /// When a leaf of the present tree was written, by its own `time`.
    pub fn of(&self, index: u64, time: Time) -> Time {
        let place = self.origins.place(self.origins.newest(), index);
        place.map_or(time, |place| {
            self.corrections.time(&self.origins, place, time)
        })
    }

    /// The latest time of the first `size` leaves, of which `clock` is the latest that they tell.
    pub fn clock(&self, size: u64, clock: Time) -> Time {
        self.corrections.clock(size, clock)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Time {
        Time::from_millis(seconds * 1_000)
    }

    fn began(from: &str, to: &str, size: u64) -> LogAct {
        LogAct::Began(NewOrigin {
            lost: None,
            origin: to.to_owned(),
            previous_checkpoint: String::new(),
            previous_origin: from.to_owned(),
            root: crate::Sha256Digest::of(b""),
            size,
        })
    }

    fn corrected(origin: &str, first: u64, last: u64) -> LogAct {
        LogAct::Corrected(ClockCorrection {
            bound: at(1),
            first,
            last,
            origin: origin.to_owned(),
        })
    }

    #[test]
    fn origins_are_a_line_and_none_comes_twice() {
        let acts = [corrected("a", 1, 2), began("a", "b", 5), began("b", "c", 9)];
        let mut line = LogHistory::before(&acts, "c");
        for (index, did) in [4, 5, 9].into_iter().zip(&acts) {
            line.apply(index, did).unwrap();
        }
        assert_eq!(line.newest(), "c");
        let kept = line.clone();
        for (from, to) in [("b", "d"), ("c", "a"), ("c", "c"), ("x", "d")] {
            assert!(line.apply(20, &began(from, to, 20)).is_err(), "{from} {to}");
            assert_eq!(line, kept);
        }
        assert_eq!(LogHistory::before(&[], "c").newest(), "c");
    }

    #[test]
    fn a_correction_is_of_the_leaves_that_stood_there() {
        let mut line = LogHistory::of("a");
        line.apply(9, &corrected("a", 3, 6)).unwrap();
        let times = line.times(&[Some(at(50))]);
        let of = |times: &CorrectedTimes| [2, 3, 6, 7].map(|index| times.of(index, at(50)));
        assert_eq!(of(&times), [at(50), at(1), at(1), at(50)]);
        assert_eq!(times.clock(9, at(50)), at(1));
        assert_eq!(times.clock(9, at(51)), at(51));
        assert_eq!(line.times(&[]).clock(9, at(50)), at(50));
        // Leaves 5 and 6 were lost; others stand there.
        line.apply(5, &began("a", "b", 5)).unwrap();
        assert_eq!(of(&line.times(&[])), [at(50), at(1), at(50), at(50)]);
        // The old ceremony told again is none of these; they are corrected in their turn, with what
        // they stand on.
        assert!(line.apply(9, &corrected("a", 4, 6)).is_err());
        line.apply(9, &corrected("b", 4, 6)).unwrap();
        assert_eq!(of(&line.times(&[])), [at(50), at(1), at(1), at(50)]);
        assert_eq!(CorrectedTimes::default().of(3, at(50)), at(50));
    }
}
