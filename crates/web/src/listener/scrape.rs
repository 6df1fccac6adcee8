//! What a scrape of the metrics shows. Gauges are read at the scrape; what only the database knows is asked for by one task at a
//! time, which a scrape waits for a moment and no longer.

use std::time::Duration;

use metrics::gauge;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::health;
use crate::v1::state::SharedState;
use base::names;
use keyring::keys::Ring;

/// How long a scrape waits for the database.
const PATIENCE: Duration = Duration::from_millis(50);

fn bit(yes: bool) -> f64 {
    if yes { 1.0 } else { 0.0 }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "gauges are f64; nothing here comes near 2^53"
)]
fn count(of: usize) -> f64 {
    of as f64
}

/// Sets every gauge that is not kept up to date where its value comes about.
pub async fn read(state: &SharedState) {
    read_token(state);
    read_rings(state);
    read_outcomes(state);
    read_process();
    read_database(state).await;
    let age = state.services.rotation.measured_age();
    gauge!(names::INVENTORY_METRICS_AGE).set(age);
    gauge!(names::ALERTS_LOOKED).set(state.services.rotation.looked_at());
}

#[expect(
    clippy::cast_precision_loss,
    reason = "gauges are f64; nothing here comes near 2^53"
)]
fn read_token(state: &SharedState) {
    let token = state.services.token.status();
    gauge!(names::HSM_UP).set(bit(token.ready));
    gauge!(names::HSM_QUEUE).set(count(token.queued));
    gauge!(names::HSM_PROCESSES).set(count(token.processes));
    gauge!(names::HSM_GENERATION).set(token.generation as f64);
    for (what, count) in token.counters {
        metrics::counter!(names::HSM_EVENTS, "what" => what).absolute(count);
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "gauges are f64; nothing here comes near 2^53"
)]
fn read_rings(state: &SharedState) {
    let snapshot = state.services.keys.current();
    gauge!(names::SNAPSHOT_VERSION).set(snapshot.version as f64);
    gauge!(names::SNAPSHOT_AGE_SECONDS).set(state.services.keys.confirmed_ago().as_secs_f64());
    gauge!(names::KEYS_REFUSED).set(count(state.services.keys.refused().len()));
    for table in ["signing_key", "ring", "credential"] {
        let rows = snapshot.unreadable.iter().filter(|row| row.table == table);
        gauge!(names::ROWS_UNREADABLE, "table" => table).set(count(rows.count()));
    }
    let now = state.services.env.now();
    gauge!(names::EMERGENCY_FAULTS).set(count(snapshot.emergency.faults().len()));

    let mut shown = state.scraped.shown();
    shown.learn(snapshot.rings.keys());
    let left_out = snapshot.rings.len().saturating_sub(shown.rings.len());
    gauge!(names::RINGS_LEFT_OUT).set(count(left_out));
    // There may be a million keys: they are counted when something has changed.
    let counts = shown.counted.replace(snapshot.version) != Some(snapshot.version);
    let outcomes = state.services.signing.outcomes().rings;
    let known = outcomes.iter();
    let bad =
        known.filter(|(name, outcome)| snapshot.rings.contains_key(&**name) && !outcome.is_good());
    gauge!(names::RINGS_NOT_READY).set(count(bad.count()));
    for name in &shown.rings {
        if let Some(outcome) = outcomes.get(name) {
            gauge!(names::RING_READY, "ring" => name.to_string()).set(bit(outcome.is_good()));
        }
        let stopped = snapshot.stopped(name, now).is_some();
        gauge!(names::RING_STOPPED, "ring" => name.to_string()).set(bit(stopped));
        let until = snapshot.emergency.known().until(name);
        let left = until.map_or(0.0, |until| until.since(now).as_secs_f64());
        gauge!(names::RATIFICATION_LEFT, "ring" => name.to_string()).set(left);
        let Some(ring) = snapshot.rings.get(name) else {
            continue;
        };
        if counts {
            read_keys(name, ring);
        }
        for state in names::AGEING_STATES {
            let mut keys = ring.keys.iter().rev();
            let newest = keys.find(|key| key.status() == state);
            let age = newest.map_or(f64::NAN, |key| now.since(key.published_at).as_secs_f64());
            gauge!(names::KEY_AGE_SECONDS, "ring" => name.to_string(), "state" => state).set(age);
        }
    }
}

/// How many keys of a ring are in each state; every state is shown, so that none is missing when it is 0.
#[expect(
    clippy::cast_precision_loss,
    reason = "gauges are f64; nothing here comes near 2^53"
)]
fn read_keys(name: &str, ring: &Ring) {
    for state in names::KEY_STATES {
        let count = match state {
            // All that sign are in memory.
            "primary" | "secondary" => {
                let keys = ring.keys.iter().filter(|key| key.status() == state);
                count(keys.count())
            }
            state => ring.counts.get(state).copied().unwrap_or(0) as f64,
        };
        gauge!(names::KEYS, "ring" => name.to_owned(), "state" => state).set(count);
    }
}

fn read_outcomes(state: &SharedState) {
    let (kept, complete) = state.services.store.kept_count();
    gauge!(names::KEPT_LEAVES).set(count(kept));
    gauge!(names::KEPT_COMPLETE).set(bit(complete));
    gauge!(names::IN_FLIGHT).set(count(state.layer.limits.in_flight()));

    for issuer in state.services.oidc.issuers() {
        let standing = issuer.standing();
        let usable = bit(standing.usable);
        gauge!(names::OIDC_USABLE, "issuer" => standing.name.clone()).set(usable);
        if let Some(age) = standing.age {
            gauge!(names::OIDC_KEYS_AGE, "issuer" => standing.name).set(age.as_secs_f64());
        }
    }

    let published = state.services.transparency_log.published();
    gauge!(names::LOG_INTEGRATES).set(bit(published.integrates));
    gauge!(names::LOG_HALTED).set(bit(published.refused.is_some()));
    if let Some(checkpoint) = published.checkpoint {
        let age = state.services.env.now().since(checkpoint.time);
        gauge!(names::LOG_CHECKPOINT_AGE).set(age.as_secs_f64());
    }
    if let Some(write) = state.services.signing.outcomes().write {
        gauge!(names::DATABASE_WRITABLE).set(bit(write.is_good()));
    }
    for pool in state.services.store.connections() {
        let states = [("used", pool.used), ("idle", pool.idle)];
        for (state, count) in states {
            gauge!(names::DATABASE_CONNECTIONS, "pool" => pool.pool, "state" => state)
                .set(f64::from(count));
        }
        gauge!(names::DATABASE_CONNECTIONS_LIMIT, "pool" => pool.pool).set(f64::from(pool.limit));
    }
}

fn read_process() {
    let found = base::process::look();
    gauge!(names::PROCESS_START).set(found.started_at);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "whole seconds since the start of a process"
    )]
    metrics::counter!(names::PROCESS_CPU).absolute(found.cpu_seconds as u64);
    gauge!(names::PROCESS_MEMORY).set(found.resident_bytes);
    gauge!(names::PROCESS_FILES).set(found.open_files);
    gauge!(names::PROCESS_MOST_FILES).set(found.most_files);
    let version = env!("CARGO_PKG_VERSION");
    let commit = option_env!("CHANCERY_COMMIT").unwrap_or("unknown");
    gauge!(names::BUILD_INFO, "version" => version, "commit" => commit).set(1.0);
}

/// Asks the database, or waits for who asks already. After [`PATIENCE`] what it said last stands, with its age.
async fn read_database(state: &SharedState) {
    let mut asking = {
        let mut asked = state.scraped.database();
        let open = asked.asking.take().filter(|one| one.has_changed().is_ok());
        let asking = open.unwrap_or_else(|| {
            let (ends, asking) = watch::channel(());
            let state = state.clone();
            tokio::spawn(async move {
                ask_database(&state).await;
                drop(ends);
            });
            asking
        });
        asked.asking = Some(asking.clone());
        asking
    };
    // An error says that it has ended.
    let _ = timeout(PATIENCE, asking.changed()).await;
    let answered = state.scraped.database().answered;
    let age = answered.map_or(f64::NAN, |at| at.elapsed().as_secs_f64());
    gauge!(names::DATABASE_METRICS_AGE).set(age);
}

#[expect(
    clippy::cast_precision_loss,
    reason = "gauges are f64; nothing here comes near 2^53"
)]
async fn ask_database(state: &SharedState) {
    let store = &state.services.store;
    let size = timeout(health::PROBE, store.log_size()).await;
    let Ok(Ok(size)) = size else {
        gauge!(names::DATABASE_UP).set(0.0);
        return;
    };
    gauge!(names::DATABASE_UP).set(1.0);
    let published = state.services.transparency_log.published();
    let covered = published.checkpoint.map_or(0, |one| one.size);
    gauge!(names::LOG_WAITING).set(size.saturating_sub(covered) as f64);
    let waiting = timeout(health::PROBE, store.waiting_for_executor()).await;
    if let Ok(Ok(waiting)) = waiting {
        gauge!(names::EXECUTOR_WAITING).set(waiting.count as f64);
        let now = state.services.env.now();
        let age = waiting.since.map(|since| now.since(since));
        gauge!(names::EXECUTOR_OLDEST_SECONDS).set(age.unwrap_or_default().as_secs_f64());
        state.scraped.database().answered = Some(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use base::names::{Kind, MOST_KEY_TYPES, MOST_RINGS, MOST_SIGNING_KEYS, Metric, Values};
    use metrics::{Label, counter, histogram};
    use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};

    use super::*;

    /// Routes, codes, receivers, witnesses, issuers, tasks: fewer of each than this.
    const FEW: usize = 150;

    fn values(metric: &Metric, label: &str, values: Values) -> Vec<String> {
        let count = match (values, label) {
            (Values::Of(words), _) => return words.iter().map(|word| (*word).to_owned()).collect(),
            // Keys are of one ring each.
            (_, "ring") if metric.name == names::SIGNATURES => 1,
            (_, "ring") => MOST_RINGS,
            (_, "key_type") => MOST_KEY_TYPES + 1,
            (_, "version" | "commit") => 1,
            (_, "kid") => MOST_SIGNING_KEYS + MOST_RINGS,
            _ => FEW,
        };
        (0..count)
            .map(|number| format!("value-{number:032}"))
            .collect()
    }

    fn expose(metric: &Metric) -> usize {
        let mut all: Vec<Vec<Label>> = vec![Vec::new()];
        for label in metric.labels {
            let values = values(metric, label.name, label.values);
            let with = |known: &Vec<Label>, value: &String| {
                let mut more = known.clone();
                more.push(Label::new(label.name, value.clone()));
                more
            };
            let each = |known| values.iter().map(move |value| with(known, value));
            all = all.iter().flat_map(each).collect();
        }
        let count = all.len();
        for labels in all {
            match metric.kind {
                Kind::Counter => counter!(metric.name, labels).increment(7),
                Kind::Gauge => gauge!(metric.name, labels).set(7.5),
                Kind::Histogram(_) => histogram!(metric.name, labels).record(0.01),
            }
        }
        count
    }

    /// Held against what is asked for by `make reach`, which builds optimised.
    #[test]
    fn a_scrape_of_as_many_series_as_there_can_be_is_written_in_time() {
        let mut builder = PrometheusBuilder::new();
        for metric in names::all() {
            if let Kind::Histogram(bounds) = metric.kind {
                let name = Matcher::Full(metric.name.to_owned());
                builder = builder.set_buckets_for_metric(name, bounds).unwrap();
            }
        }
        let recorder = builder.build_recorder();
        let count: usize =
            metrics::with_local_recorder(&recorder, || names::all().map(expose).sum());
        let handle = recorder.handle();
        handle.render();
        let mut took: Vec<Duration> = (0..5)
            .map(|_| {
                let began = Instant::now();
                let text = handle.render();
                assert!(text.lines().count() > count);
                began.elapsed()
            })
            .collect();
        took.sort_unstable();
        println!("{count} series are written in {:?}", took[2]);
        let is_asked_for = std::env::var_os("REACH").is_some();
        let most = Duration::from_millis(if is_asked_for { 50 } else { 2_000 });
        assert!(took[2] < most, "{took:?}");
    }
}
