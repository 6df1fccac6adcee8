//! How long to wait before a worker process is started again.

use std::time::{Duration, Instant};

const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Before the next start after so many fruitless ones: at once, then 50 ms doubling up to 10 s, each a little different.
pub fn back_off(failures: u32) -> Duration {
    if failures <= 1 {
        return Duration::ZERO;
    }
    let pause = Duration::from_millis(50 << (failures - 2).min(8)).min(LONGEST_PAUSE);
    // The jitter only has to keep two processes apart; the low bits of their clocks do that.
    let jitter = Instant::now().elapsed().subsec_nanos() % 256;
    pause - pause / 4 * jitter / 256
}
