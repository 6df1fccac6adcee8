//! Whether a signature can be made, by what the last ones came to: of each ring at the token, and of all of them in
//! the database (cases A1, A2).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use trust::error_chain;

use token::RetryHint;

/// What the last attempt came to.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub at: Instant,
    /// Nothing if it succeeded.
    pub error: Option<Arc<str>>,
}

impl Outcome {
    pub fn is_good(&self) -> bool {
        self.error.is_none()
    }
}

/// Of each ring with a primary, and of the database.
#[derive(Debug, Clone, Default)]
pub struct Outcomes {
    pub rings: BTreeMap<Arc<str>, Outcome>,
    pub write: Option<Outcome>,
}

/// Shared by whoever signs and whoever is asked how it goes.
#[derive(Debug, Default)]
pub struct Readiness(Mutex<Outcomes>);

impl Readiness {
    pub fn outcomes(&self) -> Outcomes {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn note(slot: Option<&Outcome>, what: &str, error: Option<Arc<str>>) -> Outcome {
        match (slot.is_none_or(Outcome::is_good), &error) {
            (true, Some(error)) => tracing::error!(what, %error, "no signature can be made"),
            (false, None) => tracing::info!(what, "signatures can be made again"),
            _ => {}
        }
        Outcome {
            at: Instant::now(),
            error,
        }
    }

    pub(super) fn ring(&self, ring: &Arc<str>, error: Option<Arc<str>>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = Self::note(all.rings.get(ring), ring, error);
        all.rings.insert(Arc::clone(ring), outcome);
    }

    pub(super) fn write(&self, error: Option<Arc<str>>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.write = Some(Self::note(all.write.as_ref(), "the database", error));
    }

    /// Rings without a primary are not asked any more.
    pub(super) fn forget_others(&self, rings: &[Arc<str>]) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.rings.retain(|ring, _| rings.contains(ring));
    }
}

/// The error of a token that says something about the ring; a full queue or a caller's deadline does not.
pub(super) fn tells(error: &token::Error) -> Option<Arc<str>> {
    match error.retry_hint() {
        RetryHint::Overloaded | RetryHint::TimedOut => None,
        RetryHint::RetryAfter(_) | RetryHint::Alert => Some(error_chain(error).into()),
    }
}
