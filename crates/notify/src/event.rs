//! What is told of, and what is kept of it until it was delivered.

use serde::{Deserialize, Serialize};
use store::{CeremonyState, RotationEventRow};
use trust::emergency::Unratified;
use trust::leaf::{ActKind, ActLeaf, CLONED, RATIFY, RESUME, STOP};
use trust::recovery::ANNOUNCE;
use trust::text::spelled_out;
use trust::withdrawal::WITHDRAW;
use trust::{Operation, Request, Sha256Digest, Time};

use crate::alert_facts::AlertFacts;

/// Longest text that a message repeats, in characters.
const MAX_TEXT: usize = 400;

/// Subjects that are named.
const MAX_SUBJECTS: usize = 3;

/// What a rotation is called among operations.
pub const ROTATION: &str = "rotation";

/// What the action of a leaf begins with that tells of the installation of a document.
const INSTALL: &str = "install-";

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
    /// At an operator's word.
    #[serde(rename = "test")]
    Test,
}

impl EventKind {
    pub const ALL: [Self; 36] = [
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
        !self.is_of_trust() && !matches!(self, Self::EmergencyStopped | Self::PasskeyCloned)
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
            Self::AlertFiring | Self::AlertAcknowledged | Self::AlertSilenced | Self::AlertResolved
        )
    }

    /// Whether it is a condition that holds until somebody has done something, and no act that is over.
    pub const fn lasts(self) -> bool {
        !matches!(self, Self::RotationRolledBack)
    }

    /// Whether those who get it are to do something.
    pub const fn asks(self) -> bool {
        matches!(self, Self::Proposed | Self::Executed | Self::DeadlineNear)
    }
}

/// A message's facts. Outside text is bounded and spelled out here, so that nothing later has to think of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// When it happened.
    pub at: Time,
    /// After this instant what is asked for does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ceremony: Option<Sha256Digest>,
    /// As the ceremony stood.
    pub state: String,
    pub operation: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ring: Option<String>,
    /// The standing order that it is about or under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<String>,
    /// The rotation that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alert: Option<AlertFacts>,
    pub subjects: Vec<String>,
    /// Beyond those named.
    pub more_subjects: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proposer: Option<String>,
    /// Why it was proposed.
    pub reason: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    /// Who did it, as the log names them.
    pub by: String,
    /// Why it was rejected or cancelled, or failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kid: Option<String>,
    /// Where the log tells of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_index: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approve_by: Option<Time>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execute_by: Option<Time>,
}

impl Facts {
    /// Of a ceremony, without what happened.
    pub fn of_request(id: Sha256Digest, request: &Request, at: Time) -> Self {
        let lines = request.lines.iter();
        let subjects = lines.map(|line| shown(&line.subject.to_string()));
        Self {
            at,
            until: None,
            ceremony: Some(id),
            state: String::new(),
            operation: request.operation.word().to_owned(),
            ring: request.operation.ring().map(ToString::to_string),
            order: order_of(request),
            rotation: None,
            alert: None,
            subjects: subjects.take(MAX_SUBJECTS).collect(),
            more_subjects: request.lines.len().saturating_sub(MAX_SUBJECTS),
            proposer: request.proposer.as_ref().map(ToString::to_string),
            reason: shown(&request.reason),
            ticket: request.ticket.as_deref().map(shown),
            by: String::new(),
            why: None,
            kid: None,
            log_index: None,
            approve_by: Some(request.approve_by),
            execute_by: Some(request.execute_by),
        }
    }

    /// Of an act in a ceremony.
    pub fn of_act(
        kind: EventKind,
        (index, act): (i64, &ActLeaf),
        id: Sha256Digest,
        request: &Request,
    ) -> Self {
        let objects = matches!(
            kind,
            EventKind::Rejected
                | EventKind::Cancelled
                | EventKind::Failed
                | EventKind::OrderWithdrawn
        );
        let facts = Self::of_request(id, request, act.time);
        Self {
            until: match kind {
                EventKind::Proposed => Some(request.approve_by),
                EventKind::EmergencyRotated => act.until,
                _ => None,
            },
            state: state(kind).to_owned(),
            by: shown(&act.actor),
            why: act.reason.as_deref().filter(|_| objects).map(shown),
            kid: act.kid.as_ref().map(|kid| kid.as_str().to_owned()),
            log_index: Some(index),
            ..facts
        }
    }

    /// Of an act about roster, policy or a suspension.
    pub fn of_statement(kind: EventKind, (index, act): (i64, &ActLeaf), id: Sha256Digest) -> Self {
        let about = act.action.strip_prefix(INSTALL);
        let about = match (kind, about) {
            (EventKind::TrustRecovery, _) => "recovery".to_owned(),
            (_, Some(about)) => shown(about),
            (_, None) => act.kind.to_string(),
        };
        Self {
            ceremony: Some(id),
            operation: about,
            by: shown(&act.actor),
            why: act.reason.as_deref().map(shown),
            log_index: Some(index),
            ..Self::of_test(act.time, "")
        }
    }

    /// Of a stop of signing.
    pub fn of_stop((index, act): (i64, &ActLeaf), stop: Sha256Digest) -> Self {
        let ring = act.ring.as_deref().map(shown);
        Self {
            ceremony: Some(stop),
            operation: STOP.to_owned(),
            subjects: vec![format!("stop/{}", ring.as_deref().unwrap_or("*"))],
            ring,
            reason: act.reason.as_deref().map(shown).unwrap_or_default(),
            by: shown(&act.actor),
            log_index: Some(index),
            ..Self::of_test(act.time, "")
        }
    }

    /// Of a passkey whose counter did not rise, and the ceremony or statement that it would have signed.
    pub fn of_clone((index, act): (i64, &ActLeaf), signed: Sha256Digest) -> Self {
        Self {
            ceremony: Some(signed),
            operation: "passkey".to_owned(),
            ring: act.ring.as_deref().map(shown),
            by: shown(&act.actor),
            why: act.reason.as_deref().map(shown),
            log_index: Some(index),
            ..Self::of_test(act.time, "")
        }
    }

    /// Of an emergency rotation that is not ratified.
    pub fn of_unratified(each: &Unratified, at: Time) -> Self {
        Self {
            until: Some(each.until),
            ceremony: Some(each.rotation),
            operation: "ratification".to_owned(),
            ring: Some(shown(&each.ring)),
            subjects: vec![format!("ring/{}", shown(&each.ring))],
            log_index: Some(each.index),
            ..Self::of_test(at, "")
        }
    }

    /// Of a rotation as its row says.
    pub fn of_rotation(row: &RotationEventRow, at: Time) -> Self {
        Self {
            until: Some(row.due),
            operation: ROTATION.to_owned(),
            state: row.state.clone(),
            order: row.order.clone(),
            rotation: Some(row.id.clone()),
            subjects: vec![shown(&row.asset)],
            reason: row.reason.as_deref().map(shown).unwrap_or_default(),
            by: shown(&row.requested_by),
            why: row.detail.as_deref().map(shown),
            kid: row.made.clone(),
            ..Self::of_test(at, "")
        }
    }

    /// Of nothing that happened.
    pub fn of_test(at: Time, by: &str) -> Self {
        Self {
            at,
            until: None,
            ceremony: None,
            state: String::new(),
            operation: "test".to_owned(),
            ring: None,
            order: None,
            rotation: None,
            alert: None,
            subjects: Vec::new(),
            more_subjects: 0,
            proposer: None,
            reason: String::new(),
            ticket: None,
            by: shown(by),
            why: None,
            kid: None,
            log_index: None,
            approve_by: None,
            execute_by: None,
        }
    }
}

fn order_of(request: &Request) -> Option<String> {
    match (&request.operation, request.order) {
        (Operation::Order(order), _) => Some(order.id.to_string()),
        (_, under) => under.map(|under| under.id.to_string()),
    }
}

const fn state(kind: EventKind) -> &'static str {
    match kind {
        EventKind::Proposed => "proposed",
        EventKind::Approved => "approved",
        EventKind::Rejected => "rejected",
        EventKind::Cancelled => "cancelled",
        EventKind::Executed | EventKind::EmergencyRotated => "executed",
        EventKind::Closed | EventKind::EmergencyResumed | EventKind::EmergencyRatified => "closed",
        EventKind::Expired => "expired",
        EventKind::Failed => "failed",
        EventKind::OrderApproved | EventKind::OrderUsed => "closed",
        EventKind::OrderWithdrawn => "withdrawn",
        EventKind::DeadlineNear
        | EventKind::ExecutorLate
        | EventKind::OrderRunningOut
        | EventKind::TrustProposed
        | EventKind::TrustChanged
        | EventKind::TrustSuspended
        | EventKind::TrustRecovery
        | EventKind::EmergencyStopped
        | EventKind::RatificationDue
        | EventKind::RatificationMissed
        | EventKind::PasskeyCloned
        | EventKind::RotationWaits
        | EventKind::RotationFailed
        | EventKind::RotationLate
        | EventKind::RotationRolledBack
        | EventKind::RotationPaused
        | EventKind::EmergencyDeclared
        | EventKind::AlertFiring
        | EventKind::AlertAcknowledged
        | EventKind::AlertSilenced
        | EventKind::AlertResolved
        | EventKind::Test => "",
    }
}

/// On one line, bounded, with everything that hides spelled out. `kept` of `most` characters.
pub fn shown(text: &str) -> String {
    let mut out: String = spelled_out(text);
    if let Some((place, _)) = out.char_indices().nth(MAX_TEXT) {
        out.truncate(place);
        out.push('…');
    }
    out
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

    #[test]
    fn text_that_hides_something_is_shown_escaped_and_bounded() {
        let shown = shown("a\r\nBcc: b\u{202e}c");
        assert_eq!(shown, "a\\u{d}\\u{a}Bcc: b\\u{202e}c");
        assert!(super::shown(&"x".repeat(9_000)).chars().count() <= MAX_TEXT + 1);
    }
}
