//! A run's lease is renewed beside its work: both are polled together, because each may wait for what the other has, such as the
//! one writer of SQLite.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// The work's result, while `hold` renews the lease again and again, each time for `lease` from then on. Trouble that may pass is
/// borne until the lease ends; of all else the work is dropped and the error told.
pub async fn beside<T, H>(
    work: impl Future<Output = T>,
    (every, lease): (Duration, Duration),
    hold: impl Fn() -> H,
) -> Result<T, store::Error>
where
    H: Future<Output = Result<(), store::Error>>,
{
    let beat = async {
        let mut until = Instant::now() + lease;
        loop {
            sleep(every).await;
            let asked = Instant::now();
            match hold().await {
                Ok(()) => until = asked + lease,
                Err(error) if error.is_transient() && Instant::now() < until => {
                    tracing::warn!(error = %error, "the lease of a run was not renewed");
                }
                Err(error) => return error,
            }
        }
    };
    tokio::select! {
        biased;
        done = work => Ok(done),
        error = beat => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::{Mutex, Notify};
    use tokio::time::timeout;

    use super::*;

    const EVERY: Duration = Duration::from_millis(1);
    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn the_work_goes_on_while_the_lease_waits_for_the_writer_that_the_work_has() {
        let (writer, asked) = (Mutex::new(()), Notify::new());
        let work = async {
            let has = writer.lock().await;
            asked.notified().await;
            drop(has);
            "done"
        };
        let hold = || async {
            asked.notify_one();
            let _has = writer.lock().await;
            Ok(())
        };
        let done = timeout(LONG, beside(work, (EVERY, LONG), hold)).await;
        assert_eq!(done.unwrap().unwrap(), "done");
    }

    #[tokio::test]
    async fn trouble_that_passes_is_borne_until_the_lease_ends() {
        let (tried, third) = (AtomicUsize::new(0), Notify::new());
        let hold = || async {
            match tried.fetch_add(1, Ordering::Relaxed) {
                0 | 1 => Err(store::Error::closed()),
                _ => {
                    third.notify_one();
                    Ok(())
                }
            }
        };
        let done = timeout(LONG, beside(third.notified(), (EVERY, LONG), hold)).await;
        done.unwrap().unwrap();
        // It does not pass.
        let never = || async { Err(store::Error::closed()) };
        let lease = Duration::from_millis(20);
        let began = Instant::now();
        let work = std::future::pending::<()>();
        let ended = timeout(LONG, beside(work, (EVERY, lease), never)).await;
        assert!(ended.unwrap().unwrap_err().is_transient());
        assert!(began.elapsed() >= lease);
        // Whoever was overtaken ends at once.
        let overtaken = || async { Err(store::Error::conflict(store::Subject::JobRun)) };
        let work = std::future::pending::<()>();
        let ended = timeout(LONG, beside(work, (EVERY, LONG), overtaken)).await;
        assert!(ended.unwrap().unwrap_err().is_conflict());
    }
}
