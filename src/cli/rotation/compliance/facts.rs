//! What is read for the check: policies, assets, keys, their use after their end, alerts, and how the last quarter went.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::{Instant, sleep};
use trust::{Time, base64url};

use super::super::exercise::Api;
use verify::output::{Failure, Output};

/// Of a page.
const PAGE: usize = 1_000;

/// Pages of a listing at most.
const MOST_PAGES: usize = 10_000;

/// Keys that ended lately, of which it is asked whether they were used since.
const MOST_ENDED: usize = 2_000;

/// How long it is waited until the replica has read the log, and between two looks.
const READS: Duration = Duration::from_secs(60);
const AGAIN: Duration = Duration::from_secs(2);

/// For how long hours are kept, in milliseconds, and how many that are.
const HOURS_KEPT: i64 = 90 * 86_400_000;
const HOURS: u32 = 2_160;

/// An hour in milliseconds.
const HOUR: i64 = 3_600_000;

/// What was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    pub assets: usize,
    pub policies: usize,
    pub keys: usize,
    pub rotations: usize,
}

/// Everything, at one time.
#[derive(Debug, Clone)]
pub struct Facts {
    pub now: Time,
    pub environment: String,
    pub paused: Option<String>,
    pub failed_jobs: Vec<String>,
    /// As the service gave it.
    pub report: Value,
    pub adherence: Adherence,
    pub policies: BTreeMap<String, Policy>,
    pub assets: Vec<Asset>,
    pub unreadable: Vec<String>,
    pub keys: Vec<Key>,
    pub refused: Vec<Refused>,
    pub used_after: Vec<UsedAfter>,
    /// Keys that ended lately and were not asked for.
    pub not_asked: usize,
    pub alerts: Vec<Alert>,
    /// Rings with a standing order that can be used.
    pub ordered: BTreeSet<String>,
}

/// How the last 92 days went.
#[derive(Debug, Clone, Deserialize)]
pub struct Adherence {
    pub ended: usize,
    pub on_time_per_mille: Option<usize>,
    pub automatic_per_mille: Option<usize>,
    pub audited: Option<Audited>,
    #[serde(default)]
    pub waiting: BTreeMap<String, usize>,
}

/// What the log tells of these rotations.
#[derive(Debug, Clone, Deserialize)]
pub struct Audited {
    pub age_seconds: u64,
    pub rotations: usize,
    pub not_told: Vec<String>,
    pub not_told_in_all: usize,
}

/// A policy in force.
#[derive(Debug, Clone, Deserialize)]
pub struct Policy {
    pub document: Document,
    #[serde(default)]
    pub exceptions: Vec<Exception>,
    #[serde(default)]
    pub lapsed: Vec<String>,
}

/// What is looked at of its document.
#[derive(Debug, Clone, Deserialize)]
pub struct Document {
    pub key_type: String,
    pub interval: String,
    pub approval: String,
}

/// A rule that it is outside of.
#[derive(Debug, Clone, Deserialize)]
pub struct Exception {
    pub framework: String,
    pub paragraph: String,
    pub deviation: Option<Deviation>,
}

/// By what that is allowed.
#[derive(Debug, Clone, Deserialize)]
pub struct Deviation {
    pub reason: String,
    pub decided_by: String,
    pub until: Time,
}

/// An asset of the inventory.
#[derive(Debug, Clone, Deserialize)]
pub struct Asset {
    pub asset: String,
    pub kind: String,
    pub key_type: String,
    pub owner: Option<String>,
    pub state: String,
    pub rotated_at: Option<Time>,
    pub expires_at: Option<Time>,
    pub due_at: Option<Time>,
    pub overdue: bool,
}

/// A key where it stands.
#[derive(Debug, Clone, Deserialize)]
pub struct Key {
    pub kid: String,
    pub ring: String,
    pub algorithm: String,
    pub key_spec: String,
    pub state: String,
    pub ended_at: Option<Time>,
}

/// A key that the service does not believe.
#[derive(Debug, Clone, Deserialize)]
pub struct Refused {
    pub kid: String,
    pub why: String,
}

/// A key that signed after its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsedAfter {
    pub kid: String,
    pub ring: String,
    pub ended_at: Time,
    pub signatures: u64,
    pub last_hour: Time,
}

/// An alert that is open.
#[derive(Debug, Clone, Deserialize)]
pub struct Alert {
    pub name: String,
    pub subject: String,
    pub severity: String,
    pub state: String,
    pub detail: String,
    pub next: String,
}

impl Facts {
    pub fn counts(&self) -> Counts {
        Counts {
            assets: self.assets.len(),
            policies: self.policies.len(),
            keys: self.keys.len(),
            rotations: self.adherence.ended,
        }
    }
}

/// Whoever may not read says which role may.
fn right(failure: Failure) -> Failure {
    let told = failure.error.to_string();
    if !told.starts_with("401 ") && !told.starts_with("403 ") {
        return failure;
    }
    let said = "the check needs a credential with the role operator, administrator or on-call";
    Failure::new(failure.code, failure.error.context(said))
}

pub async fn read(api: &Api, now: Time, output: &Output) -> Result<Facts, Failure> {
    #[derive(Deserialize)]
    struct Policies {
        policies: Vec<Policy>,
    }
    let status = api.status().await.map_err(right)?;
    let (report, adherence) = quarter(api, output).await?;
    let policies: Policies = api.get("/v1/policies").await.map_err(right)?;
    output.remark("Reading the inventory.");
    let (assets, unreadable) = assets(api).await.map_err(right)?;
    output.remark("Reading keys and their use.");
    let (keys, refused) = keys(api).await.map_err(right)?;
    let used_after = used_after(api, &keys, now).await;
    let (used_after, not_asked) = used_after.map_err(right)?;
    let orders = api.orders(None).await.map_err(right)?;
    let failed = status.jobs.iter().filter(|job| {
        let last = job.last.as_ref();
        last.is_some_and(|run| run.state == "failed")
    });
    Ok(Facts {
        now,
        environment: status.environment.clone(),
        paused: status.paused.then(|| {
            let by = status.by.clone().unwrap_or_default();
            let since = status.since.map(|at| at.to_string()).unwrap_or_default();
            format!("since {since} by {by}")
        }),
        failed_jobs: failed.map(|job| job.name.clone()).collect(),
        report,
        adherence,
        policies: policies
            .policies
            .into_iter()
            .map(|policy| (policy.document.key_type.clone(), policy))
            .collect(),
        assets,
        unreadable,
        keys,
        refused,
        used_after,
        not_asked,
        alerts: alerts(api).await.map_err(right)?,
        ordered: orders.into_iter().map(|order| order.ring).collect(),
    })
}

/// How the last quarter went; a replica that was started just now has not read the log yet, and is asked again.
async fn quarter(api: &Api, output: &Output) -> Result<(Value, Adherence), Failure> {
    let until = Instant::now() + READS;
    loop {
        let report: Value = api.get("/v1/key-rotation/report").await.map_err(right)?;
        let adherence = serde_json::from_value::<Adherence>(report.clone());
        let adherence = adherence.map_err(Failure::unavailable)?;
        if adherence.audited.is_some() || Instant::now() >= until {
            return Ok((report, adherence));
        }
        output.remark("The replica has not read the log yet: it is asked again.");
        sleep(AGAIN).await;
    }
}

/// A listing, page by page: what each page has, and what follows it.
async fn pages<P: DeserializeOwned>(
    api: &Api,
    path: &str,
    mut take: impl FnMut(P) -> Option<String>,
) -> Result<(), Failure> {
    let mut after = String::new();
    for _ in 0..MOST_PAGES {
        let page: P = api.get(&format!("{path}?limit={PAGE}{after}")).await?;
        // What comes from there goes into a path.
        match take(page) {
            Some(next) if base64url::decode(&next).is_some() => after = format!("&after={next}"),
            Some(_) => {
                let text = anyhow::anyhow!("{path}: what follows a page is not in base64url");
                return Err(Failure::unavailable(text));
            }
            None => return Ok(()),
        }
    }
    Err(Failure::refused(format!(
        "{path} has more than {MOST_PAGES} pages"
    )))
}

async fn assets(api: &Api) -> Result<(Vec<Asset>, Vec<String>), Failure> {
    #[derive(Deserialize)]
    struct Page {
        assets: Vec<Asset>,
        next: Option<String>,
        unreadable: Vec<String>,
    }
    let (mut all, mut unreadable) = (Vec::new(), Vec::new());
    pages(api, "/v1/inventory", |page: Page| {
        all.extend(page.assets);
        unreadable.extend(page.unreadable);
        page.next
    })
    .await?;
    Ok((all, unreadable))
}

async fn keys(api: &Api) -> Result<(Vec<Key>, Vec<Refused>), Failure> {
    #[derive(Deserialize)]
    struct Page {
        keys: Vec<Key>,
        next: Option<String>,
        refused: Vec<Refused>,
    }
    let (mut all, mut refused) = (Vec::new(), Vec::new());
    pages(api, "/v1/keys", |page: Page| {
        all.extend(page.keys);
        refused.extend(page.refused);
        page.next
    })
    .await?;
    Ok((all, refused))
}

async fn alerts(api: &Api) -> Result<Vec<Alert>, Failure> {
    #[derive(Deserialize)]
    struct Page {
        alerts: Vec<Alert>,
        next: Option<String>,
    }
    let mut all = Vec::new();
    pages(api, "/v1/alerts", |page: Page| {
        all.extend(page.alerts);
        page.next
    })
    .await?;
    Ok(all)
}

/// Keys that signed in an hour that began after their end. How many that ended lately were not asked for.
async fn used_after(
    api: &Api,
    keys: &[Key],
    now: Time,
) -> Result<(Vec<UsedAfter>, usize), Failure> {
    #[derive(Deserialize)]
    struct Hour {
        from: Time,
        signatures: u64,
    }
    #[derive(Deserialize)]
    struct Usage {
        hours: Vec<Hour>,
    }
    let lately = now.millis() - HOURS_KEPT;
    let mut ended: Vec<(&Key, Time)> = keys
        .iter()
        .filter_map(|key| Some((key, key.ended_at?)))
        .filter(|(_, at)| at.millis() >= lately)
        .collect();
    ended.sort_by_key(|(_, at)| std::cmp::Reverse(*at));
    let not_asked = ended.len().saturating_sub(MOST_ENDED);
    let mut found = Vec::new();
    for (key, ended_at) in ended.into_iter().take(MOST_ENDED) {
        let path = format!("/v1/keys/{}/usage?hours={HOURS}", key.kid);
        let usage: Usage = api.get(&path).await?;
        let begins = ended_at.millis().div_euclid(HOUR) * HOUR + HOUR;
        let after = usage.hours.iter();
        let after = after.filter(|hour| hour.from.millis() >= begins && hour.signatures > 0);
        let last_hour = after.clone().map(|hour| hour.from).max();
        if let Some(last_hour) = last_hour {
            found.push(UsedAfter {
                kid: key.kid.clone(),
                ring: key.ring.clone(),
                ended_at,
                signatures: after.map(|hour| hour.signatures).sum(),
                last_hour,
            });
        }
    }
    Ok((found, not_asked))
}
