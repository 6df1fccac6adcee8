//! What a simulation says.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::facts::Consent;
use crate::floors::Framework;
use crate::name::{AssetName, Word};
use crate::policy::Exception;
use crate::time::{Span, Time};

use super::findings::Finding;

/// A rotation as it went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lived {
    /// The asset.
    pub asset: AssetName,
    /// Its key type.
    pub key_type: Word,
    /// The new version.
    pub version: u32,
    /// The hour that it was given.
    pub slot: Time,
    /// When it was due.
    pub due: Time,
    /// Whose consent it had.
    pub consent: Consent,
    /// When the new version was made.
    pub generated_at: Option<Time>,
    /// When it was published.
    pub published_at: Option<Time>,
    /// When it became the primary.
    pub promoted_at: Option<Time>,
    /// When the old one could do nothing new any more.
    pub retired_at: Option<Time>,
    /// When the old one ended.
    pub archived_at: Option<Time>,
    /// Whether it was rolled back.
    pub rolled_back: bool,
    /// Attempts at steps that failed.
    pub failures: u32,
}

/// The versions of one asset that verifiers were given from an instant on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PublishedSet {
    /// Since when.
    pub from: Time,
    /// Which versions, in ascending order.
    pub versions: Vec<u32>,
}

/// Rotations of one key type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TypeCounts {
    /// Promoted.
    pub rotations: u32,
    /// Of them without a person.
    pub automatic: u32,
    /// Of them by a ceremony.
    pub manual: u32,
    /// Of them after they were due.
    pub late: u32,
    /// Rolled back.
    pub rolled_back: u32,
}

impl TypeCounts {
    fn add(&mut self, lived: &Lived) {
        let Some(promoted_at) = lived.promoted_at else {
            return;
        };
        self.rotations += 1;
        match lived.consent.is_automatic() {
            true => self.automatic += 1,
            false => self.manual += 1,
        }
        self.late += u32::from(promoted_at > lived.due);
        self.rolled_back += u32::from(lived.rolled_back);
    }
}

/// A report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The format's version.
    pub v: u8,
    /// From when.
    pub start: Time,
    /// Until when.
    pub until: Time,
    /// By which seed.
    pub seed: u64,
    /// How many assets at the end.
    pub assets: usize,
    /// Whether nothing was found.
    pub passed: bool,
    /// All rotations that were promoted.
    pub all: TypeCounts,
    /// By key type.
    pub by_type: BTreeMap<Word, TypeCounts>,
    /// Of a thousand rotations so many ran without a person.
    pub automatic_per_mille: u32,
    /// Rules that policies were outside of.
    pub exceptions: Vec<Exception>,
    /// What must not be: the first thousand.
    pub findings: Vec<Finding>,
    /// How many that are in all.
    pub findings_in_all: usize,
    /// The rotations as they went, in the order of their events. Not in the JSON: there are many.
    #[serde(skip)]
    pub rotations: Vec<Lived>,
    #[serde(skip)]
    pub(super) published: BTreeMap<AssetName, Vec<PublishedSet>>,
}

impl Report {
    /// What verifiers were given of an asset, from the beginning on.
    pub fn published(&self, asset: &AssetName) -> &[PublishedSet] {
        self.published.get(asset).map_or(&[], Vec::as_slice)
    }

    /// What verifiers were given of an asset at an instant.
    pub fn published_at(&self, asset: &AssetName, at: Time) -> &[u32] {
        let sets = self.published(asset);
        let later = sets.partition_point(|set| set.from <= at);
        later
            .checked_sub(1)
            .and_then(|index| sets.get(index))
            .map_or(&[], |set| set.versions.as_slice())
    }

    /// The share of rotations without a person, as the success measure counts it: all assets, ceremonies as manual.
    pub fn automatic_share(&self) -> f64 {
        f64::from(self.automatic_per_mille) / 1_000.0
    }

    /// Frameworks that policies were outside of.
    pub fn frameworks(&self) -> Vec<Framework> {
        let mut found: Vec<Framework> = self.exceptions.iter().map(|each| each.framework).collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    pub(super) fn count(&mut self) {
        for lived in &self.rotations {
            self.all.add(lived);
            if lived.promoted_at.is_some() {
                self.by_type
                    .entry(lived.key_type.clone())
                    .or_default()
                    .add(lived);
            }
        }
        let share = u64::from(self.all.automatic) * 1_000 / u64::from(self.all.rotations.max(1));
        self.automatic_per_mille = u32::try_from(share).unwrap_or(0);
    }

    /// A few lines for people.
    pub fn summary(&self) -> String {
        let mut text = format!(
            "{} to {}, {} assets, seed {}: {}\n{} rotations, {} without a person ({}.{} %), {} by ceremonies, {} late\n",
            self.start.date(),
            self.until.date(),
            self.assets,
            self.seed,
            if self.passed { "passed" } else { "failed" },
            self.all.rotations,
            self.all.automatic,
            self.automatic_per_mille / 10,
            self.automatic_per_mille % 10,
            self.all.manual,
            self.all.late,
        );
        for (key_type, counts) in &self.by_type {
            text.push_str(&format!(
                "  {:22} {:>7} rotations, {:>6} manual, {:>5} late\n",
                key_type.as_str(),
                counts.rotations,
                counts.manual,
                counts.late
            ));
        }
        if self.findings_in_all > 0 {
            text.push_str(&format!("{} findings:\n", self.findings_in_all));
        }
        for finding in self.findings.iter().take(20) {
            text.push_str(&format!(
                "  {}\n",
                serde_json::to_string(finding).unwrap_or_default()
            ));
        }
        text
    }

    /// How long it went on.
    pub fn length(&self) -> Span {
        self.until.since(self.start)
    }
}
