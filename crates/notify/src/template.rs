//! The texts, one file for each event and language, built in. What stands between double braces is replaced, once; what is
//! put there is never read as a template.

use serde::{Deserialize, Serialize};

use crate::event::EventKind;

/// A language that texts are there in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    #[default]
    En,
    De,
}

impl Language {
    pub const ALL: [Self; 2] = [Self::En, Self::De];
}

macro_rules! texts {
    ($language:literal, $kind:expr) => {
        match $kind {
            EventKind::Proposed => text!($language, "proposed"),
            EventKind::Approved => text!($language, "approved"),
            EventKind::Rejected => text!($language, "rejected"),
            EventKind::Cancelled => text!($language, "cancelled"),
            EventKind::Executed => text!($language, "executed"),
            EventKind::Closed => text!($language, "closed"),
            EventKind::Expired => text!($language, "expired"),
            EventKind::Failed => text!($language, "failed"),
            EventKind::DeadlineNear => text!($language, "deadline-near"),
            EventKind::ExecutorLate => text!($language, "executor-late"),
            EventKind::OrderApproved => text!($language, "order-approved"),
            EventKind::OrderUsed => text!($language, "order-used"),
            EventKind::OrderWithdrawn => text!($language, "order-withdrawn"),
            EventKind::OrderRunningOut => text!($language, "order-running-out"),
            EventKind::TrustProposed => text!($language, "trust-proposed"),
            EventKind::TrustChanged => text!($language, "trust-changed"),
            EventKind::TrustSuspended => text!($language, "trust-suspended"),
            EventKind::TrustRecovery => text!($language, "trust-recovery"),
            EventKind::EmergencyStopped => text!($language, "emergency-stopped"),
            EventKind::EmergencyResumed => text!($language, "emergency-resumed"),
            EventKind::EmergencyRotated => text!($language, "emergency-rotated"),
            EventKind::EmergencyRatified => text!($language, "emergency-ratified"),
            EventKind::RatificationDue => text!($language, "ratification-due"),
            EventKind::RatificationMissed => text!($language, "ratification-missed"),
            EventKind::PasskeyCloned => text!($language, "passkey-cloned"),
            EventKind::RotationWaits => text!($language, "rotation-waiting"),
            EventKind::RotationFailed => text!($language, "rotation-failed"),
            EventKind::RotationLate => text!($language, "rotation-late"),
            EventKind::RotationRolledBack => text!($language, "rotation-rolled-back"),
            EventKind::RotationPaused => text!($language, "rotation-paused"),
            EventKind::EmergencyDeclared => text!($language, "emergency-declared"),
            EventKind::AlertFiring => text!($language, "alert-firing"),
            EventKind::AlertAcknowledged => text!($language, "alert-acknowledged"),
            EventKind::AlertSilenced => text!($language, "alert-silenced"),
            EventKind::AlertResolved => text!($language, "alert-resolved"),
            EventKind::AlertEscalated => text!($language, "alert-escalated"),
            EventKind::Digest => text!($language, "digest"),
            EventKind::Notice => text!($language, "notice"),
            EventKind::Test => text!($language, "test"),
        }
    };
}

macro_rules! text {
    ($language:literal, $name:literal) => {
        include_str!(concat!(
            "../../../deploy/templates/notify/",
            $language,
            "/",
            $name,
            ".txt"
        ))
    };
}

/// A text, and what it begins with: its subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    pub subject: String,
    pub body: String,
}

const SUBJECT: &str = "Subject: ";

fn template(language: Language, kind: EventKind) -> &'static str {
    match language {
        Language::En => texts!("en", kind),
        Language::De => texts!("de", kind),
    }
}

/// Of this event, with these values.
pub fn fill(language: Language, kind: EventKind, value: impl Fn(&str) -> Option<String>) -> Text {
    fill_text(template(language, kind), value)
}

/// The same of a text that is no event's.
pub fn fill_text(template: &str, value: impl Fn(&str) -> Option<String>) -> Text {
    let (first, rest) = template.split_once('\n').unwrap_or((template, ""));
    let subject = replaced(first.strip_prefix(SUBJECT).unwrap_or(first), &value);
    Text {
        // A header has one line, whatever the values are.
        subject: crate::facts::shown(&subject),
        body: replaced(rest.trim_start(), &value),
    }
}

fn replaced(template: &str, value: &impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(template.len() * 2);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        out.push_str(before);
        let Some((name, behind)) = after.split_once("}}") else {
            rest = after;
            break;
        };
        out.push_str(&value(name).unwrap_or_else(|| "-".to_owned()));
        rest = behind;
    }
    out.push_str(rest);
    out
}

/// What an operation is, for people.
pub fn meaning(language: Language, operation: &str) -> &'static str {
    match (language, operation) {
        (Language::En, "generate") => "a new key is made for a ring of keys",
        (Language::En, "destroy") => "private keys are destroyed; this cannot be undone",
        (Language::En, "revoke") => "a key is declared invalid; this cannot be undone",
        (Language::En, "clock-correction") => {
            "times in the log that a wrong clock wrote are corrected"
        }
        (Language::En, "order") => "keys of a ring are approved in advance: a standing order",
        (Language::En, "new-origin") => "the log goes on after a loss",
        (Language::En, "resume") => "signing that was stopped goes on",
        (Language::En, "emergency-rotation") => {
            "a standby key signs at once, and the key before it is declared invalid; this cannot be undone"
        }
        (Language::En, "rotation-policy") => "the rules change by which critical keys rotate",
        (Language::En, "ratification") => "an emergency rotation is agreed with",
        (Language::En, "rotation") => "a key or secret is replaced by the calendar",
        (Language::En, _) => "see the review",
        (Language::De, "generate") => "für einen Schlüsselring wird ein neuer Schlüssel erzeugt",
        (Language::De, "destroy") => "private Schlüssel werden zerstört; das ist endgültig",
        (Language::De, "revoke") => "ein Schlüssel wird für ungültig erklärt; das ist endgültig",
        (Language::De, "clock-correction") => {
            "Zeiten im Protokoll, die eine falsche Uhr schrieb, werden berichtigt"
        }
        (Language::De, "order") => {
            "Schlüsseln eines Rings wird im Voraus zugestimmt: ein Dauerauftrag"
        }
        (Language::De, "new-origin") => "das Protokoll wird nach einem Verlust fortgesetzt",
        (Language::De, "resume") => "das angehaltene Signieren geht weiter",
        (Language::De, "emergency-rotation") => {
            "ein Ersatzschlüssel signiert sofort, der bisherige wird für ungültig erklärt; das ist endgültig"
        }
        (Language::De, "rotation-policy") => {
            "die Regeln ändern sich, nach denen kritische Schlüssel wechseln"
        }
        (Language::De, "ratification") => {
            "einem Notwechsel des Schlüssels wird nachträglich zugestimmt"
        }
        (Language::De, "rotation") => {
            "ein Schlüssel oder Geheimnis wird nach dem Kalender gewechselt"
        }
        (Language::De, _) => "siehe die Prüfung",
    }
}

/// Beyond those that are named.
pub fn and_more(language: Language, count: usize) -> String {
    match language {
        Language::En => format!("and {count} more"),
        Language::De => format!("und {count} weitere"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// What templates may name.
    const VALUES: &[&str] = &[
        "alert",
        "alert_name",
        "next",
        "rotation",
        "runbook",
        "service",
        "severity",
        "environment",
        "url",
        "genesis",
        "name",
        "keys",
        "level",
        "lines",
        "operation",
        "operation_means",
        "subject",
        "subjects",
        "proposer",
        "proposer_name",
        "reason",
        "ticket",
        "until",
        "execute_by",
        "at",
        "actor",
        "why",
        "state",
        "ceremony",
        "order",
        "kid",
    ];

    fn names(template: &str) -> BTreeSet<&str> {
        let behind = template.split("{{").skip(1);
        behind
            .map(|text| text.split_once("}}").unwrap().0)
            .collect()
    }

    #[test]
    fn every_language_says_the_same() {
        for kind in EventKind::ALL {
            let [en, de] = Language::ALL.map(|language| template(language, kind));
            assert_eq!(names(en), names(de), "{kind:?}");
            for text in [en, de] {
                assert!(text.starts_with(SUBJECT), "{kind:?}");
                let known = names(text).into_iter().all(|name| VALUES.contains(&name));
                assert!(known, "{kind:?}: {:?}", names(text));
            }
        }
    }

    #[test]
    fn what_is_put_in_is_no_template() {
        let value = |name: &str| Some(format!("{{{{{name}}}}}"));
        let text = fill(Language::En, EventKind::Test, value);
        assert!(
            text.subject.contains("{{service}}/{{environment}}"),
            "{text:?}"
        );
    }
}
