//! Callers that sign without pause, check every signature, and notice how long they had to wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hsm::{KeyRef, Supervisor};

use crate::support::*;

pub struct Load {
    pub served: u64,
    /// The longest that a caller waited: about the length of the outage and of the recovery.
    pub longest: Duration,
}

/// Runs `fault` while four callers sign with all the keys. Panics at the first request that is lost or wrong.
pub fn under_load(
    signer: &Supervisor,
    keys: &[Arc<KeyRef>],
    fault: impl FnOnce(&AtomicU64),
) -> Load {
    let stop = AtomicBool::new(false);
    let served = AtomicU64::new(0);
    let longest = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..4)
            .map(|caller| {
                let (stop, served) = (&stop, &served);
                scope.spawn(move || {
                    let mut longest = Duration::ZERO;
                    let mut seed = caller;
                    while !stop.load(Ordering::Relaxed) {
                        seed += 4;
                        let began = Instant::now();
                        let key = &keys[seed as usize % keys.len()];
                        if let Err(error) = signs(signer, key, seed) {
                            // What became of the workers says whose fault it is.
                            panic!(
                                "after {:?}: {error:?}; {:#?}",
                                began.elapsed(),
                                signer.health()
                            );
                        }
                        longest = longest.max(began.elapsed());
                        served.fetch_add(1, Ordering::Relaxed);
                    }
                    longest
                })
            })
            .collect();
        // Whatever becomes of the fault, the callers end.
        struct Stop<'a>(&'a AtomicBool);
        impl Drop for Stop<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        {
            let _stop = Stop(&stop);
            pause(100);
            fault(&served);
            more(&served, 20);
        }
        callers
            .into_iter()
            .map(|caller| caller.join().unwrap())
            .max()
            .unwrap()
    });
    Load {
        served: served.into_inner(),
        longest,
    }
}

/// Waits until so many more requests were served.
pub fn more(served: &AtomicU64, count: u64) {
    let wanted = served.load(Ordering::Relaxed) + count;
    let until = soon();
    while served.load(Ordering::Relaxed) < wanted {
        assert!(Instant::now() < until, "nothing is served any more");
        pause(1);
    }
}

pub fn pause(millis: u64) {
    std::thread::sleep(Duration::from_millis(millis));
}
