//! The life of a key, told again by the leaves of the log.
//!
//! A database can be rewritten, the log cannot. What a key's state must be follows from its acts in
//! the order of the log, and from nothing else.

#[cfg(test)]
mod tests;

use crate::digest::Sha256Digest;
use crate::jwk::Kid;
use crate::leaf::{ActKind, ActLeaf};
use crate::life::{Contradiction, Life, Revocation};
use crate::request::RevocationReason;
use crate::state::KeyState;
use crate::time::Time;

/// What the acts so far say of one key.
#[derive(Clone, Debug)]
pub struct History {
    kid: Kid,
    life: Life,
    primary: bool,
    transcript: Option<Sha256Digest>,
    revoked_by: Option<Option<String>>,
}

/// An act that no such key can have gone through.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAHistory {
    /// It does not say how it concerns the key.
    #[error("act {action:?} of kind {kind:?} does not concern the key")]
    Foreign {
        /// Its kind.
        kind: ActKind,
        /// Its action.
        action: String,
    },
    /// For instance retired before it was primary.
    #[error("{action:?} cannot follow: {why}")]
    OutOfOrder {
        /// The action.
        action: String,
        /// What is wrong.
        why: &'static str,
    },
    /// A revocation without a reason, or with a beginning that does not go with it.
    #[error("the revocation has no valid reason")]
    Revocation,
    /// A revocation of a revoked key that says no more than the one there is, or less.
    #[error("the key is already revoked, and this revocation is not more severe")]
    NotMoreSevere,
    /// The instants run backwards.
    #[error(transparent)]
    Contradiction(#[from] Contradiction),
}

impl History {
    /// Of a key that was generated at an instant (by its transcript) and of which no act is known.
    pub fn new(kid: Kid, prepared_at: Time) -> Self {
        Self {
            kid,
            life: Life::prepared(prepared_at),
            primary: false,
            transcript: None,
            revoked_by: None,
        }
    }

    /// Whether an act changes the state of a key: the acts to be given to [`Self::apply`].
    pub fn concerns(act: &ActLeaf, kid: &Kid) -> bool {
        let one = act.kid.as_ref() == Some(kid);
        let other = act.previous_kid.as_ref() == Some(kid);
        match (act.kind, act.action.as_str()) {
            (ActKind::Ceremony, "accepted") => one,
            (ActKind::Key, "rotate" | "roll-back" | "revoke") => one || other,
            (ActKind::Key, "retire" | "archive") => one,
            _ => false,
        }
    }

    /// The next act, in the order of the log.
    pub fn apply(&mut self, act: &ActLeaf) -> Result<(), NotAHistory> {
        let one = act.kid.as_ref() == Some(&self.kid);
        let other = act.previous_kid.as_ref() == Some(&self.kid);
        let published = self.life.published_at.is_some();
        let out_of_order = |why| NotAHistory::OutOfOrder {
            action: act.action.clone(),
            why,
        };
        let expect = |holds: bool, why| {
            if holds {
                Ok(())
            } else {
                Err(out_of_order(why))
            }
        };
        let revoked = self.life.revocation.is_some();
        let retired = self.life.retired_at.is_some();
        // Also where another key was revoked and this one takes over: the act is one.
        let reason = revocation_reason(act)?;
        match (act.kind, act.action.as_str(), one, other) {
            (ActKind::Ceremony, "accepted", true, false) => {
                // The revocation and the destruction of a key are accepted too, later.
                if published {
                    return expect(retired || revoked, "it was already accepted");
                }
                self.life.published_at = Some(act.time);
                self.transcript = act.digest;
            }
            (ActKind::Key, "rotate" | "roll-back" | "revoke", true, false) => {
                expect(published, "it is not published")?;
                let from = act.action != "revoke" || act.previous_kid.is_some();
                expect(from, "there is no predecessor")?;
                expect(
                    !self.primary && !retired && !revoked,
                    "it cannot become primary",
                )?;
                self.life.activated_at.get_or_insert(act.time);
                self.life.demoted_at = None;
                self.primary = true;
            }
            (ActKind::Key, "rotate" | "roll-back", false, true) => {
                expect(self.primary, "it is not primary")?;
                self.life.demoted_at = Some(act.time);
                self.primary = false;
            }
            (ActKind::Key, "retire", true, false) => {
                let demoted = self.life.demoted_at.is_some() && !self.primary;
                expect(demoted && !retired && !revoked, "it is not secondary")?;
                self.life.retired_at = Some(act.time);
            }
            (ActKind::Key, "archive", true, false) => {
                let archived = self.life.archived_at.is_some();
                expect((retired || revoked) && !archived, "it is not retired")?;
                self.life.archived_at = Some(act.time);
            }
            (ActKind::Key, "revoke", false, true) => {
                expect(published, "it is not published")?;
                self.revoke(act, reason.ok_or(NotAHistory::Revocation)?)?;
            }
            (kind, ..) => {
                return Err(NotAHistory::Foreign {
                    kind,
                    action: act.action.clone(),
                });
            }
        }
        Ok(())
    }

    /// A revocation, or one that says more of the one there is, which stays as old as it is.
    fn revoke(&mut self, act: &ActLeaf, reason: RevocationReason) -> Result<(), NotAHistory> {
        let mut revocation = Revocation {
            reason,
            revoked_at: act.time,
            compromised_since: act.compromised_since,
        };
        if let Some(earlier) = self.life.revocation {
            if !revocation.is_more_severe_than(&earlier) {
                return Err(NotAHistory::NotMoreSevere);
            }
            revocation.revoked_at = earlier.revoked_at;
        } else if std::mem::take(&mut self.primary) {
            self.life.demoted_at = Some(act.time);
        }
        self.life.revocation = Some(revocation);
        self.revoked_by = Some(act.reference.clone());
        Ok(())
    }

    /// The life so far.
    pub fn life(&self) -> Life {
        self.life
    }

    /// The state that follows from it.
    pub fn state(&self) -> Result<KeyState, NotAHistory> {
        Ok(self.life.state()?)
    }

    /// SHA-256 of the transcript that the log says was accepted, if it says so.
    pub fn transcript(&self) -> Option<Sha256Digest> {
        self.transcript
    }

    /// The ceremony that revoked it, by the SHA-256 of its request.
    pub fn revoked_by(&self) -> Option<&str> {
        self.revoked_by.as_ref()?.as_deref()
    }
}

/// Of a revocation its reason; no other act says since when a key is compromised.
fn revocation_reason(act: &ActLeaf) -> Result<Option<RevocationReason>, NotAHistory> {
    let since = act.compromised_since.is_some();
    if (act.kind, act.action.as_str()) != (ActKind::Key, "revoke") {
        return match since {
            true => Err(NotAHistory::Revocation),
            false => Ok(None),
        };
    }
    match act.revocation_reason() {
        Some(reason) if !since || reason == RevocationReason::Compromised => Ok(Some(reason)),
        _ => Err(NotAHistory::Revocation),
    }
}
