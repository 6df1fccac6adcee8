//! What a plan says.

use crate::facts::Consent;
use crate::name::{AssetName, Word};
use crate::policy::Exception;
use crate::time::{Span, Time};
use crate::words::{Reason, Step, Trigger, words};

use super::ledger::Conflict;

/// One rotation of one asset. With ten thousand assets there are many: it is small, and cheap to copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// The asset.
    pub asset: AssetName,
    /// Its key type.
    pub key_type: Word,
    /// Who answers for it: its owner, or the policy's team.
    pub owner: Word,
    /// The number of the new version. With the asset it identifies the rotation.
    pub version: u32,
    /// What makes it rotate.
    pub trigger: Trigger,
    /// When the new version has to be the primary.
    pub due: Time,
    /// The hour that it has.
    pub slot: Time,
    /// When it begins as things are: the slot, or later if that is over. `None` if nobody can say.
    pub begins_at: Option<Time>,
    /// When the new version becomes the primary.
    pub promote_at: Option<Time>,
    /// When the old one can do nothing new any more.
    pub retire_at: Option<Time>,
    /// When the old one ends; `None` if never, or if nobody can say.
    pub archive_at: Option<Time>,
    /// Whose consent it has or needs.
    pub consent: Consent,
    /// What it waits for.
    pub waits: Option<Reason>,
    /// By how much it is late, and why.
    pub late: Option<Late>,
    /// Whether it has an event already.
    pub has_event: bool,
    /// Whether the new version is the primary already.
    pub is_promoted: bool,
    /// Whether its policy has windows: notice goes out a day before.
    pub notice: bool,
}

/// A rotation that promotes after it is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Late {
    /// By how much; `None` if nobody can say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<Span>,
    /// Why.
    pub reason: Reason,
}

impl Rotation {
    /// The eight steps with their instants, as far as they are known.
    pub fn steps(&self) -> [(Step, Option<Time>); 8] {
        let begins = self.begins_at;
        let checked = match self.notice {
            true => begins.map(|begins| begins - Span::days(1)),
            false => begins,
        };
        [
            (Step::PreCheck, checked),
            (Step::Generate, begins),
            (Step::Publish, begins),
            (Step::Test, begins),
            (Step::Promote, self.promote_at),
            (Step::Watch, self.promote_at),
            (Step::Retire, self.retire_at),
            (Step::Archive, self.archive_at),
        ]
    }

    /// Whether it was due and has not promoted: whatever hour it has, or its event was given.
    pub fn is_overdue(&self, now: Time) -> bool {
        !self.is_promoted && self.due <= now
    }

    /// The reason in a sentence.
    pub fn sentence(&self) -> String {
        let cause = match self.trigger {
            Trigger::Time => "its interval is over",
            Trigger::Expiry => "it approaches its expiry",
            Trigger::Usage => "it approaches the limit of its uses",
            Trigger::Manual => "somebody asked for it",
            Trigger::Event => "it may be compromised",
        };
        let mut text = format!(
            "{cause}: version {} is due by {}",
            self.version,
            self.due.minute()
        );
        match &self.consent {
            Consent::Automatic => {}
            Consent::Order(id) => text.push_str(&format!(", under order {id}")),
            Consent::Ceremony => text.push_str(", by a ceremony"),
        }
        if let Some(reason) = self.waits {
            text.push_str(&format!(", waits ({reason})"));
        }
        match self.late {
            Some(Late {
                by: Some(by),
                reason,
            }) => text.push_str(&format!(", late by {} ({reason})", by.rounded())),
            Some(Late { by: None, reason }) => text.push_str(&format!(", late ({reason})")),
            None => {}
        }
        text
    }
}

words! {
    /// Why an asset has no rotation in the plan.
    Why {
        /// Its key type has no policy.
        NoPolicy = "no-policy",
        /// It has no primary: its first version is a ceremony's.
        NoPrimary = "no-primary",
        /// It has several: the store is damaged, and nothing is done by guessing.
        TwoPrimaries = "two-primaries",
        /// Nothing in its policy has a date for it: no expiry, no limit in sight.
        NoDate = "no-date",
        /// Its newest version has the highest number that there is.
        NoNumber = "no-number",
        /// Another asset has its name.
        NameTwice = "name-twice",
    }
}

/// An asset without a date.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Unplanned {
    /// The asset.
    pub asset: AssetName,
    /// Its key type.
    pub key_type: Word,
    /// Why.
    pub why: Why,
}

/// A plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// As of when.
    pub now: Time,
    /// Until when.
    pub until: Time,
    /// The rotations in the order of their slots, those that are overdue first.
    pub rotations: Vec<Rotation>,
    /// Assets without a date.
    pub unplanned: Vec<Unplanned>,
    /// Hours with more rotations than somebody can do.
    pub conflicts: Vec<Conflict>,
    /// The rules that policies are outside of and nevertheless in force.
    pub exceptions: Vec<Exception>,
}

/// How many rotations of which kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// All.
    pub rotations: usize,
    /// Without anybody's consent.
    pub automatic: usize,
    /// Under standing orders.
    pub under_orders: usize,
    /// By ceremonies.
    pub ceremonies: usize,
    /// That promote after they are due.
    pub late: usize,
    /// That wait for something.
    pub waiting: usize,
    /// That were due, by what the policy says, and have not promoted.
    pub overdue: usize,
}

impl Plan {
    /// How many rotations of which kind.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts {
            rotations: self.rotations.len(),
            ..Counts::default()
        };
        for rotation in &self.rotations {
            match rotation.consent {
                Consent::Automatic => counts.automatic += 1,
                Consent::Order(_) => counts.under_orders += 1,
                Consent::Ceremony => counts.ceremonies += 1,
            }
            counts.late += usize::from(rotation.late.is_some());
            counts.waiting += usize::from(rotation.waits.is_some());
            counts.overdue += usize::from(rotation.is_overdue(self.now));
        }
        counts
    }

    /// When the last of what is overdue begins; `None` if nothing is, or nobody can say.
    pub fn backlog_cleared_at(&self) -> Option<Time> {
        let overdue = self
            .rotations
            .iter()
            .filter(|rotation| rotation.is_overdue(self.now));
        overdue.filter_map(|rotation| rotation.begins_at).max()
    }
}
