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
use calendar::Time;
use calendar::alerts::Severity;
use calendar::alerts::rules::is_waited_for;
use calendar::words::Reason;
use metrics::gauge;
use store::{CountedAlerts, OpenRotations};
use tokio::time::Instant;
use trust::error_chain;

use crate::engine::Engine;
use crate::engine::error::Error;
use crate::times::{LONGEST_REST, from_row, to_row};
use assets::Assets;
pub use ended::Audited;
use ended::Ended;
#[cfg(test)]
pub use ended::Shares;

/// Between two readings lies so many times the time that one takes.
const REST: u32 = 100;

/// What was read, and when.
pub struct Measured {
    made_at: Instant,
    read_at: Mutex<Option<Instant>>,
    ended: tokio::sync::Mutex<Ended>,
    /// What the log told, and when it was read: whoever asks waits for no reading.
    audited: Mutex<Option<(Instant, Audited)>>,
}

impl Default for Measured {
    fn default() -> Self {
        Self {
            made_at: Instant::now(),
            read_at: Mutex::default(),
            ended: tokio::sync::Mutex::default(),
            audited: Mutex::default(),
        }
    }
}

/// How long it rests after a reading that took so long. One that failed may have failed at its end: it is tried again sooner, and
/// takes at most half of the time.
fn rest(every: Duration, took: Duration, succeeded: bool) -> Duration {
    let longest = Duration::from_secs(LONGEST_REST.as_seconds());
    match succeeded {
        true => every.max(took.saturating_mul(REST).min(longest)),
        false => every.max(took.min(longest)),
    }
}

impl Measured {
    /// How long ago everything was read last, without an error.
    pub fn ago(&self) -> Option<Duration> {
        let read_at = *self.read_at.lock().unwrap_or_else(PoisonError::into_inner);
        read_at.map(|at| at.elapsed())
    }

    /// How old it is; of what was never read, how long that has been so.
    pub fn age(&self) -> Duration {
        self.ago().unwrap_or_else(|| self.made_at.elapsed())
    }

    /// What the log tells of the rotations that ended lately, as it was read last without an error, with its age.
    pub fn audited(&self) -> Option<Audited> {
        let audited = self.audited.lock();
        let audited = audited.unwrap_or_else(PoisonError::into_inner).clone();
        audited.map(|(at, audited)| Audited {
            age_seconds: at.elapsed().as_secs(),
            ..audited
        })
    }

    /// Reads again and again, until it is dropped.
    pub async fn follow(&self, engine: &Engine, every: Duration) {
        let mut trouble = Trouble::default();
        loop {
            let began = Instant::now();
            let read = self.read(engine).await;
            let rest = rest(every, began.elapsed(), read.is_ok());
            match read {
                Ok(()) if trouble.is_over() => tracing::info!("the inventory is measured again"),
                Ok(()) => {}
                Err(error) => {
                    let why = error_chain(&error);
                    if let Some(count) = trouble.is(&why) {
                        tracing::warn!(error = why, count, "the inventory is not measured");
                    }
                }
            }
            tokio::time::sleep(rest).await;
        }
    }

    /// Reads everything once. What cannot be read stays as it was and holds nothing else up; the first error of all is returned.
    pub async fn read(&self, engine: &Engine) -> Result<(), Error> {
        let began = Instant::now();
        let now = engine.now().await?;
        let read = [
            read_assets(engine, now).await,
            read_open(engine, now).await,
            read_alerts(engine, now).await,
            self.read_ended(engine, now).await,
        ];
        read.into_iter().collect::<Result<(), Error>>()?;
        gauge!(names::INVENTORY_METRICS_SECONDS).set(began.elapsed());
        *self.read_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        Ok(())
    }

    async fn read_ended(&self, engine: &Engine, now: Time) -> Result<(), Error> {
        let mut ended = self.ended.lock().await;
        ended.read(engine.store(), to_row(now)).await?;
        ended.tell();
        let audited = ended.audited().map(|audited| (Instant::now(), audited));
        *self.audited.lock().unwrap_or_else(PoisonError::into_inner) = audited;
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

async fn read_assets(engine: &Engine, now: Time) -> Result<(), Error> {
    let policies = engine.parts().inventory.policies(now).await?;
    let mut assets = Assets::new(engine.key_types());
    for asset in engine.parts().inventory.assets().await? {
        let label = engine.key_types().of(asset.key_type.as_str());
        assets.add(label, &asset, policies.get(&asset.key_type), now);
    }
    assets.tell();
    Ok(())
}

async fn read_open(engine: &Engine, now: Time) -> Result<(), Error> {
    tell_open(&engine.store().open_rotations_summary().await?, now);
    Ok(())
}

async fn read_alerts(engine: &Engine, now: Time) -> Result<(), Error> {
    tell_alerts(&engine.store().open_alerts_counted(to_row(now)).await?);
    Ok(())
}

#[expect(
    clippy::cast_precision_loss,
    reason = "gauges are f64; nothing here comes near 2^53"
)]
fn tell_open(open: &[OpenRotations], now: Time) {
    for state in names::OPEN_STATES {
        let some = open.iter().filter(|some| some.state == state);
        let count: u64 = some.map(|some| some.count).sum();
        gauge!(names::ROTATIONS_OPEN, "state" => state).set(count as f64);
    }
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
    gauge!(names::ROTATION_DELAY).set(since(delayed(open)));
    gauge!(names::ROTATION_LONGEST).set(since(longest(open)));
}

/// Whether somebody wants it so, or is asked for: that is neither a delay nor slowness, and is told as what it is.
fn is_held(open: &OpenRotations) -> bool {
    let mut reasons = Reason::ALL.iter();
    let waits = open.waits.as_deref();
    let reason = reasons.find(|reason| Some(reason.as_str()) == waits);
    reason.is_some_and(|reason| is_waited_for(*reason))
}

/// The earliest hour of those that should have begun.
fn delayed(open: &[OpenRotations]) -> Option<trust::Time> {
    let scheduled = open.iter().filter(|some| some.state == "scheduled");
    let late = scheduled.filter(|some| !is_held(some));
    late.map(|some| some.slot).min()
}

/// The earliest hour of those that are under way by themselves.
fn longest(open: &[OpenRotations]) -> Option<trust::Time> {
    let begun = open
        .iter()
        .filter(|some| !matches!(some.state.as_str(), "scheduled" | "failed"));
    let slow = begun.filter(|some| !is_held(some));
    slow.filter_map(|some| some.unpromoted_slot).min()
}

#[expect(
    clippy::cast_precision_loss,
    reason = "gauges are f64; nothing here comes near 2^53"
)]
fn tell_alerts(alerts: &[CountedAlerts]) {
    for state in names::ALERT_STATES {
        for severity in names::ALERT_SEVERITIES {
            let some = alerts
                .iter()
                .filter(|some| some.state == state && severity_of(some).as_str() == severity);
            let count: u64 = some.map(|some| some.count).sum();
            gauge!(names::ALERTS, "state" => state, "severity" => severity).set(count as f64);
        }
    }
}

/// A rule that this program does not know is looked after by somebody.
fn severity_of(some: &CountedAlerts) -> Severity {
    some.name
        .map_or(Severity::Critical, |name| name.severity(some.level))
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
        let severities = Severity::ALL.iter().map(|severity| severity.as_str());
        assert!(severities.eq(names::ALERT_SEVERITIES));
        assert!(KeyTypes::standard().iter().count() < names::MOST_KEY_TYPES);
    }

    #[test]
    fn a_slow_reading_rests_for_half_an_hour_at_most_and_one_that_failed_for_as_long_as_it_took() {
        let seconds = Duration::from_secs;
        let every = seconds(60);
        assert_eq!(rest(every, seconds(0), true), every);
        assert_eq!(rest(every, seconds(3), true), seconds(300));
        assert_eq!(rest(every, seconds(500), true), seconds(1_800));
        assert_eq!(rest(every, seconds(3), false), every);
        assert_eq!(rest(every, seconds(500), false), seconds(500));
        assert_eq!(rest(every, seconds(5_000), false), seconds(1_800));
        assert_eq!(rest(seconds(3_600), seconds(500), true), seconds(3_600));
    }

    fn open(state: &str, waits: Option<&str>, slot: i64) -> OpenRotations {
        let slot = trust::Time::from_millis(slot);
        OpenRotations {
            state: state.to_owned(),
            waits: waits.map(str::to_owned),
            count: 1,
            slot,
            unpromoted_slot: Some(slot),
        }
    }

    #[test]
    fn what_somebody_holds_or_is_asked_for_is_neither_late_nor_slow() {
        let at = |millis| Some(trust::Time::from_millis(millis));
        let held = ["held", "paused", "window", "capacity", "approval", "person"];
        let mut all: Vec<_> = held.map(|why| open("scheduled", Some(why), 1)).into();
        all.extend(held.map(|why| open("waiting", Some(why), 1)));
        all.push(open("failed", None, 1));
        assert_eq!((delayed(&all), longest(&all)), (None, None));
        all.push(open("scheduled", Some("token"), 3));
        all.push(open("scheduled", None, 2));
        all.push(open("waiting", Some("propagation"), 5));
        all.push(open("running", None, 4));
        assert_eq!((delayed(&all), longest(&all)), (at(2), at(4)));
    }
}
