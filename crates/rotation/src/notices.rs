//! Whether an audience outside is told of an incident: a person decides, with a reason, and the decision has its leaf. What is sent
//! is the text as it was decided.

use log::Event;
use notify::{Audience, Text};
use serde::Serialize;
use serde_json::json;
use store::{Change, MAX_PAGE, NoticeRow};
use trust::leaf::ActKind;
use trust::{Sha256Digest, hex, text};

use crate::compromise::{LONGEST_NAME, LONGEST_REASON};
use crate::engine::Engine;
use crate::engine::error::Error;
use crate::times::to_row;

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
    fn of(row: NoticeRow) -> Self {
        Self {
            decision: row.decision(),
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
    /// Records a decision: of each incident and audience at most that they are not told, and then that they are.
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
        let said = format!("{}, {audience}: {}", row.incident, row.reason);
        let event = Event {
            reason: Some(&said),
            reference: Some(&row.id),
            digest: Some(Sha256Digest::of(row.body.as_bytes())),
            ..Event::new(ActKind::Alert, row.decision(), by, to_row(now))
        };
        let change = Change::DecideNotice(Box::new(row.clone()));
        match self.log().commit(&change, &event).await {
            Ok(_) => Ok(NoticeView::of(row)),
            Err(error) if error.is_conflict() => Err(Error::NoticeDecided {
                incident: row.incident,
                audience: row.audience,
            }),
            Err(error) => Err(error.into()),
        }
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
        Ok(NoticePage {
            notices: rows.into_iter().map(NoticeView::of).collect(),
            next,
        })
    }
}
