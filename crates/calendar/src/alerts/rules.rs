//! From facts to conditions: the rules with their thresholds (00-mission row 17). Each sentence stays the same while its level
//! does.

use super::AlertName;
use super::machine::Condition;
use crate::cron::Cron;
use crate::facts::AssetFacts;
use crate::policy::{Policies, Policy};
use crate::time::{Span, Time};
use crate::words::{EventState, Reason, Trigger, VersionState};

/// The age of a version, of its interval, at which it is a warning and at which it is critical: above, in per cent.
pub const OLD_PERCENT: [u64; 2] = [125, 150];

/// Versions of an asset that are made and not used: one is the next, a second is forgotten.
const UNUSED: usize = 2;

/// What a rotation may take beside twice the time for which its version is published.
const ROUND: Span = Span::hours(6);

/// How long after its slot a job may end.
const JOB_TAKES: Span = Span::hours(1);

/// The longest that a sentence repeats of what somebody else said, in characters.
const LONGEST: usize = 300;

/// An open rotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RotationFacts {
    /// `kr_…`.
    pub id: String,
    /// The asset.
    pub asset: String,
    /// Its key type.
    pub key_type: String,
    /// How far it is.
    pub state: EventState,
    /// Whether somebody declared it an emergency, and when.
    pub declared_at: Option<Time>,
    /// The hour that it was given.
    pub slot: Time,
    /// When the new version has to be the primary.
    pub due: Time,
    /// Whether it is that.
    pub promoted: bool,
    /// What it waits for.
    pub waits: Option<Reason>,
    /// What was said of it last.
    pub detail: Option<String>,
}

/// A job of the scheduler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobFacts {
    /// Its name.
    pub name: String,
    /// Its slots; none where the pattern cannot be read.
    pub cron: Option<Cron>,
    /// Whether somebody paused it, by itself or with the scheduler.
    pub paused: bool,
    /// The last slot that it had a run for, or when it was first there.
    pub last_slot: Time,
    /// When its last run that succeeded ended.
    pub succeeded_at: Option<Time>,
    /// Why its last run that ended failed, if it did.
    pub failed: Option<String>,
}

/// What one replica knows of its token and of the keys as it read them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyStoreFacts {
    /// Rings whose last signature failed, with the reason.
    pub unavailable: Vec<(String, String)>,
    /// Keys that are refused, and rows that cannot be read, with the reason.
    pub refused: Vec<(String, String)>,
}

/// A report of a compromise that nobody decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportFacts {
    /// `cr_…`.
    pub report: String,
    /// The key or the asset.
    pub about: String,
    /// Who says it.
    pub by: String,
    /// Where it was found out.
    pub source: String,
    /// Since when somebody else may have it, as far as that is said.
    pub compromised_since: Option<Time>,
    /// What is said.
    pub reason: String,
    /// When it was received.
    pub received_at: Time,
}

fn condition(name: AlertName, subject: &str, level: u8, detail: String) -> Condition {
    Condition {
        name,
        subject: subject.to_owned(),
        level,
        detail,
        by: None,
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(LONGEST).collect()
}

/// Of all assets in use: what ends soon, what is too old, what is made and not used.
pub fn of_assets(assets: &[AssetFacts], policies: &Policies, now: Time) -> Vec<Condition> {
    let mut found = Vec::new();
    for asset in assets {
        let Some(policy) = policies.get(&asset.key_type) else {
            continue;
        };
        let name = asset.name.as_str();
        if let Ok((version, since)) = asset.primary() {
            if let Some(end) = version.expires_at {
                let lifetime = end.since(version.created_at);
                found.extend(expiry(name, policy.expiry_alerts(end, lifetime), end, now));
            }
            found.extend(overdue(name, policy, since, now));
        }
        let is_prepared = |state: &VersionState| matches!(state, VersionState::Prepared { .. });
        let versions = asset.versions.iter();
        let unused = versions.filter(|one| is_prepared(&one.state)).count();
        if unused >= UNUSED {
            let detail = "several versions are made, and none of them is used".to_owned();
            found.push(condition(AlertName::VersionUnused, name, 1, detail));
        }
    }
    found
}

fn expiry(asset: &str, marks: [Time; 3], end: Time, now: Time) -> Option<Condition> {
    let passed = marks.into_iter().filter(|mark| *mark <= now).count();
    let level = u8::try_from(passed).ok().filter(|level| *level > 0)?;
    let words = ["a warning", "critical", "the last warning"];
    let what = words.get(passed - 1)?;
    let detail = match end <= now {
        true => format!("its version in use ended at {end}: it has expired"),
        false => format!("its version in use ends at {end}: {what}"),
    };
    Some(condition(AlertName::Expiry, asset, level, detail))
}

fn overdue(asset: &str, policy: &Policy, since: Time, now: Time) -> Option<Condition> {
    // What is replaced when it expires, and by no other calendar, has no age.
    if !policy.has(Trigger::Time) {
        return None;
    }
    let interval = policy.interval();
    let age = now.since(since).as_seconds().saturating_mul(100);
    let is_over = |percent: u64| age > interval.as_seconds().saturating_mul(percent);
    let over = OLD_PERCENT.iter().rev().find(|over| is_over(**over))?;
    let level = if *over == OLD_PERCENT[0] { 1 } else { 2 };
    let detail =
        format!("its version in use is of {since}, over {over} % of its interval of {interval}");
    Some(condition(AlertName::RotationOverdue, asset, level, detail))
}

/// Whether people are asked for, or somebody wants it so: that is no slowness.
pub fn is_waited_for(reason: Reason) -> bool {
    use Reason as R;
    matches!(
        reason,
        R::Approval
            | R::OrderUsedUp
            | R::OrderEnded
            | R::OrderPaused
            | R::OrderInterval
            | R::Paused
            | R::Held
            | R::Capacity
            | R::Window
            | R::Person
            | R::AlreadyRotates
    )
}

/// Of rotations that are open: what failed, what is late, what takes longer than it should, and emergencies.
pub fn of_rotations(rotations: &[RotationFacts], policies: &Policies, now: Time) -> Vec<Condition> {
    let mut found = Vec::new();
    for one in rotations {
        let begun = |name, detail| condition(name, &one.id, 1, detail);
        if let Some(at) = one.declared_at {
            let detail = format!("{}: an emergency since {at}", one.asset);
            found.push(begun(AlertName::EmergencyStarted, detail));
        }
        if one.state == EventState::Failed {
            let why = shortened(one.detail.as_deref().unwrap_or("a step failed"));
            let detail = format!("{}: {why}", one.asset);
            found.push(begun(AlertName::RotationFailed, detail));
        } else if !one.promoted && now > one.due {
            let detail = format!(
                "{}: its new version had to be in use by {}",
                one.asset, one.due
            );
            found.push(begun(AlertName::RotationDelayed, detail));
        } else if !one.promoted && !one.waits.is_some_and(is_waited_for) {
            let key_type = one.key_type.parse().ok();
            let policy = key_type.and_then(|key_type| policies.get(&key_type));
            let published = policy.map_or(Span::ZERO, Policy::publish_safety);
            let takes = published.plus(published).plus(ROUND);
            if now.since(one.slot) > takes {
                let detail = format!(
                    "{}: under way since {}, for longer than {takes}",
                    one.asset, one.slot
                );
                found.push(begun(AlertName::RotationSlow, detail));
            }
        }
    }
    found
}

/// Of the scheduler's jobs: what failed the last time, and what has not succeeded since a slot that is past.
pub fn of_jobs(jobs: &[JobFacts], now: Time) -> Vec<Condition> {
    let mut found = Vec::new();
    for job in jobs {
        if let Some(why) = &job.failed {
            let detail = format!("its last run failed: {}", shortened(why));
            found.push(condition(AlertName::JobFailed, &job.name, 1, detail));
        }
        if job.paused {
            continue;
        }
        let since = job.succeeded_at.unwrap_or(job.last_slot);
        let Some(cron) = &job.cron else {
            let detail = "its pattern cannot be read".to_owned();
            found.push(condition(AlertName::JobLate, &job.name, 1, detail));
            continue;
        };
        if let Some(slot) = cron.next(since).filter(|slot| now > *slot + JOB_TAKES) {
            let detail = format!("nothing of it has succeeded for the slot of {slot} or since");
            found.push(condition(AlertName::JobLate, &job.name, 1, detail));
        }
    }
    found
}

/// Of a token and of the keys as they were read.
pub fn of_key_store(facts: &KeyStoreFacts) -> Vec<Condition> {
    let of = |name, (subject, why): &(String, String)| {
        condition(name, &shortened(subject), 1, shortened(why))
    };
    let unavailable = facts.unavailable.iter();
    let unavailable = unavailable.map(|one| of(AlertName::KeyStoreUnavailable, one));
    let corrupt = facts.refused.iter();
    unavailable
        .chain(corrupt.map(|one| of(AlertName::KeyStoreCorrupt, one)))
        .collect()
}

/// Of reports that nobody decided, each its own: whoever looks after one, or silences it, knows nothing of another about the same
/// key.
pub fn of_reports(reports: &[ReportFacts]) -> Vec<Condition> {
    let of = |one: &ReportFacts| {
        let detail = format!(
            "{}: {} reported it at {} ({}), {}: {}",
            one.about,
            one.by,
            one.received_at,
            one.source,
            match one.compromised_since {
                Some(since) => format!("compromised since {since} at the earliest"),
                None => "not said since when it is compromised".to_owned(),
            },
            one.reason
        );
        let name = AlertName::CompromiseReported;
        Condition {
            by: Some(one.by.clone()),
            ..condition(name, &one.report, 1, shortened(&detail))
        }
    };
    reports.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Time {
        text.parse().unwrap()
    }

    #[test]
    fn what_has_expired_is_told_as_expired() {
        let end = at("2026-12-01T00:00:00.000Z");
        let marks = [
            end - Span::days(30),
            end - Span::days(7),
            end - Span::days(1),
        ];
        let detail = |now| expiry("api/k", marks, end, now).unwrap().detail;
        let day = Span::days(1);
        assert!(detail(end - day).ends_with(": the last warning"));
        assert!(detail(end).ends_with(": it has expired"));
        assert!(expiry("api/k", marks, end, end - Span::days(31)).is_none());
    }

    #[test]
    fn a_report_says_when_it_came_and_since_when_the_key_may_be_known() {
        let mut report = ReportFacts {
            report: "cr_1".to_owned(),
            about: "external/k".to_owned(),
            by: "siem".to_owned(),
            source: "scanner".to_owned(),
            compromised_since: Some(at("2026-11-01T00:00:00.000Z")),
            reason: "public".to_owned(),
            received_at: at("2026-12-01T00:00:00.000Z"),
        };
        let detail =
            |report: &ReportFacts| of_reports(std::slice::from_ref(report))[0].detail.clone();
        let said = detail(&report);
        assert!(
            said.contains("siem reported it at 2026-12-01T00:00:00.000Z"),
            "{said}"
        );
        assert!(
            said.contains("compromised since 2026-11-01T00:00:00.000Z"),
            "{said}"
        );
        report.compromised_since = None;
        assert!(detail(&report).contains("not said since when"));
    }

    fn job(succeeded_at: Option<&str>) -> JobFacts {
        JobFacts {
            name: "key_rotation_health_check".to_owned(),
            cron: Some("0 */6 * * *".parse().unwrap()),
            paused: false,
            last_slot: at("2026-11-30T00:00:00.000Z"),
            succeeded_at: succeeded_at.map(at),
            failed: None,
        }
    }

    #[test]
    fn a_job_is_late_an_hour_after_the_slot_behind_its_last_success() {
        let late = |job: &JobFacts, now: &str| {
            let found = of_jobs(std::slice::from_ref(job), at(now));
            found.iter().any(|one| one.name == AlertName::JobLate)
        };
        let done = job(Some("2026-11-30T00:00:04.000Z"));
        assert!(!late(&done, "2026-11-30T07:00:00.000Z"));
        assert!(late(&done, "2026-11-30T07:00:01.000Z"));
        assert!(late(&job(None), "2026-11-30T07:00:01.000Z"), "never");
        let paused = JobFacts {
            paused: true,
            ..done
        };
        assert!(!late(&paused, "2026-12-30T07:00:01.000Z"));
        let broken = JobFacts {
            cron: None,
            ..job(None)
        };
        assert!(late(&broken, "2026-11-30T00:00:01.000Z"));
    }

    #[test]
    fn of_a_rotation_the_gravest_is_told_and_its_emergency() {
        let due = at("2026-11-30T12:00:00.000Z");
        let open = RotationFacts {
            id: "kr_1".to_owned(),
            asset: "signing/records".to_owned(),
            key_type: "unknown".to_owned(),
            state: EventState::Running,
            declared_at: None,
            slot: due - Span::hours(8),
            due,
            promoted: false,
            waits: None,
            detail: None,
        };
        let names = |one: &RotationFacts, now| {
            let found = of_rotations(std::slice::from_ref(one), &Policies::default(), now);
            found.into_iter().map(|one| one.name).collect::<Vec<_>>()
        };
        assert_eq!(names(&open, due - Span::hours(3)), []);
        assert_eq!(
            names(&open, due - Span::hours(1)),
            [AlertName::RotationSlow]
        );
        let late = due + Span::seconds(1);
        assert_eq!(names(&open, late), [AlertName::RotationDelayed]);
        let waits = RotationFacts {
            waits: Some(Reason::Approval),
            ..open.clone()
        };
        assert_eq!(names(&waits, due), []);
        let failed = RotationFacts {
            state: EventState::Failed,
            declared_at: Some(due),
            ..open.clone()
        };
        assert_eq!(
            names(&failed, late),
            [AlertName::EmergencyStarted, AlertName::RotationFailed]
        );
        let promoted = RotationFacts {
            promoted: true,
            ..open
        };
        assert_eq!(names(&promoted, late + Span::days(90)), []);
    }
}
