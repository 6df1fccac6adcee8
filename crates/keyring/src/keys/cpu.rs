//! Signatures are checked and transcripts are tallied on threads of their own, of which there are as many as cores. Strangers take at
//! most half of them, so that whoever signs keeps the rest (cases S13, A11).

use std::sync::Arc;
use std::thread::available_parallelism;

use tokio::sync::Semaphore;

/// Cheap to clone. Who waits for a turn is a request in flight, so their number is bounded.
#[derive(Debug, Clone)]
pub struct Cpu {
    all: Arc<Semaphore>,
    strangers: Arc<Semaphore>,
}

/// Whose work it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Share {
    Known,
    Stranger,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unfinished {
    #[error("the check of a signature panicked")]
    Panicked,
    /// Nothing is known of what was to be checked.
    #[error("the check of a signature was not finished, because the service is stopping")]
    Stopped,
}

impl Default for Cpu {
    fn default() -> Self {
        Self::with_cores(available_parallelism().map_or(1, usize::from))
    }
}

impl Cpu {
    pub fn with_cores(cores: usize) -> Self {
        Self {
            all: Arc::new(Semaphore::new(cores.max(1))),
            strangers: Arc::new(Semaphore::new((cores / 2).max(1))),
        }
    }

    /// The turn belongs to the work: it ends with it, whoever asked for it.
    pub async fn run<T: Send + 'static>(
        &self,
        share: Share,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Unfinished> {
        let take = async |turns: &Arc<Semaphore>| {
            let turn = turns.clone().acquire_owned().await;
            turn.map_err(|_| Unfinished::Stopped)
        };
        let stranger = match share {
            Share::Stranger => Some(take(&self.strangers).await?),
            Share::Known => None,
        };
        let turn = take(&self.all).await?;
        let done = tokio::task::spawn_blocking(move || {
            let done = work();
            drop((turn, stranger));
            done
        });
        done.await.map_err(|error| match error.is_panic() {
            true => Unfinished::Panicked,
            false => Unfinished::Stopped,
        })
    }

    /// As when the service stops: nothing more is begun.
    #[cfg(test)]
    pub fn stop(&self) {
        self.all.close();
        self.strangers.close();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// However many strangers ask, a known caller has a turn at once.
    #[tokio::test]
    async fn case_a11_strangers_have_half_of_the_cores() {
        let cpu = Cpu::with_cores(4);
        let (began, mut begun) = tokio::sync::mpsc::unbounded_channel();
        let mut held = Vec::new();
        let strangers: Vec<_> = (0..10)
            .map(|_| {
                let (release, released) = mpsc::channel::<()>();
                held.push(release);
                let (cpu, began) = (cpu.clone(), began.clone());
                tokio::spawn(async move {
                    let work = move || {
                        let _ = began.send(());
                        let _ = released.recv();
                    };
                    cpu.run(Share::Stranger, work).await
                })
            })
            .collect();
        for _ in 0..2 {
            begun.recv().await.unwrap();
        }
        assert_eq!(cpu.run(Share::Known, || 7).await.unwrap(), 7);
        assert_eq!(cpu.strangers.available_permits(), 0);
        assert_eq!(cpu.all.available_permits(), 2);
        assert!(begun.try_recv().is_err(), "a third stranger has a turn");
        // Whoever asked has gone; the turn is still taken.
        strangers[0].abort();
        assert_eq!(cpu.strangers.available_permits(), 0);
        drop(held);
        for stranger in strangers.into_iter().skip(1) {
            stranger.await.unwrap().unwrap();
        }
        drop(began);
    }

    #[tokio::test]
    async fn work_that_panics_gives_its_turn_back() {
        let cpu = Cpu::with_cores(1);
        let failed = cpu.run(Share::Stranger, || panic!("defect")).await;
        assert_eq!(failed, Err(Unfinished::Panicked));
        assert_eq!(cpu.run(Share::Stranger, || 1).await.unwrap(), 1);
    }
}
