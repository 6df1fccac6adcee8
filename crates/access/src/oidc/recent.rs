//! Tokens that were verified a while ago: a program sends the same one with each request until it ends. Only tokens
//! with a good signature come in here, so that strangers cannot fill it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use trust::{Sha256Digest, Time};

use super::issuer::{Issuer, Verified};
use crate::Principal;

/// Tokens that are kept.
pub const MOST: usize = if cfg!(test) { 20 } else { 10_000 };

struct Entry {
    issuer: Arc<Issuer>,
    verified: Verified,
}

#[derive(Default)]
pub struct Recent(Mutex<HashMap<Sha256Digest, Entry>>);

impl Recent {
    /// Whom the token stands for, if that is known and still so: it has not ended, and its issuer still has the key.
    pub fn get(&self, token: &Sha256Digest, now: Time) -> Option<Principal> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = all.get(token)?;
        let Verified {
            principal,
            kid,
            key,
        } = &entry.verified;
        if principal.is_live(now) && entry.issuer.still_has(kid, key) {
            return Some(principal.clone());
        }
        all.remove(token);
        None
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.len()
    }

    pub fn put(&self, token: Sha256Digest, issuer: Arc<Issuer>, verified: Verified, now: Time) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MOST {
            all.retain(|_, entry| entry.verified.principal.is_live(now));
        }
        // All alive: each is verified once more.
        if all.len() >= MOST {
            all.clear();
        }
        all.insert(token, Entry { issuer, verified });
    }
}
