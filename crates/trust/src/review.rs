//! A request, or the statement of what was done, as custodians read it, rendered from its bytes.

mod rotation_policy;
mod summary;

use std::fmt::Write as _;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::approval::ObjectionBody;
use crate::digest::Sha256Digest;
use crate::dsse;
use crate::json::{self, JsonError};
use crate::namespace::{Namespace, Purpose};
use crate::policy::Policy;
use crate::recovery::{RecoveryRoster, VetoBody};
use crate::request::{Operation, Request, request_digest};
use crate::roster::Roster;
use crate::stop::StopBody;
use crate::suspension::SuspensionBody;
use crate::text;
use crate::withdrawal::WithdrawalBody;
use crate::words;

/// A request for reading: what it says, what it changes, and the digest to read aloud.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Review {
    /// What a request asks for, in sentences, and what in it is easily overlooked.
    pub summary: Vec<String>,
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
    /// The bytes of the next roster.
    Roster(Vec<u8>),
    /// The bytes of the next policy.
    Policy(Vec<u8>),
    /// The bytes of a suspension.
    Suspension(Vec<u8>),
    /// The bytes of the next recovery roster.
    RecoveryRoster(Vec<u8>),
    /// The bytes of the next roster, which the recovery roster puts in place.
    Recovery(Vec<u8>),
    /// The bytes of a veto.
    Veto(Vec<u8>),
    /// The bytes of the withdrawal of a standing order.
    Withdrawal(Vec<u8>),
    /// The bytes of a stop of signing.
    Stop(Vec<u8>),
    /// The bytes of a rejection, of a ceremony or of a document.
    Rejection(Vec<u8>),
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
    for (purpose, file) in [
        (Purpose::Roster, File::Roster as fn(Vec<u8>) -> File),
        (Purpose::Policy, File::Policy),
        (Purpose::Suspend, File::Suspension),
        (Purpose::RecoveryRoster, File::RecoveryRoster),
        (Purpose::Recover, File::Recovery),
        (Purpose::Veto, File::Veto),
        (Purpose::Withdraw, File::Withdrawal),
        (Purpose::Stop, File::Stop),
        (Purpose::Reject, File::Rejection),
    ] {
        let prefix = format!("chancery/{}.", purpose.word());
        if namespace.starts_with(&prefix) {
            let file = file(body.to_vec());
            return match file.namespace()? {
                Some(expected) if expected != namespace => Err(NotAFile::Namespace {
                    found: namespace.to_owned(),
                    expected,
                }),
                _ => Ok(file),
            };
        }
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

impl File {
    /// The namespace that the body names; a suspension, a veto, a withdrawal, a stop and a rejection name none.
    fn namespace(&self) -> Result<Option<String>, JsonError> {
        let (purpose, service, environment) = match self {
            Self::Roster(body) => {
                let roster: Roster = json::require_canonical(body)?;
                (Purpose::Roster, roster.service, roster.environment)
            }
            Self::Policy(body) => {
                let policy: Policy = json::require_canonical(body)?;
                (Purpose::Policy, policy.service, policy.environment)
            }
            Self::RecoveryRoster(body) => {
                let roster: RecoveryRoster = json::require_canonical(body)?;
                let (service, environment) = (roster.service, roster.environment);
                (Purpose::RecoveryRoster, service, environment)
            }
            Self::Recovery(body) => {
                let roster: Roster = json::require_canonical(body)?;
                (Purpose::Recover, roster.service, roster.environment)
            }
            Self::Veto(body) => {
                let _: VetoBody = json::require_canonical(body)?;
                return Ok(None);
            }
            Self::Withdrawal(body) => {
                let _: WithdrawalBody = json::require_canonical(body)?;
                return Ok(None);
            }
            Self::Stop(body) => {
                let _: StopBody = json::require_canonical(body)?;
                return Ok(None);
            }
            Self::Rejection(body) => {
                let _: ObjectionBody = json::require_canonical(body)?;
                return Ok(None);
            }
            Self::Suspension(body) => {
                let _: SuspensionBody = json::require_canonical(body)?;
                return Ok(None);
            }
            Self::Request(_) | Self::Statement(_) => return Ok(None),
        };
        let namespace = Namespace::new(purpose, &service, &environment);
        Ok(Some(namespace.to_string()))
    }
}

/// Renders the next roster, the next policy or a suspension from its bytes; `before` is the roster or the policy that
/// holds.
pub fn review_document(file: &File, before: Option<&[u8]>) -> Result<Review, JsonError> {
    fn read<T: DeserializeOwned + Serialize>(
        bytes: &[u8],
    ) -> Result<Vec<(String, String)>, JsonError> {
        let read: T = json::require_canonical(bytes)?;
        let value = serde_json::to_value(&read).map_err(|e| JsonError::Write(e.to_string()))?;
        flatten(&value)
    }
    type Read = fn(&[u8]) -> Result<Vec<(String, String)>, JsonError>;
    let (body, read): (_, Read) = match file {
        File::Roster(body) | File::Recovery(body) => (body, read::<Roster>),
        File::RecoveryRoster(body) => (body, read::<RecoveryRoster>),
        File::Veto(body) => (body, read::<VetoBody>),
        File::Withdrawal(body) => (body, read::<WithdrawalBody>),
        File::Stop(body) => (body, read::<StopBody>),
        File::Rejection(body) => (body, read::<ObjectionBody>),
        File::Policy(body) => (body, read::<Policy>),
        File::Suspension(body) => (body, read::<SuspensionBody>),
        File::Request(body) => return review(body, None),
        File::Statement(body) => return review_statement(body),
    };
    let lines = read(body)?;
    let changes = match (file, before) {
        (
            File::Suspension(_)
            | File::Veto(_)
            | File::Withdrawal(_)
            | File::Stop(_)
            | File::Rejection(_),
            _,
        ) => Vec::new(),
        (_, None) => vec!["nothing to compare with".to_owned()],
        (_, Some(before)) => differences(&read(before)?, &lines),
    };
    let digest = Sha256Digest::of(body);
    Ok(Review {
        summary: Vec::new(),
        lines,
        changes,
        digest,
        words: words::words(digest.as_bytes()),
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
        summary: summary::summary(&request),
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
    let read: crate::approval::Statement = json::require_canonical(statement)?;
    let value = serde_json::to_value(&read).map_err(|error| JsonError::Write(error.to_string()))?;
    Ok(Review {
        summary: Vec::new(),
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
        for sentence in &self.summary {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{sentence}");
        }
        if !self.summary.is_empty() {
            out.push_str("\nIn full:\n");
        }
        for (path, value) in &self.lines {
            let _ = writeln!(out, "{path:width$}  {value}");
        }
        if !self.changes.is_empty() {
            out.push_str("\nChanges against what was verified last:\n");
        }
        for change in &self.changes {
            let _ = writeln!(out, "  {change}");
        }
        let _ = writeln!(out, "\nSHA-256  {}\n{}", self.digest, self.words);
        out
    }
}
