//! Background tasks: one supervised set. A task that panics is told in the service log, counted, and started again after a
//! pause that grows; what it works on is kept. They are stopped in the reverse of the order in which they were started.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::time::Duration;

use futures_util::FutureExt as _;
use metrics::{counter, gauge};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::names::{TASK_RESTARTS, TASK_UP};

/// The first pause; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A task that ran for so long has recovered: the next pause is the first again.
const RECOVERED: Duration = Duration::from_secs(120);

/// How long a task that ends by itself may take to do so.
const LAST_WORK: Duration = Duration::from_secs(3);

/// What a task does with its state until it is stopped, or until there is nothing left to do.
pub type Run<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// How a task is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// Anywhere between two steps: it loses nothing by that.
    AtOnce,
    /// It ends by itself when nobody gives it work any more.
    WhenIdle,
}

struct Task {
    name: String,
    stop: Stop,
    running: JoinHandle<()>,
}

/// The set; dropped without [`Tasks::stop`], its tasks are stopped at once, and nobody waits for them.
#[derive(Default)]
pub struct Tasks {
    tasks: Vec<Task>,
}

impl Tasks {
    /// Starts a task that may be stopped between any two of its steps.
    pub fn start<T: Send + 'static>(
        &mut self,
        name: impl Into<String>,
        state: T,
        run: impl for<'a> Fn(&'a mut T) -> Run<'a> + Send + 'static,
    ) {
        self.supervise(name.into(), Stop::AtOnce, state, run);
    }

    /// Starts a task that ends when nobody gives it work any more, and is waited for.
    pub fn start_draining<T: Send + 'static>(
        &mut self,
        name: impl Into<String>,
        state: T,
        run: impl for<'a> Fn(&'a mut T) -> Run<'a> + Send + 'static,
    ) {
        self.supervise(name.into(), Stop::WhenIdle, state, run);
    }

    fn supervise<T: Send + 'static>(
        &mut self,
        name: String,
        stop: Stop,
        state: T,
        run: impl for<'a> Fn(&'a mut T) -> Run<'a> + Send + 'static,
    ) {
        let running = tokio::spawn(keep_running(name.clone(), state, run));
        self.tasks.push(Task {
            name,
            stop,
            running,
        });
    }

    /// Stops all, the last first, and returns when each has ended: what they held is free then.
    pub async fn stop(mut self) {
        for mut task in std::mem::take(&mut self.tasks).into_iter().rev() {
            let ended = match task.stop {
                Stop::WhenIdle => timeout(LAST_WORK, &mut task.running).await.is_ok(),
                Stop::AtOnce => false,
            };
            if !ended {
                if task.stop == Stop::WhenIdle {
                    tracing::warn!(task = task.name, "a background task did not end in time");
                }
                task.running.abort();
                let _ = task.running.await;
            }
        }
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.running.abort();
        }
    }
}

async fn keep_running<T: Send>(
    name: String,
    mut state: T,
    run: impl for<'a> Fn(&'a mut T) -> Run<'a> + Send,
) {
    let mut pause = FIRST_PAUSE;
    loop {
        gauge!(TASK_UP, "task" => name.clone()).set(1);
        let started = Instant::now();
        if AssertUnwindSafe(run(&mut state))
            .catch_unwind()
            .await
            .is_ok()
        {
            gauge!(TASK_UP, "task" => name).set(0);
            return;
        }
        gauge!(TASK_UP, "task" => name.clone()).set(0);
        counter!(TASK_RESTARTS, "task" => name.clone()).increment(1);
        if started.elapsed() >= RECOVERED {
            pause = FIRST_PAUSE;
        }
        tracing::error!(task = name, pause = ?pause, "a background task panicked and is restarted");
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_task_that_panics_is_started_again_after_growing_pauses_with_its_state() {
        let (tell, mut told) = mpsc::unbounded_channel();
        let mut tasks = Tasks::default();
        tasks.start("fails", (0, tell), |(runs, tell)| {
            Box::pin(async move {
                *runs += 1;
                let _ = tell.send((*runs, Instant::now()));
                assert!(*runs > 3, "not yet");
                std::future::pending::<()>().await;
            })
        });
        let mut starts = Vec::new();
        for expected in 1..=4 {
            let (run, at) = told.recv().await.unwrap();
            assert_eq!(run, expected);
            starts.push(at);
        }
        let pauses: Vec<u128> = starts
            .windows(2)
            .map(|two| (two[1] - two[0]).as_millis() / 500)
            .collect();
        assert_eq!(pauses, [1, 2, 4]);
        tasks.stop().await;
    }

    /// Writes its name down when it is dropped.
    struct Named(&'static str, Arc<Mutex<Vec<&'static str>>>);

    impl Drop for Named {
        fn drop(&mut self) {
            self.1.lock().unwrap().push(self.0);
        }
    }

    #[tokio::test]
    async fn the_last_one_is_stopped_first_and_a_queue_is_worked_off() {
        let ended = Arc::default();
        let done = Arc::new(Mutex::new(0));
        let mut tasks = Tasks::default();
        tasks.start("first", Named("first", Arc::clone(&ended)), |_| {
            Box::pin(std::future::pending())
        });
        let (work, queue) = mpsc::channel::<u32>(8);
        let second = (queue, done.clone(), Named("second", Arc::clone(&ended)));
        tasks.start_draining("second", second, |(queue, done, _)| {
            Box::pin(async move {
                while let Some(n) = queue.recv().await {
                    *done.lock().unwrap() += n;
                }
            })
        });
        for n in [1, 2, 3] {
            work.send(n).await.unwrap();
        }
        // While it runs the second may be given work.
        let third = (Named("third", Arc::clone(&ended)), work);
        tasks.start("third", third, |_| Box::pin(std::future::pending()));
        tasks.stop().await;
        assert_eq!(*done.lock().unwrap(), 6);
        assert_eq!(*ended.lock().unwrap(), ["third", "second", "first"]);
    }
}
