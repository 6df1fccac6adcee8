//! When each job last succeeded, as metrics say it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use store::{Error, JobRow, Store};
use trust::Time;

/// Runs that are looked at each time, and that are read at once when none of those succeeded.
const NEWEST: i64 = 10;
const PAGE: i64 = 100;

/// What this process knows. A success is not forgotten because many runs by hand have failed since.
#[derive(Default)]
pub struct Successes(Mutex<BTreeMap<String, Time>>);

impl Successes {
    /// When the last run ended that succeeded; of a job of which no success is known, the first slot that is known of it. The runs
    /// that are kept are read through once at most, and the newest ones after that.
    pub async fn last(&self, store: &Store, job: &JobRow) -> Result<Time, Error> {
        let known = self.lock().get(&job.name).copied();
        let (mut before, mut limit) = (i64::MAX, NEWEST);
        let mut first = job.last_slot;
        let at = loop {
            let runs = store.runs(&job.name, before, limit).await?;
            let succeeded = runs.iter().find(|run| run.state == "done");
            if let Some(at) = succeeded.and_then(|run| run.ended_at) {
                break at;
            }
            if let Some(known) = known {
                break known;
            }
            let Some(oldest) = runs.last() else {
                break first;
            };
            first = first.min(oldest.slot);
            (before, limit) = (oldest.slot.millis(), PAGE);
        };
        self.lock().insert(job.name.clone(), at);
        Ok(at)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Time>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use store::NewRun;
    use store::testing::place::Place;

    use super::*;

    const JOB: &str = "key_rotation_cleanup";

    fn at(millis: i64) -> Time {
        Time::from_millis(millis)
    }

    async fn ran(store: &Store, slot: i64, state: &str) {
        let new = NewRun {
            job: JOB,
            slot: at(slot),
            missed: 0,
            owner: "one",
            at: at(slot),
            by_hand: true,
        };
        let lease = store.begin_run(&new, Duration::from_secs(60)).await;
        let lease = lease.unwrap().unwrap();
        store
            .end_run(&lease, state, "{}", at(slot + 1))
            .await
            .unwrap();
    }

    async fn job(store: &Store) -> JobRow {
        let cron = "0 2 * * 0";
        let ensured = store.ensure_job(JOB, cron, Duration::ZERO, at(5_000)).await;
        ensured.unwrap();
        store.jobs().await.unwrap().remove(0)
    }

    #[tokio::test]
    async fn a_job_that_never_succeeded_is_late_since_its_first_slot_that_is_known() {
        let place = Place::sqlite().await;
        let job = job(&place.store).await;
        let last = async || Successes::default().last(&place.store, &job).await.unwrap();
        assert_eq!(last().await, at(5_000));
        for slot in 0..250 {
            ran(&place.store, 1_000 + slot * 10, "failed").await;
        }
        assert_eq!(last().await, at(1_000));
        ran(&place.store, 9_000, "done").await;
        assert_eq!(last().await, at(9_001));
    }

    #[tokio::test]
    async fn threat_runs_by_hand_hide_since_when_a_job_has_not_succeeded() {
        let place = Place::sqlite().await;
        let job = job(&place.store).await;
        ran(&place.store, 1_000, "done").await;
        let successes = Successes::default();
        let last = async || successes.last(&place.store, &job).await.unwrap();
        assert_eq!(last().await, at(1_001));
        for slot in 0..150 {
            ran(&place.store, 6_000 + slot * 10, "failed").await;
        }
        assert_eq!(last().await, at(1_001));
        // One who begins anew finds it as well.
        let anew = Successes::default().last(&place.store, &job).await;
        assert_eq!(anew.unwrap(), at(1_001));
        ran(&place.store, 9_000, "done").await;
        assert_eq!(last().await, at(9_001));
    }
}
