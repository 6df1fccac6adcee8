//! What people and programs get to see, and the exit codes.

use std::fmt;
use std::io::Write as _;
use std::process::ExitCode;

use clap::ValueEnum;
use comfy_table::{Table, presets};
use serde::Serialize;
use serde_json::json;

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Style {
    Human,
    Json,
}

/// For the end of `--help`.
pub const EXIT_CODES: &str = "Exit codes: 0 done; 1 failed; 2 usage or configuration; 3 refused \
by a rule (quorum, state, policy); 4 token, database or network unavailable; 5 verification failed; 6 the payload of a detached \
signature is missing.";

/// Exit codes, documented in `--help`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// Something went wrong.
    Failed = 1,
    /// The arguments or the configuration do not fit.
    Usage = 2,
    /// A rule said no: quorum, state, policy.
    Refused = 3,
    /// Token, database or network is not available.
    Unavailable = 4,
    /// Verification says no.
    NotValid = 5,
    /// Nothing can be said: the payload of a detached signature was not given.
    Incomplete = 6,
}

/// Why a command ended without success.
#[derive(Debug)]
pub struct Failure {
    pub code: Code,
    pub error: anyhow::Error,
    /// The result was printed and says no by itself; a second JSON document would only confuse.
    told: bool,
}

impl Failure {
    pub fn new(code: Code, error: impl Into<anyhow::Error>) -> Self {
        Self {
            code,
            error: error.into(),
            told: false,
        }
    }

    /// For a result that is printed already.
    pub fn told(code: Code, message: impl fmt::Display) -> Self {
        Self {
            told: true,
            ..Self::new(code, anyhow::anyhow!("{message}"))
        }
    }

    pub fn usage(message: impl fmt::Display) -> Self {
        Self::new(Code::Usage, anyhow::anyhow!("{message}"))
    }

    pub fn refused(message: impl fmt::Display) -> Self {
        Self::new(Code::Refused, anyhow::anyhow!("{message}"))
    }

    pub fn unavailable(error: impl Into<anyhow::Error>) -> Self {
        Self::new(Code::Unavailable, error)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::new(Code::Failed, error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(Code::Failed, error)
    }
}

#[derive(Debug, Clone)]
pub struct Output {
    program: &'static str,
    style: Style,
}

impl Output {
    pub fn new(program: &'static str, style: Style) -> Self {
        Self { program, style }
    }

    pub fn is_json(&self) -> bool {
        self.style == Style::Json
    }

    /// One result: the value for programs, the lines for people.
    pub fn result(&self, value: &impl Serialize, human: impl FnOnce() -> String) {
        let text = match self.style {
            Style::Json => serde_json::to_string_pretty(value).unwrap_or_default(),
            Style::Human => human(),
        };
        print(&text);
    }

    /// One of many results as they come: a line for programs, a line for people.
    pub fn line(&self, value: &impl Serialize, human: impl FnOnce() -> String) {
        let text = match self.style {
            Style::Json => serde_json::to_string(value).unwrap_or_default(),
            Style::Human => human(),
        };
        print(&text);
    }

    /// A remark on the way, for people only; it goes to the standard error so that results stay
    /// clean.
    pub fn remark(&self, text: impl fmt::Display) {
        if self.style == Style::Human {
            let _ = writeln!(std::io::stderr(), "{text}");
        }
    }

    pub fn failure(&self, failure: &Failure) -> ExitCode {
        let code = failure.code as u8;
        if self.is_json() && failure.told {
            return ExitCode::from(code);
        }
        if self.is_json() {
            let value = json!({"error": {
                "code": format!("{:?}", failure.code).to_lowercase(),
                "message": format!("{:#}", failure.error),
            }});
            print(&serde_json::to_string_pretty(&value).unwrap_or_default());
        } else {
            let _ = writeln!(std::io::stderr(), "{}: {:#}", self.program, failure.error);
        }
        ExitCode::from(code)
    }
}

/// A reader that went away (`| head`) is no error of ours.
fn print(text: &str) {
    let _ = writeln!(std::io::stdout(), "{}", text.trim_end());
}

/// A bar on the standard error where a person is watching.
pub fn progress(length: usize, output: &Output) -> indicatif::ProgressBar {
    if output.is_json() {
        return indicatif::ProgressBar::hidden();
    }
    indicatif::ProgressBar::new(length as u64)
}

/// A table without frills.
pub fn table<R: IntoIterator<Item = String>>(
    header: &[&str],
    rows: impl IntoIterator<Item = R>,
) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_header(header.to_vec());
    for row in rows {
        table.add_row(row);
    }
    table.to_string()
}
