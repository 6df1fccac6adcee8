//! A database server that is silent costs each caller a time-out. After the first one callers are
//! refused at once, and now and then one tries whether the server answers again (case A12).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use trust::error_chain;

use crate::error::Error;

/// How long one caller tries a silent server.
pub(crate) const TRIAL: Duration = Duration::from_secs(2);
/// From the beginning of one trial to the next: in between everybody is refused, those who come one after
/// the other too.
const EVERY: Duration = Duration::from_secs(3);

/// What a caller may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pass {
    Usual,
    /// The server was silent; this caller tries it, for a short time.
    Trial,
    Refused,
}

#[derive(Debug, Default)]
pub(crate) struct Breaker {
    lost: AtomicBool,
    state: Mutex<Option<Lost>>,
}

#[derive(Debug)]
struct Lost {
    since: Instant,
    /// It does not even refuse. Who is refused a connection knows at once, so nobody has to be kept away.
    silent: bool,
    next_trial: Instant,
}

impl Breaker {
    pub fn pass(&self) -> Pass {
        if !self.lost.load(Ordering::Acquire) {
            return Pass::Usual;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match state.as_mut().filter(|lost| lost.silent) {
            None => Pass::Usual,
            Some(lost) if lost.next_trial <= Instant::now() => {
                lost.next_trial = Instant::now() + EVERY;
                Pass::Trial
            }
            Some(_) => Pass::Refused,
        }
    }

    /// The server did something that was asked of it.
    pub fn answered(&self) {
        if !self.lost.load(Ordering::Acquire) {
            return;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(lost) = state.take() else { return };
        self.lost.store(false, Ordering::Release);
        let seconds = lost.since.elapsed().as_secs();
        tracing::info!(seconds, "the database is back");
    }

    /// What a call came to that ended without an answer; others are none of ours.
    pub fn failed(&self, error: &Error) {
        let Error::Unavailable { source, .. } = error else {
            return;
        };
        let silent = match source {
            sqlx::Error::PoolTimedOut => true,
            sqlx::Error::Io(error) => error.kind() == std::io::ErrorKind::TimedOut,
            // The service is stopping.
            sqlx::Error::PoolClosed => return,
            _ => false,
        };
        let now = Instant::now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lost) = state.as_mut() {
            // The first that finds it silent leaves the next trial to whoever comes next.
            if silent && !lost.silent {
                lost.silent = true;
                lost.next_trial = now;
            }
            return;
        }
        *state = Some(Lost {
            since: now,
            silent,
            next_trial: now,
        });
        self.lost.store(true, Ordering::Release);
        tracing::error!(error = error_chain(error), "the database is lost");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unavailable(source: sqlx::Error) -> Error {
        Error::Unavailable {
            operation: "read",
            source,
        }
    }

    #[test]
    fn case_a12_a_silent_server_is_tried_by_one_caller_at_a_time() {
        let breaker = Breaker::default();
        assert_eq!(breaker.pass(), Pass::Usual);
        breaker.failed(&unavailable(sqlx::Error::PoolTimedOut));
        assert_eq!(breaker.pass(), Pass::Trial);
        assert_eq!(breaker.pass(), Pass::Refused);
        breaker.failed(&unavailable(sqlx::Error::PoolTimedOut));
        assert_eq!(breaker.pass(), Pass::Refused);
        breaker.answered();
        assert_eq!(breaker.pass(), Pass::Usual);
    }

    #[test]
    fn a_server_that_refuses_is_asked_by_everybody() {
        let breaker = Breaker::default();
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        breaker.failed(&unavailable(sqlx::Error::Io(refused)));
        assert_eq!(breaker.pass(), Pass::Usual);
        // Then it is there and silent.
        breaker.failed(&unavailable(sqlx::Error::PoolTimedOut));
        assert_eq!(breaker.pass(), Pass::Trial);
        assert_eq!(breaker.pass(), Pass::Refused);
    }

    #[test]
    fn what_the_server_said_no_to_and_a_service_that_stops_are_no_loss() {
        let breaker = Breaker::default();
        breaker.failed(&Error::Busy {
            operation: "read",
            source: sqlx::Error::PoolTimedOut,
        });
        breaker.failed(&Error::closed());
        assert_eq!(breaker.pass(), Pass::Usual);
    }
}
