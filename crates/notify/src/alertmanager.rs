//! Conditions for an Alertmanager, by its API version 2. It forgets what it is not told of again, so it is told each minute.

use std::collections::BTreeSet;
use std::time::Duration;

use calendar::alerts::AlertName;
use reqwest::Client;
use serde_json::{Value, json};
use store::AlertRow;
use trust::Time;
use url::Url;

use crate::event::EventKind;
use crate::facts::Facts;
use crate::http;
use crate::render::{self, Sender};
use crate::retry::Outcome;
use crate::template::Language;

/// How often a condition that holds is told.
pub const EVERY: Duration = Duration::from_secs(60);

/// A condition that is not told for so long is over for the Alertmanager: if we die, nobody is called for ever.
const LASTS: Duration = Duration::from_secs(300);

/// Alerts of one request.
pub const TOGETHER: usize = 64;

/// Where alerts are posted.
pub fn endpoint(base: &str) -> Result<Url, String> {
    let text = format!("{}/api/v2/alerts", base.trim_end_matches('/'));
    Url::parse(&text).map_err(|error| format!("url: {error}"))
}

/// One alert. Labels name it, so they never change while it fires.
pub fn alert(sender: &Sender, language: Language, row: &AlertRow, now: Time) -> Option<Value> {
    let facts: Facts = serde_json::from_str(&row.data).ok()?;
    let kind = EventKind::of(&row.kind)?;
    let text = render::text(sender, language, (kind, &facts), None, None);
    let id = facts.ceremony.map(|id| id.to_string()).unwrap_or_default();
    let (name, severity) = match kind {
        EventKind::AlertFiring => {
            let alert = facts.alert.as_ref()?;
            (alert_name(&alert.name), alert.severity.as_str())
        }
        other => {
            let (name, severity) = of_news(other);
            (name.to_owned(), severity)
        }
    };
    let subject = match &facts.alert {
        Some(_) => facts
            .subjects
            .first()
            .map(String::as_str)
            .unwrap_or_default(),
        None => "",
    };
    let alert = facts.alert.as_ref().and_then(|alert| alert.id.as_deref());
    let all = [
        ("alertname", name.as_str()),
        ("severity", severity),
        ("service", &sender.service),
        ("environment", &sender.environment),
        ("ceremony", &id),
        ("operation", &facts.operation),
        ("ring", facts.ring.as_deref().unwrap_or_default()),
        ("state", &facts.state),
        ("order", facts.order.as_deref().unwrap_or_default()),
        ("rotation", facts.rotation.as_deref().unwrap_or_default()),
        ("alert", alert.unwrap_or_default()),
        ("subject", subject),
    ];
    // An empty label is no label.
    let labels = all.into_iter().filter(|(_, value)| !value.is_empty());
    let labels: serde_json::Map<String, Value> = labels
        .map(|(name, value)| (name.to_owned(), json!(value)))
        .collect();
    let mut description = facts.reason.clone();
    if let Some(until) = facts.until {
        description = format!("{description} ({until})");
    }
    let mut annotations = json!({ "summary": text.subject, "description": description });
    if let (Some(alert), Some(fields)) = (&facts.alert, annotations.as_object_mut()) {
        fields.insert("runbook_url".to_owned(), json!(alert.runbook));
        fields.insert("next".to_owned(), json!(alert.next));
    }
    Some(json!({
        "labels": labels,
        "annotations": annotations,
        "startsAt": row.started_at,
        "endsAt": row.ended_at.unwrap_or(now + LASTS),
        "generatorURL": render::link(sender, &facts).unwrap_or_else(|| sender.url.clone()),
    }))
}

/// The names of all conditions that are sent, as `alert` gives them.
pub fn names() -> BTreeSet<String> {
    let alerts = AlertName::ALL.iter();
    let alerts = alerts.map(|name| alert_name(name.as_str()));
    let news = EventKind::ALL.into_iter();
    let news = news.map(|kind| of_news(kind).0.to_owned());
    alerts.chain(news).collect()
}

/// As rules for Prometheus name alerts: `ChanceryRotationOverdue`.
fn alert_name(rule: &str) -> String {
    let words = rule.split('-').map(|word| {
        let mut letters = word.chars();
        let first = letters.next().map(|letter| letter.to_ascii_uppercase());
        first.into_iter().chain(letters).collect::<String>()
    });
    format!("Chancery{}", words.collect::<String>())
}

/// Of conditions that are no alert's.
const fn of_news(kind: EventKind) -> (&'static str, &'static str) {
    match kind {
        EventKind::Test => ("ChanceryNotificationTest", "info"),
        EventKind::ExecutorLate => ("ChanceryExecutorLate", "warning"),
        EventKind::OrderRunningOut => ("ChanceryOrderRunningOut", "warning"),
        EventKind::RotationWaits => ("ChanceryRotationWaits", "warning"),
        EventKind::RotationLate => ("ChanceryRotationLate", "critical"),
        EventKind::RotationFailed => ("ChanceryRotationFailed", "critical"),
        EventKind::RotationPaused => ("ChanceryRotationPaused", "warning"),
        EventKind::EmergencyDeclared => ("ChanceryEmergencyDeclared", "critical"),
        _ => ("ChanceryCeremonyDeadlineNear", "warning"),
    }
}

pub async fn send(client: &Client, url: &Url, alerts: &[Value], now: Time) -> Outcome {
    http::send(client.post(url.clone()).json(alerts), now).await
}
