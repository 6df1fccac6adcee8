//! Liveness and readiness. Readiness is asked by part, because the parts stand apart: JWKS needs
//! the read model alone, verification the database too, and signing also the token and the log.

use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header::RETRY_AFTER};
use axum::response::Response;
use serde::Serialize;

use crate::problem::{Code, Problem};
use crate::v1::response::{Named, json};
use crate::v1::state::SharedState;
use keyring::signing::Outcome;
use trust::LOG_RING;

/// A probe has an answer within this time, whatever hangs.
pub(super) const PROBE: Duration = Duration::from_secs(2);

#[derive(Debug, Serialize)]
struct Readiness {
    ready: bool,
    /// The service was told to stop: whatever it can still do, send nobody here.
    stopping: bool,
    /// What this replica can do now.
    serves: Serves,
    parts: Parts,
}

#[derive(Debug, Serialize, Clone, Copy)]
struct Serves {
    publication: bool,
    verification: bool,
    signing: bool,
}

#[derive(Debug, Serialize)]
struct Parts {
    database: Database,
    token: Token,
    /// Of each ring with a primary: what its last signature came to.
    rings: Vec<Ring>,
    snapshot: Snapshot,
    log: Log,
    executor: Executor,
}

/// Of approved ceremonies. Whether there is an executor takes nothing away from this replica.
#[derive(Debug, Serialize)]
struct Executor {
    /// False where one has waited so long that there is no executor, or it refuses; also while the database is away.
    ok: bool,
    /// How many wait for it; null while the database is away.
    waiting: Option<u64>,
    /// How long the oldest has waited.
    oldest_ms: u64,
}

#[derive(Debug, Serialize)]
struct Database {
    ok: bool,
    /// Whether the last write succeeded; null before the first.
    writes: Option<bool>,
    why: Option<String>,
}

#[derive(Debug, Serialize)]
struct Ring {
    ring: String,
    ok: bool,
    why: Option<String>,
    age_ms: u64,
}

#[derive(Debug, Serialize)]
struct Token {
    ok: bool,
    state: &'static str,
    generation: u64,
    processes: usize,
    queued: usize,
}

#[derive(Debug, Serialize)]
struct Snapshot {
    ok: bool,
    version: i64,
    age_ms: u64,
    keys: usize,
    refused: usize,
}

#[derive(Debug, Serialize)]
struct Log {
    ok: bool,
    /// Leaves of the newest checkpoint.
    size: i64,
    /// Whether the quorum of witnesses is complete on it; null where nobody is to witness.
    witnessed: Option<bool>,
    /// Why the log is halted, and nothing is signed.
    refused: Option<String>,
    /// Why leaves wait for a checkpoint; signing goes on without receipts.
    late: Option<String>,
}

/// The process runs and its executor turns.
pub async fn live() -> Result<Response, Problem> {
    json(&serde_json::json!({"live": true}))
}

/// 200 as long as verifiers can be served: a load balancer that took every replica away because
/// the token is down would take JWKS down with it.
pub async fn ready(State(state): State<SharedState>) -> Result<Response, Problem> {
    let readiness = readiness(&state).await;
    answer(readiness.serves.publication, readiness)
}

/// `/health/ready/signing/{ring}`: 503 unless the ring signs.
pub async fn ready_to_sign(
    State(state): State<SharedState>,
    Named(name): Named,
) -> Result<Response, Problem> {
    let readiness = readiness(&state).await;
    let ring = readiness.parts.rings.iter().find(|ring| ring.ring == name);
    match ring.map(|ring| ring.ok) {
        Some(ok) => answer(ok && readiness.serves.signing, readiness),
        None => Err(Problem::new(
            Code::NotFound,
            "expected a ring with a primary key",
        )),
    }
}

/// `/health/ready/{publication | verification | signing}`: 503 unless that can be done.
pub async fn ready_for(
    State(state): State<SharedState>,
    Named(part): Named,
) -> Result<Response, Problem> {
    let readiness = readiness(&state).await;
    let ready = match part.as_str() {
        "publication" => readiness.serves.publication,
        "verification" => readiness.serves.verification,
        "signing" => readiness.serves.signing,
        _ => {
            return Err(Problem::new(
                Code::NotFound,
                "expected publication, verification or signing",
            ));
        }
    };
    answer(ready, readiness)
}

fn answer(able: bool, readiness: Readiness) -> Result<Response, Problem> {
    let ready = able && !readiness.stopping;
    let mut response = json(&Readiness { ready, ..readiness })?;
    if !ready {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    Ok(response)
}

/// Before its first signature a ring is as good as the token.
fn of_ring(name: &str, outcome: Option<&Outcome>, token: bool) -> Ring {
    let age = outcome.map_or(0, |outcome| outcome.at.elapsed().as_millis());
    Ring {
        ring: name.to_owned(),
        ok: outcome.map_or(token, Outcome::is_good),
        why: outcome.and_then(|outcome| outcome.error.as_deref().map(str::to_owned)),
        age_ms: u64::try_from(age).unwrap_or(u64::MAX),
    }
}

async fn executor(state: &SharedState, database: bool) -> Executor {
    let waiting = async {
        let asked = state.services.store.waiting_for_executor();
        match database {
            true => tokio::time::timeout(PROBE, asked).await.ok()?.ok(),
            false => None,
        }
    };
    let waiting = waiting.await;
    let now = state.services.env.now();
    let since = waiting.and_then(|waiting| waiting.since);
    let oldest = since.map(|since| now.since(since)).unwrap_or_default();
    Executor {
        ok: waiting.is_some() && oldest < state.services.executor_late,
        waiting: waiting.map(|waiting| waiting.count),
        oldest_ms: u64::try_from(oldest.as_millis()).unwrap_or(u64::MAX),
    }
}

async fn readiness(state: &SharedState) -> Readiness {
    let pinged = tokio::time::timeout(PROBE, state.services.store.ping()).await;
    let database = matches!(pinged, Ok(Ok(())));
    let executor = executor(state, database).await;
    let token = state.services.token.status();
    let snapshot = state.services.keys.current();
    let age = state.services.keys.confirmed_ago();
    let published = state.services.transparency_log.published();
    let goes_on = published.refused.is_none();
    // An old snapshot is safe to publish from (a key signs only long after it was published), so
    // age alone does not take JWKS away; not knowing of a revocation for long does.
    let fresh = age <= state.settings.snapshot_stale_after;
    let outcomes = state.services.signing.outcomes();
    let writes = outcomes.write.as_ref().map(Outcome::is_good);
    let why = outcomes.write.and_then(|outcome| outcome.error);
    let rings = snapshot
        .rings
        .values()
        .filter(|ring| ring.primary.is_some());
    let rings = rings.map(|ring| of_ring(&ring.name, outcomes.rings.get(&ring.name), token.ready));
    let rings: Vec<Ring> = rings.collect();
    // A ring that cannot sign does not take the service away from the others.
    let mut signers = rings.iter().filter(|ring| ring.ring != LOG_RING).peekable();
    let some_sign = signers.peek().is_none() || signers.any(|ring| ring.ok);
    Readiness {
        ready: true,
        stopping: state.layer.stopping.load(Ordering::Relaxed),
        serves: Serves {
            publication: true,
            verification: database && !published.incomplete,
            signing: database
                && writes != Some(false)
                && token.ready
                && some_sign
                && fresh
                && goes_on,
        },
        parts: Parts {
            database: Database {
                ok: database && writes != Some(false),
                writes,
                why: why.map(|why| why.to_string()),
            },
            rings,
            token: Token {
                ok: token.ready,
                state: token.state,
                generation: token.generation,
                processes: token.processes,
                queued: token.queued,
            },
            snapshot: Snapshot {
                ok: fresh,
                version: snapshot.version,
                age_ms: u64::try_from(age.as_millis()).unwrap_or(u64::MAX),
                keys: usize::try_from(snapshot.count()).unwrap_or(usize::MAX),
                refused: state.services.keys.refused().len(),
            },
            executor,
            log: Log {
                ok: goes_on && published.late.is_none(),
                late: published.late.as_deref().map(str::to_owned),
                size: published.checkpoint.map_or(0, |row| row.size),
                witnessed: published.witnessed,
                refused: published.refused.map(|why| why.to_string()),
            },
        },
    }
}
