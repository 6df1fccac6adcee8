//! The change that puts a new roster in place of one whose custodians are lost.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::digest::Sha256Digest;
use crate::logged::Logged;
use crate::member_signature::MemberSignature;
use crate::proofs::NotProven;
use crate::roster::MemberId;
use crate::time::Time;

use super::SignedDocument;

/// The next [`crate::Roster`], signed by the recovery roster, with what the log says of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recovery {
    /// The leaf that announced it.
    pub announcement: Logged,
    /// The roster.
    pub document: SignedDocument,
    /// The leaf with which it took effect.
    pub effect: Logged,
    /// Transcripts of the keys that signed the checkpoints, themselves without proofs.
    pub log_keys: Vec<String>,
    /// Vetoes that were seen. A recovery with one does not hold.
    pub vetoes: Vec<LoggedVeto>,
}

/// A veto, not yet verified, and its leaf.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoggedVeto {
    /// Canonical JSON of a [`crate::recovery::VetoBody`].
    pub body: String,
    /// Its leaf.
    pub leaf: String,
    /// A tlog-proof.
    pub proof: String,
    /// Over the body, by a member of the roster before.
    pub signature: MemberSignature,
}

/// A recovery that holds, as its own file shows it. Whether a veto was left out, the log shows:
/// [`crate::recovery::check_recovery`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// Digest of the roster that it put in place.
    pub document: Sha256Digest,
    /// The delay of the recovery roster of its time.
    pub delay: Duration,
    /// The log.
    pub origin: String,
    /// Index and time of the announcement's leaf.
    pub announced: (u64, Time),
    /// Index and time of the leaf with which it took effect.
    pub effective: (u64, Time),
}

/// A recovery that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecoveryError {
    /// Nobody may recover.
    #[error("no recovery roster is enrolled")]
    NotEnrolled,
    /// The transcript of a log key does not hold, is none, there twice, or of another chain.
    #[error("log_keys[{0}]: {1}")]
    Key(usize, String),
    /// A log key is not needed, or the log forked.
    #[error("{0}")]
    Keys(NotProven),
    /// A proof does not hold.
    #[error("{what}: {why}")]
    Proof {
        /// Which leaf.
        what: &'static str,
        /// Why.
        why: NotProven,
    },
    /// The leaf says something else, or of another document.
    #[error("{0}: the leaf does not concern this recovery")]
    OtherLeaf(&'static str),
    /// Of two logs, or the announcement is not before the effect.
    #[error("the announcement is not before the effect in one log")]
    Order,
    /// The delay had not passed.
    #[error("announced at {announced_at} with a delay of {} s, used at {at}", delay.as_secs())]
    Early {
        /// When it was announced.
        announced_at: Time,
        /// The delay of the recovery roster.
        delay: Duration,
        /// When it took effect.
        at: Time,
    },
    /// A member of the roster before objected.
    #[error("vetoed by {0}")]
    Vetoed(MemberId),
    /// What does not hold has no place here: nothing else covers it.
    #[error("a veto does not hold: {0}")]
    Veto(String),
}
