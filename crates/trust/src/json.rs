//! Strict JSON: what is signed has one meaning and one spelling.
//!
//! The usual readers collapse duplicate members and round large integers without a word, so two
//! programs can read two different documents from the same signed bytes. Here a scan refuses all of
//! that before anything is read. Canonical form is RFC 8785 (JCS).

mod scan;
#[cfg(test)]
mod tests;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Objects and arrays may be nested this deep.
pub const MAX_DEPTH: usize = 32;

/// The path of the document itself, in errors that are about no member of it.
pub const ROOT: &str = "document";

/// The largest integer that every JSON reader keeps exactly: 2^53 - 1 (RFC 7493 section 2.2).
pub const MAX_INTEGER: u64 = (1 << 53) - 1;

/// Why a document was refused. `path` names the member, for instance `operation.generate.ring`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Not JSON as in RFC 8259.
    #[error("{path}: not JSON: {what} at byte {offset}")]
    Syntax {
        /// Where.
        path: String,
        /// What was wrong.
        what: &'static str,
        /// Offset in bytes.
        offset: usize,
    },
    /// The same member twice in one object.
    #[error("{path}: duplicate member")]
    Duplicate {
        /// The member.
        path: String,
    },
    /// A number with a fraction or an exponent, or a negative zero.
    #[error("{path}: only integers are allowed")]
    Float {
        /// The member.
        path: String,
    },
    /// An integer that some readers would round.
    #[error("{path}: integer exceeds 2^53-1")]
    Integer {
        /// The member.
        path: String,
    },
    /// Nested too deep.
    #[error("{path}: nesting exceeds {MAX_DEPTH} levels")]
    Depth {
        /// Where the limit was passed.
        path: String,
    },
    /// Something stands after the document.
    #[error("bytes after the document, at byte {offset}")]
    Trailing {
        /// Offset in bytes.
        offset: usize,
    },
    /// Well-formed, but not the document that was expected: unknown or missing member, wrong type.
    #[error("{path}: {what}")]
    Content {
        /// The member.
        path: String,
        /// What was expected.
        what: String,
    },
    /// Not in canonical form (RFC 8785).
    #[error("not in canonical form (RFC 8785), first difference at byte {offset}")]
    NotCanonical {
        /// Offset in bytes of the first difference.
        offset: usize,
    },
    /// A value of this program that JSON cannot say.
    #[error("cannot be serialised as JSON: {0}")]
    Write(String),
}

/// Reads `T`, refusing duplicate members at any depth, floats, integers beyond 2^53-1, trailing
/// bytes and deep nesting. Unknown members are refused by `T` (`deny_unknown_fields`). White space
/// is allowed; for signed documents use [`require_canonical`].
pub fn parse_strict<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, JsonError> {
    scan::check(bytes)?;
    serde_json::from_slice(bytes).map_err(|error| {
        let offset = scan::offset_of(bytes, error.line(), error.column());
        JsonError::Content {
            path: scan::path_at(bytes, offset),
            what: without_position(&error),
        }
    })
}

/// The canonical form of `value` (RFC 8785).
pub fn canonical(value: &impl Serialize) -> Result<Vec<u8>, JsonError> {
    let bytes = serde_json_canonicalizer::to_vec(value)
        .map_err(|error| JsonError::Write(error.to_string()))?;
    // What is written must be readable again: no float and no large integer slips out.
    scan::check(&bytes)?;
    Ok(bytes)
}

/// Reads `T` and insists that `bytes` are exactly its canonical form, so that a document has one
/// encoding and unknown members, white space and other spellings have no place to hide.
pub fn require_canonical<T: DeserializeOwned + Serialize>(bytes: &[u8]) -> Result<T, JsonError> {
    let value: T = parse_strict(bytes)?;
    let canonical = canonical(&value)?;
    if canonical == bytes {
        return Ok(value);
    }
    let same = bytes
        .iter()
        .zip(&canonical)
        .take_while(|(a, b)| a == b)
        .count();
    Err(JsonError::NotCanonical { offset: same })
}

/// serde_json appends " at line 1 column 17"; the path says it better.
fn without_position(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}
