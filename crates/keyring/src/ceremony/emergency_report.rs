//! What keeps rings from signing, in words.

use std::fmt;

use serde::{Deserialize, Serialize};
use trust::request::Ended;
use trust::{MemberId, Name, Sha256Digest, Time};

use super::service::CeremonyService;
use crate::keys::Snapshot;

/// What keeps rings from signing, or soon will.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EmergencyReport {
    /// Stops that have not ended, oldest first.
    pub stops: Vec<StopReport>,
    /// Emergency rotations that wait for their ratification, or missed it.
    pub unratified: Vec<UnratifiedReport>,
    /// What the database says and the log or the members do not.
    pub faults: Vec<String>,
}

/// A stop that has not ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StopReport {
    /// SHA-256 of its body, which names it.
    pub stop: Sha256Digest,
    /// Absent of a stop of all rings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ring: Option<Name>,
    /// When the log was told.
    pub since: Time,
    /// The leaf that tells of it.
    pub index: i64,
    /// Its place in its line; 0 where its leaf has none that could be.
    #[serde(default)]
    pub sequence: u64,
    /// Who signed it; absent where its statement is missing or does not hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<MemberId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// An emergency rotation that nobody has ratified.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct UnratifiedReport {
    pub ring: String,
    /// The ceremony.
    pub rotation: Sha256Digest,
    pub since: Time,
    /// The ring does not sign later.
    pub until: Time,
    /// Whether it does not sign now.
    pub missed: bool,
}

impl CeremonyService {
    /// What keeps rings from signing, as the snapshot has it.
    pub fn emergency_report(&self, snapshot: &Snapshot) -> EmergencyReport {
        let (state, now) = (&snapshot.emergency, self.env.now());
        let stops = state.known().stops().iter().map(|stop| {
            let statement = state.statement(&stop.digest);
            StopReport {
                stop: stop.digest,
                ring: stop.scope.ring().cloned(),
                since: stop.since,
                index: stop.index,
                sequence: stop.sequence,
                by: statement.map(|held| held.by.clone()),
                reason: statement.map(|held| held.body.reason.clone()),
            }
        });
        let unratified = state
            .known()
            .rotations()
            .iter()
            .map(|each| UnratifiedReport {
                ring: each.ring.clone(),
                rotation: each.rotation,
                since: each.since,
                until: each.until,
                missed: now > each.until,
            });
        EmergencyReport {
            stops: stops.collect(),
            unratified: unratified.collect(),
            faults: state.faults().iter().map(ToString::to_string).collect(),
        }
    }
}

impl EmergencyReport {
    /// What a resume of this ring, or of all rings, would end: the oldest stop, or the rotation that was not ratified.
    pub fn to_end(&self, ring: Option<&Name>) -> Option<Ended> {
        let stop = self.stops.iter().find(|stop| stop.ring.as_ref() == ring);
        if let Some(stop) = stop {
            return Some(Ended::Stop {
                digest: stop.stop,
                sequence: stop.sequence,
            });
        }
        let missed = self
            .unratified
            .iter()
            .find(|each| each.missed && Some(each.ring.as_str()) == ring.map(Name::as_str));
        missed.map(|each| Ended::Unratified {
            rotation: each.rotation,
        })
    }
}

impl fmt::Display for EmergencyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.stops.is_empty() && self.unratified.is_empty() && self.faults.is_empty() {
            writeln!(f, "no ring is stopped")?;
        }
        for stop in &self.stops {
            let who = stop.ring.as_ref().map_or("all rings", Name::as_str);
            let by = stop.by.as_ref().map_or("unknown", Name::as_str);
            let reason = stop.reason.as_deref().unwrap_or("its statement is missing");
            writeln!(
                f,
                "stopped      {who} since {} by {by}: {reason}",
                stop.since
            )?;
            writeln!(f, "  stop       {}", stop.stop)?;
        }
        for each in &self.unratified {
            let (ring, until) = (&each.ring, each.until);
            match each.missed {
                true => writeln!(f, "stopped      {ring}: not ratified until {until}")?,
                false => writeln!(f, "unratified   {ring}: stops signing after {until}")?,
            }
            writeln!(f, "  rotation   {}", each.rotation)?;
        }
        for fault in &self.faults {
            writeln!(f, "FAULT        {fault}")?;
        }
        Ok(())
    }
}
