//! The policy: how many custodians each operation needs.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::digest::Sha256Digest;
use crate::format::V1;
use crate::name::Name;
use crate::request::Operation;

/// How many distinct members must sign. Fewer than two cannot be expressed: a quorum of one is one
/// person's decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Threshold(u8);

/// A threshold under the floor.
#[derive(Debug, thiserror::Error)]
#[error("a threshold is at least {} and at most 255", Threshold::FLOOR.0)]
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
    /// How many, for what.
    pub thresholds: Thresholds,
}

/// The threshold of each class of operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Thresholds {
    /// Approve the first key of a ring.
    pub generate: Threshold,
    /// Approve a successor.
    pub rotate: Threshold,
    /// Accept what a ceremony did.
    pub accept: Threshold,
    /// Approve destruction.
    pub destroy: Threshold,
    /// Approve, and afterwards accept, a revocation.
    pub revoke: Threshold,
    /// Change the roster.
    pub roster_change: Threshold,
    /// Change the policy.
    pub policy_change: Threshold,
    /// Resume after an emergency stop.
    pub resume: Threshold,
}

impl Thresholds {
    /// The same threshold for everything but revocation, which needs two.
    pub fn uniform(threshold: Threshold) -> Self {
        Self {
            generate: threshold,
            rotate: threshold,
            accept: threshold,
            destroy: threshold,
            revoke: Threshold::FLOOR,
            roster_change: threshold,
            policy_change: threshold,
            resume: threshold,
        }
    }

    /// The largest of them.
    pub fn largest(&self) -> Threshold {
        let Self {
            generate,
            rotate,
            accept,
            destroy,
            revoke,
            roster_change,
            policy_change,
            resume,
        } = *self;
        [
            generate,
            rotate,
            accept,
            destroy,
            revoke,
            roster_change,
            policy_change,
            resume,
        ]
        .into_iter()
        .fold(Threshold::FLOOR, Threshold::max)
    }
}

impl Policy {
    /// How many must approve an operation.
    pub fn to_approve(&self, operation: &Operation) -> Threshold {
        match operation {
            Operation::Generate(order) if order.predecessor.is_none() => self.thresholds.generate,
            Operation::Generate(_) => self.thresholds.rotate,
            Operation::Destroy(_) => self.thresholds.destroy,
            Operation::Revoke(_) => self.thresholds.revoke,
        }
    }

    /// How many must accept what was done.
    pub fn to_accept(&self, operation: &Operation) -> Threshold {
        match operation {
            Operation::Generate(_) | Operation::Destroy(_) => self.thresholds.accept,
            // Two may revoke in a hurry; asking for more to record it would leave it unrecorded.
            Operation::Revoke(_) => self.thresholds.revoke,
        }
    }
}
