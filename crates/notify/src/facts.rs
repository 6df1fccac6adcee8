//! What is kept of what is told until it was delivered.

use serde::{Deserialize, Serialize};
use store::RotationEventRow;
use trust::emergency::Unratified;
use trust::leaf::{ActLeaf, STOP};
use trust::text::spelled_out;
use trust::{Operation, Request, Sha256Digest, Time};

use crate::alert_facts::AlertFacts;
use crate::event::{EventKind, INSTALL};

/// Longest text that a message repeats, in characters.
const MAX_TEXT: usize = 400;

/// Subjects that are named.
const MAX_SUBJECTS: usize = 3;

/// What a rotation is called among operations.
pub const ROTATION: &str = "rotation";

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
    /// What is said beside that: each on a line of its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<String>,
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
            lines: Vec::new(),
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

    /// Of a week until its slot, as it was kept.
    pub fn of_week(slot: Time, body: &str) -> Self {
        let lines: Vec<String> = serde_json::from_str(body).unwrap_or_default();
        Self {
            until: Some(slot),
            operation: "digest".to_owned(),
            lines: lines.iter().map(|line| shown(line)).collect(),
            ..Self::of_test(slot, "")
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
            lines: Vec::new(),
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
        | EventKind::AlertEscalated
        | EventKind::Digest
        | EventKind::Notice
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
    fn text_that_hides_something_is_shown_escaped_and_bounded() {
        let shown = shown("a\r\nBcc: b\u{202e}c");
        assert_eq!(shown, "a\\u{d}\\u{a}Bcc: b\\u{202e}c");
        assert!(super::shown(&"x".repeat(9_000)).chars().count() <= MAX_TEXT + 1);
    }
}
