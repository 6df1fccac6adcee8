//! What metrics say of the inventory and of rotations, as one reads them from the database: by key type, never by asset, so that
//! there are as many series with a hundred thousand assets as with ten.
//!
//! Each replica reads for itself, in the background and page by page, at most a hundredth of the time; a scrape takes what was
//! read last.

mod assets;
mod ended;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base::{Trouble, names};
use calendar::{Policies, Time};
use metrics::gauge;
use store::OpenRotations;
use tokio::time::Instant;
use trust::error_chain;

use crate::engine::Engine;
use crate::engine::error::Error;
use crate::times::{from_row, to_row};
use assets::Assets;
pub use ended::Audited;
use ended::Ended;
#[cfg(test)]
pub use ended::Shares;

/// Between two readings lies so many times the time that one takes.
const REST: u32 = 100;

/// What was read, and when.
#[derive(Default)]
pub struct Measured {
    read_at: Mutex<Option<Instant>>,
    ended: tokio::sync::Mutex<Ended>,
}

impl Measured {
    /// How long ago everything was read last.
    pub fn ago(&self) -> Option<Duration> {
        let read_at = *self.read_at.lock().unwrap_or_else(PoisonError::into_inner);
        read_at.map(|at| at.elapsed())
    }

    /// What the log tells of the rotations that ended lately, as it was read last.
    pub async fn audited(&self) -> Option<Audited> {
        self.ended.lock().await.audited()
    }

    /// Reads again and again, until it is dropped.
    pub async fn follow(&self, engine: &Engine, every: Duration) {
        let mut trouble = Trouble::default();
        loop {
            let began = Instant::now();
            match self.read(engine).await {
                Ok(()) if trouble.is_over() => tracing::info!("the inventory is measured again"),
                Ok(()) => {}
                Err(error) => {
                    let why = error_chain(&error);
                    if let Some(count) = trouble.is(&why) {
                        tracing::warn!(error = why, count, "the inventory is not measured");
                    }
                }
            }
            let rest = began.elapsed().saturating_mul(REST);
            tokio::time::sleep(every.max(rest)).await;
        }
    }

    /// Reads everything once. After an error the metrics stay as they were.
    pub async fn read(&self, engine: &Engine) -> Result<(), Error> {
        let began = Instant::now();
        let now = engine.now().await?;
        let policies = engine.parts().inventory.policies(now).await?;
        let assets = read_assets(engine, &policies, now).await?;
        let open = engine.store().open_rotations_summary().await?;
        let mut ended = self.ended.lock().await;
        ended.read(engine.store(), to_row(now)).await?;
        assets.tell();
        tell_open(&open, now);
        ended.tell();
        gauge!(names::INVENTORY_METRICS_SECONDS).set(began.elapsed());
        *self.read_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        Ok(())
    }
}

#[cfg(test)]
impl Measured {
    pub async fn shares(&self) -> Shares {
        self.ended.lock().await.shares()
    }

    pub async fn forget_what_the_log_tells(&self, event: &str) {
        self.ended.lock().await.forget_what_the_log_tells(event);
    }
}

async fn read_assets(engine: &Engine, policies: &Policies, now: Time) -> Result<Assets, Error> {
    let mut assets = Assets::new(engine.key_types());
    for asset in engine.parts().inventory.assets().await? {
        let label = engine.key_types().of(asset.key_type.as_str());
        assets.add(label, &asset, policies.get(&asset.key_type), now);
    }
    Ok(assets)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "gauges are f64; nothing here comes near 2^53"
)]
fn tell_open(open: &[OpenRotations], now: Time) {
    for reason in names::WAIT_REASONS {
        let waiting = open
            .iter()
            .filter(|some| some.waits.as_deref() == Some(reason));
        let count: u64 = waiting.map(|some| some.count).sum();
        gauge!(names::ROTATIONS_WAITING, "reason" => reason).set(count as f64);
    }
    let since = |slot: Option<trust::Time>| {
        let slot = slot.map(from_row).filter(|slot| *slot < now);
        slot.map_or(0, |slot| now.since(slot).as_seconds()) as f64
    };
    let scheduled = open.iter().filter(|some| some.state == "scheduled");
    let delayed = scheduled.map(|some| some.slot).min();
    gauge!(names::ROTATION_DELAY).set(since(delayed));
    let begun = open.iter().filter(|some| some.state != "scheduled");
    let longest = begun.filter_map(|some| some.unpromoted_slot).min();
    gauge!(names::ROTATION_LONGEST).set(since(longest));
}

#[cfg(test)]
mod tests {
    use calendar::KeyTypes;
    use calendar::cron::JOBS;
    use calendar::words::{EventState, Reason, Step};

    use super::*;

    #[test]
    fn words_of_metrics_are_those_of_the_calendar() {
        let reasons = Reason::ALL.iter().map(|reason| reason.as_str());
        assert!(reasons.eq(names::WAIT_REASONS));
        let steps = Step::ALL.iter().map(|step| step.as_str());
        assert!(steps.eq(names::ROTATION_STEPS));
        for state in EventState::ALL {
            let known = match state.is_open() {
                true => names::OPEN_STATES.contains(&state.as_str()),
                false => names::END_STATES.contains(&state.as_str()),
            };
            assert!(known, "{state}");
        }
        assert!(JOBS.iter().map(|job| job.name).eq(names::JOB_NAMES));
        assert!(KeyTypes::standard().iter().count() < names::MOST_KEY_TYPES);
    }
}
