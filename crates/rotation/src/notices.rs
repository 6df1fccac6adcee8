//! Whether an audience outside is told of an incident: a person decides, with a reason, and the decision has its leaf. What is sent
//! is the text as it was decided.

use calendar::Time;
use log::Event;
use notify::{Audience, Text};
use serde::Serialize;
use serde_json::json;
use store::{Change, DeliveryState, MAX_PAGE, NoticeRow};
use trust::leaf::ActKind;
use trust::{Sha256Digest, hex, text};

use crate::compromise::{LONGEST_NAME, LONGEST_REASON};
use crate::engine::Engine;
use crate::engine::error::Error;
use crate::times::to_row;

/// What is said of a notice that has no message.
const NO_MESSAGE: &str = "no-message";

/// Decisions of a page at most.
pub const NOTICES_MAX: usize = 1_000;

/// A decision that is to be recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoticeDecision {
    /// What the incident is called: a report, a rotation, a ticket.
    pub incident: String,
    pub audience: Audience,
    /// What they are told; none where they are not.
    pub text: Option<Text>,
    pub reason: String,
}

/// A decision for people and programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NoticeView {
    pub id: String,
    pub incident: String,
    pub audience: String,
    /// `notify` or `do-not-notify`.
    pub decision: &'static str,
    pub reason: String,
    pub at: trust::Time,
    pub by: String,
    /// Of a decision to notify: `no-message` where no service has written one, or none is kept any more, `waiting`, `dead` where
    /// one contact did not get it, `delivered`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery: Option<&'static str>,
}

/// Decisions, the latest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NoticePage {
    pub notices: Vec<NoticeView>,
    /// `after` of the next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl NoticeView {
    fn of(row: NoticeRow, delivery: Option<DeliveryState>) -> Self {
        let word = delivery.map_or(NO_MESSAGE, DeliveryState::as_str);
        Self {
            decision: row.decision(),
            delivery: row.notify.then_some(word),
            id: row.id,
            incident: row.incident,
            audience: row.audience,
            reason: row.reason,
            at: row.decided_at,
            by: row.decided_by,
        }
    }
}

impl Engine {
    /// Records a decision: of each incident and audience at most that they are not told, and then that they are. That they are told
    /// the same is decided again where there is no message of it: then it is recorded again, and sent.
    pub async fn decide_notice(
        &self,
        decision: &NoticeDecision,
        by: &str,
    ) -> Result<NoticeView, Error> {
        for (what, text, most) in [
            ("incident", &decision.incident, LONGEST_NAME),
            ("reason", &decision.reason, LONGEST_REASON),
        ] {
            if !text::is_plain(text, most) {
                return Err(Error::ReportText { what, most });
            }
        }
        // So that it is told from what follows it in the leaf.
        if decision.incident.contains(char::is_whitespace) {
            return Err(Error::NoticeIncident);
        }
        let now = self.now().await?;
        let audience = decision.audience.as_str();
        let body = decision.text.as_ref();
        let body = body.map(|text| json!({"subject": text.subject, "body": text.body}));
        let mut row = NoticeRow {
            id: String::new(),
            incident: decision.incident.clone(),
            audience: audience.to_owned(),
            notify: decision.text.is_some(),
            reason: decision.reason.clone(),
            body: body.map_or_else(|| "{}".to_owned(), |body| body.to_string()),
            decided_at: to_row(now),
            decided_by: by.to_owned(),
        };
        let named = format!(
            "chancery/notice.v1\n{}\n{audience}\n{}",
            row.incident,
            row.decision()
        );
        let digest = Sha256Digest::of(named.as_bytes());
        let (half, _) = digest.as_bytes().split_at(16);
        row.id = format!("no_{}", hex::encode(half));
        let change = Change::DecideNotice(Box::new(row.clone()));
        match self.record_notice(&row, &change, (by, now)).await {
            Ok(()) => Ok(NoticeView::of(row, None)),
            Err(Error::Store(error)) if error.is_conflict() => self.repeat_notice(&row, by).await,
            Err(error) => Err(error),
        }
    }

    async fn record_notice(
        &self,
        row: &NoticeRow,
        change: &Change,
        (by, at): (&str, Time),
    ) -> Result<(), Error> {
        let said = format!("{}, {}: {}", row.audience, row.incident, row.reason);
        let event = Event {
            reason: Some(&said),
            reference: Some(&row.id),
            digest: notify::notice_digest(row),
            ..Event::new(ActKind::Alert, row.decision(), by, to_row(at))
        };
        self.log().commit(change, &event).await?;
        Ok(())
    }

    /// Of what is decided already, and the same: a message where there is none.
    async fn repeat_notice(&self, wanted: &NoticeRow, by: &str) -> Result<NoticeView, Error> {
        let decided = |delivery| Error::NoticeDecided {
            incident: wanted.incident.clone(),
            audience: wanted.audience.clone(),
            delivery,
        };
        let row = self.store().notice(&wanted.id).await?;
        let row = row.filter(|row| row.notify && row.body == wanted.body);
        let row = row.ok_or_else(|| decided(None))?;
        let dedup = notify::notice_dedup(&row.id);
        if let Some(state) = self.store().delivery_of(&dedup).await? {
            return Err(decided(Some(state.as_str())));
        }
        let now = self.now().await?;
        self.record_notice(&row, &Change::Record, (by, now)).await?;
        Ok(NoticeView::of(row, None))
    }

    /// The decisions behind a place, as a page before named it, the latest first.
    pub async fn notices(&self, after: Option<&str>, limit: usize) -> Result<NoticePage, Error> {
        let limit = limit.clamp(1, NOTICES_MAX);
        let at = match after {
            None => (i64::MAX, ""),
            Some(after) => crate::alerts::place(after).ok_or(Error::AlertPlace)?,
        };
        let asked = i64::try_from(limit).unwrap_or(MAX_PAGE);
        let rows = self.store().notices_before(at, asked).await?;
        let last = rows.last().filter(|_| rows.len() == limit);
        let next = last.map(|row| format!("{}/{}", row.decided_at.millis(), row.id));
        let mut notices = Vec::with_capacity(rows.len());
        for row in rows {
            let dedup = notify::notice_dedup(&row.id);
            let delivery = match row.notify {
                true => self.store().delivery_of(&dedup).await?,
                false => None,
            };
            notices.push(NoticeView::of(row, delivery));
        }
        Ok(NoticePage { notices, next })
    }
}
