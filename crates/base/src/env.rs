//! The clock and the randomness, handed in from `main`; nothing else may reach for them. Tests
//! hand in their own.

use std::sync::Arc;
use std::time::Duration;

use trust::Time;

/// Cheap to clone.
#[derive(Clone)]
pub struct Env {
    now: Arc<dyn Fn() -> Time + Send + Sync>,
    fill: Arc<dyn Fn(&mut [u8]) -> Result<(), NoRandomness> + Send + Sync>,
}

/// The operating system gave no randomness. Nothing that needs it may go on.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the system random source failed")]
pub struct NoRandomness;

impl Env {
    pub fn new(
        now: impl Fn() -> Time + Send + Sync + 'static,
        fill: impl Fn(&mut [u8]) -> Result<(), NoRandomness> + Send + Sync + 'static,
    ) -> Self {
        Self {
            now: Arc::new(now),
            fill: Arc::new(fill),
        }
    }

    /// The same randomness at another time: the clock is ahead by what `ahead` says whenever it is asked.
    #[must_use]
    pub fn ahead(&self, ahead: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        let now = self.now.clone();
        Self {
            now: Arc::new(move || now() + ahead()),
            fill: self.fill.clone(),
        }
    }

    /// The wall clock.
    pub fn now(&self) -> Time {
        (self.now)()
    }

    /// `N` random bytes.
    pub fn random<const N: usize>(&self) -> Result<[u8; N], NoRandomness> {
        let mut bytes = [0; N];
        (self.fill)(&mut bytes)?;
        Ok(bytes)
    }
}
