//! Alerts of an installation: which there are, and what people do to them. What is looked at, and what becomes of it, is in
//! `watch`; the rules and the state are the calendar's.
//!
//! What a look writes has no leaf: it can be made again, and a storm must not fill the log. What a person does to an alert has
//! one: who acknowledged it, who silenced it, until when and why.

mod facts;
mod usage;
pub mod watch;

use calendar::Time;
use calendar::alerts::escalation::{Escalation, EscalationLevel, Ladder};
use calendar::alerts::machine::{Acknowledged, Alert, News, Phase, Refusal, Silence};
use calendar::alerts::{AlertName, Severity};
use log::Event;
use serde::Serialize;
use store::{AlertRecord, Change};
use trust::leaf::ActKind;
use trust::{Sha256Digest, hex};

use crate::engine::Engine;
use crate::engine::error::Error;
use crate::policies::LONGEST_REASON;
use crate::times::to_row;

pub use facts::KeyStoreView;

/// Alerts of a page at most.
pub const PAGE_MAX: usize = 1_000;

/// Rows that are looked at for one page of a filter that takes resolved ones.
const LOOKED_AT: usize = 10_000;

/// What an alert of a rule may be at, the gravest last.
const LEVELS: [u8; 3] = [1, 2, 3];

/// Rows that are read together.
const TOGETHER: i64 = 1_000;

/// The name of an alert for its rule and subject: the same in each replica, and for ever.
pub fn alert_id(name: AlertName, subject: &str) -> String {
    let digest = Sha256Digest::of(format!("chancery/alert.v1\n{name}\n{subject}").as_bytes());
    let (half, _) = digest.as_bytes().split_at(16);
    format!("al_{}", hex::encode(half))
}

/// Which alerts somebody asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AlertFilter {
    /// `pending`, `firing`, `acknowledged` or `resolved`.
    pub state: Option<String>,
    pub severity: Option<Severity>,
    pub name: Option<AlertName>,
    /// Also those that are resolved.
    pub all: bool,
}

/// An alert for people and programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AlertView {
    pub id: String,
    pub name: AlertName,
    /// What it is about: an asset, a rotation, a job, a ring, a kid.
    pub subject: String,
    pub severity: Severity,
    /// From 1, the gravest last.
    pub level: u8,
    /// `pending`, `firing`, `acknowledged` or `resolved`.
    pub state: &'static str,
    /// What the rule found.
    pub detail: String,
    /// Since when it is pending, or when it began to fire.
    pub since: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolved_at: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<Acknowledged>,
    /// Nothing is told of it until then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub silence: Option<Silence>,
    /// How often it came back within a day of its end.
    pub episode: u32,
    /// There were many of its rule, and it is told together with others.
    pub together: bool,
    /// Of one that fires, or fired until it was over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub escalation: Option<EscalationView>,
    /// The page that says what to do.
    pub runbook: String,
    /// What to type first.
    pub next: String,
}

/// How far an alert has climbed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EscalationView {
    /// The highest level that it has reached; none yet of one that was silenced from its beginning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<EscalationLevel>,
    /// Since when it counts: when it began, became graver, or was told again after a silence.
    pub since: Time,
    /// The levels that were called since it fires, and hear of its end: so far as they have contacts.
    pub called: Vec<EscalationLevel>,
    /// The next level that was not called yet, and when it is; none where somebody looks after it, or there is no next one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<NextLevel>,
}

/// A level that is to come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NextLevel {
    pub level: EscalationLevel,
    /// Not before this instant.
    pub at: Time,
}

/// Alerts: of those that are open the critical first, and those that began last first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AlertPage {
    pub alerts: Vec<AlertView>,
    /// `after` of the next page. A page of a filter that takes resolved ones may be short, or empty, and have a next one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl EscalationView {
    fn of(record: &AlertRecord, ladder: &Ladder) -> Option<Self> {
        let alert = &record.alert;
        if matches!(alert.phase, Phase::Pending { .. }) {
            return None;
        }
        let Escalation { since, reached } = alert.escalation;
        let severity = alert.severity();
        // After a silence it climbs anew, and those that were called hear at once that it fires on.
        let called = reached.max(record.levels_told);
        let next = EscalationLevel::at(called.saturating_add(1)).filter(|level| {
            let climbs = alert.is_firing() && alert.acknowledged.is_none();
            let waits = alert.silence.is_none();
            climbs && waits && ladder.reached(severity, ladder.after(*level)) > called
        });
        Some(Self {
            level: EscalationLevel::at(reached),
            since,
            called: EscalationLevel::first(record.levels_told).to_vec(),
            next: next.map(|level| NextLevel {
                level,
                at: since + ladder.after(level),
            }),
        })
    }
}

impl AlertView {
    /// With the times after which levels are told.
    pub fn of(record: AlertRecord, ladder: &Ladder) -> Self {
        let escalation = EscalationView::of(&record, ladder);
        let alert = record.alert;
        let (since, resolved_at) = match alert.phase {
            Phase::Pending { since } | Phase::Firing { since, .. } => (since, None),
            Phase::Resolved { since, at } => (since, Some(at)),
        };
        Self {
            id: record.id,
            name: alert.name,
            severity: alert.severity(),
            level: alert.level,
            state: alert.state(),
            since,
            resolved_at,
            episode: alert.episode,
            together: alert.together,
            escalation,
            runbook: alert.name.runbook(),
            next: alert.name.next_command(&alert.subject),
            subject: alert.subject,
            detail: alert.detail,
            acknowledged: alert.acknowledged,
            silence: alert.silence,
        }
    }
}

impl AlertFilter {
    fn takes(&self, alert: &Alert) -> bool {
        self.state
            .as_deref()
            .is_none_or(|state| alert.state() == state)
            && self
                .severity
                .is_none_or(|severity| alert.severity() == severity)
            && self.name.is_none_or(|name| alert.name == name)
    }

    /// Whether what is resolved is not looked at.
    fn is_open(&self) -> bool {
        !self.all && self.state.as_deref() != Some("resolved")
    }
}

/// How the place begins of what comes after the critical ones.
const BELOW: &str = "warning/";

/// The rules and levels of a severity, as far as a filter takes them.
fn rules(filter: &AlertFilter, severity: Severity) -> Vec<(AlertName, u8)> {
    let names = AlertName::ALL.iter().copied();
    let names = names.filter(|name| filter.name.is_none_or(|only| only == *name));
    names
        .flat_map(|name| LEVELS.map(|level| (name, level)))
        .filter(|(name, level)| name.severity(*level) == severity)
        .collect()
}

/// Since when an alert is pending, or began to fire.
const fn since(alert: &Alert) -> Time {
    match alert.phase {
        Phase::Pending { since } | Phase::Firing { since, .. } | Phase::Resolved { since, .. } => {
            since
        }
    }
}

/// Behind which row a page begins: an instant and an id.
pub(crate) fn place(after: &str) -> Option<(i64, &str)> {
    let (millis, id) = after.split_once('/')?;
    Some((millis.parse().ok()?, id))
}

/// What a person wants of an alert.
enum Wanted<'a> {
    Acknowledge(Option<&'a str>),
    Silence { until: Time, reason: &'a str },
    Unsilence,
}

impl Wanted<'_> {
    const fn action(&self) -> &'static str {
        match self {
            Self::Acknowledge(_) => "acknowledge",
            Self::Silence { .. } => "silence",
            Self::Unsilence => "unsilence",
        }
    }

    const fn reason(&self) -> Option<&str> {
        match self {
            Self::Acknowledge(reason) => *reason,
            Self::Silence { reason, .. } => Some(reason),
            Self::Unsilence => None,
        }
    }

    fn done(&self, alert: Alert, by: &str, now: Time) -> Result<(Alert, Option<News>), Refusal> {
        match self {
            Self::Acknowledge(_) => alert.acknowledge(by, now),
            Self::Silence { until, .. } => alert.silence(by, *until, now),
            Self::Unsilence => alert.unsilence(now),
        }
    }
}

impl Engine {
    /// The alerts behind a place, as a page before named it. Of open ones the critical first, then those that began last; where
    /// resolved ones are asked for too, those that began last first.
    pub async fn alerts(
        &self,
        filter: &AlertFilter,
        after: Option<&str>,
        limit: usize,
    ) -> Result<AlertPage, Error> {
        let limit = limit.clamp(1, PAGE_MAX);
        match filter.is_open() {
            true => self.open_alerts_by_severity(filter, after, limit).await,
            false => self.alerts_of_history(filter, after, limit).await,
        }
    }

    async fn open_alerts_by_severity(
        &self,
        filter: &AlertFilter,
        after: Option<&str>,
        limit: usize,
    ) -> Result<AlertPage, Error> {
        let (first, after) = match after.map(|after| (after, after.strip_prefix(BELOW))) {
            None => (Severity::Critical, None),
            Some((_, Some(after))) => (Severity::Warning, Some(after)),
            Some((after, None)) => (Severity::Critical, Some(after)),
        };
        let mut behind = match after {
            None => Some((i64::MAX, String::new())),
            Some(after) => place(after).map(|(millis, id)| (millis, id.to_owned())),
        };
        if behind.is_none() {
            return Err(Error::AlertPlace);
        }
        let mut alerts: Vec<AlertView> = Vec::new();
        for severity in [Severity::Critical, Severity::Warning] {
            let is_asked = filter.severity.is_none_or(|only| only == severity);
            if !is_asked || severity > first {
                continue;
            }
            let rules = rules(filter, severity);
            let (since_of_place, id) = behind.take().unwrap_or((i64::MAX, String::new()));
            let room = i64::try_from(limit - alerts.len()).unwrap_or(i64::MAX);
            let rows = self.store().open_alerts_of(
                &rules,
                filter.state.as_deref(),
                (since_of_place, &id),
                room,
            );
            for record in rows.await? {
                let at = format!("{}/{}", since(&record.alert).millis(), record.id);
                alerts.push(AlertView::of(record, self.ladder()));
                if alerts.len() == limit {
                    let next = match severity {
                        Severity::Critical => at,
                        Severity::Warning => format!("{BELOW}{at}"),
                    };
                    return Ok(AlertPage {
                        alerts,
                        next: Some(next),
                    });
                }
            }
        }
        Ok(AlertPage { alerts, next: None })
    }

    async fn alerts_of_history(
        &self,
        filter: &AlertFilter,
        after: Option<&str>,
        limit: usize,
    ) -> Result<AlertPage, Error> {
        let mut at = match after {
            None => (i64::MAX, String::new()),
            Some(after) => place(after)
                .map(|(millis, id)| (millis, id.to_owned()))
                .ok_or(Error::AlertPlace)?,
        };
        let (mut alerts, mut looked) = (Vec::new(), 0);
        loop {
            let rows = self.store().alerts_before((at.0, &at.1), TOGETHER);
            let rows = rows.await?;
            let full = rows.len() as i64 == TOGETHER;
            for record in rows {
                at = (since(&record.alert).millis(), record.id.clone());
                looked += 1;
                if filter.takes(&record.alert) {
                    alerts.push(AlertView::of(record, self.ladder()));
                }
                if alerts.len() == limit || looked == LOOKED_AT {
                    let next = Some(format!("{}/{}", at.0, at.1));
                    return Ok(AlertPage { alerts, next });
                }
            }
            if !full {
                return Ok(AlertPage { alerts, next: None });
            }
        }
    }

    pub async fn alert(&self, id: &str) -> Result<AlertView, Error> {
        let record = self.alert_record(id).await?;
        Ok(AlertView::of(record, self.ladder()))
    }

    /// Somebody looks after an alert; it fires on, and nobody else is called for it.
    pub async fn acknowledge_alert(
        &self,
        id: &str,
        by: &str,
        reason: Option<&str>,
    ) -> Result<AlertView, Error> {
        self.mark_alert(id, &Wanted::Acknowledge(reason), by).await
    }

    /// Nothing is told of an alert until an instant.
    pub async fn silence_alert(
        &self,
        id: &str,
        until: Time,
        (by, reason): (&str, &str),
    ) -> Result<AlertView, Error> {
        let wanted = Wanted::Silence { until, reason };
        self.mark_alert(id, &wanted, by).await
    }

    /// It is told again.
    pub async fn unsilence_alert(&self, id: &str, by: &str) -> Result<AlertView, Error> {
        self.mark_alert(id, &Wanted::Unsilence, by).await
    }

    async fn alert_record(&self, id: &str) -> Result<AlertRecord, Error> {
        let found = self.store().alert(id).await?;
        found.ok_or_else(|| Error::UnknownAlert(id.chars().take(80).collect()))
    }

    /// A look may come between; then it is decided again, by what is so now.
    async fn mark_alert(
        &self,
        id: &str,
        wanted: &Wanted<'_>,
        by: &str,
    ) -> Result<AlertView, Error> {
        match self.try_mark(id, wanted, by).await {
            Err(Error::Store(error)) if error.is_conflict() => self.try_mark(id, wanted, by).await,
            outcome => outcome,
        }
    }

    async fn try_mark(&self, id: &str, wanted: &Wanted<'_>, by: &str) -> Result<AlertView, Error> {
        let reason = wanted.reason();
        if reason.is_some_and(|reason| !trust::text::is_plain(reason, LONGEST_REASON)) {
            return Err(Error::AlertReason);
        }
        let was = self.alert_record(id).await?;
        let now = self.now().await?;
        let (alert, news) =
            wanted
                .done(was.alert.clone(), by, now)
                .map_err(|why| Error::AlertState {
                    alert: id.to_owned(),
                    why,
                })?;
        let record = with(&was, alert, news, now);
        // Rule and subject, because the row is not kept for ever.
        let said = match reason {
            Some(reason) => format!("{}: {reason}", was.alert.name),
            None => was.alert.name.to_string(),
        };
        let event = Event {
            asset: Some(&was.alert.subject),
            reason: Some(&said),
            reference: Some(id),
            until: match wanted {
                Wanted::Silence { until, .. } => Some(to_row(*until)),
                _ => None,
            },
            ..Event::new(ActKind::Alert, wanted.action(), by, to_row(now))
        };
        let change = Change::MarkAlert(Box::new(record));
        self.log().commit(&change, &event).await?;
        self.alert(id).await
    }
}

/// What a row becomes. News that nobody was told of yet stay, unless there are later ones. That nothing is told of what began
/// and ended before anybody was told of it is decided where it is written.
fn with(was: &AlertRecord, alert: Alert, news: Option<News>, now: Time) -> AlertRecord {
    AlertRecord {
        id: was.id.clone(),
        alert,
        news: news.or(was.news),
        news_number: was.news_number.saturating_add(u32::from(news.is_some())),
        changed_at: to_row(now),
        version: was.version,
        levels_told: was.levels_told,
    }
}
