//! A request, or the statement of what was done, as custodians read it, rendered from its bytes.

mod recovery;

use std::fmt::Write as _;

use crate::digest::Sha256Digest;
use crate::dsse;
use crate::json::JsonError;
use crate::namespace::Purpose;
use crate::request::{Operation, Request, request_digest};
use crate::text;
use crate::words;

pub use recovery::review_recovery;

/// A request for reading: what it says, what it changes, and the digest to read aloud.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Review {
    /// Member and value, in the request's order.
    pub lines: Vec<(String, String)>,
    /// What is different from the last verified state, in words.
    pub changes: Vec<String>,
    /// Digest of the bytes.
    pub digest: Sha256Digest,
    /// The digest in PGP words.
    pub words: String,
}

/// What a custodian's file holds, for reading; nothing about it is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum File {
    /// The bytes of a request, to be proposed or approved.
    Request(Vec<u8>),
    /// The bytes of a statement, to be accepted.
    Statement(Vec<u8>),
}

/// A file that is none of a custodian's.
#[derive(Debug, thiserror::Error)]
pub enum NotAFile {
    /// No pre-authentication encoding.
    #[error("not a signing payload: {0}")]
    Encoding(#[from] dsse::PaeError),
    /// No request inside.
    #[error("not a request: {0}")]
    Request(#[from] JsonError),
    /// For something else than the request inside.
    #[error("the file has the namespace {found}, its request needs {expected}")]
    Namespace {
        /// The file's.
        found: String,
        /// That of an approval.
        expected: String,
    },
}

/// Opens a file that is to be signed.
pub fn open_file(bytes: &[u8]) -> Result<File, NotAFile> {
    let (namespace, body) = dsse::parse_pae(bytes)?;
    if namespace.starts_with("chancery/accept.") {
        return Ok(File::Statement(body.to_vec()));
    }
    let request = Request::decode(body)?;
    let fits = |purpose| request.namespace(purpose).to_string() == namespace;
    if fits(Purpose::Approve) || fits(Purpose::Propose) {
        return Ok(File::Request(body.to_vec()));
    }
    Err(NotAFile::Namespace {
        found: namespace.to_owned(),
        expected: request.namespace(Purpose::Approve).to_string(),
    })
}

/// Renders a request from its bytes; `before` is the last verified request about the same ring.
pub fn review(request: &[u8], before: Option<&Request>) -> Result<Review, JsonError> {
    let digest = request_digest(request);
    let request = Request::decode(request)?;
    let lines = lines(&request)?;
    let changes = match before {
        None => vec!["no verified previous request to compare with".to_owned()],
        Some(before) => differences(
            &lines_of_operation(&before.operation)?,
            &lines_of_operation(&request.operation)?,
        ),
    };
    Ok(Review {
        lines,
        changes,
        digest,
        words: words::words(digest.as_bytes()),
    })
}

/// Renders a statement, which custodians sign to accept what was done, from its bytes. What it has
/// to be compared with is the kid that the executor's own screen showed.
pub fn review_statement(statement: &[u8]) -> Result<Review, JsonError> {
    let digest = Sha256Digest::of(statement);
    let read: crate::approval::Statement = crate::json::require_canonical(statement)?;
    let value = serde_json::to_value(&read).map_err(|error| JsonError::Write(error.to_string()))?;
    Ok(Review {
        lines: flatten(&value)?,
        changes: Vec::new(),
        digest,
        words: words::words(digest.as_bytes()),
    })
}

fn lines(request: &Request) -> Result<Vec<(String, String)>, JsonError> {
    flatten(&serde_json::to_value(request).map_err(|error| JsonError::Write(error.to_string()))?)
}

fn lines_of_operation(operation: &Operation) -> Result<Vec<(String, String)>, JsonError> {
    flatten(&serde_json::to_value(operation).map_err(|error| JsonError::Write(error.to_string()))?)
}

/// Every member with its path; nothing is left out, because what is not shown is not approved, and
/// nothing in it can move the cursor: a review is read before the tally refuses such text.
fn flatten(value: &serde_json::Value) -> Result<Vec<(String, String)>, JsonError> {
    fn visit(path: &str, value: &serde_json::Value, out: &mut Vec<(String, String)>) {
        match value {
            serde_json::Value::Object(members) => {
                for (name, value) in members {
                    let path = if path.is_empty() {
                        name.clone()
                    } else {
                        format!("{path}.{name}")
                    };
                    visit(&path, value, out);
                }
            }
            serde_json::Value::Array(items) if !items.is_empty() => {
                for (number, value) in items.iter().enumerate() {
                    visit(&format!("{path}.{number}"), value, out);
                }
            }
            serde_json::Value::String(text) => out.push((path.to_owned(), text::spelled_out(text))),
            other => out.push((path.to_owned(), other.to_string())),
        }
    }
    let mut out = Vec::new();
    visit("", value, &mut out);
    Ok(out)
}

fn differences(before: &[(String, String)], after: &[(String, String)]) -> Vec<String> {
    let value = |lines: &[(String, String)], path: &str| {
        lines
            .iter()
            .find(|(name, _)| name == path)
            .map(|(_, value)| value.clone())
    };
    let mut out: Vec<String> = after
        .iter()
        .filter_map(|(path, new)| match value(before, path) {
            None => Some(format!("{path}: new, {new}")),
            Some(old) if old != *new => Some(format!("{path}: {old} -> {new}")),
            Some(_) => None,
        })
        .collect();
    out.extend(
        before
            .iter()
            .filter(|(path, _)| value(after, path).is_none())
            .map(|(path, old)| format!("{path}: removed, was {old}")),
    );
    out
}

impl Review {
    /// The review as text.
    pub fn render(&self) -> String {
        let width = self
            .lines
            .iter()
            .map(|(path, _)| path.len())
            .max()
            .unwrap_or(0);
        let mut out = String::new();
        for (path, value) in &self.lines {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{path:width$}  {value}");
        }
        if !self.changes.is_empty() {
            out.push_str("\nChanges:\n");
        }
        for change in &self.changes {
            let _ = writeln!(out, "  {change}");
        }
        let _ = writeln!(out, "\nSHA-256  {}\n{}", self.digest, self.words);
        out
    }
}
