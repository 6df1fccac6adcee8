//! Signals of the operating system.

use tokio::signal::unix::{Signal, SignalKind, signal};

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
