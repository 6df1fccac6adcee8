//! The words of a rotation: states of versions and events, steps, triggers, approval, and why something waits.

use serde::{Deserialize, Serialize};

use crate::time::Time;

/// Fieldless words with one spelling for documents and tables.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $name { $($(#[$variant_doc])* #[serde(rename = $text)] $variant,)+ }

        impl $name {
            /// All of them, in their order.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// Its spelling in documents.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}
pub(crate) use words;

words! {
    /// The eight steps of a rotation, in their order.
    Step {
        /// Facts, approvals and the roll-back plan are there; notices are out.
        PreCheck = "pre-check",
        /// The new version is made.
        Generate = "generate",
        /// Its public half is published, or the secret is delivered.
        Publish = "publish",
        /// It works, and it is seen where it has to be seen.
        Test = "test",
        /// It becomes the primary.
        Promote = "promote",
        /// Both versions work; the use of the old one falls. Roll-back is possible until the end of this step.
        Watch = "watch",
        /// The old version can do nothing new any more.
        Retire = "retire",
        /// The old version ends: grace is over, what was private is destroyed or collected for a ceremony.
        Archive = "archive",
    }
}

impl Step {
    /// Its place among the eight, from 0.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The step after it.
    pub fn next(self) -> Option<Self> {
        Self::ALL.get(self.index() + 1).copied()
    }
}

words! {
    /// What makes an asset rotate.
    Trigger {
        /// Its interval is over.
        Time = "time",
        /// Something happened: a compromise, a custodian who left.
        Event = "event",
        /// Somebody asked for it.
        Manual = "manual",
        /// It approaches its expiry.
        Expiry = "expiry",
        /// It approaches the limit of its uses.
        Usage = "usage",
    }
}

words! {
    /// How far a rotation is.
    EventState {
        /// It has a slot.
        Scheduled = "scheduled",
        /// A step is under way.
        Running = "running",
        /// It waits for a time, an approval or propagation.
        Waiting = "waiting",
        /// All steps are done.
        Done = "done",
        /// A step failed for good; a person decides.
        Failed = "failed",
        /// The old version is primary again.
        RolledBack = "rolled-back",
        /// Ended before anything was promoted.
        Cancelled = "cancelled",
    }
}

impl EventState {
    /// Whether anything can still happen.
    pub const fn is_open(self) -> bool {
        matches!(
            self,
            Self::Scheduled | Self::Running | Self::Waiting | Self::Failed
        )
    }
}

words! {
    /// Whose consent a rotation needs.
    ApprovalClass {
        /// Nobody's: the policy is consent enough.
        Automatic = "automatic",
        /// A quorum's, given in advance by a standing order; without one a ceremony is needed.
        StandingOrder = "standing-order",
        /// A ceremony for each rotation.
        Ceremony = "ceremony",
    }
}

words! {
    /// How much depends on it. Of two that want one place the more important comes first.
    Priority {
        /// Everything hangs on it.
        Critical = "critical",
        /// Callers notice.
        High = "high",
        /// Somebody notices.
        Medium = "medium",
    }
}

words! {
    /// Why a rotation cannot go on at an instant, or was late.
    Reason {
        /// No standing order covers it and a ceremony has not approved it.
        Approval = "approval",
        /// Its standing order has no uses left.
        OrderUsedUp = "order-used-up",
        /// Its standing order ends before.
        OrderEnded = "order-ended",
        /// Its standing order is withdrawn or paused.
        OrderPaused = "order-paused",
        /// Its standing order does not permit a use before.
        OrderInterval = "order-interval",
        /// Verifiers may not have the new version yet, or a probe has not seen it.
        Propagation = "propagation",
        /// A probe reported something that another contradicts, or another version.
        ProbeContradicts = "probe-contradicts",
        /// The campaign that re-wraps or re-encrypts is under way.
        Campaign = "campaign",
        /// The old version is still used.
        OldStillUsed = "old-still-used",
        /// The scheduler is paused.
        Paused = "paused",
        /// This asset is held by a person.
        Held = "held",
        /// No hour with room for the token, the team or the owner.
        Capacity = "capacity",
        /// No maintenance window before.
        Window = "window",
        /// It was due before anybody looked: an outage, a restored database, an imported asset.
        Backlog = "backlog",
        /// The policy became stricter than the asset's age.
        PolicyChanged = "policy-changed",
        /// The HSM is unavailable.
        Token = "token",
        /// The database is unavailable.
        Database = "database",
        /// The witnesses are unavailable.
        Witness = "witness",
        /// The executor is unavailable.
        Executor = "executor",
        /// No replica has a clock that agrees with the database.
        Clock = "clock",
        /// A step failed and is tried again.
        Retry = "retry",
        /// A step failed for good; a person decides.
        Person = "person",
        /// Another rotation of the asset is open.
        AlreadyRotates = "already-rotates",
        /// Its expiry is shorter than what a rotation takes.
        TooShort = "too-short",
    }
}

/// The state of a version, with what exists in it (the states of the crate `trust`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case", deny_unknown_fields)]
pub enum VersionState {
    /// Made; published since, if accepted.
    Prepared {
        /// Since when it is published or delivered.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        published_at: Option<Time>,
    },
    /// The one in use. For secrets: `current`.
    Primary {
        /// Since when.
        since: Time,
    },
    /// Was primary; roll-back is possible. For secrets: `previous`.
    Secondary {
        /// Since when.
        since: Time,
    },
    /// Verifies or decrypts, and does nothing new.
    Retired {
        /// Since when.
        since: Time,
    },
    /// Its private half is gone, or it decrypts for named principals only.
    Archived {
        /// Since when.
        since: Time,
    },
    /// Never again.
    Revoked {
        /// Since when.
        since: Time,
    },
}

impl VersionState {
    /// The state's word.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Prepared { .. } => "prepared",
            Self::Primary { .. } => "primary",
            Self::Secondary { .. } => "secondary",
            Self::Retired { .. } => "retired",
            Self::Archived { .. } => "archived",
            Self::Revoked { .. } => "revoked",
        }
    }

    /// Whether it may make something new: a signature, a ciphertext, a login. A secondary may, so that a roll-back or a
    /// replica seconds behind works.
    pub const fn can_sign(&self) -> bool {
        matches!(self, Self::Primary { .. } | Self::Secondary { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_eight_steps_in_the_order_of_the_design() {
        let words: Vec<&str> = Step::ALL.iter().map(|step| step.as_str()).collect();
        let order = [
            "pre-check",
            "generate",
            "publish",
            "test",
            "promote",
            "watch",
            "retire",
            "archive",
        ];
        assert_eq!(words, order);
        assert_eq!(Step::Archive.next(), None);
        for (index, step) in Step::ALL.iter().enumerate() {
            assert_eq!(step.index(), index);
        }
    }

    #[test]
    fn a_state_is_a_tagged_document() {
        let state: VersionState =
            serde_json::from_str(r#"{"state":"primary","since":"2026-11-22T09:00:00.000Z"}"#)
                .unwrap();
        assert_eq!(state.word(), "primary");
        assert!(serde_json::from_str::<VersionState>(r#"{"state":"primary"}"#).is_err());
        assert!(serde_json::from_str::<VersionState>(r#"{"state":"asleep"}"#).is_err());
    }
}
