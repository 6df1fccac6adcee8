//! Looks at an installation again and again, and writes which alerts there are. One replica looks at a time; two that look at
//! once write each change once, because each names the version of the row that it is planned on.

use std::collections::BTreeMap;
use std::time::Duration;

use calendar::alerts::machine::{AGAIN, Alert, Phase};
use calendar::alerts::rules::{self, KeyStoreFacts};
use calendar::alerts::storm::{Observed, Write, look};
use calendar::alerts::{AlertName, Scope};
use calendar::{AssetFacts, Span, Time};
use serde::Serialize;
use store::{AlertRecord, AlertWrite, JobRow, MAX_PAGE, RotationPause};

use super::facts::KeyStoreView;
use super::{alert_id, with};
use crate::engine::Engine;
use crate::engine::error::Error;
use crate::times::{LONGEST_REST, to_row};

/// How often it is looked.
const EVERY: Span = Span::minutes(1);

/// Assets are looked at so seldom that it takes a hundredth of the time, and at least so often.
const SHARE: u64 = 100;
const AT_LEAST: Span = LONGEST_REST;

/// Longer than a look takes.
const LEASE: Duration = Duration::from_secs(150);
const LEASE_NAME: &str = "alerts";

/// Rows that are written together: no other writer waits longer than for these.
const TOGETHER: usize = 200;

/// How long an alert that is over is kept, and how many are forgotten at once.
const KEPT: Span = Span::days(30);
const FORGOTTEN: i64 = 500;

/// What a look came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Looked {
    /// Conditions that hold.
    pub conditions: usize,
    /// Whether it was looked at what was used.
    pub usage: bool,
    /// Rows that were written.
    pub written: usize,
    /// Rows that another replica, or a person, wrote meanwhile.
    pub overtaken: usize,
    /// Conditions that are not kept because there are too many of their rule.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub left_out: BTreeMap<AlertName, usize>,
}

/// When it was looked at what.
#[derive(Default)]
pub struct Watch {
    looked: Option<Time>,
    assets: Option<(Time, Span)>,
    /// The hour whose usage was looked at last.
    usage: Option<i64>,
}

/// What is looked at.
pub struct Sources<'a> {
    /// All assets in use, where they are looked at.
    pub assets: Option<&'a [AssetFacts]>,
    /// This replica's token and keys, where it has any.
    pub key_store: Option<KeyStoreFacts>,
    /// Whether it is looked at what was used.
    pub usage: bool,
    /// Whether a job is paused.
    pub is_paused: fn(&JobRow, &RotationPause) -> bool,
}

fn is_due(last: Option<Time>, every: Span, now: Time) -> bool {
    // A clock that went back does not stop it.
    last.is_none_or(|last| last > now || now.since(last) >= every)
}

impl Watch {
    /// One look, if it is time and no other replica looks.
    pub async fn round(
        &mut self,
        engine: &Engine,
        key_store: Option<&KeyStoreView>,
        is_paused: fn(&JobRow, &RotationPause) -> bool,
    ) -> Result<Option<Looked>, Error> {
        let now = engine.now().await?;
        if !is_due(self.looked, EVERY, now) {
            return Ok(None);
        }
        let store = engine.store();
        if !store.lease(LEASE_NAME, engine.owner(), LEASE).await? {
            return Ok(None);
        }
        let every = |took: Span| {
            let seldom = Span::seconds(took.as_seconds().saturating_mul(SHARE));
            seldom.max(EVERY).min(AT_LEAST)
        };
        let (last, took) = self.assets.unzip();
        let with_assets = is_due(last, took.map_or(EVERY, every), now);
        let assets = match with_assets {
            true => Some(engine.assets_in_use().await?),
            false => None,
        };
        let sources = Sources {
            assets: assets.as_deref(),
            key_store: key_store.map(|view| view()),
            usage: self.usage != Some(now.hour()),
            is_paused,
        };
        let looked = engine.look_at_alerts(&sources).await?;
        let after = engine.now().await?;
        if with_assets {
            self.assets = Some((now, after.since(now)));
        }
        if looked.usage {
            self.usage = Some(now.hour());
        }
        self.looked = Some(now);
        while store.forget_alerts(to_row(now - KEPT), FORGOTTEN).await? > 0 {}
        Ok(Some(looked))
    }
}

impl Engine {
    /// Looks at what there is, and writes what becomes of the alerts. What cannot be read decides nothing.
    pub async fn look_at_alerts(&self, sources: &Sources<'_>) -> Result<Looked, Error> {
        let now = self.now().await?;
        let policies = self.policies(now).await?;
        let mut observed = Observed::default();
        let mut add = |scope, conditions: Vec<_>| {
            observed.scopes.insert(scope);
            observed.conditions.extend(conditions);
        };
        let rotations = self.rotation_facts(now).await?;
        add(
            Scope::Rotations,
            rules::of_rotations(&rotations, &policies, now),
        );
        let jobs = self.job_facts(sources.is_paused).await?;
        add(Scope::Jobs, rules::of_jobs(&jobs, now));
        let (reports, all_reports) = self.report_facts().await?;
        add(Scope::Reports, rules::of_reports(&reports));
        if let Some(assets) = sources.assets {
            add(Scope::Assets, rules::of_assets(assets, &policies, now));
        }
        if let Some(key_store) = &sources.key_store {
            add(Scope::KeyStore, rules::of_key_store(key_store));
        }
        let mut with_usage = false;
        if sources.usage
            && let Some(unusual) = self.usage_conditions(now).await?
        {
            add(Scope::Usage, unusual);
            with_usage = true;
        }
        if !all_reports {
            observed.partial.insert(Scope::Reports);
        }
        let looked = self.write_look(&observed, now).await?;
        Ok(Looked {
            usage: with_usage,
            ..looked
        })
    }

    /// What becomes of the alerts by what was observed.
    pub(crate) async fn write_look(&self, observed: &Observed, now: Time) -> Result<Looked, Error> {
        let mut records: BTreeMap<String, AlertRecord> = BTreeMap::new();
        for record in self.known_alerts(now).await? {
            records.insert(record.id.clone(), record);
        }
        let alerts = records.values().map(|record| record.alert.clone());
        let found = look(alerts.collect(), observed, self.ladder(), now);
        let writes = found.writes.into_iter().filter_map(|write| match write {
            Write::Put(alert, news) => {
                let id = alert_id(alert.name, &alert.subject);
                let was = records.get(&id);
                // Its beginning is told already, as news of the rotation.
                let begins = alert.is_firing() && !was.is_some_and(|was| was.alert.is_firing());
                let news = news.filter(|_| !(begins && alert.name.is_told_as_news()));
                let record = match was {
                    Some(was) => with(was, alert, news, now),
                    None => AlertRecord {
                        id,
                        alert,
                        news,
                        news_number: u32::from(news.is_some()),
                        changed_at: to_row(now),
                        version: 0,
                        levels_told: 0,
                    },
                };
                Some(AlertWrite::Put(record))
            }
            Write::Drop { name, subject } => {
                let was = records.get(&alert_id(name, &subject))?;
                Some(match (was.news_number, was.alert.phase) {
                    // It fired before, and is what it was then: over, with its silence, and not new when it fires again.
                    (1.., Phase::Pending { since }) => {
                        let phase = Phase::Resolved { since, at: now };
                        let alert = Alert {
                            phase,
                            ..was.alert.clone()
                        };
                        AlertWrite::Put(with(was, alert, None, now))
                    }
                    _ => AlertWrite::Drop {
                        id: was.id.clone(),
                        version: was.version,
                    },
                })
            }
        });
        let writes: Vec<AlertWrite> = writes.collect();
        let mut written = 0;
        for some in writes.chunks(TOGETHER) {
            written += self.store().write_alerts(some).await?;
        }
        for (name, left) in &found.left_out {
            tracing::warn!(
                alert = name.as_str(),
                left,
                "more conditions of one rule hold than alerts of it are kept"
            );
        }
        Ok(Looked {
            conditions: observed.conditions.len(),
            usage: false,
            overtaken: writes.len().saturating_sub(written),
            written,
            left_out: found.left_out,
        })
    }

    /// Those that are open, and those that ended less than a day ago.
    pub(super) async fn known_alerts(&self, now: Time) -> Result<Vec<AlertRecord>, Error> {
        let store = self.store();
        let mut all: Vec<AlertRecord> = Vec::new();
        let mut after = String::new();
        loop {
            let page = store.open_alerts(&after, MAX_PAGE).await?;
            let full = page.len() as i64 == MAX_PAGE;
            after = page.last().map_or(after, |last| last.id.clone());
            all.extend(page);
            if !full {
                break;
            }
        }
        let mut place = ((now - AGAIN).millis(), String::new());
        loop {
            let page = store.resolved_alerts((place.0, &place.1), MAX_PAGE).await?;
            let full = page.len() as i64 == MAX_PAGE;
            if let Some(last) = page.last() {
                let at = match last.alert.phase {
                    Phase::Resolved { at, .. } => at.millis(),
                    _ => now.millis(),
                };
                place = (at, last.id.clone());
            }
            all.extend(page);
            if !full {
                return Ok(all);
            }
        }
    }
}
