//! What was found while signatures were made during a rotation.

use std::collections::BTreeMap;

use serde::Serialize;

use super::latency::Course;

/// When something happened, seen from the rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Before the rotation was begun.
    Before,
    /// Until the new key signs.
    During,
    /// Since then.
    After,
}

/// What was found in a phase.
#[derive(Debug, Clone, Serialize)]
pub struct PhaseReport {
    pub phase: Phase,
    pub signatures: u64,
    pub failed: u64,
    pub p50_ms: f64,
    pub p95_ms: f64,
    pub p99_ms: f64,
    pub longest_ms: f64,
    pub by_kid: BTreeMap<String, u64>,
}

/// What was found under load.
#[derive(Debug, Clone, Serialize)]
pub struct LoadReport {
    pub rate_per_second: u32,
    pub concurrency: u32,
    /// The longest time without a signature.
    pub longest_gap_ms: f64,
    pub phases: Vec<PhaseReport>,
    /// From the first request to the first signature by the new key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new_key_after_ms: Option<u64>,
    pub course: Course,
}

impl LoadReport {
    pub fn phase(&self, phase: Phase) -> Option<&PhaseReport> {
        self.phases.iter().find(|report| report.phase == phase)
    }
}

impl Phase {
    pub fn word(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::During => "during",
            Self::After => "after",
        }
    }
}
