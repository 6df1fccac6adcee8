//! Notices to the outside: one text for each audience and language, with what a person says of an incident in it. Nothing is sent
//! before somebody decided that it is.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use store::NoticeRow;
use trust::json::canonical;
use trust::text::spelled_out;
use trust::{Sha256Digest, Time};

use crate::facts::{Facts, shown};
use crate::render::Sender;
use crate::template::{Language, Text, fill_text};

/// Characters of what a person says of an incident.
pub const LONGEST: usize = 300;

/// The version of the form that leaves commit to.
const DIGEST: &str = "chancery/notice.v1";

/// The action of the leaf by which it is decided that an audience is not told.
pub const DO_NOT_NOTIFY: &str = "do-not-notify";

/// Who is outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Audience {
    /// Whose data is signed or kept.
    Customers,
    /// Who verifies, and calls.
    Partners,
    /// An authority that is to be told within a time.
    Regulator,
    /// Who works with the service.
    Employees,
}

impl Audience {
    pub const ALL: [Self; 4] = [
        Self::Customers,
        Self::Partners,
        Self::Regulator,
        Self::Employees,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Customers => "customers",
            Self::Partners => "partners",
            Self::Regulator => "regulator",
            Self::Employees => "employees",
        }
    }

    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == name)
    }

    const fn template(self, language: Language) -> &'static str {
        macro_rules! notice {
            ($language:literal, $name:literal) => {
                include_str!(concat!(
                    "../../../deploy/templates/notify/",
                    $language,
                    "/notice-",
                    $name,
                    ".txt"
                ))
            };
        }
        match (language, self) {
            (Language::En, Self::Customers) => notice!("en", "customers"),
            (Language::En, Self::Partners) => notice!("en", "partners"),
            (Language::En, Self::Regulator) => notice!("en", "regulator"),
            (Language::En, Self::Employees) => notice!("en", "employees"),
            (Language::De, Self::Customers) => notice!("de", "customers"),
            (Language::De, Self::Partners) => notice!("de", "partners"),
            (Language::De, Self::Regulator) => notice!("de", "regulator"),
            (Language::De, Self::Employees) => notice!("de", "employees"),
        }
    }
}

/// What a person says of an incident. Each text is on one line and bounded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Incident {
    /// What it is called: a report, a rotation, a ticket.
    pub incident: String,
    /// What happened.
    pub happened: String,
    /// What it concerns.
    pub affected: String,
    /// What was and is done.
    pub done: String,
    /// What those who are told have to do.
    pub to_do: String,
    /// Whom they ask.
    pub contact: String,
    /// When it was noticed.
    pub noticed_at: Time,
}

/// The notice as an audience would get it.
pub fn rendered(
    sender: &Sender,
    language: Language,
    audience: Audience,
    incident: &Incident,
) -> Text {
    let value = |name: &str| {
        let text = match name {
            "service" => &sender.service,
            "environment" => &sender.environment,
            "url" => &sender.url,
            "incident" => &incident.incident,
            "happened" => &incident.happened,
            "affected" => &incident.affected,
            "done" => &incident.done,
            "to_do" => &incident.to_do,
            "contact" => &incident.contact,
            "noticed" => return Some(crate::render::instant(incident.noticed_at)),
            _ => return None,
        };
        Some(shown(text))
    };
    fill_text(audience.template(language), value)
}

/// What the leaf of a decision commits to (docs/LOG.md): canonical JSON (RFC 8785) of the decision and of what is sent, with the
/// version of that form. None of a row that this program cannot have written.
pub fn digest(row: &NoticeRow) -> Option<Sha256Digest> {
    let sent: Value = serde_json::from_str(&row.body).ok()?;
    let decided = json!({
        "audience": row.audience,
        "body": sent["body"],
        "decided_at": row.decided_at,
        "decided_by": row.decided_by,
        "decision": row.decision(),
        "id": row.id,
        "incident": row.incident,
        "reason": row.reason,
        "subject": sent["subject"],
        "v": DIGEST,
    });
    Some(Sha256Digest::of(&canonical(&decided).ok()?))
}

/// What its message is told by, once.
pub fn dedup(id: &str) -> String {
    format!("notice/{id}")
}

/// What is kept of a notice until it was delivered: its text as it was decided. None where the leaf of the decision is about
/// something else.
pub fn facts(row: &NoticeRow, decided: Option<Sha256Digest>) -> Option<Facts> {
    let is_decided = row.notify && digest(row) == decided && decided.is_some();
    let body: Value = serde_json::from_str(&row.body)
        .ok()
        .filter(|_| is_decided)?;
    let (subject, text) = (body["subject"].as_str()?, body["body"].as_str()?);
    Some(Facts {
        operation: "notice".to_owned(),
        state: row.audience.clone(),
        subjects: vec![shown(subject)],
        lines: text.lines().map(spelled_out).collect(),
        by: shown(&row.decided_by),
        ..Facts::of_test(row.decided_at, "")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn incident() -> Incident {
        Incident {
            incident: "cr_1".to_owned(),
            happened: "a key was stolen\r\nBcc: eve@evil.example".to_owned(),
            affected: "{{url}} and {{contact}}".to_owned(),
            done: "it was revoked".to_owned(),
            to_do: "fetch the key set again".to_owned(),
            contact: "security@keys.example".to_owned(),
            noticed_at: Time::from_millis(1_795_000_000_000),
        }
    }

    #[test]
    fn each_audience_and_language_has_its_text_with_everything_that_was_said() {
        let sender = crate::render::tests::sender();
        for language in Language::ALL {
            for audience in Audience::ALL {
                let text = rendered(&sender, language, audience, &incident());
                assert_eq!(Audience::of(audience.as_str()), Some(audience));
                for part in [
                    "chancery",
                    "it was revoked",
                    "fetch the key set again",
                    "security@keys.example",
                    "2026-11-18",
                ] {
                    assert!(text.body.contains(part), "{audience:?} {part}: {text:?}");
                }
            }
        }
    }

    fn row() -> NoticeRow {
        NoticeRow {
            id: format!("no_{}", "0".repeat(32)),
            incident: "cr_1".to_owned(),
            audience: "partners".to_owned(),
            notify: true,
            reason: "they verify".to_owned(),
            body: r#"{"subject":"Incident","body":"line 1\nline 2"}"#.to_owned(),
            decided_at: "2026-11-30T10:00:00.000Z".parse().unwrap(),
            decided_by: "olga".to_owned(),
        }
    }

    /// The form is in leaves: it never changes.
    #[test]
    fn the_digest_is_that_of_the_documented_form() {
        let text = r#"{"audience":"partners","body":"line 1\nline 2","decided_at":"2026-11-30T10:00:00.000Z","decided_by":"olga","decision":"notify","id":"no_00000000000000000000000000000000","incident":"cr_1","reason":"they verify","subject":"Incident","v":"chancery/notice.v1"}"#;
        assert_eq!(digest(&row()), Some(Sha256Digest::of(text.as_bytes())));
        let not = NoticeRow {
            notify: false,
            body: "{}".to_owned(),
            ..row()
        };
        let text = r#"{"audience":"partners","body":null,"decided_at":"2026-11-30T10:00:00.000Z","decided_by":"olga","decision":"do-not-notify","id":"no_00000000000000000000000000000000","incident":"cr_1","reason":"they verify","subject":null,"v":"chancery/notice.v1"}"#;
        assert_eq!(digest(&not), Some(Sha256Digest::of(text.as_bytes())));
    }

    #[test]
    fn threat_a_row_that_is_not_what_was_decided_is_not_sent() {
        let decided = digest(&row());
        // As long as what a person may say.
        let long = "x".repeat(800);
        let said = NoticeRow {
            body: json!({"subject": "Incident", "body": long}).to_string(),
            ..row()
        };
        assert_eq!(facts(&said, digest(&said)).unwrap().lines, [long]);
        assert!(facts(&row(), decided).is_some());
        assert_eq!(facts(&said, decided), None);
        assert_eq!(facts(&row(), None), None);
        for audience in ["customers", "regulator"] {
            let other = NoticeRow {
                audience: audience.to_owned(),
                ..row()
            };
            assert_eq!(facts(&other, decided), None);
        }
    }

    #[test]
    fn threat_what_is_said_of_an_incident_is_neither_a_header_nor_a_template() {
        let sender = crate::render::tests::sender();
        let text = rendered(&sender, Language::En, Audience::Partners, &incident());
        let mut lines = text.body.lines();
        assert!(!lines.any(|line| line.starts_with("Bcc")), "{text:?}");
        assert!(text.body.contains("{{url}} and {{contact}}"), "{text:?}");
        assert!(!text.subject.contains(['\r', '\n']), "{text:?}");
    }
}
