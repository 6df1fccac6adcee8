//! What a caller has begun belongs to a task of its own: a client that goes away, or a time limit that
//! passes, ends the waiting and not the work. The task owns the permit of the request until it is done, so
//! that what runs is what is counted.

use std::future::Future;
use std::time::Instant;

use tokio::runtime::Handle;

use crate::middleware::limits::Permit;

/// Why there is no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfinished {
    /// It goes on and keeps its permit.
    Late,
    Panicked,
}

/// Waits until an instant for `work`, which is done by the threads of `place`.
pub async fn run<T: Send + 'static>(
    place: &Handle,
    permit: Permit,
    until: Instant,
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, Unfinished> {
    let task = place.spawn(async move {
        let done = work.await;
        drop(permit);
        done
    });
    match tokio::time::timeout_at(until.into(), task).await {
        Ok(done) => done.map_err(|_| Unfinished::Panicked),
        Err(_) => Err(Unfinished::Late),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::sync::{Semaphore, oneshot};

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(30)
    }

    async fn permit(places: &Arc<Semaphore>) -> Permit {
        Arc::new(Arc::clone(places).acquire_owned().await.unwrap())
    }

    #[tokio::test]
    async fn case_s16_what_was_begun_is_finished_though_its_caller_left() {
        let places = Arc::new(Semaphore::new(1));
        let (begun, has_begun) = oneshot::channel();
        let (go_on, may_go_on) = oneshot::channel();
        let (done, is_done) = oneshot::channel();
        let work = async move {
            begun.send(()).unwrap();
            may_go_on.await.unwrap();
            done.send(()).unwrap();
        };
        let permitted = permit(&places).await;
        let caller =
            tokio::spawn(async move { run(&Handle::current(), permitted, soon(), work).await });
        has_begun.await.unwrap();
        caller.abort();
        assert!(caller.await.unwrap_err().is_cancelled());
        assert_eq!(places.available_permits(), 0);
        go_on.send(()).unwrap();
        is_done.await.unwrap();
        drop(permit(&places).await);
    }

    #[tokio::test]
    async fn a_time_limit_ends_the_waiting_and_a_panic_gives_the_place_back() {
        let places = Arc::new(Semaphore::new(1));
        let here = Handle::current();
        let (go_on, may_go_on) = oneshot::channel::<()>();
        let late = run(&here, permit(&places).await, Instant::now(), may_go_on).await;
        assert!(matches!(late, Err(Unfinished::Late)));
        assert_eq!(places.available_permits(), 0);
        drop(go_on);
        let held = permit(&places).await;
        let panicked = run(&here, held, soon(), async { panic!("a defect") }).await;
        assert_eq!(panicked, Err::<(), _>(Unfinished::Panicked));
        drop(permit(&places).await);
    }
}
