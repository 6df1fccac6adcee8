//! What the rules are told of an installation, beside its assets: rotations that do not go on by themselves, jobs, and what this
//! replica knows of its token.

use std::collections::BTreeMap;
use std::sync::Arc;

use calendar::alerts::rules::{JobFacts, KeyStoreFacts, RotationFacts};
use calendar::{Span, Time};
use store::{MAX_PAGE, RotationEventRow, RotationPause, Store, Told};

use crate::engine::Engine;
use crate::engine::error::Error;
use crate::times::{from_row, to_row};

/// Rotations of one sort that are looked at, the first that are due first.
const MOST: usize = 20_000;

/// Runs of a job among which the last one that succeeded is looked for.
const RUNS: i64 = 20;

/// A rotation whose hour is more recent is not slow, whatever its policy.
const RECENT: Span = Span::hours(6);

/// What this replica knows of its token and its keys, at the instant of the call.
pub type KeyStoreView = Arc<dyn Fn() -> KeyStoreFacts + Send + Sync>;

async fn pages(store: &Store, which: Told) -> Result<Vec<RotationEventRow>, Error> {
    let mut rows: Vec<RotationEventRow> = Vec::new();
    while rows.len() < MOST {
        let place = rows.last().map_or((i64::MIN, String::new()), |row| {
            (row.due.millis(), row.id.clone())
        });
        let page = store.rotations_told(which, (place.0, &place.1), MAX_PAGE);
        let page = page.await?;
        let full = page.len() as i64 == MAX_PAGE;
        rows.extend(page);
        if !full {
            break;
        }
    }
    Ok(rows)
}

fn rotation(row: RotationEventRow) -> Result<RotationFacts, Error> {
    let declared = row.declared_at.unwrap_or(row.created_at);
    Ok(RotationFacts {
        state: crate::engine::state_of(&row)?,
        waits: crate::engine::waits_of(&row)?,
        declared_at: (row.cause == "event").then(|| from_row(declared)),
        slot: from_row(row.slot),
        due: from_row(row.due),
        promoted: row.promoted_at.is_some(),
        id: row.id,
        asset: row.asset,
        key_type: row.key_type,
        detail: row.detail,
    })
}

impl Engine {
    /// Open rotations of which a rule may have to say something: each page by an index of what it is asked for.
    pub(super) async fn rotation_facts(&self, now: Time) -> Result<Vec<RotationFacts>, Error> {
        let store = self.store();
        let mut open = BTreeMap::new();
        let sorts = [
            Told::NeedPeople,
            Told::LateAt(to_row(now)),
            Told::Declared,
            Told::HeldAt(to_row(now - RECENT)),
        ];
        for which in sorts {
            for row in pages(store, which).await? {
                open.insert(row.id.clone(), row);
            }
        }
        open.into_values().map(rotation).collect()
    }

    /// The jobs with their last runs.
    pub(super) async fn job_facts(
        &self,
        is_paused: impl Fn(&store::JobRow, &RotationPause) -> bool,
    ) -> Result<Vec<JobFacts>, Error> {
        let store = self.store();
        let pause = store.rotation_pause().await?;
        let mut jobs = Vec::new();
        for row in store.jobs().await? {
            let runs = store.runs(&row.name, i64::MAX, RUNS).await?;
            let ended = runs.iter().find(|run| run.ended_at.is_some());
            let failed = ended.filter(|run| run.state == "failed");
            let why = |summary: Option<&str>| {
                let summary: Option<serde_json::Value> =
                    summary.and_then(|text| serde_json::from_str(text).ok());
                let error = summary
                    .as_ref()
                    .and_then(|summary| summary["error"].as_str());
                error.unwrap_or("no reason is known").to_owned()
            };
            let succeeded = runs.iter().find(|run| run.state == "done");
            jobs.push(JobFacts {
                cron: row.cron.parse().ok(),
                paused: is_paused(&row, &pause),
                last_slot: from_row(row.last_slot),
                succeeded_at: succeeded.and_then(|run| run.ended_at).map(from_row),
                failed: failed.map(|run| why(run.summary.as_deref())),
                name: row.name,
            });
        }
        Ok(jobs)
    }
}
