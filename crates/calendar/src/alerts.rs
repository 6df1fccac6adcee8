//! Alerts: conditions that people are to know of while they hold.
//!
//! [`rules`] makes conditions of facts, [`machine`] gives each a state that does not flap, [`escalation`] says who hears of one
//! that nobody looks after, [`storm`] decides what is told of many at once, and [`usage`] finds what is unusual in hourly
//! counts. An alert is named by its rule and its subject; there is
//! one for each pair, however often it is looked at and by however many replicas.

pub mod escalation;
pub mod machine;
pub mod rules;
pub mod storm;
pub mod usage;

use crate::time::Span;
use crate::words::words;

words! {
    /// The rules, by the names that receivers see. Each has a page `deploy/runbooks/NAME.md`.
    AlertName {
        /// The version in use ends by itself soon.
        Expiry = "expiry",
        /// The version in use is older than its policy wants.
        RotationOverdue = "rotation-overdue",
        /// A step of a rotation failed for good.
        RotationFailed = "rotation-failed",
        /// The new version of an open rotation should be in use.
        RotationDelayed = "rotation-delayed",
        /// A rotation is under way for longer than it takes.
        RotationSlow = "rotation-slow",
        /// An emergency rotation is open.
        EmergencyStarted = "emergency-started",
        /// Versions are made and not used.
        VersionUnused = "version-unused",
        /// A ring cannot sign.
        KeyStoreUnavailable = "key-store-unavailable",
        /// What the database says of a key is not what its custodians signed.
        KeyStoreCorrupt = "key-store-corrupt",
        /// The last run of a job failed.
        JobFailed = "job-failed",
        /// A job has not succeeded for longer than it may.
        JobLate = "job-late",
        /// A key is used far more than at this hour of other weeks.
        UsageHigh = "usage-high",
        /// A key that is always used is not used any more.
        UsageSilent = "usage-silent",
        /// A key that may not be used any more was used.
        RetiredKeyUsed = "retired-key-used",
        /// A named principal says that somebody else may have a key.
        CompromiseReported = "compromise-reported",
    }
}

words! {
    /// How grave an alert is.
    Severity {
        /// Somebody looks at it on a working day.
        Warning = "warning",
        /// Somebody looks at it now.
        Critical = "critical",
    }
}

words! {
    /// What rules are evaluated together, because their facts are read together. Of a scope whose facts cannot be read nothing
    /// is decided.
    Scope {
        /// All assets in use.
        Assets = "assets",
        /// Rotations that are open.
        Rotations = "rotations",
        /// The jobs of the scheduler.
        Jobs = "jobs",
        /// Rings at their token, and keys as they were read.
        KeyStore = "key-store",
        /// Hourly counts.
        Usage = "usage",
        /// Reports of compromise that nobody decided.
        Reports = "reports",
    }
}

/// How long a condition holds before it fires, and how long it does not hold before it resolves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Zero: it fires when it is first seen.
    pub fire: Span,
    /// Doubled each time that it came back within a day.
    pub resolve: Span,
}

/// The highest level of a condition.
pub const LEVELS: u8 = 3;

impl AlertName {
    /// The rule of a name.
    pub fn of(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|name| name.as_str() == text)
    }

    /// With which others it is evaluated.
    pub const fn scope(self) -> Scope {
        match self {
            Self::Expiry | Self::RotationOverdue | Self::VersionUnused => Scope::Assets,
            Self::RotationFailed
            | Self::RotationDelayed
            | Self::RotationSlow
            | Self::EmergencyStarted => Scope::Rotations,
            Self::JobFailed | Self::JobLate => Scope::Jobs,
            Self::KeyStoreUnavailable | Self::KeyStoreCorrupt => Scope::KeyStore,
            Self::UsageHigh | Self::UsageSilent | Self::RetiredKeyUsed => Scope::Usage,
            Self::CompromiseReported => Scope::Reports,
        }
    }

    /// How grave it is at a level, from 1.
    pub const fn severity(self, level: u8) -> Severity {
        match self {
            Self::Expiry | Self::RotationOverdue if level >= 2 => Severity::Critical,
            Self::RotationFailed
            | Self::EmergencyStarted
            | Self::KeyStoreUnavailable
            | Self::KeyStoreCorrupt
            | Self::RetiredKeyUsed
            | Self::CompromiseReported => Severity::Critical,
            _ => Severity::Warning,
        }
    }

    /// What is read from rows is exact and fires at once; what is probed may fail once without meaning anything.
    pub const fn hold(self) -> Hold {
        let (fire, resolve) = match self {
            Self::KeyStoreUnavailable => (Span::minutes(2), Span::minutes(10)),
            Self::RotationSlow => (Span::minutes(10), Span::minutes(10)),
            Self::UsageHigh | Self::UsageSilent | Self::RetiredKeyUsed => {
                (Span::ZERO, Span::hours(2))
            }
            _ => (Span::ZERO, Span::minutes(1)),
        };
        Hold { fire, resolve }
    }

    /// Whether its beginning is told as news of the rotation already (`rotation.failed`, `rotation.late`,
    /// `emergency.declared`), within a minute and to the same receivers: then the alert has a state and tells what becomes of
    /// it, and does not say the same a second time.
    pub const fn is_told_as_news(self) -> bool {
        matches!(
            self,
            Self::RotationFailed | Self::RotationDelayed | Self::EmergencyStarted
        )
    }

    /// The page that says what to do.
    pub fn runbook(self) -> String {
        format!("deploy/runbooks/{self}.md")
    }

    /// What to type first.
    pub fn next_command(self, subject: &str) -> String {
        match self {
            Self::Expiry
            | Self::RotationOverdue
            | Self::VersionUnused
            | Self::UsageHigh
            | Self::UsageSilent => format!("chancery asset show {subject}"),
            Self::RotationFailed
            | Self::RotationDelayed
            | Self::RotationSlow
            | Self::EmergencyStarted => format!("chancery rotation show {subject}"),
            Self::KeyStoreUnavailable | Self::KeyStoreCorrupt => "chancery doctor".to_owned(),
            Self::JobFailed | Self::JobLate => "chancery job list".to_owned(),
            Self::RetiredKeyUsed => format!("chancery key show {subject}"),
            Self::CompromiseReported => format!("chancery emergency reports {subject}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_has_its_runbook() {
        for name in AlertName::ALL {
            let path = format!("{}/../../{}", env!("CARGO_MANIFEST_DIR"), name.runbook());
            assert!(std::fs::exists(&path).is_ok_and(|there| there), "{path}");
            assert_eq!(AlertName::of(name.as_str()), Some(*name));
        }
    }

    #[test]
    fn a_higher_level_is_never_less_grave() {
        for name in AlertName::ALL {
            let severities: Vec<Severity> =
                (1..=LEVELS).map(|level| name.severity(level)).collect();
            assert!(severities.is_sorted(), "{name}");
        }
    }
}
