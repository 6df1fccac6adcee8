//! Checkpoints (c2sp.org/tlog-checkpoint): a log's signed statement of its size and root.

use super::note::{Note, NoteError, NoteSignature, SignatureType, VerifierKey};
use super::spelling::{base64, decimal, hash};
use crate::digest::Sha256Digest;
use crate::signature::{BadSignature, p1363_to_der};

#[cfg(test)]
mod tests;

/// The tree of a log at one size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The name of the log.
    pub origin: String,
    /// The number of leaves.
    pub size: u64,
    /// The root of the tree.
    pub root: Sha256Digest,
}

/// The text is not a checkpoint without extension lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected three lines: origin, tree size and root hash")]
pub struct NotACheckpoint;

/// The signature cannot stand in a line of that key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureLineError {
    /// A cosignature has a time: [`cosignature::build`](super::cosignature::build).
    #[error("the key belongs to a witness, not to a log")]
    NotALogKey,
    /// Ed25519 and P-256 signatures have 64 bytes.
    #[error("the signature has {0} bytes, not 64")]
    Length(usize),
    /// r or s cannot be encoded.
    #[error("the signature has no DER form")]
    Der(#[source] BadSignature),
}

impl Checkpoint {
    /// The text that is signed.
    pub fn body(&self) -> String {
        let root = base64(self.root.as_bytes());
        format!("{}\n{}\n{root}\n", self.origin, self.size)
    }

    /// Reads a text that nothing has vouched for: use [`open`], or verify the note yourself.
    ///
    /// Extension lines are refused: no monitor can audit what they say, and no log of ours writes any.
    pub fn parse(text: &str) -> Result<Self, NotACheckpoint> {
        read(text).ok_or(NotACheckpoint)
    }
}

fn read(text: &str) -> Option<Checkpoint> {
    let mut lines = text.strip_suffix('\n')?.split('\n');
    let (origin, size, root) = (lines.next()?, lines.next()?, lines.next()?);
    let strange = origin.is_empty() || origin.bytes().any(|byte| byte < b' ');
    if strange || lines.next().is_some() {
        return None;
    }
    Some(Checkpoint {
        origin: origin.to_owned(),
        size: decimal(size)?,
        root: hash(root)?,
    })
}

/// The checkpoint of a note that its log has signed.
///
/// Of `keys`, those of a log whose name is the note's origin count, and one of them is enough. Every
/// signature by any of `keys` has to check, those of witnesses among them included: a note on which a
/// known key is abused is refused as a whole. Signatures by other keys are ignored.
pub fn open(note: &Note, keys: &[VerifierKey]) -> Result<Checkpoint, NoteError> {
    let checkpoint = Checkpoint::parse(&note.text).map_err(|_| NoteError::NotACheckpoint)?;
    let mut signed = false;
    for key in keys {
        for signature in note.by(key) {
            let bad = || NoteError::BadSignature(key.name().to_owned());
            match key.kind() {
                SignatureType::Cosignature => {
                    super::cosignature::check(&note.text, key, signature).map_err(|_| bad())?;
                }
                SignatureType::Ed25519 | SignatureType::Ecdsa => {
                    key.check(note.text.as_bytes(), &signature.bytes)
                        .map_err(|_| bad())?;
                    signed |= key.name() == checkpoint.origin;
                }
            }
        }
    }
    if signed {
        Ok(checkpoint)
    } else {
        Err(NoteError::Unsigned)
    }
}

/// The line for a signature that the log's key made over [`Checkpoint::body`]. Ed25519 signatures and
/// those of P-256 in the fixed form of IEEE P1363 have 64 bytes; the latter become DER. Whether it
/// checks is not asked here.
pub fn signature_line(
    key: &VerifierKey,
    signature: &[u8],
) -> Result<NoteSignature, SignatureLineError> {
    if signature.len() != 64 {
        return Err(SignatureLineError::Length(signature.len()));
    }
    let bytes = match key.kind() {
        SignatureType::Ed25519 => signature.to_vec(),
        SignatureType::Ecdsa => p1363_to_der(signature).map_err(SignatureLineError::Der)?,
        SignatureType::Cosignature => return Err(SignatureLineError::NotALogKey),
    };
    Ok(NoteSignature {
        name: key.name().to_owned(),
        id: key.id(),
        bytes,
    })
}
