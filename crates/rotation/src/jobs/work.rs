//! What each job does: it calls planner and engine, and says what came of it.

use calendar::facts::AssetFacts;
use calendar::policy::Policies;
use calendar::words::VersionState;
use calendar::{Span, Time};
use serde_json::{Value, json};
use store::{JobRow, RotationEventRow, RotationPause};

use crate::alerts::watch::Sources;
use crate::drivers::{Task, Usage};
use crate::engine::Engine;
use crate::engine::error::Error;

const HEALTH: &str = "key_rotation_health_check";
/// Makes events.
pub const CHECK: &str = "automated_key_rotation_check";
/// Runs them.
pub const EXECUTE: &str = "execute_scheduled_key_rotations";
/// Ends graces.
pub const CLEANUP: &str = "key_rotation_cleanup";
const USAGE: &str = "key_usage_monitoring";
const REPORT: &str = "generate_key_rotation_compliance_report";

/// How far ahead events are made: until the next check, and a day for the notice of windows, with room for a check that is late.
const AHEAD: Span = Span::hours(49);

/// Events of one run, each of which is looked at once: what is left is taken by the next run.
const MOST_EVENTS: i64 = 100_000;

/// Assets that a summary names.
const NAMED: usize = 20;

/// Whether the job is paused, by itself or by the scheduler's pause.
pub fn is_paused(job: &JobRow, pause: &RotationPause) -> bool {
    job.paused || (pause.since.is_some() && is_held(&job.name))
}

/// Whether the scheduler's pause holds the job: what makes or runs rotations. Watching goes on.
pub fn is_held(job: &str) -> bool {
    matches!(job, CHECK | EXECUTE | CLEANUP)
}

/// By its name.
pub async fn run(engine: &Engine, job: &str) -> Result<Value, Error> {
    match job {
        HEALTH => health(engine).await,
        CHECK => check(engine).await,
        EXECUTE => execute(engine).await,
        CLEANUP => cleanup(engine).await,
        USAGE => usage(engine).await,
        REPORT => Ok(json!(engine.adherence().await?)),
        other => Err(Error::UnknownJob(other.to_owned())),
    }
}

async fn check(engine: &Engine) -> Result<Value, Error> {
    let made = engine.make_due(AHEAD).await?;
    let named = made.iter().take(NAMED);
    let named = named.map(|row| json!({ "id": row.id, "asset": row.asset, "slot": row.slot }));
    Ok(json!({ "made": made.len(), "events": named.collect::<Vec<_>>() }))
}

async fn execute(engine: &Engine) -> Result<Value, Error> {
    let round = engine.look(MOST_EVENTS).await?;
    Ok(json!({
        "looked_at": round.looked, "ended": round.ended, "waiting": round.waiting, "failed": round.failed.len(),
    }))
}

/// What is promoted and open waits for the end of a grace, or for what still uses the old version.
async fn cleanup(engine: &Engine) -> Result<Value, Error> {
    let open = engine.open_events().await?;
    let ending = open.into_iter().filter(|row| row.promoted_at.is_some());
    let ids: Vec<String> = ending.map(|row| row.id).collect();
    let looked = ids.len();
    let round = engine.look_at(ids).await?;
    Ok(json!({
        "looked_at": looked, "ended": round.ended, "waiting": round.waiting, "failed": round.failed.len(),
    }))
}

async fn health(engine: &Engine) -> Result<Value, Error> {
    let known = engine.known().await?;
    let plan = known.plan(Span::days(30));
    let (mut warning, mut critical) = (Vec::new(), Vec::new());
    for asset in &known.facts.assets {
        match age_percent(asset, &known.policies, known.now) {
            Some(percent) if percent > 150 => critical.push(asset.name.to_string()),
            Some(percent) if percent > 125 => warning.push(asset.name.to_string()),
            _ => {}
        }
    }
    let open = engine.open_events().await?;
    let failed = open.iter().filter(|row| row.state == "failed").count();
    let counts = plan.counts();
    let sources = Sources {
        assets: Some(&known.facts.assets),
        key_store: None,
        usage: true,
        is_paused,
    };
    let alerts = engine.look_at_alerts(&sources).await?;
    let first = |names: &[String]| names.iter().take(NAMED).cloned().collect::<Vec<_>>();
    Ok(json!({
        "assets": known.facts.assets.len(),
        "unplanned": plan.unplanned.len(),
        "due_within_30_days": counts.rotations,
        "overdue": counts.overdue,
        "late": counts.late,
        "open": open.len(),
        "failed": failed,
        "alerts": alerts,
        "over_125_percent": { "count": warning.len(), "assets": first(&warning) },
        "over_150_percent": { "count": critical.len(), "assets": first(&critical) },
    }))
}

/// How old the primary is, of its interval.
fn age_percent(asset: &AssetFacts, policies: &Policies, now: Time) -> Option<u64> {
    let (_, since) = asset.primary().ok()?;
    let interval = policies.get(&asset.key_type)?.interval().as_seconds();
    (now.since(since).as_seconds().saturating_mul(100)).checked_div(interval)
}

/// Who still uses what was replaced, and what was made and never used.
async fn usage(engine: &Engine) -> Result<Value, Error> {
    let open = engine.open_events().await?;
    let promoted: Vec<&RotationEventRow> = open
        .iter()
        .filter(|row| row.promoted_at.is_some())
        .collect();
    let now = engine.now().await?;
    let mut named = Vec::new();
    for event in promoted.iter().take(NAMED) {
        let looks = Task {
            event,
            now,
            lease: None,
        };
        if let Some(Usage { old, mut evidence }) = engine.usage(looks).await {
            // Hour by hour it stands in the report of the rotation.
            if let Some(usage) = evidence.as_object_mut() {
                usage.remove("by_hour");
            }
            named.push(json!({
                "event": event.id, "asset": event.asset, "old_version": event.previous_version,
                "needed": old, "usage": evidence,
            }));
        }
    }
    let known = engine.known().await?;
    let unused = known.facts.assets.iter().filter(|asset| {
        let prepared = |state: &VersionState| matches!(state, VersionState::Prepared { .. });
        asset
            .versions
            .iter()
            .filter(|one| prepared(&one.state))
            .count()
            > 1
    });
    let unused: Vec<String> = unused.map(|asset| asset.name.to_string()).collect();
    Ok(json!({
        "in_transition": promoted.len(),
        "old_versions": named,
        "with_unused_versions": unused.iter().take(NAMED).collect::<Vec<_>>(),
    }))
}
