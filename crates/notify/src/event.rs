//! What is told of.

use serde::{Deserialize, Serialize};
use store::CeremonyState;
use trust::leaf::{ActKind, ActLeaf, CLONED, RATIFY, RESUME, STOP};
use trust::recovery::ANNOUNCE;
use trust::withdrawal::WITHDRAW;
use trust::{Operation, Request};

/// The action of the leaf by which it is decided that an audience outside is told.
pub const NOTIFY: &str = "notify";

/// What the action of a leaf begins with that tells of the installation of a document.
pub const INSTALL: &str = "install-";

/// The kinds of events, by the names that receivers see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum EventKind {
    #[serde(rename = "ceremony.proposed")]
    Proposed,
    #[serde(rename = "ceremony.approved")]
    Approved,
    #[serde(rename = "ceremony.rejected")]
    Rejected,
    #[serde(rename = "ceremony.cancelled")]
    Cancelled,
    /// It waits for acceptances.
    #[serde(rename = "ceremony.executed")]
    Executed,
    #[serde(rename = "ceremony.closed")]
    Closed,
    #[serde(rename = "ceremony.expired")]
    Expired,
    #[serde(rename = "ceremony.failed")]
    Failed,
    #[serde(rename = "ceremony.deadline-near")]
    DeadlineNear,
    /// It is approved, and for long no executor has carried it out.
    #[serde(rename = "ceremony.executor-late")]
    ExecutorLate,
    /// A standing order is in effect: keys are made under it from now on.
    #[serde(rename = "order.approved")]
    OrderApproved,
    /// A key was made under a standing order and is published.
    #[serde(rename = "order.used")]
    OrderUsed,
    #[serde(rename = "order.withdrawn")]
    OrderWithdrawn,
    /// Few uses or little time are left of a standing order.
    #[serde(rename = "order.running-out")]
    OrderRunningOut,
    /// The next roster or policy, or a suspension, waits for signatures.
    #[serde(rename = "trust.proposed")]
    TrustProposed,
    /// A roster, policy or recovery roster is in effect; what was open under the one before is void.
    #[serde(rename = "trust.changed")]
    TrustChanged,
    #[serde(rename = "trust.suspended")]
    TrustSuspended,
    /// Any member may veto it until it takes effect.
    #[serde(rename = "trust.recovery-announced")]
    TrustRecovery,
    /// Somebody stopped the signing of a ring, or of all.
    #[serde(rename = "emergency.stopped")]
    EmergencyStopped,
    /// The threshold let it go on.
    #[serde(rename = "emergency.resumed")]
    EmergencyResumed,
    /// A ring signs with its standby key, and the key before it is revoked.
    #[serde(rename = "emergency.rotated")]
    EmergencyRotated,
    #[serde(rename = "emergency.ratified")]
    EmergencyRatified,
    /// An emergency rotation waits, and its ring will stop signing.
    #[serde(rename = "emergency.ratification-due")]
    RatificationDue,
    /// It does not sign any more.
    #[serde(rename = "emergency.ratification-missed")]
    RatificationMissed,
    /// A passkey's signature was refused because its counter did not rise.
    #[serde(rename = "passkey.cloned")]
    PasskeyCloned,
    /// A rotation waits for people, or for a probe that has not seen its key.
    #[serde(rename = "rotation.waiting")]
    RotationWaits,
    /// A step failed for good.
    #[serde(rename = "rotation.failed")]
    RotationFailed,
    /// Its new version is not the primary, and should be.
    #[serde(rename = "rotation.late")]
    RotationLate,
    #[serde(rename = "rotation.rolled-back")]
    RotationRolledBack,
    /// The scheduler is paused, and a rotation is due.
    #[serde(rename = "rotation.paused")]
    RotationPaused,
    /// Somebody declared that assets have to be replaced at once.
    #[serde(rename = "emergency.declared")]
    EmergencyDeclared,
    /// A condition holds, or holds graver than before: a rule of the calendar found it.
    #[serde(rename = "alert.firing")]
    AlertFiring,
    #[serde(rename = "alert.acknowledged")]
    AlertAcknowledged,
    #[serde(rename = "alert.silenced")]
    AlertSilenced,
    #[serde(rename = "alert.resolved")]
    AlertResolved,
    /// Nobody looks after one, and the next level is told.
    #[serde(rename = "alert.escalated")]
    AlertEscalated,
    /// What happened in a week.
    #[serde(rename = "digest")]
    Digest,
    /// An audience outside is told of an incident, as a person decided.
    #[serde(rename = "notice")]
    Notice,
    /// At an operator's word.
    #[serde(rename = "test")]
    Test,
}

impl EventKind {
    pub const ALL: [Self; 39] = [
        Self::Proposed,
        Self::Approved,
        Self::Rejected,
        Self::Cancelled,
        Self::Executed,
        Self::Closed,
        Self::Expired,
        Self::Failed,
        Self::DeadlineNear,
        Self::ExecutorLate,
        Self::OrderApproved,
        Self::OrderUsed,
        Self::OrderWithdrawn,
        Self::OrderRunningOut,
        Self::TrustProposed,
        Self::TrustChanged,
        Self::TrustSuspended,
        Self::TrustRecovery,
        Self::EmergencyStopped,
        Self::EmergencyResumed,
        Self::EmergencyRotated,
        Self::EmergencyRatified,
        Self::RatificationDue,
        Self::RatificationMissed,
        Self::PasskeyCloned,
        Self::RotationWaits,
        Self::RotationFailed,
        Self::RotationLate,
        Self::RotationRolledBack,
        Self::RotationPaused,
        Self::EmergencyDeclared,
        Self::AlertFiring,
        Self::AlertAcknowledged,
        Self::AlertSilenced,
        Self::AlertResolved,
        Self::AlertEscalated,
        Self::Digest,
        Self::Notice,
        Self::Test,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Proposed => "ceremony.proposed",
            Self::Approved => "ceremony.approved",
            Self::Rejected => "ceremony.rejected",
            Self::Cancelled => "ceremony.cancelled",
            Self::Executed => "ceremony.executed",
            Self::Closed => "ceremony.closed",
            Self::Expired => "ceremony.expired",
            Self::Failed => "ceremony.failed",
            Self::DeadlineNear => "ceremony.deadline-near",
            Self::ExecutorLate => "ceremony.executor-late",
            Self::OrderApproved => "order.approved",
            Self::OrderUsed => "order.used",
            Self::OrderWithdrawn => "order.withdrawn",
            Self::OrderRunningOut => "order.running-out",
            Self::TrustProposed => "trust.proposed",
            Self::TrustChanged => "trust.changed",
            Self::TrustSuspended => "trust.suspended",
            Self::TrustRecovery => "trust.recovery-announced",
            Self::EmergencyStopped => "emergency.stopped",
            Self::EmergencyResumed => "emergency.resumed",
            Self::EmergencyRotated => "emergency.rotated",
            Self::EmergencyRatified => "emergency.ratified",
            Self::RatificationDue => "emergency.ratification-due",
            Self::RatificationMissed => "emergency.ratification-missed",
            Self::PasskeyCloned => "passkey.cloned",
            Self::RotationWaits => "rotation.waiting",
            Self::RotationFailed => "rotation.failed",
            Self::RotationLate => "rotation.late",
            Self::RotationRolledBack => "rotation.rolled-back",
            Self::RotationPaused => "rotation.paused",
            Self::EmergencyDeclared => "emergency.declared",
            Self::AlertFiring => "alert.firing",
            Self::AlertAcknowledged => "alert.acknowledged",
            Self::AlertSilenced => "alert.silenced",
            Self::AlertResolved => "alert.resolved",
            Self::AlertEscalated => "alert.escalated",
            Self::Digest => "digest",
            Self::Notice => "notice",
            Self::Test => "test",
        }
    }

    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// What a leaf tells of; most tell of nothing that anybody waits for.
    pub fn of_act(act: &ActLeaf) -> Option<Self> {
        match (act.kind, act.action.as_str()) {
            (ActKind::Ceremony, "propose") => Some(Self::Proposed),
            (ActKind::Ceremony, "approved") => Some(Self::Approved),
            // The signature, which says who and why; the move behind it says nothing more.
            (ActKind::Ceremony, "reject") => Some(Self::Rejected),
            (ActKind::Ceremony, "cancel") => Some(Self::Cancelled),
            (ActKind::Key, "revoke") if act.until.is_some() => Some(Self::EmergencyRotated),
            (
                ActKind::Ceremony,
                "generated"
                | "destroyed"
                | "corrected"
                | "adopted after a crash"
                | "ordered"
                | "policy-set"
                | "resumed"
                | "ratified",
            )
            | (ActKind::Key, "revoke") => Some(Self::Executed),
            (ActKind::Refusal, CLONED) => Some(Self::PasskeyCloned),
            (ActKind::Emergency, STOP) => Some(Self::EmergencyStopped),
            (ActKind::Emergency, RESUME) => Some(Self::EmergencyResumed),
            (ActKind::Emergency, RATIFY) => Some(Self::EmergencyRatified),
            (ActKind::Alert, NOTIFY) => Some(Self::Notice),
            (ActKind::Ceremony, "accepted") | (ActKind::Log, "clock-correction") => {
                Some(Self::Closed)
            }
            (ActKind::Order, WITHDRAW) => Some(Self::OrderWithdrawn),
            (ActKind::Ceremony, "expired") => Some(Self::Expired),
            (ActKind::Ceremony, "failed" | "overtaken") => Some(Self::Failed),
            (ActKind::Roster | ActKind::Policy | ActKind::Suspension, "propose") => {
                Some(Self::TrustProposed)
            }
            (ActKind::Roster, "install-genesis") => None,
            (ActKind::Roster, action) if action.starts_with(INSTALL) => Some(Self::TrustChanged),
            (ActKind::Suspension, "suspend") => Some(Self::TrustSuspended),
            (ActKind::Roster, ANNOUNCE) => Some(Self::TrustRecovery),
            _ => None,
        }
    }

    /// The same of a ceremony that is about a standing order or under one, as the ceremony stands now. Nobody proposes or
    /// approves a key under an order, and where its executor accepts it nobody else is asked: then it is told once, when the
    /// key is published.
    pub fn of_order(self, request: &Request, state: CeremonyState) -> Option<Self> {
        let is_order = matches!(request.operation, Operation::Order(_));
        match (self, request.order.is_some()) {
            (Self::Closed, false) if is_order => Some(Self::OrderApproved),
            (Self::Closed, true) => Some(Self::OrderUsed),
            (Self::Approved, true) => None,
            (Self::Executed, true) if state == CeremonyState::Closed => None,
            _ => Some(self),
        }
    }

    /// Whether it is about roster, policy or a suspension, and no ceremony.
    pub const fn is_of_trust(self) -> bool {
        matches!(
            self,
            Self::TrustProposed | Self::TrustChanged | Self::TrustSuspended | Self::TrustRecovery
        )
    }

    /// Whether it names a ceremony in its reference.
    pub const fn is_of_a_ceremony(self) -> bool {
        !self.is_of_trust()
            && !matches!(
                self,
                Self::EmergencyStopped | Self::PasskeyCloned | Self::Notice
            )
    }

    /// Whether it is about a rotation, or about the pause of all.
    pub const fn is_of_a_rotation(self) -> bool {
        matches!(
            self,
            Self::RotationWaits
                | Self::RotationFailed
                | Self::RotationLate
                | Self::RotationRolledBack
                | Self::RotationPaused
                | Self::EmergencyDeclared
        )
    }

    /// Whether it is about an alert.
    pub const fn is_of_an_alert(self) -> bool {
        matches!(
            self,
            Self::AlertFiring
                | Self::AlertAcknowledged
                | Self::AlertSilenced
                | Self::AlertResolved
                | Self::AlertEscalated
        )
    }

    /// Whether it is a condition that holds until somebody has done something, and no act that is over.
    pub const fn lasts(self) -> bool {
        !matches!(self, Self::RotationRolledBack)
    }

    /// Whether it goes to the contacts that the configuration names for it, and to nobody else.
    pub const fn is_for_contacts(self) -> bool {
        matches!(self, Self::AlertEscalated | Self::Digest | Self::Notice)
    }

    /// Whether those who get it are to do something.
    pub const fn asks(self) -> bool {
        matches!(self, Self::Proposed | Self::Executed | Self::DeadlineNear)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_one_name_everywhere() {
        for kind in EventKind::ALL {
            let written = serde_json::to_value(kind).unwrap();
            assert_eq!(written, kind.name());
            assert_eq!(EventKind::of(kind.name()), Some(kind));
        }
    }
}
