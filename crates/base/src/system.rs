//! The system's clock, random source and signals, as the programs hand them in. Everything below a program takes them as
//! parameters (`Env`), so that a test can say when it is.

use tokio::signal::unix::{Signal, SignalKind, signal};
use trust::Time;

use crate::NoRandomness;

/// The wall clock.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the wall clock"
)]
pub fn now() -> Time {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    Time::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Fills `bytes` from the operating system's random source.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that draws randomness"
)]
pub fn fill(bytes: &mut [u8]) -> Result<(), NoRandomness> {
    aws_lc_rs::rand::fill(bytes).map_err(|_| NoRandomness)
}

/// Who wants the program to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Somebody at a terminal (SIGINT).
    Interrupt,
    /// Whatever runs it, such as systemd or Kubernetes (SIGTERM).
    Terminate,
}

/// Returns when the program is to stop.
pub async fn shutdown_signal() -> Stop {
    let interrupt = tokio::signal::ctrl_c();
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => tokio::select! {
            _ = interrupt => Stop::Interrupt,
            _ = terminate.recv() => Stop::Terminate,
        },
        Err(_) => {
            let _ = interrupt.await;
            Stop::Interrupt
        }
    }
}

/// SIGHUP, which does not end the program from here on.
pub struct Hangup(Option<Signal>);

impl Hangup {
    pub fn new() -> Self {
        Self(signal(SignalKind::hangup()).ok())
    }

    /// Returns at the next one.
    pub async fn recv(&mut self) {
        if let Some(signal) = &mut self.0
            && signal.recv().await.is_some()
        {
            return;
        }
        std::future::pending().await
    }
}

impl Default for Hangup {
    fn default() -> Self {
        Self::new()
    }
}
