//! Signed notes (c2sp.org/signed-note): a text and under it the lines of its signatures.

use std::fmt;

use super::spelling::{base64, unbase64};

mod key;
#[cfg(test)]
mod tests;

pub use key::{KeyError, SignatureType, VerifierKey, is_key_name};

/// The most bytes of a note that are read. Sixteen post-quantum signatures have about 100 000.
pub const MAX_LEN: usize = 256 * 1024;

/// The most signatures of a note that are read; the format asks for at least 16.
pub const MAX_SIGNATURES: usize = 64;

/// A text with signatures. What is in it is not to be believed before they are verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The signed text, with the newline it ends in.
    pub text: String,
    /// In the order of their lines.
    pub signatures: Vec<NoteSignature>,
}

/// A signature line. Name and id together say which key made it, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteSignature {
    /// The key's name.
    pub name: String,
    /// The key's id.
    pub id: u32,
    /// The signature; at least one byte.
    pub bytes: Vec<u8>,
}

/// A note that was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// More than [`MAX_LEN`] bytes.
    #[error("the note is longer than {MAX_LEN} bytes")]
    TooLong,
    /// More than [`MAX_SIGNATURES`] signatures.
    #[error("the note has more than {MAX_SIGNATURES} signatures")]
    TooManySignatures,
    /// Not UTF-8, or a control character other than newline.
    #[error("the note is not UTF-8 text without control characters")]
    Characters,
    /// No blank line between text and signatures, or no signature.
    #[error("the note must consist of a text, a blank line and signatures")]
    Form,
    /// The line is not a dash, a name and base64. Lines are counted from 1 below the blank line.
    #[error("signature line {0} of the note is malformed")]
    SignatureLine(usize),
    /// A key that is known did not make the signature that bears its name and id.
    #[error("the signature of {0} is invalid")]
    BadSignature(String),
    /// No key that would be enough has signed.
    #[error("no known key has signed the note")]
    Unsigned,
    /// The text is not what notes of this kind say.
    #[error("the text of the note is not a checkpoint")]
    NotACheckpoint,
}

impl Note {
    /// Reads a note. [`fmt::Display`] writes back the same bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        let whole = readable(bytes)?;
        let blank = whole.rfind("\n\n").ok_or(NoteError::Form)?;
        let (text, rest) = whole.split_at(blank + 1);
        Ok(Self {
            text: text.to_owned(),
            signatures: signature_lines(rest.get(1..).unwrap_or_default())?,
        })
    }

    /// The signatures that bear the name and the id of a key. Almost always one or none.
    pub fn by<'a>(&'a self, key: &'a VerifierKey) -> impl Iterator<Item = &'a NoteSignature> {
        self.signatures
            .iter()
            .filter(|signature| signature.name == key.name() && signature.id == key.id())
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|line| line.fmt(f))
    }
}

impl NoteSignature {
    /// Reads signature lines alone, as a witness answers them. At least one.
    pub fn parse_lines(bytes: &[u8]) -> Result<Vec<Self>, NoteError> {
        signature_lines(readable(bytes)?)
    }

    fn parse(line: &str) -> Option<Self> {
        let (name, encoded) = line.strip_prefix("\u{2014} ")?.split_once(' ')?;
        let bytes = unbase64(encoded)?;
        let (id, bytes) = bytes.split_first_chunk::<4>()?;
        if bytes.is_empty() || !is_key_name(name) {
            return None;
        }
        Some(Self {
            name: name.to_owned(),
            id: u32::from_be_bytes(*id),
            bytes: bytes.to_vec(),
        })
    }
}

impl fmt::Display for NoteSignature {
    /// The line, with its newline.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let encoded = base64(&[&self.id.to_be_bytes()[..], &self.bytes].concat());
        writeln!(f, "\u{2014} {} {encoded}", self.name)
    }
}

fn readable(bytes: &[u8]) -> Result<&str, NoteError> {
    if bytes.len() > MAX_LEN {
        return Err(NoteError::TooLong);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| NoteError::Characters)?;
    if text.bytes().any(|byte| byte < b' ' && byte != b'\n') {
        return Err(NoteError::Characters);
    }
    Ok(text)
}

fn signature_lines(text: &str) -> Result<Vec<NoteSignature>, NoteError> {
    let lines = text.strip_suffix('\n').ok_or(NoteError::Form)?;
    let mut signatures = Vec::new();
    for (number, line) in (1..).zip(lines.split('\n')) {
        if number > MAX_SIGNATURES {
            return Err(NoteError::TooManySignatures);
        }
        signatures.push(NoteSignature::parse(line).ok_or(NoteError::SignatureLine(number))?);
    }
    Ok(signatures)
}
