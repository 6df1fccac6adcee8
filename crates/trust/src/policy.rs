//! The policy: how many custodians each operation needs, and which rings are routine.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::digest::Sha256Digest;
use crate::format::V1;
use crate::name::{LOG_RING, Name};
use crate::request::{Operation, Usage};
use crate::word::Word;

/// How many distinct members must sign. Fewer than two cannot be expressed: a quorum of one is one
/// person's decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Threshold(u8);

/// A threshold under the floor.
#[derive(Debug, thiserror::Error)]
#[error("a threshold must be between {} and 255", Threshold::FLOOR.0)]
pub struct UnderTheFloor;

impl Threshold {
    /// The compiled-in floor. No policy, signed by whomever, goes below it.
    pub const FLOOR: Self = Self(2);

    /// The number.
    pub fn get(self) -> usize {
        usize::from(self.0)
    }
}

impl TryFrom<u64> for Threshold {
    type Error = UnderTheFloor;

    fn try_from(number: u64) -> Result<Self, UnderTheFloor> {
        let threshold = Self(u8::try_from(number).map_err(|_| UnderTheFloor)?);
        if threshold < Self::FLOOR {
            Err(UnderTheFloor)
        } else {
            Ok(threshold)
        }
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Threshold {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(self.0)
    }
}

impl<'de> Deserialize<'de> for Threshold {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u64::deserialize(deserializer)?
            .try_into()
            .map_err(serde::de::Error::custom)
    }
}

/// One version of the policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Format version.
    pub v: V1,
    /// The service it is for.
    pub service: Name,
    /// The environment it is for.
    pub environment: Name,
    /// Version, from 1.
    pub version: u64,
    /// Digest of the document before it in the chain; `null` in the genesis.
    pub previous: Option<Sha256Digest>,
    /// The rings in ascending order for whose keys, made under a standing order, the executor's signature over the
    /// result is acceptance enough. Every other is critical.
    pub routine_rings: Vec<Name>,
    /// How many, for what.
    pub thresholds: Thresholds,
}

/// The threshold that holds where none is written for an operation.
const DEFAULT: &str = "default";

/// Most thresholds that are read.
const MOST: usize = 100;

/// Words with a floor above [`Threshold::FLOOR`].
const FLOORS: [(&str, Threshold); 1] = [("emergency-rotation", Threshold(3))];

/// The threshold of each operation, by its word. Words that this version does not know may be
/// written and mean nothing yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    try_from = "BTreeMap<Word, Threshold>",
    into = "BTreeMap<Word, Threshold>"
)]
pub struct Thresholds(BTreeMap<Word, Threshold>);

/// Without `default` an operation that is not listed had no threshold.
#[derive(Debug, thiserror::Error)]
#[error("`default` is missing, or there are more than {MOST} thresholds")]
pub struct NotThresholds;

impl TryFrom<BTreeMap<Word, Threshold>> for Thresholds {
    type Error = NotThresholds;

    fn try_from(written: BTreeMap<Word, Threshold>) -> Result<Self, NotThresholds> {
        let default = written.keys().any(|word| word.as_str() == DEFAULT);
        match default && written.len() <= MOST {
            true => Ok(Self(written)),
            false => Err(NotThresholds),
        }
    }
}

impl From<Thresholds> for BTreeMap<Word, Threshold> {
    fn from(thresholds: Thresholds) -> Self {
        thresholds.0
    }
}

/// A policy that holds for nobody, whoever signs it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Under the compiled-in floor of its operation.
    #[error("thresholds.{word}: {threshold} is below the minimum {floor}")]
    Floor {
        /// The operation.
        word: Word,
        /// What is written.
        threshold: Threshold,
        /// The least that may be.
        floor: Threshold,
    },
    /// The log's ring, or not in ascending order.
    #[error("routine_rings: {0} is not allowed")]
    RoutineRing(Name),
}

impl Thresholds {
    /// The same threshold for everything but revocation, which needs two.
    pub fn uniform(threshold: Threshold) -> Self {
        let mut thresholds = Self(BTreeMap::new());
        thresholds.set(DEFAULT, threshold);
        thresholds.set("revoke", Threshold::FLOOR);
        thresholds
    }

    /// Writes the threshold of one operation. What is no word is not written.
    pub fn set(&mut self, word: &str, threshold: Threshold) {
        if let Ok(word) = word.parse() {
            self.0.insert(word, threshold);
        }
    }

    /// How many an operation needs: as written, else the default, and never under its floor.
    pub fn of(&self, word: &str) -> Threshold {
        let written = |word: &str| {
            let found = self.0.iter().find(|(each, _)| each.as_str() == word);
            found.map(|(_, threshold)| *threshold)
        };
        let threshold = written(word).or_else(|| written(DEFAULT));
        threshold.map_or(Threshold(u8::MAX), |threshold| threshold.max(floor(word)))
    }

    /// The largest that is written.
    pub fn largest(&self) -> Threshold {
        self.0
            .values()
            .copied()
            .fold(Threshold::FLOOR, Threshold::max)
    }

    fn check(&self) -> Result<(), PolicyError> {
        for (word, threshold) in &self.0 {
            let floor = floor(word.as_str());
            if *threshold < floor {
                return Err(PolicyError::Floor {
                    word: word.clone(),
                    threshold: *threshold,
                    floor,
                });
            }
        }
        Ok(())
    }
}

fn floor(word: &str) -> Threshold {
    let own = FLOORS.into_iter().find(|(each, _)| *each == word);
    own.map_or(Threshold::FLOOR, |(_, floor)| floor)
}

impl Policy {
    /// Refuses a policy without a default, under a floor, or with a ring that cannot be routine.
    pub fn check(&self) -> Result<(), PolicyError> {
        self.thresholds.check()?;
        let mut before: Option<&Name> = None;
        for ring in &self.routine_rings {
            let ascending = before.is_none_or(|before| before < ring);
            if !ascending || ring.as_str() == LOG_RING {
                return Err(PolicyError::RoutineRing(ring.clone()));
            }
            before = Some(ring);
        }
        Ok(())
    }

    /// Whether the executor's signature accepts what is made for the ring, whose keys have this usage, under a
    /// standing order. Keys of the log, of a CA and those that wrap others are critical, whatever is written.
    pub fn is_routine(&self, ring: &Name, usage: Usage) -> bool {
        match usage {
            Usage::Log | Usage::Wrap | Usage::Certificates => false,
            Usage::Structured | Usage::Raw | Usage::Sealed => self.routine_rings.contains(ring),
        }
    }

    /// How many must approve an operation.
    pub fn to_approve(&self, operation: &Operation) -> Threshold {
        match operation {
            Operation::Generate(order) if order.predecessor.is_some() => {
                self.thresholds.of("rotate")
            }
            other => self.thresholds.of(other.word()),
        }
    }

    /// How many must accept what was done.
    pub fn to_accept(&self, operation: &Operation) -> Threshold {
        match operation {
            // Two may revoke in a hurry; asking for more to record it would leave it unrecorded.
            Operation::Revoke(_) | Operation::EmergencyRotation(_) => self.thresholds.of("revoke"),
            _ => self.thresholds.of("accept"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_listed_has_the_default_and_no_floor_is_undercut() {
        let mut thresholds = Thresholds::uniform(3.try_into().unwrap());
        assert_eq!(thresholds.of("destroy").get(), 3);
        assert_eq!(thresholds.of("revoke").get(), 2);
        assert_eq!(thresholds.of("something-new").get(), 3);
        thresholds.set("default", Threshold::FLOOR);
        assert_eq!(thresholds.of("emergency-rotation").get(), 3);
        assert!(thresholds.check().is_ok());
        thresholds.set("emergency-rotation", Threshold::FLOOR);
        assert!(thresholds.check().is_err());
        assert!(Thresholds::try_from(BTreeMap::new()).is_err());
    }
}
