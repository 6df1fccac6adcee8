//! Each read signature is used once.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use trust::{MemberId, Sha256Digest, Time, read};

use crate::problem::{Code, Problem};

/// Read signatures of one member that are remembered; more in five minutes are refused.
const OF_MEMBER: usize = 1_000;

/// Read signatures that were used, until they are too old to be used again. Each replica knows its own.
#[derive(Default)]
pub struct UsedReads(Mutex<HashMap<MemberId, HashMap<Sha256Digest, Time>>>);

impl UsedReads {
    /// Takes what was signed, once.
    pub fn take(&self, member: &MemberId, what: Sha256Digest, now: Time) -> Result<(), Problem> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_member = all.entry(member.clone()).or_default();
        if of_member.len() >= OF_MEMBER {
            of_member.retain(|_, until| *until >= now);
        }
        if of_member.len() >= OF_MEMBER {
            let detail = "this member has read too often within five minutes";
            return Err(Problem::new(Code::RateLimited, detail));
        }
        let keep = Duration::from_millis((read::VALID_MILLIS + read::AHEAD_MILLIS).unsigned_abs());
        match of_member.insert(what, now + keep) {
            None => Ok(()),
            Some(_) => Err(Problem::new(
                Code::InvalidCredentials,
                "the read signature was used before",
            )),
        }
    }
}
