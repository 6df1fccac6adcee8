//! Cosignatures (c2sp.org/tlog-cosignature, version 1 on Ed25519): a witness's statement that, at a
//! time, a checkpoint was the largest consistent one that it had seen of a log.

use super::note::{Note, NoteSignature, SignatureType, VerifierKey};
use crate::time::Time;

#[cfg(test)]
mod tests;

/// The latest time the format allows, in seconds since the Unix epoch.
const LATEST: u64 = i64::MAX as u64;

/// That a witness has cosigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cosigned {
    /// When, by the witness's clock, in seconds since the Unix epoch.
    pub seconds: u64,
}

impl Cosigned {
    /// The instant of the cosignature: the end of its second, because it proves that something existed
    /// not later than it.
    pub fn at(self) -> Time {
        let millis = self.seconds.saturating_mul(1000).saturating_add(999);
        Time::from_millis(i64::try_from(millis).unwrap_or(i64::MAX))
    }
}

/// A cosignature that states nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CosignatureError {
    /// Not a time of 8 bytes and an Ed25519 signature of 64.
    #[error("a cosignature consists of a timestamp and 64 bytes")]
    Form,
    /// Zero states no time (c2sp.org/tlog-witness forbids it); beyond 2^63-1 the format ends.
    #[error("{0} seconds is not a valid cosignature timestamp")]
    Time(u64),
    /// The key is a log's.
    #[error("the key type does not support cosignatures")]
    NotACosigner,
    /// The signature does not check.
    #[error("the cosignature is invalid")]
    BadSignature,
}

/// The bytes that a witness signs over a checkpoint's text.
pub fn message(note_text: &str, seconds: u64) -> Vec<u8> {
    format!("cosignature/v1\ntime {seconds}\n{note_text}").into_bytes()
}

/// What a witness states on a note. `None` if it has not cosigned it. If it has done so several times
/// each must check, and the earliest counts: that is when the checkpoint existed.
pub fn verify(note: &Note, key: &VerifierKey) -> Option<Result<Cosigned, CosignatureError>> {
    note.by(key)
        .map(|signature| check(&note.text, key, signature))
        .reduce(|one, other| Ok(one?.min(other?)))
}

/// Checks one signature line of a key.
pub(super) fn check(
    text: &str,
    key: &VerifierKey,
    signature: &NoteSignature,
) -> Result<Cosigned, CosignatureError> {
    if key.kind() != SignatureType::Cosignature {
        return Err(CosignatureError::NotACosigner);
    }
    let (seconds, bytes) = signature
        .bytes
        .split_first_chunk::<8>()
        .filter(|(_, bytes)| bytes.len() == 64)
        .ok_or(CosignatureError::Form)?;
    let seconds = in_range(u64::from_be_bytes(*seconds))?;
    key.check(&message(text, seconds), bytes)
        .map_err(|_| CosignatureError::BadSignature)?;
    Ok(Cosigned { seconds })
}

/// The line for a signature that a witness's key made over [`message`]. Whether it checks is not asked
/// here.
pub fn build(
    key: &VerifierKey,
    seconds: u64,
    signature: &[u8],
) -> Result<NoteSignature, CosignatureError> {
    if key.kind() != SignatureType::Cosignature {
        return Err(CosignatureError::NotACosigner);
    }
    if signature.len() != 64 {
        return Err(CosignatureError::Form);
    }
    Ok(NoteSignature {
        name: key.name().to_owned(),
        id: key.id(),
        bytes: [&in_range(seconds)?.to_be_bytes()[..], signature].concat(),
    })
}

fn in_range(seconds: u64) -> Result<u64, CosignatureError> {
    if (1..=LATEST).contains(&seconds) {
        Ok(seconds)
    } else {
        Err(CosignatureError::Time(seconds))
    }
}
