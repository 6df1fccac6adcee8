//! What is known of a signature, and the verdict on it now or as of an earlier instant.
//!
//! **As of an instant** means: what would have been answered then, had the signature been shown
//! then, by what was known then. Not with hindsight: a compromise that was found out later is not
//! counted, even where it had begun. So
//!
//! - the key stands in the state in which it stood at that instant; before it was published nobody
//!   knew it (`unknown_key`);
//! - only proofs of existence that are not later than the instant count, and only an entry of the
//!   log that was there by then makes the signature a logged one;
//! - an algorithm that was withdrawn later was still in use;
//! - without a proof the answer is INDETERMINATE `no_proof_of_existence` **even where the key was
//!   active**. Today an active key needs no proof because seeing the signature proves that it
//!   exists today, while the key is active. That proves nothing about an earlier day: otherwise a
//!   thief would sign today and ask about the day before the key was revoked.
//!
//! A verdict as of the present instant is therefore stricter than the one about now.

use super::{Existence, Facts, Outcome, Reason, Verdict, Withdrawn, verdict};
use crate::state::KeyState;
use crate::time::Time;

/// What is known of a signature today.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known<'a> {
    /// The key's state now; none if the kid is unknown.
    pub key: Option<&'a KeyState>,
    /// Whether the signature checks against that key.
    pub checks: bool,
    /// Whether the key's usage allows what was signed.
    pub fits_usage: bool,
    /// Its place in our log.
    pub log: Option<Existence>,
    /// What an RFC 3161 token says. It proves that the signature existed, never that it is ours.
    pub timestamp: Option<Stamp>,
    /// When the algorithm ceased to be sound, if it did or will.
    pub withdrawn: Option<Withdrawn>,
}

/// A token that was presented along with a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stamp {
    /// It was verified.
    Proof(Existence),
    /// It was not, and proves nothing. That is a finding; it makes no verdict better or worse.
    Bad,
}

impl Known<'_> {
    /// The verdict now.
    pub fn verdict(&self, now: Time) -> Verdict {
        let withdrawn = self.withdrawn.filter(|withdrawn| withdrawn.at <= now);
        self.judge(self.key, self.log, self.stamped(), withdrawn)
    }

    /// The verdict as of `instant`, which is not in the future; see the module.
    pub fn verdict_as_of(&self, instant: Time) -> Verdict {
        let by_then = |proof: Existence| (proof.at <= instant).then_some(proof);
        let state = self.key.and_then(|key| key.as_of(instant));
        let log = self.log.and_then(by_then);
        let stamped = self.stamped().and_then(by_then);
        let withdrawn = self.withdrawn.filter(|withdrawn| withdrawn.at <= instant);
        let mut verdict = self.judge(state.as_ref(), log, stamped, withdrawn);
        if verdict.existed_at.is_none() && verdict.outcome == Outcome::Valid {
            verdict.outcome = Outcome::Indeterminate;
            verdict.reasons.insert(0, Reason::NoProofOfExistence);
        }
        verdict
    }

    fn stamped(&self) -> Option<Existence> {
        match self.timestamp {
            Some(Stamp::Proof(proof)) => Some(proof),
            Some(Stamp::Bad) | None => None,
        }
    }

    fn judge(
        &self,
        key: Option<&KeyState>,
        log: Option<Existence>,
        stamped: Option<Existence>,
        withdrawn: Option<Withdrawn>,
    ) -> Verdict {
        let mut verdict = verdict(&Facts {
            key,
            checks: self.checks,
            fits_usage: self.fits_usage,
            existence: Existence::earliest([log, stamped].into_iter().flatten()),
            // The commit of a signature is fenced by the key's state: none stands behind it.
            after_retirement: false,
            logged: log.is_some(),
            withdrawn,
        });
        if self.timestamp == Some(Stamp::Bad) {
            verdict.reasons.push(Reason::BadTimestamp);
        }
        verdict
    }
}

impl Existence {
    /// The proof to rest on: the earliest of those that are sound today; where none is, the
    /// earliest, whose unsoundness then counts where an algorithm is withdrawn.
    pub fn earliest(proofs: impl IntoIterator<Item = Self>) -> Option<Self> {
        proofs
            .into_iter()
            .min_by_key(|proof| (!proof.sound, proof.at))
    }
}
