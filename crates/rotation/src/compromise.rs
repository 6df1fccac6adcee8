//! Reports of compromise: a named principal says that somebody else may have a key, which calls people and drafts what they could
//! declare; a person decides. Each report and each decision has its leaf.

use calendar::Time;
use calendar::alerts::rules::ReportFacts;
use calendar::name::{AssetName, Word};
use log::Event;
use serde::Serialize;
use store::{Change, CompromiseDecision, CompromiseRow, MAX_PAGE};
use trust::leaf::ActKind;
use trust::{Kid, Sha256Digest, hex, text};

use crate::alerts::alert_id;
use crate::drivers::ring_of_asset;
use crate::engine::Engine;
use crate::engine::error::Error;
use crate::times::{from_row, to_row};
use calendar::admission::Refusal;
use calendar::alerts::AlertName;

/// Reports of one principal and day.
pub const MOST_A_DAY: i64 = 100;

/// Reports of a page at most.
pub const REPORTS_MAX: usize = 1_000;

/// Longest name of a report and of its source, longest reason and longest evidence, in characters.
pub const LONGEST_NAME: usize = 100;
pub const LONGEST_REASON: usize = 500;
pub const LONGEST_EVIDENCE: usize = 2_000;

/// Open reports that are looked at.
const MOST_OPEN: usize = 10_000;

/// How far a report may say that it begins in the future: clocks differ.
const AHEAD: calendar::Span = calendar::Span::minutes(5);

/// What somebody reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompromiseReport {
    /// Their name for it: the same again is the same report.
    pub report: String,
    /// What somebody else may have.
    pub target: Target,
    /// Where it was found out, such as `secret scanner`.
    pub source: String,
    pub reason: String,
    /// What was found; never a secret. It may have several lines.
    pub evidence: Option<String>,
    /// The earliest instant at which somebody else may have had it.
    pub compromised_since: Option<Time>,
}

/// What somebody else may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A key by its kid, which is its JWK thumbprint (RFC 7638).
    Key(Kid),
    Asset(AssetName),
}

/// A report for people and programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReportView {
    pub id: String,
    /// What the principal calls it.
    pub report: String,
    pub by: String,
    pub asset: String,
    pub key_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kid: Option<String>,
    pub source: String,
    pub reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compromised_since: Option<trust::Time>,
    pub received_at: trust::Time,
    /// `open`, `dismissed` or `declared`.
    pub state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<DecisionView>,
    /// The alert that calls people while it is open.
    pub alert: String,
    /// What could be declared; none once it is decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub draft: Option<DraftView>,
}

/// What a person decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DecisionView {
    pub at: trust::Time,
    pub by: String,
    pub reason: String,
    /// The rotation that was declared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotation: Option<String>,
}

/// A declaration that nobody has signed: who signs compares it first. It is made of the report whenever it is asked for, ends with
/// it, and permits nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DraftView {
    /// `emergency-rotation` of a ring, which members of the roster propose and approve; `declaration` of what else rotates.
    pub operation: &'static str,
    pub asset: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ring: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kid: Option<String>,
    pub compromised_since: trust::Time,
    pub reason: String,
    /// What the ceremony or the rotation names as its ticket.
    pub ticket: String,
    /// What to type; a member adds who they are and their key.
    pub command: String,
}

/// Reports, the latest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReportPage {
    pub reports: Vec<ReportView>,
    /// `after` of the next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// The name of a report, for its principal and their name for it.
fn report_id(principal: &str, report: &str) -> String {
    let named = format!("chancery/compromise-report.v1\n{principal}\n{report}");
    let digest = Sha256Digest::of(named.as_bytes());
    let (half, _) = digest.as_bytes().split_at(16);
    format!("cr_{}", hex::encode(half))
}

/// What its alert is about: the key, where one is named.
fn subject(row: &CompromiseRow) -> &str {
    row.kid.as_deref().unwrap_or(&row.asset)
}

fn draft(row: &CompromiseRow) -> DraftView {
    let ring = ring_of_asset(&row.asset);
    let since = row.compromised_since.unwrap_or(row.received_at);
    let command = match ring {
        Some(ring) => format!(
            "chancery emergency rotate --ring {ring} --compromised-since {since} --ticket {} --reason TEXT --proposer MEMBER --key KEY",
            row.id
        ),
        None => format!("chancery emergency declare {} --reason TEXT", row.id),
    };
    DraftView {
        operation: match ring {
            Some(_) => "emergency-rotation",
            None => "declaration",
        },
        asset: row.asset.clone(),
        ring: ring.map(str::to_owned),
        kid: row.kid.clone(),
        compromised_since: since,
        reason: row.reason.clone(),
        ticket: row.id.clone(),
        command,
    }
}

impl ReportView {
    fn of(row: CompromiseRow) -> Self {
        let alert = alert_id(AlertName::CompromiseReported, subject(&row));
        let draft = row.decision.is_none().then(|| draft(&row));
        let state = match &row.decision {
            None => "open",
            Some(decision) if decision.rotation.is_some() => "declared",
            Some(_) => "dismissed",
        };
        Self {
            id: row.id,
            report: row.report,
            by: row.principal,
            asset: row.asset,
            key_type: row.key_type,
            kid: row.kid,
            source: row.source,
            reason: row.reason,
            evidence: row.evidence,
            compromised_since: row.compromised_since,
            received_at: row.received_at,
            state,
            decision: row.decision.map(|decision| DecisionView {
                at: decision.at,
                by: decision.by,
                reason: decision.reason,
                rotation: decision.rotation,
            }),
            alert,
            draft,
        }
    }
}

impl CompromiseReport {
    fn check(&self, now: Time) -> Result<(), Error> {
        let plain = |what, text: &str, most| match text::is_plain(text, most) {
            true => Ok(()),
            false => Err(Error::ReportText { what, most }),
        };
        plain("report", &self.report, LONGEST_NAME)?;
        plain("source", &self.source, LONGEST_NAME)?;
        plain("reason", &self.reason, LONGEST_REASON)?;
        let evidence = self.evidence.as_deref().unwrap_or("-");
        if !(1..=LONGEST_EVIDENCE).contains(&evidence.chars().count()) || evidence.contains('\0') {
            let most = LONGEST_EVIDENCE;
            return Err(Error::ReportText {
                what: "evidence",
                most,
            });
        }
        match self.compromised_since {
            Some(since) if since > now + AHEAD => Err(Error::ReportSince),
            _ => Ok(()),
        }
    }

    /// Whether a row says the same.
    fn is(&self, row: &CompromiseRow) -> bool {
        let same_target = match &self.target {
            Target::Key(kid) => row.kid.as_deref() == Some(kid.as_str()),
            Target::Asset(asset) => row.kid.is_none() && row.asset == asset.as_str(),
        };
        same_target
            && row.source == self.source
            && row.reason == self.reason
            && row.evidence == self.evidence
            && row.compromised_since == self.compromised_since.map(to_row)
    }
}

/// What the leaf commits to: everything that was said.
fn digest(row: &CompromiseRow) -> Sha256Digest {
    let said = serde_json::json!({
        "asset": row.asset, "compromised_since": row.compromised_since, "evidence": row.evidence, "kid": row.kid,
        "principal": row.principal, "reason": row.reason, "report": row.report, "source": row.source,
    });
    Sha256Digest::of(said.to_string().as_bytes())
}

impl Engine {
    /// The asset of a key or of a name, with its key type. What there is not is an error.
    pub async fn compromise_target(&self, target: &Target) -> Result<(AssetName, Word), Error> {
        let asset = match target {
            Target::Asset(asset) => asset.clone(),
            Target::Key(kid) => {
                let unknown = || Error::UnknownKey(kid.as_str().to_owned());
                let rows = self.store().key(kid.as_str()).await?.all()?;
                let row = rows.into_iter().next().ok_or_else(unknown)?;
                format!("signing/{}", row.ring)
                    .parse()
                    .map_err(|_| unknown())?
            }
        };
        let row = self.store().asset(asset.as_str()).await?;
        let row = row.ok_or(Refusal::UnknownAsset)?;
        Ok((row.asset, row.key_type))
    }

    /// Keeps a report, once; whether it was there already. Beyond a number of a principal and day none is kept.
    pub async fn report_compromise(
        &self,
        report: &CompromiseReport,
        by: &str,
    ) -> Result<(ReportView, bool), Error> {
        let now = self.now().await?;
        report.check(now)?;
        let id = report_id(by, &report.report);
        if let Some(row) = self.store().compromise_report(&id).await? {
            return repeated(report, row);
        }
        // Before anything is looked up for it; decided again with the row.
        let filed = self.store().compromise_reports_of_day(by, to_row(now));
        if filed.await? >= MOST_A_DAY {
            return Err(Error::ReportQuota);
        }
        let (asset, key_type) = self.compromise_target(&report.target).await?;
        let row = CompromiseRow {
            id,
            principal: by.to_owned(),
            report: report.report.clone(),
            asset: asset.to_string(),
            key_type: key_type.to_string(),
            kid: match &report.target {
                Target::Key(kid) => Some(kid.as_str().to_owned()),
                Target::Asset(_) => None,
            },
            source: report.source.clone(),
            reason: report.reason.clone(),
            evidence: report.evidence.clone(),
            compromised_since: report.compromised_since.map(to_row),
            received_at: to_row(now),
            decision: None,
        };
        let kid = match &report.target {
            Target::Key(kid) => Some(kid),
            Target::Asset(_) => None,
        };
        let said = format!("{}: {}", row.source, row.reason);
        let event = Event {
            asset: Some(&row.asset),
            ring: ring_of_asset(&row.asset),
            kid,
            reason: Some(&said),
            reference: Some(&row.id),
            compromised_since: row.compromised_since,
            digest: Some(digest(&row)),
            ..Event::new(ActKind::Alert, "report-compromise", by, to_row(now))
        };
        let change = Change::ReportCompromise {
            row: Box::new(row.clone()),
            most: MOST_A_DAY,
        };
        match self.log().commit(&change, &event).await {
            Ok(_) => Ok((ReportView::of(row), false)),
            Err(store::Error::Already { .. }) => Err(Error::ReportQuota),
            // Another replica took the same.
            Err(error) if error.is_conflict() => {
                match self.store().compromise_report(&row.id).await? {
                    Some(row) => repeated(report, row),
                    None => Err(error.into()),
                }
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The reports behind a place, as a page before named it, the latest first.
    pub async fn compromise_reports(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<ReportPage, Error> {
        let limit = limit.clamp(1, REPORTS_MAX);
        let at = match after {
            None => (i64::MAX, ""),
            Some(after) => crate::alerts::place(after).ok_or(Error::AlertPlace)?,
        };
        let asked = i64::try_from(limit).unwrap_or(MAX_PAGE);
        let rows = self.store().compromise_reports_before(at, asked).await?;
        let last = rows.last().filter(|_| rows.len() == limit);
        let next = last.map(|row| format!("{}/{}", row.received_at.millis(), row.id));
        Ok(ReportPage {
            reports: rows.into_iter().map(ReportView::of).collect(),
            next,
        })
    }

    pub async fn compromise_report(&self, id: &str) -> Result<ReportView, Error> {
        self.report_row(id).await.map(ReportView::of)
    }

    /// Nothing was compromised: its alert ends.
    pub async fn dismiss_compromise(
        &self,
        id: &str,
        (by, reason): (&str, &str),
    ) -> Result<ReportView, Error> {
        check_reason(reason)?;
        let row = self.report_row(id).await?;
        self.decide(row, (by, reason), None).await
    }

    /// Declares the emergency for the asset of a report: an emergency rotation that is open already is that of the report too.
    pub async fn declare_compromise(
        &self,
        id: &str,
        (by, reason): (&str, &str),
    ) -> Result<ReportView, Error> {
        check_reason(reason)?;
        let row = self.report_row(id).await?;
        if row.decision.is_some() {
            return Err(decided(&row));
        }
        let unreadable = || Error::Inventory(crate::error::Error::UnknownAsset);
        let asset: AssetName = row.asset.parse().map_err(|_| unreadable())?;
        let (asset, key_type) = self.compromise_target(&Target::Asset(asset)).await?;
        let said = format!("{id}: {reason}");
        let declared = self.declare(&key_type, Some(&asset), (by, &said)).await;
        let rotation = match declared {
            Ok(rows) => rows.into_iter().next().map(|row| row.id),
            Err(Error::Refused(Refusal::AlreadyRotates { event, .. })) => Some(event),
            Err(error) => return Err(error),
        };
        let rotation = rotation.ok_or(Refusal::UnknownAsset)?;
        self.decide(row, (by, reason), Some(rotation)).await
    }

    /// What the rules are told: the oldest first, so that an alert says what was said first.
    pub(crate) async fn report_facts(&self) -> Result<Vec<ReportFacts>, Error> {
        let mut open: Vec<CompromiseRow> = Vec::new();
        while open.len() < MOST_OPEN {
            let after = open.last().map_or("", |row| row.id.as_str());
            let page = self
                .store()
                .open_compromise_reports(after, MAX_PAGE)
                .await?;
            let full = page.len() as i64 == MAX_PAGE;
            open.extend(page);
            if !full {
                break;
            }
        }
        open.sort_by_key(|row| row.received_at);
        let facts = open.into_iter().map(|row| ReportFacts {
            subject: subject(&row).to_owned(),
            report: row.id,
            by: row.principal,
            source: row.source,
            reason: row.reason,
            received_at: from_row(row.received_at),
        });
        Ok(facts.collect())
    }

    async fn report_row(&self, id: &str) -> Result<CompromiseRow, Error> {
        let found = self.store().compromise_report(id).await?;
        found.ok_or_else(|| Error::UnknownReport(id.chars().take(80).collect()))
    }

    async fn decide(
        &self,
        row: CompromiseRow,
        (by, reason): (&str, &str),
        rotation: Option<String>,
    ) -> Result<ReportView, Error> {
        if row.decision.is_some() {
            return Err(decided(&row));
        }
        let now = self.now().await?;
        let action = match rotation {
            Some(_) => "declare-compromise",
            None => "dismiss-compromise",
        };
        let said = match &rotation {
            Some(rotation) => format!("{rotation}: {reason}"),
            None => reason.to_owned(),
        };
        let event = Event {
            asset: Some(&row.asset),
            ring: ring_of_asset(&row.asset),
            reason: Some(&said),
            reference: Some(&row.id),
            ..Event::new(ActKind::Alert, action, by, to_row(now))
        };
        let decision = CompromiseDecision {
            at: to_row(now),
            by: by.to_owned(),
            reason: reason.to_owned(),
            rotation,
        };
        let change = Change::DecideCompromise {
            id: row.id.clone(),
            decision,
        };
        match self.log().commit(&change, &event).await {
            Err(error) if error.is_conflict() => Err(decided(&self.report_row(&row.id).await?)),
            Err(error) => Err(error.into()),
            Ok(_) => self.compromise_report(&row.id).await,
        }
    }
}

fn check_reason(reason: &str) -> Result<(), Error> {
    match text::is_plain(reason, LONGEST_REASON) {
        true => Ok(()),
        false => Err(Error::ReportText {
            what: "reason",
            most: LONGEST_REASON,
        }),
    }
}

fn decided(row: &CompromiseRow) -> Error {
    Error::ReportDecided {
        report: row.id.clone(),
        by: row.decision.as_ref().map(|one| one.by.clone()),
    }
}

fn repeated(report: &CompromiseReport, row: CompromiseRow) -> Result<(ReportView, bool), Error> {
    match report.is(&row) {
        true => Ok((ReportView::of(row), true)),
        false => Err(Error::ReportOther(row.id)),
    }
}
