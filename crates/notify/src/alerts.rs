//! What there is to tell of alerts, by what their rows say: rows in, messages and conditions out. The rows have the state; here
//! is only said what of it is told, and what of many is told together.
//!
//! What is told of an alert is told once: each news of a row has a number. Of alerts that are told together a message comes
//! when they begin, at most one an hour while more do, unless there are ten times as many or graver ones, and one when the last
//! is over; what a person does to one of them is told of that one.
//!
//! News of rotations (`rotations`) are another thing: that a rotation failed, is late or is an emergency is told as news of that
//! rotation when it happens. The alert of it tells what becomes of it then, and a silence of the alert holds for both.

use std::collections::{BTreeMap, HashSet};

use calendar::alerts::machine::{News, Phase};
use calendar::alerts::{AlertName, Severity};
use store::{AlertCrowd, AlertRecord, CeremonyState, Error, Store};
use trust::Time;

use crate::alert_facts::AlertFacts;
use crate::crowd::NAMED;
use crate::event::EventKind;
use crate::facts::{Facts, shown};
use crate::near::Near;

/// What an alert is called among operations.
const ALERT: &str = "alert";

/// Alerts that are told each for itself, of all rules together; more than there can be.
const MOST_ALONE: i64 = 1_000;

/// Silences that are looked at.
const MOST_SILENCED: i64 = 10_000;

const HOUR_MILLIS: i64 = 3_600_000;

/// A message that is to be written.
#[derive(Debug, PartialEq, Eq)]
pub struct Told {
    pub kind: EventKind,
    pub dedup: String,
    pub facts: Facts,
    /// How many levels of escalation heard of it, and hear of this.
    pub heard: u8,
}

const fn kind(news: News) -> EventKind {
    match news {
        News::Firing | News::Raised => EventKind::AlertFiring,
        News::Acknowledged => EventKind::AlertAcknowledged,
        News::Silenced => EventKind::AlertSilenced,
        News::Resolved => EventKind::AlertResolved,
    }
}

fn instant(time: calendar::Time) -> Time {
    Time::from_millis(time.millis())
}

/// Since when it is pending, or when it began to fire.
pub fn since(record: &AlertRecord) -> calendar::Time {
    match record.alert.phase {
        Phase::Pending { since } | Phase::Firing { since, .. } | Phase::Resolved { since, .. } => {
            since
        }
    }
}

pub fn facts_of(record: &AlertRecord, news: News) -> Facts {
    let alert = &record.alert;
    let by = match news {
        News::Acknowledged => alert.acknowledged.as_ref().map(|one| one.by.as_str()),
        News::Silenced => alert.silence.as_ref().map(|one| one.by.as_str()),
        News::Firing | News::Raised | News::Resolved => None,
    };
    let at = match news {
        News::Firing => instant(since(record)),
        _ => record.changed_at,
    };
    let until = alert.silence.as_ref().map(|silence| instant(silence.until));
    Facts {
        until: until.filter(|_| news == News::Silenced),
        operation: ALERT.to_owned(),
        state: news.as_str().to_owned(),
        subjects: vec![shown(&alert.subject)],
        reason: shown(&alert.detail),
        by: by.map(shown).unwrap_or_default(),
        alert: Some(AlertFacts {
            id: Some(record.id.clone()),
            name: alert.name.to_string(),
            severity: alert.severity().to_string(),
            runbook: alert.name.runbook(),
            next: shown(&alert.name.next_command(&alert.subject)),
            level: None,
        }),
        ..Facts::of_test(at, "")
    }
}

/// What the first of many are about.
pub fn named(records: &[&AlertRecord]) -> Vec<String> {
    let first = records.iter().take(NAMED);
    first.map(|record| shown(&record.alert.subject)).collect()
}

/// Of many, the first of which are named.
pub fn together(
    name: AlertName,
    severity: Severity,
    (named, count): (Vec<String>, usize),
    (news, at): (News, Time),
) -> Facts {
    Facts {
        operation: ALERT.to_owned(),
        state: news.as_str().to_owned(),
        more_subjects: count.saturating_sub(named.len()),
        subjects: named,
        alert: Some(AlertFacts {
            id: None,
            name: name.to_string(),
            severity: severity.to_string(),
            runbook: name.runbook(),
            next: format!("chancery alert list --name {name}"),
            level: None,
        }),
        ..Facts::of_test(at, "")
    }
}

/// The messages of what is not told yet. `untold` may be a page of it; `ended` says how many of a rule ended among many.
pub fn told(
    untold: &[AlertRecord],
    crowds: &[AlertCrowd],
    ended: &BTreeMap<AlertName, u64>,
    now: Time,
) -> Vec<Told> {
    let mut told = Vec::new();
    let mut grouped = BTreeMap::<(AlertName, &str), Vec<&AlertRecord>>::new();
    for record in untold {
        let Some(news) = record.news else {
            continue;
        };
        let by_a_person = matches!(news, News::Acknowledged | News::Silenced);
        if record.alert.together && !by_a_person {
            // A graver one of many is one of many.
            let word = kind(news).name();
            grouped
                .entry((record.alert.name, word))
                .or_default()
                .push(record);
            continue;
        }
        told.push(Told {
            kind: kind(news),
            dedup: format!(
                "alert/{}/{}/{}",
                record.id,
                since(record).millis(),
                record.news_number
            ),
            facts: facts_of(record, news),
            heard: record.levels_told,
        });
    }
    for ((name, word), records) in grouped {
        let crowd = crowds.iter().find(|crowd| crowd.name == name);
        let named = named(&records);
        let heard = records.iter().map(|record| record.levels_told).max();
        let heard = heard.unwrap_or(0);
        let hour = now.millis().div_euclid(HOUR_MILLIS);
        match (word == EventKind::AlertFiring.name(), crowd) {
            (true, Some(crowd)) => {
                let count = usize::try_from(crowd.count).unwrap_or(usize::MAX);
                let power = count.checked_ilog10().unwrap_or(0);
                let severity = name.severity(crowd.level);
                let facts = together(name, severity, (named, count), (News::Firing, crowd.since));
                told.push(Told {
                    kind: EventKind::AlertFiring,
                    dedup: format!("alerts/{name}/{severity}/{hour}/{power}"),
                    facts,
                    heard,
                });
            }
            // The last of them.
            (false, None) => {
                let last = records.iter().map(|record| record.changed_at).max();
                let severity = records.iter().map(|record| record.alert.severity()).max();
                let at = last.unwrap_or(now);
                let severity = severity.unwrap_or(Severity::Warning);
                let count = ended.get(&name).copied().unwrap_or(0);
                let count = usize::try_from(count).unwrap_or(usize::MAX);
                let count = count.max(records.len());
                told.push(Told {
                    kind: EventKind::AlertResolved,
                    dedup: format!("alerts/{name}/resolved/{}", at.millis()),
                    facts: together(name, severity, (named, count), (News::Resolved, at)),
                    heard,
                });
            }
            // They are over already, or others go on.
            (true, None) | (false, Some(_)) => {}
        }
    }
    told
}

/// What holds now, for receivers that are told of it again and again: each that is told for itself, and one for those that are
/// told together.
pub async fn conditions(store: &Store, now: Time) -> Result<Vec<Near>, Error> {
    let at = calendar::Time::from_millis(now.millis());
    let alone = store.alerts_alone(MOST_ALONE).await?.into_iter();
    let told = alone
        .filter(|record| !record.alert.name.is_told_as_news() && !record.alert.is_silenced(at));
    let mut found: Vec<Near> = told.map(|record| near(&record)).collect();
    let crowds = store.alerts_together(now).await?.into_iter();
    let crowds = crowds.filter(|crowd| !crowd.name.is_told_as_news());
    found.extend(crowds.map(|crowd| {
        let severity = crowd.name.severity(crowd.level);
        let count = usize::try_from(crowd.count).unwrap_or(usize::MAX);
        // How many they are changes, and labels do not.
        let facts = Facts {
            more_subjects: count,
            ..together(
                crowd.name,
                severity,
                (Vec::new(), 0),
                (News::Firing, crowd.since),
            )
        };
        let key = format!("alerts/{}/{severity}", crowd.name);
        condition(key, String::new(), crowd.since, facts)
    }));
    Ok(found)
}

fn near(record: &AlertRecord) -> Near {
    let facts = facts_of(record, News::Firing);
    // A graver one is another condition for whoever knows it by its labels.
    let key = format!("alert/{}/{}", record.id, record.alert.level);
    condition(key, record.id.clone(), facts.at, facts)
}

fn condition(key: String, subject: String, since: Time, facts: Facts) -> Near {
    Near {
        kind: EventKind::AlertFiring,
        key,
        subject,
        ceremony: None,
        proposer: None,
        // No approvals are asked for: those are the ceremony's.
        state: CeremonyState::Closed,
        since,
        facts,
    }
}

/// Which news of which rotations are not told again and again at this instant, because the alert of them is silenced.
pub async fn silenced_rotations(
    store: &Store,
    now: Time,
) -> Result<HashSet<(EventKind, String)>, Error> {
    let silenced = store.silenced_alerts(now, MOST_SILENCED).await?.into_iter();
    let of_rotations = silenced.filter_map(|record| {
        let kind = match record.alert.name {
            AlertName::RotationFailed => EventKind::RotationFailed,
            AlertName::RotationDelayed => EventKind::RotationLate,
            AlertName::EmergencyStarted => EventKind::EmergencyDeclared,
            _ => return None,
        };
        Some((kind, record.alert.subject))
    });
    Ok(of_rotations.collect())
}
