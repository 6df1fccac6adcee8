//! What answers a report, and the draft of it: by what is reported, and how far its key is now.

use serde::Serialize;
use store::{CompromiseRow, KeyRow, KeyStatus};
use trust::Kid;
use trust::request::RevocationReason;

use crate::drivers::ring_of_asset;

/// What people can do about a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// The reported key is the primary of its ring, or the ring itself is reported: a standby key takes over at once.
    Rotation,
    /// Another key of a ring: it is revoked, and the primary signs on.
    Revocation,
    /// The key is revoked as compromised.
    Revoked,
    /// What is no key of a ring.
    Declaration,
}

impl Answer {
    /// None of a key that is not there any more, or cannot be read. `key` is the one that is reported; of a ring, the one that
    /// signed when it was reported.
    pub(super) fn of(row: &CompromiseRow, key: Option<&KeyRow>) -> Option<Self> {
        if row.kid.is_none() {
            return Some(match ring_of_asset(row.asset.as_str()) {
                // Members rotated the ring since: its primary is the good key.
                Some(_) if key.is_some_and(is_revoked) => Self::Revoked,
                Some(_) => Self::Rotation,
                None => Self::Declaration,
            });
        }
        let key = key?;
        Some(match key.status {
            KeyStatus::Primary => Self::Rotation,
            _ if is_revoked(key) => Self::Revoked,
            _ => Self::Revocation,
        })
    }

    const fn operation(self) -> &'static str {
        match self {
            Self::Rotation => "emergency-rotation",
            Self::Revocation => "revocation",
            Self::Revoked => "none",
            Self::Declaration => "declaration",
        }
    }
}

fn is_revoked(key: &KeyRow) -> bool {
    let revoked = key.revocation.as_ref();
    revoked.is_some_and(|one| one.reason == RevocationReason::Compromised)
}

/// Whether a key was the primary of its ring at that instant.
pub(super) fn signed_at(key: &KeyRow, at: trust::Time) -> bool {
    key.activated_at.is_some_and(|since| since <= at)
        && key.demoted_at.is_none_or(|until| until > at)
}

/// A declaration that nobody has signed: who signs compares it first. It is made of the report, and of how far its key is, whenever
/// it is asked for, ends with it, and permits nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DraftView {
    /// `emergency-rotation` of a ring whose primary, or which itself, is reported; `revocation` of another of its keys: members of
    /// the roster propose and approve both. `none` of a key that is revoked as compromised already, and of a ring whose key of the
    /// time of the report is. `declaration` of what else rotates.
    pub operation: &'static str,
    pub asset: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ring: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kid: Option<String>,
    /// How far the key is, such as `primary`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_state: Option<&'static str>,
    /// As it was reported; where it was not, people find it out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compromised_since: Option<trust::Time>,
    pub reason: String,
    /// What the ceremony or the rotation names as its ticket.
    pub ticket: String,
    /// What to type; a member adds who they are and their key, and `INSTANT` where nobody reported since when.
    pub command: String,
}

pub(super) fn draft(row: &CompromiseRow, key: Option<&KeyRow>) -> Option<DraftView> {
    let answer = Answer::of(row, key)?;
    let ring = ring_of_asset(row.asset.as_str());
    // When it was reported is the latest possible instant: what a thief signed before it would stay valid.
    let since = row
        .compromised_since
        .map_or_else(|| "INSTANT".to_owned(), |since| since.to_string());
    let id = &row.id;
    let signed = format!(
        "--compromised-since {since} --ticket {id} --reason TEXT --proposer MEMBER --key KEY"
    );
    let kid = row.kid.as_ref().map(Kid::as_str);
    let command = match (answer, ring, kid) {
        (Answer::Rotation, Some(ring), _) => {
            format!("chancery emergency rotate --ring {ring} {signed}")
        }
        (Answer::Revocation, Some(ring), Some(kid)) => {
            format!(
                "chancery ring revoke {ring} --kid {kid} --because compromised {signed} --apply"
            )
        }
        _ => format!("chancery emergency declare {id} --reason TEXT"),
    };
    Some(DraftView {
        operation: answer.operation(),
        asset: row.asset.to_string(),
        ring: ring.map(str::to_owned),
        kid: kid.map(str::to_owned),
        key_state: key.filter(|_| kid.is_some()).map(|key| key.status.as_str()),
        compromised_since: row.compromised_since,
        reason: row.reason.clone(),
        ticket: id.clone(),
        command,
    })
}
