//! A recovery held against the whole log. One file shows what is in it; that a veto was left out of
//! it, only the log shows.

use std::time::Duration;

use crate::acts::Act;
use crate::digest::Sha256Digest;
use crate::time::Time;

use super::{ANNOUNCE, RECOVER, VETO, recovery_ready, tells};

/// What the log has against a recovery.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecoveryFault {
    /// No leaf with which it took effect.
    #[error("the recovery has no leaf `{RECOVER}`")]
    NoEffect,
    /// No announcement before it took effect.
    #[error("leaf {effect}: the recovery was not announced before")]
    NotAnnounced {
        /// The place of the leaf with which it took effect.
        effect: i64,
    },
    /// Vetoed before it took effect.
    #[error("leaf {effect}: the recovery was vetoed by leaf {veto}")]
    Vetoed {
        /// The place of the leaf with which it took effect.
        effect: i64,
        /// The place of the veto's leaf.
        veto: i64,
    },
    /// Sooner after its announcement than the delay.
    #[error("leaf {effect}: announced at {announced_at}, the recovery took effect at {at}")]
    Early {
        /// The place of the leaf with which it took effect.
        effect: i64,
        /// When it was announced.
        announced_at: Time,
        /// When it took effect.
        at: Time,
    },
}

/// Whether the acts of a log, in their order, bear out a recovery of the chain: announced, not vetoed
/// before it took effect, and not used early by the times that `time` says, which may be corrected.
/// A veto stands against its document for ever, so one from before the announcement counts as well.
/// Acts that are of something else are passed over.
pub fn check_recovery<'a>(
    document: Sha256Digest,
    delay: Duration,
    acts: impl IntoIterator<Item = &'a Act>,
    time: impl Fn(&Act) -> Time,
) -> Result<(), RecoveryFault> {
    let (mut announced_at, mut veto) = (None, None);
    for act in acts {
        if tells(&act.leaf, ANNOUNCE, document) {
            announced_at = announced_at.or(Some(time(act)));
        } else if tells(&act.leaf, VETO, document) {
            veto = veto.or(Some(act.index));
        } else if tells(&act.leaf, RECOVER, document) {
            let effect = act.index;
            if let Some(veto) = veto {
                return Err(RecoveryFault::Vetoed { effect, veto });
            }
            let Some(announced_at) = announced_at else {
                return Err(RecoveryFault::NotAnnounced { effect });
            };
            let at = time(act);
            return match recovery_ready(announced_at, delay, at) {
                true => Ok(()),
                false => Err(RecoveryFault::Early {
                    effect,
                    announced_at,
                    at,
                }),
            };
        }
    }
    Err(RecoveryFault::NoEffect)
}
