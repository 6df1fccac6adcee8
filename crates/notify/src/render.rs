//! A message as its receiver gets it. Texts are made when they are sent; the facts were settled when it happened.

use serde_json::{Value, json};
use trust::{MemberId, Roster, Sha256Digest, Time};

use crate::event::EventKind;
use crate::facts::{Facts, ROTATION, shown};
use crate::template::{self, Language, Text};

/// Whose messages they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender {
    pub service: String,
    pub environment: String,
    /// Without a slash at its end.
    pub url: String,
    pub genesis: Sha256Digest,
}

/// To the minute, as people read it.
pub fn instant(time: Time) -> String {
    let text = time.to_string();
    match (text.get(..10), text.get(11..16)) {
        (Some(day), Some(minute)) => format!("{day} {minute} UTC"),
        _ => text,
    }
}

/// For a person, or for nobody in particular.
pub fn text(
    sender: &Sender,
    language: Language,
    (kind, facts): (EventKind, &Facts),
    roster: Option<&Roster>,
    to: Option<&MemberId>,
) -> Text {
    let member = |id: &str| {
        let members = roster.into_iter().flat_map(|roster| &roster.members);
        members.into_iter().find(|member| member.id.as_str() == id)
    };
    // Names are outside text like any other.
    let named = |id: &str| member(id).map_or_else(|| shown(id), |member| shown(&member.name));
    let value = |name: &str| {
        Some(match name {
            "service" => sender.service.clone(),
            "environment" => sender.environment.clone(),
            "url" => sender.url.clone(),
            "genesis" => sender.genesis.to_string(),
            "name" => to.map_or_else(|| "all".to_owned(), |id| named(id.as_str())),
            "keys" => keys(to.and_then(|id| member(id.as_str()))),
            "operation" => facts.operation.clone(),
            "operation_means" => template::meaning(language, &facts.operation).to_owned(),
            "subject" => facts.subjects.first()?.clone(),
            "subjects" => subjects(facts, language)?,
            "proposer" => facts.proposer.clone()?,
            "proposer_name" => named(facts.proposer.as_deref()?),
            "reason" => facts.reason.clone(),
            "ticket" => facts.ticket.clone()?,
            "until" => instant(facts.until?),
            "execute_by" => instant(facts.execute_by?),
            "at" => instant(facts.at),
            "actor" => facts.by.clone(),
            "why" => facts.why.clone()?,
            "state" => facts.state.clone(),
            "ceremony" => facts.ceremony?.to_string(),
            "order" => facts.order.clone()?,
            "rotation" => facts.rotation.clone()?,
            "kid" => facts.kid.clone()?,
            "alert" => facts.alert.as_ref()?.id.clone()?,
            "alert_name" => facts.alert.as_ref()?.name.clone(),
            "severity" => facts.alert.as_ref()?.severity.clone(),
            "runbook" => facts.alert.as_ref()?.runbook.clone(),
            "next" => facts.alert.as_ref()?.next.clone(),
            "level" => facts.alert.as_ref()?.level.clone()?,
            "lines" => facts.lines.join("\n"),
            _ => return None,
        })
    };
    template::fill(language, kind, value)
}

fn subjects(facts: &Facts, language: Language) -> Option<String> {
    let named = facts.subjects.join(", ");
    match (facts.more_subjects, named.is_empty()) {
        (0, true) => None,
        (more, true) => Some(more.to_string()),
        (0, _) => Some(named),
        (more, _) => Some(format!("{named} {}", template::and_more(language, more))),
    }
}

/// The keys by which a member is known.
fn keys(member: Option<&trust::Member>) -> String {
    let keys = member.into_iter().flat_map(|member| &member.keys);
    let lines = keys.filter_map(|key| Some(format!("       {}", key.ssh()?.as_str())));
    let lines: Vec<String> = lines.collect();
    match lines.is_empty() {
        true => "       -".to_owned(),
        false => lines.join("\n"),
    }
}

/// Where the service shows what it is about.
pub fn link(sender: &Sender, facts: &Facts) -> Option<String> {
    if let Some(alert) = &facts.alert {
        return Some(match &alert.id {
            Some(id) => format!("{}/v1/alerts/{id}", sender.url),
            None => format!("{}/v1/alerts?name={}", sender.url, alert.name),
        });
    }
    match (&facts.ceremony, &facts.rotation) {
        (Some(id), _) => Some(format!("{}/v1/ceremonies/{id}", sender.url)),
        (None, Some(id)) => Some(format!("{}/v1/key-rotation/events/{id}", sender.url)),
        (None, None) if facts.operation == ROTATION => {
            Some(format!("{}/v1/key-rotation/events", sender.url))
        }
        (None, None) => None,
    }
}

/// The body of a webhook: the same on every attempt, because it is made of the facts alone.
pub fn webhook_body(sender: &Sender, language: Language, kind: EventKind, facts: &Facts) -> Value {
    let summary = text(sender, language, (kind, facts), None, None).subject;
    let link = link(sender, facts);
    json!({
        "type": kind.name(),
        "timestamp": facts.at,
        "data": {
            "service": sender.service,
            "environment": sender.environment,
            "summary": summary,
            "url": link,
            "facts": facts,
        },
    })
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn sender() -> Sender {
        Sender {
            service: "chancery".to_owned(),
            environment: "test".to_owned(),
            url: "https://keys.example".to_owned(),
            genesis: Sha256Digest::of(b"genesis"),
        }
    }

    pub fn facts() -> Facts {
        Facts {
            ceremony: Some(Sha256Digest::of(b"request")),
            operation: "generate".to_owned(),
            subjects: vec!["ring/integrity".to_owned()],
            proposer: Some("ada".to_owned()),
            reason: "first key".to_owned(),
            until: Some(Time::from_millis(1_795_000_000_000)),
            approve_by: Some(Time::from_millis(1_795_000_000_000)),
            ..Facts::of_test(Time::from_millis(1_794_000_000_000), "member:ada")
        }
    }

    #[test]
    fn a_mail_says_what_is_asked_by_whom_until_when_and_what_to_type() {
        let id: MemberId = "berta".parse().unwrap();
        for language in Language::ALL {
            let text = text(
                &sender(),
                language,
                (EventKind::Proposed, &facts()),
                None,
                Some(&id),
            );
            let digest = Sha256Digest::of(b"request");
            for part in [
                "ada",
                "first key",
                "ring/integrity",
                "2026-11-18 11:06 UTC",
                &format!(
                    "chancery ceremony review {digest} --url https://keys.example --genesis {} --key KEY",
                    sender().genesis
                ),
                &format!("chancery ceremony approve {digest} --url "),
                &format!("chancery ceremony reject {digest} --url "),
            ] {
                assert!(text.body.contains(part), "{part}\n{}", text.body);
            }
            // They are read aloud, and followed in the review: what a mail says is not compared with itself.
            let words = trust::words::words(digest.as_bytes());
            let first: Vec<&str> = words.split_whitespace().take(2).collect();
            assert!(!text.body.contains(&first.join(" ")), "{}", text.body);
            assert!(
                !text.body.contains("{{") && !text.body.contains("}}"),
                "{}",
                text.body
            );
        }
    }

    #[test]
    fn a_name_or_reason_cannot_begin_a_header_or_hide_anything() {
        let mut facts = facts();
        facts.reason = shown("new\r\nBcc: eve@evil.example\u{202e}");
        facts.subjects = vec![shown("ring/x\r\nX-Evil: 1")];
        let text = text(
            &sender(),
            Language::En,
            (EventKind::Proposed, &facts),
            None,
            None,
        );
        assert!(!text.subject.contains(['\r', '\n', '\u{202e}']), "{text:?}");
        assert!(!text.body.contains(['\r', '\u{202e}']), "{text:?}");
        let lines = text.body.lines();
        assert!(
            !lines
                .into_iter()
                .any(|line| line.starts_with("Bcc") || line.starts_with("X-Evil"))
        );
        assert!(
            text.body
                .contains("new\\u{d}\\u{a}Bcc: eve@evil.example\\u{202e}")
        );
    }
}
