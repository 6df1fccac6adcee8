//! One issuer: its keys as they were read last, and when they are read again.

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use base::{Env, Trouble, names};
use metrics::counter;
use tokio::time::sleep;
use trust::{Time, error_chain};

use super::claims;
use super::fetch::{self, FetchError};
use super::keys::{Key, KeySet};
use super::refusal::{Error, Refusal, Unavailable};
use super::settings::IssuerSettings;
use super::token::UnverifiedToken;
use crate::Principal;

/// Keys that were read.
struct Read {
    set: KeySet,
    at: Time,
}

/// What came of reading the keys again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refresh {
    /// They were read, or could not be.
    Tried,
    /// The last attempt was too short a time ago.
    TooSoon,
    /// Somebody else is at it.
    UnderWay,
}

/// What `doctor` and the metrics say of an issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    pub name: String,
    /// Since its keys were read; none if they never were.
    pub age: Option<Duration>,
    /// Whether tokens of it are believed.
    pub usable: bool,
}

/// A token that was verified, with the key that it was verified with.
pub struct Verified {
    pub principal: Principal,
    pub kid: String,
    pub key: Arc<Key>,
}

pub struct Issuer {
    settings: IssuerSettings,
    env: Env,
    read: RwLock<Option<Arc<Read>>>,
    /// Held while the keys are read.
    reading: Arc<tokio::sync::Mutex<()>>,
    attempted: Mutex<Option<Time>>,
}

impl Issuer {
    pub fn new(settings: IssuerSettings, env: Env) -> Self {
        for outcome in ["read", "failed"] {
            counter!(names::OIDC_REFRESHES, "issuer" => settings.name.clone(), "outcome" => outcome)
                .increment(0);
        }
        Self {
            settings,
            env,
            read: RwLock::default(),
            reading: Arc::default(),
            attempted: Mutex::default(),
        }
    }

    pub fn settings(&self) -> &IssuerSettings {
        &self.settings
    }

    pub fn standing(&self) -> Standing {
        let now = self.env.now();
        let read = self
            .read
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        Standing {
            name: self.settings.name.clone(),
            age: read.as_ref().map(|read| now.since(read.at)),
            usable: read.is_some_and(|read| self.is_fresh(&read, now)),
        }
    }

    /// Whom the token stands for. Nothing that a stranger sends costs more than the check of one signature, and the
    /// reading of the keys once in the time of the floor.
    pub async fn verify(self: &Arc<Self>, token: &UnverifiedToken<'_>) -> Result<Verified, Error> {
        let claimed = claims::check(&self.settings, token, self.env.now())?;
        let key = self.key(claimed.kid).await?;
        if !key.fits(claimed.algorithm) {
            return Err(Refusal::UnfitKey.into());
        }
        if !key.verifies(claimed.algorithm, token.input, token.signature) {
            return Err(Refusal::Signature.into());
        }
        Ok(Verified {
            principal: claimed.principal,
            kid: claimed.kid.to_owned(),
            key,
        })
    }

    /// Whether a key that a token was verified with is still the issuer's under that name.
    pub fn still_has(&self, kid: &str, key: &Key) -> bool {
        let current = self.current();
        let found = current.as_ref().and_then(|read| read.set.get(kid));
        found.is_some_and(|found| found.thumbprint == key.thumbprint)
    }

    async fn key(self: &Arc<Self>, kid: &str) -> Result<Arc<Key>, Error> {
        if let Some(found) = self.known(kid) {
            return Ok(found?);
        }
        match self.refresh().await {
            Refresh::UnderWay => return Err(Unavailable::Reading.into()),
            Refresh::Tried | Refresh::TooSoon => {}
        }
        match self.known(kid) {
            Some(found) => Ok(found?),
            None if self.current().is_none() => Err(Unavailable::NoKeys.into()),
            None => Err(Refusal::UnknownKey.into()),
        }
    }

    /// What the keys that were read say of a kid, if anything.
    fn known(&self, kid: &str) -> Option<Result<Arc<Key>, Refusal>> {
        let read = self.current()?;
        match read.set.get(kid) {
            Some(key) => Some(Ok(Arc::clone(key))),
            None => (read.set.is_left_out(kid)).then_some(Err(Refusal::UnfitKey)),
        }
    }

    /// The keys, unless they were read too long ago: a key that its issuer has withdrawn meanwhile would count for ever.
    fn current(&self) -> Option<Arc<Read>> {
        let read = self
            .read
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        read.filter(|read| self.is_fresh(read, self.env.now()))
    }

    fn is_fresh(&self, read: &Read, now: Time) -> bool {
        now.since(read.at) <= self.settings.keep_keys
    }

    /// Reads the keys, once in the time of the floor and one at a time. Nobody waits in a queue. Whoever asked may go
    /// away: the reading goes on.
    async fn refresh(self: &Arc<Self>) -> Refresh {
        let Ok(reading) = Arc::clone(&self.reading).try_lock_owned() else {
            return Refresh::UnderWay;
        };
        if !self.may_attempt() {
            return Refresh::TooSoon;
        }
        let issuer = Arc::clone(self);
        let task = tokio::spawn(async move {
            let _reading = reading;
            let _ = issuer.fetch().await;
        });
        let _ = task.await;
        Refresh::Tried
    }

    /// Notes an attempt, if it is time for one.
    fn may_attempt(&self) -> bool {
        let now = self.env.now();
        let mut attempted = self
            .attempted
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // A clock that was set back starts anew.
        let too_soon = attempted
            .is_some_and(|last| now >= last && now.since(last) < self.settings.refresh_floor);
        if !too_soon {
            *attempted = Some(now);
        }
        !too_soon
    }

    /// Asks the issuer now, whatever was before. Keys that could not be read stay as they are.
    pub async fn fetch(&self) -> Result<usize, FetchError> {
        let found = fetch::key_set(&self.settings).await;
        let outcome = if found.is_ok() { "read" } else { "failed" };
        counter!(
            names::OIDC_REFRESHES,
            "issuer" => self.settings.name.clone(),
            "outcome" => outcome
        )
        .increment(1);
        Ok(self.take(found?))
    }

    /// These are its keys from now on; how many can be used.
    pub fn take(&self, set: KeySet) -> usize {
        let count = set.count();
        let at = self.env.now();
        let read = Some(Arc::new(Read { set, at }));
        *self.read.write().unwrap_or_else(PoisonError::into_inner) = read;
        count
    }

    /// What of the keys cannot be used, and why.
    pub fn unusable(&self) -> Vec<String> {
        let read = self.read.read().unwrap_or_else(PoisonError::into_inner);
        read.as_ref()
            .map(|read| read.set.unusable())
            .unwrap_or_default()
    }

    /// Reads the keys from time to time, without end.
    pub async fn follow(&self) {
        let (floor, refresh) = (self.settings.refresh_floor, self.settings.refresh);
        let issuer = &self.settings.name;
        let mut trouble = Trouble::default();
        let mut pause = floor;
        loop {
            let reading = self.reading.lock().await;
            let outcome = match self.may_attempt() {
                true => Some(self.fetch().await),
                false => None,
            };
            drop(reading);
            match outcome {
                // A request has just asked.
                None => pause = floor,
                Some(Ok(count)) => {
                    pause = refresh;
                    if trouble.is_over() {
                        tracing::info!(issuer, "the keys of an OIDC issuer were read again");
                    }
                    if count == 0 {
                        tracing::warn!(issuer, "an OIDC issuer has no key that can be used");
                    }
                }
                Some(Err(error)) => {
                    let error = error_chain(&error);
                    if trouble.is(&error).is_some() {
                        tracing::error!(issuer, error, "the keys of an OIDC issuer cannot be read");
                    }
                    pause = match pause >= refresh {
                        true => floor,
                        false => (pause * 2).min(refresh / 2).max(floor),
                    };
                }
            }
            sleep(pause).await;
        }
    }
}
