//! What happened in a week and what comes in the next one, for people who are not called: usage, rotations, open alerts, plans. Of
//! each list so much as a mail can say.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use calendar::Time;
use calendar::alerts::Severity;
use calendar::weekly::{WEEK, Weekly};
use serde::Serialize;
use store::DigestRow;

use crate::alerts::{AlertFilter, AlertView};
use crate::engine::Engine;
use crate::engine::error::Error;
use crate::times::to_row;

/// Lines of one list.
const MOST: usize = 20;

/// What a row takes of them, in bytes.
const LONGEST: usize = 12_000;

/// A week.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WeekView {
    pub from: Time,
    pub until: Time,
    /// Of each ring that signed, those that changed most first.
    pub usage: Vec<UsageView>,
    /// How the rotations of the week ended.
    pub rotations: RotationsOfWeek,
    pub alerts: AlertsOfWeek,
    /// What begins in the seven days after now, what begins first first.
    pub next: Vec<NextView>,
    /// How many begin in them.
    pub next_count: usize,
    /// What somebody should do.
    pub recommendations: Vec<String>,
}

/// The signatures of a ring.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UsageView {
    pub ring: String,
    /// In the week.
    pub signatures: u64,
    /// In the week before it.
    pub before: u64,
}

/// How rotations ended, and how well the policies were kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RotationsOfWeek {
    pub ended: usize,
    pub late: usize,
    pub rolled_back: usize,
    pub cancelled: usize,
    /// Open ones that wait for a person, by their reason.
    pub waiting: BTreeMap<String, usize>,
    /// Assets whose rotation is overdue.
    pub overdue: usize,
    /// Of a thousand of the last 92 days so many in time, and without a ceremony.
    pub on_time_per_mille: Option<usize>,
    pub automatic_per_mille: Option<usize>,
}

/// What fires now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AlertsOfWeek {
    pub critical: usize,
    pub warning: usize,
    /// Of them somebody looks after so many.
    pub acknowledged: usize,
    /// The first ones, the gravest first.
    pub first: Vec<AlertView>,
}

/// A rotation that comes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NextView {
    pub at: Time,
    pub asset: String,
    pub version: u32,
    pub owner: String,
}

impl UsageView {
    fn changed(&self) -> u64 {
        self.signatures.abs_diff(self.before)
    }

    fn line(&self) -> String {
        let change = match self.before {
            0 => "none the week before".to_owned(),
            before => {
                let percent = u128::from(self.changed()) * 100 / u128::from(before);
                let sign = match self.signatures < before {
                    true => "-",
                    false => "+",
                };
                format!("{before} the week before, {sign}{percent} %")
            }
        };
        format!("  {}: {} ({change})", self.ring, self.signatures)
    }
}

fn per_mille(share: Option<usize>) -> String {
    match share {
        None => "-".to_owned(),
        Some(share) => format!("{}.{} %", share / 10, share % 10),
    }
}

impl WeekView {
    /// For people, a line each.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!(
            "Week       {} to {}",
            self.from.minute(),
            self.until.minute()
        )];
        lines.push(String::new());
        lines.push("Signatures".to_owned());
        match self.usage.is_empty() {
            true => lines.push("  none".to_owned()),
            false => lines.extend(self.usage.iter().map(UsageView::line)),
        }
        lines.push(String::new());
        lines.push("Rotations".to_owned());
        let of = &self.rotations;
        lines.push(format!(
            "  ended {}, late {}, rolled back {}, cancelled {}; overdue {}",
            of.ended, of.late, of.rolled_back, of.cancelled, of.overdue
        ));
        let (on_time, automatic) = (
            per_mille(of.on_time_per_mille),
            per_mille(of.automatic_per_mille),
        );
        lines.push(format!(
            "  of the last 92 days in time {on_time}, without a ceremony {automatic}"
        ));
        let waiting = of.waiting.iter();
        lines.extend(waiting.map(|(reason, count)| format!("  {count} wait: {reason}")));
        lines.push(String::new());
        let of = &self.alerts;
        lines.push(format!(
            "Alerts     {} critical, {} warning, {} of them acknowledged",
            of.critical, of.warning, of.acknowledged
        ));
        lines.extend(of.first.iter().map(|alert| {
            format!(
                "  {} {} {} since {}",
                alert.severity,
                alert.name,
                alert.subject,
                alert.since.minute()
            )
        }));
        lines.push(String::new());
        lines.push(format!("Next week  {} rotations", self.next_count));
        lines.extend(self.next.iter().map(|one| {
            format!(
                "  {} {} version {} ({})",
                one.at.minute(),
                one.asset,
                one.version,
                one.owner
            )
        }));
        if !self.recommendations.is_empty() {
            lines.push(String::new());
            lines.push("To do".to_owned());
            let todo = self.recommendations.iter();
            lines.extend(todo.map(|text| format!("  {text}")));
        }
        bounded(lines)
    }
}

/// As many of the lines as a row takes, and how many are left out.
fn bounded(mut lines: Vec<String>) -> Vec<String> {
    let mut length = 0;
    let fits = |line: &&String| {
        // As JSON has it.
        let escaped = line.chars().filter(|c| matches!(c, '"' | '\\')).count();
        length += line.len() + escaped + 3;
        length <= LONGEST
    };
    let kept = lines.iter().take_while(fits).count();
    let left = lines.len() - kept;
    lines.truncate(kept);
    if left > 0 {
        lines.push(format!(
            "{left} more lines: `chancery digest --output json`"
        ));
    }
    lines
}

impl Engine {
    /// The week until an instant, and what comes after now.
    pub async fn week(&self, until: Time) -> Result<WeekView, Error> {
        let from = until - WEEK;
        let now = self.now().await?;
        let used = self.store().used_by_ring(from.hour(), until.hour()).await?;
        let before = self
            .store()
            .used_by_ring((from - WEEK).hour(), from.hour())
            .await?;
        let rings = used.keys().chain(before.keys());
        let rings: std::collections::BTreeSet<&String> = rings.collect();
        let of = |all: &BTreeMap<String, u64>, ring: &String| all.get(ring).copied().unwrap_or(0);
        let mut usage: Vec<UsageView> = rings
            .into_iter()
            .map(|ring| UsageView {
                ring: ring.clone(),
                signatures: of(&used, ring),
                before: of(&before, ring),
            })
            .collect();
        usage.sort_by_key(|one| std::cmp::Reverse(one.changed()));
        usage.truncate(MOST);
        let adherence = self.adherence().await?;
        let ended = self.ended_since(from).await?;
        let ended = ended.iter().filter(|row| {
            let at = row.ended_at.unwrap_or(row.updated_at);
            at < to_row(until)
        });
        let mut rotations = RotationsOfWeek {
            ended: 0,
            late: 0,
            rolled_back: 0,
            cancelled: 0,
            waiting: adherence.waiting,
            overdue: adherence.overdue,
            on_time_per_mille: adherence.on_time_per_mille,
            automatic_per_mille: adherence.automatic_per_mille,
        };
        for row in ended {
            rotations.ended += 1;
            rotations.late += usize::from(row.promoted_at.is_some_and(|at| at > row.due));
            rotations.rolled_back += usize::from(row.state == "rolled-back");
            rotations.cancelled += usize::from(row.state == "cancelled");
        }
        let known = self.known().await?;
        let mut next: Vec<NextView> = known
            .plan(WEEK)
            .rotations
            .iter()
            .filter_map(|one| {
                let at = one.begins_at.filter(|at| *at <= now + WEEK)?;
                Some(NextView {
                    at,
                    asset: one.asset.to_string(),
                    version: one.version,
                    owner: one.owner.to_string(),
                })
            })
            .collect();
        next.sort_by(|a, b| (a.at, &a.asset).cmp(&(b.at, &b.asset)));
        let next_count = next.len();
        next.truncate(MOST);
        Ok(WeekView {
            from,
            until,
            usage,
            rotations,
            alerts: self.alerts_now().await?,
            next,
            next_count,
            recommendations: adherence.recommendations,
        })
    }

    async fn alerts_now(&self) -> Result<AlertsOfWeek, Error> {
        // As if no silence held: of one that is silenced it counts as well whether somebody looks after it.
        let no_silence = trust::Time::from_millis(i64::MAX);
        let (mut critical, mut warning, mut acknowledged) = (0, 0, 0);
        for counted in self.store().open_alerts_counted(no_silence).await? {
            if counted.state == "pending" {
                continue;
            }
            let count = usize::try_from(counted.count).unwrap_or(usize::MAX);
            let severity = counted.name.map(|name| name.severity(counted.level));
            match severity {
                Some(Severity::Critical) => critical += count,
                Some(Severity::Warning) | None => warning += count,
            }
            if counted.state == "acknowledged" {
                acknowledged += count;
            }
        }
        let mut firing: Vec<AlertView> = Vec::new();
        for state in ["firing", "acknowledged"] {
            let filter = AlertFilter {
                state: Some(state.to_owned()),
                ..AlertFilter::default()
            };
            firing.extend(self.alerts(&filter, None, MOST).await?.alerts);
        }
        firing.sort_by_key(|one| Reverse((one.severity, one.since)));
        firing.truncate(MOST);
        Ok(AlertsOfWeek {
            critical,
            warning,
            acknowledged,
            first: firing,
        })
    }

    /// Makes the digest of the latest slot, if nobody has; whether it is this one. Those of weeks in which nobody was there are not
    /// made up for.
    pub async fn make_digest(&self, weekly: Weekly) -> Result<bool, Error> {
        let now = self.now().await?;
        let slot = weekly.latest(now);
        if self.store().has_digest(to_row(slot)).await? {
            return Ok(false);
        }
        let week = self.week(slot).await?;
        let body = serde_json::json!(week.lines()).to_string();
        let digest = DigestRow {
            slot: to_row(slot),
            body,
        };
        Ok(self.store().keep_digest(&digest, to_row(now)).await?)
    }
}
