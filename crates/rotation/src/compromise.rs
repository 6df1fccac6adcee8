//! Reports of compromise: a named principal says that somebody else may have a key, which calls people and drafts what they could
//! declare; a person decides. Each report and each decision has its leaf.

mod draft;
mod record;

use std::collections::BTreeMap;

use calendar::Time;
use calendar::alerts::rules::ReportFacts;
use calendar::name::{AssetName, Word};
use log::Event;
use serde::Serialize;
use store::{Change, CompromiseDecision, CompromiseRow, KeyRow, MAX_PAGE, MostReports, OpenReport};
use trust::leaf::ActKind;
use trust::{Kid, Sha256Digest, hex, text};

pub use self::draft::DraftView;

use self::draft::{Answer, draft, signed_at};

use crate::alerts::alert_id;
use crate::drivers::ring_of_asset;
use crate::engine::Engine;
use crate::engine::error::Error;
use crate::times::{from_row, to_row};
use calendar::admission::Refusal;
use calendar::alerts::AlertName;

/// Reports of one principal and day, and of one principal that nobody has decided.
pub const MOST_A_DAY: i64 = 100;
pub const MOST_UNDECIDED: i64 = 500;

/// Reports of a page at most.
pub const REPORTS_MAX: usize = 1_000;

/// Longest name of a report and of its source, longest reason and longest evidence, in characters.
pub const LONGEST_NAME: usize = 100;
pub const LONGEST_REASON: usize = 500;
pub const LONGEST_EVIDENCE: usize = 2_000;

/// Open reports that are looked at.
const MOST_OPEN: usize = 10_000;

/// The latest keys of a ring that is reported: among them is the one that signed then, unless it is long ago.
const MOST_KEYS: i64 = 100;

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
    /// What could be declared; none once it is decided, or where the key is not there any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub draft: Option<DraftView>,
}

/// What a person decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DecisionView {
    pub at: trust::Time,
    pub by: String,
    pub reason: String,
    /// The rotation that was declared; none of a key that was revoked already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotation: Option<String>,
}

/// Reports, the latest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReportPage {
    pub reports: Vec<ReportView>,
    /// `after` of the next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// What a person decides.
enum Verdict {
    Dismissed,
    /// With the rotation, where one was declared.
    Declared(Option<String>),
}

/// The name of a report, for its principal and their name for it.
fn report_id(principal: &str, report: &str) -> String {
    let named = format!("chancery/compromise-report.v1\n{principal}\n{report}");
    let digest = Sha256Digest::of(named.as_bytes());
    let (half, _) = digest.as_bytes().split_at(16);
    format!("cr_{}", hex::encode(half))
}

impl ReportView {
    fn of(row: CompromiseRow, key: Option<&KeyRow>) -> Self {
        let alert = alert_id(AlertName::CompromiseReported, &row.id);
        let is_open = row.decision.is_none();
        let draft = is_open.then(|| draft(&row, key)).flatten();
        let state = match &row.decision {
            None => "open",
            Some(decision) if decision.is_declared => "declared",
            Some(_) => "dismissed",
        };
        Self {
            id: row.id,
            report: row.report,
            by: row.principal,
            asset: row.asset.to_string(),
            key_type: row.key_type,
            kid: row.kid.map(|kid| kid.to_string()),
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
            Target::Key(kid) => row.kid.as_ref() == Some(kid),
            Target::Asset(asset) => row.kid.is_none() && row.asset == *asset,
        };
        same_target
            && row.source == self.source
            && row.reason == self.reason
            && row.evidence == self.evidence
            && row.compromised_since == self.compromised_since.map(to_row)
    }
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
            return self.repeated(report, row).await;
        }
        // Before anything is looked up for it; decided again with the row.
        let filed = self.store().compromise_reports_of_day(by, to_row(now));
        let open = self.store().open_compromise_reports_of(by);
        if filed.await? >= MOST_A_DAY || open.await? >= MOST_UNDECIDED {
            return Err(Error::ReportQuota);
        }
        let (asset, key_type) = self.compromise_target(&report.target).await?;
        let row = CompromiseRow {
            id,
            principal: by.to_owned(),
            report: report.report.clone(),
            asset,
            key_type: key_type.to_string(),
            kid: match &report.target {
                Target::Key(kid) => Some(kid.clone()),
                Target::Asset(_) => None,
            },
            source: report.source.clone(),
            reason: report.reason.clone(),
            evidence: report.evidence.clone(),
            compromised_since: report.compromised_since.map(to_row),
            received_at: to_row(now),
            decision: None,
        };
        let said = format!("{}: {}", row.source, row.reason);
        let event = Event {
            asset: Some(row.asset.as_str()),
            ring: ring_of_asset(row.asset.as_str()),
            kid: row.kid.as_ref(),
            reason: Some(&said),
            reference: Some(&row.id),
            compromised_since: row.compromised_since,
            digest: Some(record::report(&row).map_err(crate::error::Error::from)?),
            ..Event::new(ActKind::Alert, "report-compromise", by, to_row(now))
        };
        let change = Change::ReportCompromise {
            row: Box::new(row.clone()),
            most: MostReports {
                a_day: MOST_A_DAY,
                open: MOST_UNDECIDED,
            },
        };
        match self.log().commit(&change, &event).await {
            Ok(_) => Ok((self.viewed(row).await?, false)),
            Err(store::Error::Already { .. }) => Err(Error::ReportQuota),
            // Another replica took the same.
            Err(error) if error.is_conflict() => {
                match self.store().compromise_report(&row.id).await? {
                    Some(row) => self.repeated(report, row).await,
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
        let keys = self.reported_keys(&rows).await?;
        let views = rows.into_iter().map(|row| {
            let key = keys.get(&row.id).cloned();
            ReportView::of(row, key.as_ref())
        });
        let reports = views.collect();
        Ok(ReportPage { reports, next })
    }

    pub async fn compromise_report(&self, id: &str) -> Result<ReportView, Error> {
        let row = self.report_row(id).await?;
        self.viewed(row).await
    }

    async fn viewed(&self, row: CompromiseRow) -> Result<ReportView, Error> {
        let key = self.reported_key(&row).await?;
        Ok(ReportView::of(row, key.as_ref()))
    }

    async fn reported_key(&self, row: &CompromiseRow) -> Result<Option<KeyRow>, Error> {
        let keys = self.reported_keys(std::slice::from_ref(row)).await?;
        Ok(keys.into_values().next())
    }

    /// By report, of open ones: the key that it names, or the one that signed for the ring that it names when it was received.
    /// One that cannot be read has no draft, and hides no other.
    async fn reported_keys(
        &self,
        rows: &[CompromiseRow],
    ) -> Result<BTreeMap<String, KeyRow>, Error> {
        let open: Vec<_> = rows.iter().filter(|row| row.decision.is_none()).collect();
        let kids = open
            .iter()
            .filter_map(|row| row.kid.as_ref().map(Kid::to_string));
        let kids: Vec<String> = kids.collect();
        let mut keys = Vec::new();
        if !kids.is_empty() {
            keys = self.store().keys_of(&kids).await?.read;
        }
        let mut of_rings: BTreeMap<&str, Vec<KeyRow>> = BTreeMap::new();
        let rings = open.iter().filter(|row| row.kid.is_none());
        for ring in rings.filter_map(|row| ring_of_asset(row.asset.as_str())) {
            if !of_rings.contains_key(ring) {
                let newest = self.store().newest_keys(ring, MOST_KEYS).await?;
                of_rings.insert(ring, newest.read);
            }
        }
        let of = |row: &CompromiseRow| match &row.kid {
            Some(kid) => keys.iter().find(|key| key.kid == *kid).cloned(),
            None => {
                let of_ring = of_rings.get(ring_of_asset(row.asset.as_str())?)?;
                let signed = of_ring.iter().filter(|key| signed_at(key, row.received_at));
                signed.max_by_key(|key| key.number).cloned()
            }
        };
        let found = open
            .iter()
            .filter_map(|row| Some((row.id.clone(), of(row)?)));
        Ok(found.collect())
    }

    async fn repeated(
        &self,
        report: &CompromiseReport,
        row: CompromiseRow,
    ) -> Result<(ReportView, bool), Error> {
        match report.is(&row) {
            true => Ok((self.viewed(row).await?, true)),
            false => Err(Error::ReportOther(row.id)),
        }
    }

    /// Nothing was compromised: its alert ends.
    pub async fn dismiss_compromise(
        &self,
        id: &str,
        (by, reason): (&str, &str),
    ) -> Result<ReportView, Error> {
        check_reason(reason)?;
        let row = self.report_row(id).await?;
        self.decide(row, (by, reason), Verdict::Dismissed).await
    }

    /// Declares the emergency for the asset of a report: an emergency rotation that is open already is that of the report too, and
    /// so is one of its ring that members have carried out since. A key that is not the primary is revoked by a ceremony before
    /// that: no rotation would touch it.
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
        let key = self.reported_key(&row).await?;
        match Answer::of(&row, key.as_ref()) {
            Some(Answer::Rotation | Answer::Declaration) => {}
            Some(Answer::Revoked) => {
                let revoked = Verdict::Declared(None);
                return self.decide(row, (by, reason), revoked).await;
            }
            Some(Answer::Revocation) => {
                let state = key.map_or("unknown", |key| key.status.as_str());
                let draft = self.viewed(row).await?.draft;
                let command = draft.map(|draft| draft.command).unwrap_or_default();
                return Err(Error::ReportKey { state, command });
            }
            None => {
                let kid = row.kid.as_ref().map(Kid::to_string);
                return Err(Error::UnknownKey(kid.unwrap_or_default()));
            }
        }
        let target = Target::Asset(row.asset.clone());
        let (asset, key_type) = self.compromise_target(&target).await?;
        let said = format!("{id}: {reason}");
        let declared = self.declare(&key_type, Some(&asset), (by, &said)).await;
        let rotation = match declared {
            Ok(rows) => rows.into_iter().next().map(|row| row.id),
            Err(Error::Refused(Refusal::AlreadyRotates { event, .. })) => Some(event),
            Err(error) => return Err(error),
        };
        let rotation = rotation.ok_or(Refusal::UnknownAsset)?;
        let declared = Verdict::Declared(Some(rotation));
        self.decide(row, (by, reason), declared).await
    }

    /// What the rules are told, and whether that is all there is. The latest come first: where there are too many, those have their
    /// alerts already that are left out.
    pub(crate) async fn report_facts(&self) -> Result<(Vec<ReportFacts>, bool), Error> {
        let mut open: Vec<OpenReport> = Vec::new();
        let mut unreadable = 0;
        let whole = loop {
            let last = open.last();
            let at = last.map_or((i64::MAX, ""), |row| {
                (row.received_at.millis(), row.id.as_str())
            });
            let page = self.store().open_compromise_reports(at, MAX_PAGE).await?;
            let (read, left) = (page.read.len(), page.unreadable.len());
            unreadable += left;
            open.extend(page.read);
            if ((read + left) as i64) < MAX_PAGE {
                break true;
            }
            if read == 0 || open.len() >= MOST_OPEN {
                break false;
            }
        };
        if unreadable > 0 || !whole {
            let read = open.len();
            tracing::warn!(
                read,
                unreadable,
                "not all open reports of compromise are looked at"
            );
        }
        let facts = open.into_iter().map(|row| ReportFacts {
            about: match &row.kid {
                Some(kid) => kid.to_string(),
                None => row.asset.to_string(),
            },
            report: row.id,
            by: row.principal,
            source: row.source,
            reason: row.reason,
            compromised_since: row.compromised_since.map(from_row),
            received_at: from_row(row.received_at),
        });
        Ok((facts.collect(), whole && unreadable == 0))
    }

    async fn report_row(&self, id: &str) -> Result<CompromiseRow, Error> {
        let found = self.store().compromise_report(id).await?;
        found.ok_or_else(|| Error::UnknownReport(id.chars().take(80).collect()))
    }

    async fn decide(
        &self,
        row: CompromiseRow,
        (by, reason): (&str, &str),
        verdict: Verdict,
    ) -> Result<ReportView, Error> {
        if row.decision.is_some() {
            return Err(decided(&row));
        }
        let now = self.now().await?;
        let (action, is_declared, rotation) = match verdict {
            Verdict::Declared(rotation) => ("declare-compromise", true, rotation),
            Verdict::Dismissed => ("dismiss-compromise", false, None),
        };
        let decision = CompromiseDecision {
            at: to_row(now),
            by: by.to_owned(),
            reason: reason.to_owned(),
            is_declared,
            rotation,
        };
        let said = match &decision.rotation {
            Some(rotation) => format!("{rotation}: {reason}"),
            None => reason.to_owned(),
        };
        let digest = record::decision(&row, &decision).map_err(crate::error::Error::from)?;
        let event = Event {
            asset: Some(row.asset.as_str()),
            digest: Some(digest),
            kid: row.kid.as_ref(),
            ring: ring_of_asset(row.asset.as_str()),
            reason: Some(&said),
            reference: Some(&row.id),
            ..Event::new(ActKind::Alert, action, by, to_row(now))
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
