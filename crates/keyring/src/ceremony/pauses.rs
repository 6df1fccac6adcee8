//! Until what a rule refused is tried again.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::time::Instant;
use trust::{Sha256Digest, error_chain};

use super::error::{Error, Kind};

/// Each further pause is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(15);
const LONGEST_PAUSE: Duration = Duration::from_secs(15 * 60);

/// Ceremonies that were refused, each since when and why.
#[derive(Default)]
pub(super) struct Pauses(HashMap<Sha256Digest, Pause>);

struct Pause {
    until: Instant,
    length: Duration,
    why: String,
}

/// Whose trouble an error is.
pub(super) enum Trouble {
    /// The token's: what needs it waits, and what does not goes on.
    Token(String),
    /// Of this one alone, with its reason and whether that is new.
    One(String, bool),
    /// Another executor's, which will soon have done it.
    Another(String),
}

impl Pauses {
    /// Forgets all others.
    pub(super) fn keep(&mut self, ids: &HashSet<Sha256Digest>) {
        self.0.retain(|id, _| ids.contains(id));
    }

    pub(super) fn end(&mut self, id: Sha256Digest) {
        self.0.remove(&id);
    }

    /// Why it is not tried now.
    pub(super) fn why(&self, id: Sha256Digest, now: Instant) -> Option<String> {
        let pause = self.0.get(&id).filter(|pause| now < pause.until);
        pause.map(|pause| pause.why.clone())
    }

    /// An error that is of the database, and of no ceremony alone, is returned.
    pub(super) fn judge(
        &mut self,
        id: Sha256Digest,
        error: Error,
        now: Instant,
    ) -> Result<Trouble, Error> {
        let why = error_chain(&error);
        match &error {
            Error::Claimed | Error::State { .. } => return Ok(Trouble::Another(why)),
            Error::Token(_) if error.kind() == Kind::Unavailable => return Ok(Trouble::Token(why)),
            // The others are not to wait for somebody who mends a row.
            Error::Store(corrupt) if corrupt.is_corrupt() => {}
            _ if error.kind() == Kind::Unavailable => return Err(error),
            _ => {}
        }
        let before = self.0.get(&id);
        let is_news = match &error {
            // Somebody was first, most likely; it is told if that goes on.
            Error::Store(error) if error.is_conflict() => before.is_some(),
            _ => before.is_none_or(|before| before.why != why),
        };
        let length = match before {
            Some(before) => (before.length * 2).min(LONGEST_PAUSE),
            None => FIRST_PAUSE,
        };
        let pause = Pause {
            until: now + length,
            length,
            why: why.clone(),
        };
        self.0.insert(id, pause);
        Ok(Trouble::One(why, is_news))
    }
}
