//! What is not as it should be, with what to do about it; a function of the facts.

use serde::Serialize;

use super::facts::{Alert, Asset, Facts, Key, Policy};

/// How grave a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// It is allowed, and shown because it is an exception.
    Note,
    /// Somebody should look at it before it becomes an error.
    Warning,
    /// A policy, or what the service promises, is not kept.
    Error,
}

/// One thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub severity: Severity,
    pub rule: &'static str,
    /// The asset, key, rotation, key type or job that it is about.
    pub subject: String,
    pub found: String,
    /// What to do.
    pub remedy: String,
    /// The page that says more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runbook: Option<&'static str>,
}

/// Milliseconds of a day.
const DAY: i64 = 86_400_000;

/// How long before its end a deviation is warned of.
const DEVIATION_ENDS: i64 = 30 * DAY;

/// Of a thousand rotations so many have to be on time, and without a ceremony (docs/ROTATION.md).
const ON_TIME: usize = 950;
const AUTOMATIC: usize = 800;

/// Of fewer rotations one alone is more than a twentieth.
const ENOUGH: usize = 20;

/// How old what a replica read of the log may be, in seconds.
const OLD: u64 = 2 * 60 * 60;

/// Security strength of what rings sign with, in bits (NIST SP 800-57 part 1 revision 5, table 2).
const STRENGTHS: [(&str, u32); 6] = [
    ("P-256", 128),
    ("P-384", 192),
    ("Ed25519", 128),
    ("RSA-2048", 112),
    ("RSA-3072", 128),
    ("RSA-4096", 128),
];

/// The least that may protect anything, and what has to from 2031 on (the same, table 4).
const LEAST: u32 = 112;
const FROM_2031: u32 = 128;

/// Alerts, and the rule here that tells of the same: where it found the same subject, the alert is not told again.
const TOLD_HERE: [(&str, &str); 3] = [
    ("rotation-overdue", "overdue"),
    ("expiry", "expired"),
    ("retired-key-used", "used-after-end"),
];

impl Severity {
    pub fn word(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "ERROR",
        }
    }
}

/// What rules find, in no order.
struct Found(Vec<Finding>);

impl Found {
    fn add(
        &mut self,
        (severity, rule): (Severity, &'static str),
        subject: &str,
        found: impl Into<String>,
        (remedy, runbook): (impl Into<String>, Option<&'static str>),
    ) {
        self.0.push(Finding {
            severity,
            rule,
            subject: subject.to_owned(),
            found: found.into(),
            remedy: remedy.into(),
            runbook,
        });
    }
}

/// All of it.
pub fn findings(facts: &Facts) -> Vec<Finding> {
    let mut found = Found(Vec::new());
    for asset in &facts.assets {
        of_asset(asset, facts, &mut found);
    }
    for (key_type, policy) in &facts.policies {
        of_policy(key_type, policy, facts, &mut found);
    }
    for key in &facts.keys {
        of_key(key, &mut found);
    }
    for used in &facts.used_after {
        found.add(
            (Severity::Error, "used-after-end"),
            &used.kid,
            format!(
                "a key of {} that ended at {} made {} signatures since, the last in the hour of {}",
                used.ring, used.ended_at, used.signatures, used.last_hour
            ),
            (
                format!("chancery key usage {}", used.kid),
                Some("deploy/runbooks/retired-key-used.md"),
            ),
        );
    }
    if facts.not_asked > 0 {
        found.add(
            (Severity::Warning, "used-after-end"),
            "keys",
            format!(
                "{} keys that ended in the last 90 days were not looked at",
                facts.not_asked
            ),
            ("chancery alert list --name retired-key-used", None),
        );
    }
    of_rows(facts, &mut found);
    of_quarter(facts, &mut found);
    of_scheduler(facts, &mut found);
    for alert in &facts.alerts {
        of_alert(alert, &mut found);
    }
    found.0
}

fn days(millis: i64) -> i64 {
    millis / DAY
}

fn of_asset(asset: &Asset, facts: &Facts, found: &mut Found) {
    if asset.state == "retired" {
        return;
    }
    let (name, now) = (asset.asset.as_str(), facts.now.millis());
    let Some(policy) = facts.policies.get(&asset.key_type) else {
        let what = format!("its key type {} has no policy", asset.key_type);
        let remedy = ("chancery policy set FILE --reason TEXT", None);
        return found.add((Severity::Error, "no-policy"), name, what, remedy);
    };
    if asset.overdue {
        let age = asset.rotated_at.map_or(0, |at| days(now - at.millis()));
        let due = asset.due_at.map(|at| at.to_string()).unwrap_or_default();
        let what = format!(
            "its version is in use for {age} d, the interval is {}; due at {due}",
            policy.document.interval
        );
        let remedy = match asset.kind.as_str() {
            "signing" => format!(
                "chancery rotation schedule {} --asset {name}",
                asset.key_type
            ),
            _ => format!(
                "rotate it where it is kept, then: chancery asset report {name} --rotated-at INSTANT"
            ),
        };
        let runbook = Some("deploy/runbooks/rotation-overdue.md");
        found.add((Severity::Error, "overdue"), name, what, (remedy, runbook));
    }
    if asset.state == "active" && asset.due_at.is_none() && asset.expires_at.is_none() {
        let remedy = format!(
            "give its policy the trigger `time`, or report when it expires: chancery asset report {name} --rotated-at INSTANT --expires-at INSTANT"
        );
        let what = "neither a date nor an expiry makes it rotate";
        found.add((Severity::Warning, "no-date"), name, what, (remedy, None));
    }
    if let Some(at) = asset.expires_at.filter(|at| at.millis() <= now) {
        let what = format!("it expired at {at}");
        let remedy = format!("chancery asset show {name}");
        let runbook = Some("deploy/runbooks/expiry.md");
        found.add((Severity::Error, "expired"), name, what, (remedy, runbook));
    }
    if asset.owner.is_none() {
        let remedy = format!("chancery asset describe {name} --owner TEAM");
        let what = "nobody answers for it";
        found.add((Severity::Warning, "no-owner"), name, what, (remedy, None));
    }
    if asset.state == "revoked" {
        let what = "its newest version is revoked and none is in use";
        let remedy = (format!("chancery asset show {name}"), None);
        found.add((Severity::Error, "revoked"), name, what, remedy);
    }
    let ring = name.strip_prefix("signing/");
    let by_order = policy.document.approval == "standing-order" && asset.state == "active";
    if let Some(ring) = ring.filter(|ring| by_order && !facts.ordered.contains(*ring)) {
        let what = "no standing order can be used: its next rotation waits for a ceremony";
        let remedy = format!("chancery ceremony new order --ring {ring}");
        found.add((Severity::Warning, "no-order"), name, what, (remedy, None));
    }
}

fn of_policy(key_type: &str, policy: &Policy, facts: &Facts, found: &mut Found) {
    // What nothing is planned by is nobody's exception.
    let used = facts.assets.iter().any(|asset| asset.key_type == key_type);
    for why in &policy.lapsed {
        let severity = if used {
            Severity::Error
        } else {
            Severity::Warning
        };
        let remedy =
            format!("chancery policy show {key_type}, then chancery policy set FILE --reason TEXT");
        found.add(
            (severity, "policy-lapsed"),
            key_type,
            why.clone(),
            (remedy, None),
        );
    }
    for exception in policy.exceptions.iter().filter(|_| used) {
        let rule = format!("{} {}", exception.framework, exception.paragraph);
        let remedy = format!("chancery policy show {key_type}");
        match &exception.deviation {
            None => {
                let what = format!("outside {rule}, which is reported and not refused");
                found.add(
                    (Severity::Note, "exception"),
                    key_type,
                    what,
                    (remedy, None),
                );
            }
            Some(deviation) => {
                let left = deviation.until.millis() - facts.now.millis();
                let severity = match left {
                    ..=DEVIATION_ENDS => Severity::Warning,
                    _ => Severity::Note,
                };
                let what = format!(
                    "outside {rule} until {}: {} (decided by {})",
                    deviation.until, deviation.reason, deviation.decided_by
                );
                found.add((severity, "deviation"), key_type, what, (remedy, None));
            }
        }
    }
}

fn of_key(key: &Key, found: &mut Found) {
    // What ended signs nothing new.
    if !["active", "prepared"].contains(&key.state.as_str()) {
        return;
    }
    let strength = STRENGTHS.iter().find(|(spec, _)| *spec == key.key_spec);
    let what = |text: &str| {
        format!(
            "{} with {} in {}: {text}",
            key.algorithm, key.key_spec, key.ring
        )
    };
    let remedy = || {
        (
            format!(
                "a new ring with a stronger key: chancery ring create {}-2 --algorithm ES256",
                key.ring
            ),
            None,
        )
    };
    let rule = "algorithm";
    match strength {
        None => found.add(
            (Severity::Warning, rule),
            &key.kid,
            what("its strength is not known here"),
            remedy(),
        ),
        Some((_, bits)) if *bits < LEAST => {
            let text = what(&format!("{bits} bits, below {LEAST}"));
            found.add((Severity::Error, rule), &key.kid, text, remedy());
        }
        Some((_, bits)) if *bits < FROM_2031 => {
            let text = what(&format!(
                "{bits} bits, disallowed from 2031 on (NIST SP 800-57 part 1, table 4)"
            ));
            found.add((Severity::Warning, rule), &key.kid, text, remedy());
        }
        Some(_) => {}
    }
}

/// What the service itself does not believe.
fn of_rows(facts: &Facts, found: &mut Found) {
    let runbook = Some("deploy/runbooks/key-store-corrupt.md");
    for key in &facts.refused {
        let remedy = ("chancery log check", runbook);
        found.add(
            (Severity::Error, "key-refused"),
            &key.kid,
            key.why.clone(),
            remedy,
        );
    }
    for row in &facts.unreadable {
        let remedy = ("chancery log check", runbook);
        let what = "its row cannot be read";
        found.add((Severity::Error, "row-unreadable"), row, what, remedy);
    }
}

/// Adherence and the audit trail of the last 92 days.
fn of_quarter(facts: &Facts, found: &mut Found) {
    let adherence = &facts.adherence;
    let report = "chancery rotation report";
    if let Some(share) = adherence.on_time_per_mille.filter(|share| *share < 1_000) {
        let severity = if share < ON_TIME && adherence.ended >= ENOUGH {
            Severity::Error
        } else {
            Severity::Warning
        };
        let what = format!("{share} of 1000 rotations of the last 92 days were on time");
        let runbook = Some("deploy/runbooks/rotation-delayed.md");
        found.add(
            (severity, "adherence"),
            "rotations",
            what,
            (report, runbook),
        );
    }
    if let Some(share) = adherence
        .automatic_per_mille
        .filter(|share| *share < AUTOMATIC)
    {
        let what = format!(
            "{share} of 1000 rotations of the last 92 days needed no ceremony, {AUTOMATIC} are wanted"
        );
        let runbook = Some("deploy/runbooks/rotations-not-automatic.md");
        let remedy = ("chancery ceremony new order --ring RING", runbook);
        found.add((Severity::Warning, "automatic"), "rotations", what, remedy);
    }
    let runbook = Some("deploy/runbooks/rotations-not-audited.md");
    match &adherence.audited {
        None => found.add(
            (Severity::Error, "audited"),
            "rotations",
            "the replica that answers has not read the log of the last 92 days",
            ("ask again in some minutes, or another replica", runbook),
        ),
        Some(audited) => {
            if audited.age_seconds > OLD {
                let what = format!(
                    "the replica that answers read the log {} min ago: it cannot read it any more",
                    audited.age_seconds / 60
                );
                let remedy = ("chancery doctor, and the replica's own log", runbook);
                found.add((Severity::Error, "audited"), "rotations", what, remedy);
            }
            for rotation in &audited.not_told {
                let what = "no leaf of the log tells of its end";
                let remedy = ("chancery log check", runbook);
                found.add((Severity::Error, "audited"), rotation, what, remedy);
            }
            let more = audited
                .not_told_in_all
                .saturating_sub(audited.not_told.len());
            if more > 0 {
                let what = format!(
                    "of {more} more of {} rotations no leaf tells",
                    audited.rotations
                );
                let remedy = ("chancery log check", runbook);
                found.add((Severity::Error, "audited"), "rotations", what, remedy);
            }
        }
    }
    if let Some(count) = adherence.waiting.get("person") {
        let what = format!("{count} open rotations wait for a person");
        let runbook = Some("deploy/runbooks/rotation-failed.md");
        let remedy = ("chancery rotation events", runbook);
        found.add((Severity::Warning, "waits"), "rotations", what, remedy);
    }
}

fn of_scheduler(facts: &Facts, found: &mut Found) {
    if let Some(since) = &facts.paused {
        let what = format!("paused {since}: nothing that is due is rotated");
        let remedy = ("chancery job resume", Some("deploy/runbooks/job-late.md"));
        found.add((Severity::Warning, "paused"), "scheduler", what, remedy);
    }
    for job in &facts.failed_jobs {
        let remedy = ("chancery job list", Some("deploy/runbooks/job-failed.md"));
        let what = "its last run failed";
        found.add((Severity::Warning, "job-failed"), job, what, remedy);
    }
}

fn of_alert(alert: &Alert, found: &mut Found) {
    let told = |one: &Finding| {
        one.subject == alert.subject && TOLD_HERE.contains(&(alert.name.as_str(), one.rule))
    };
    if alert.state == "pending" || found.0.iter().any(told) {
        return;
    }
    let severity = match alert.severity.as_str() {
        "critical" => Severity::Error,
        _ => Severity::Warning,
    };
    let what = format!("{} ({}): {}", alert.name, alert.state, alert.detail);
    found.add(
        (severity, "alert"),
        &alert.subject,
        what,
        (alert.next.clone(), None),
    );
}

#[cfg(test)]
mod tests;
